"""`fumehood audit …` on a state of its own, without a daemon."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.audit.known import Known, known_path
from fumehood.crypto import master
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.purposes import PURPOSES
from fumehood.crypto.ring import Periods, Ring
from fumehood.model.ids import uuid7
from fumehood.verify import verify_log
from support.cli import Cli


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state whose log has three records."""
    monkeypatch.setenv("FUMEHOOD_STATE", str(tmp_path))
    monkeypatch.delenv("FUMEHOOD_CONFIG", raising=False)
    ring = open_ring(tmp_path, Periods())
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as log:
        for number in range(3):
            log.append("test", {"n": number}).result(10)
    return tmp_path


def harm(state: Path) -> None:
    (segment,) = (state / "audit").glob("segment-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"n":1', b'"n":7'))


def test_a_whole_log_verifies(cli: Cli, state: Path) -> None:
    ended = cli("audit", "verify")
    assert (ended.status, ended.out) == (0, "ok: 3 records in 1 file, unbroken\n")
    assert "seals" not in ended.err


def test_an_edited_record_is_named(cli: Cli, state: Path) -> None:
    harm(state)
    ended = cli("audit", "verify")
    assert ended.status == 1
    assert "segment-0000000000000001.jsonl:2: edited" in ended.err
    assert json.loads(cli("audit", "verify", "--json").out)["first_bad"]["line"] == 2


def given_away(state: Path) -> None:
    """To an account that is not root, as a daemon's state is."""
    if os.geteuid() == 0:
        for path in (state, *state.rglob("*")):
            os.chown(path, 65_534, 65_534)


def test_the_first_key_is_shown_once_and_verifies_a_copy_elsewhere(
    cli: Cli, state: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_away(state)
    shown = cli("audit", "init")
    assert shown.out.startswith("fumehood-seal-1:")
    assert "not shown again" in shown.err
    again = cli("audit", "init")
    assert (again.status, "shown before" in again.err) == (6, True)
    assert "seals were not checked" in cli("audit", "verify").err

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "first").write_text(shown.out)
    (elsewhere / "keys.pem").write_text(cli("key", "export-public", "audit").out)
    shutil.copytree(state / "audit", elsewhere / "copy")
    monkeypatch.setenv("FUMEHOOD_STATE", str(elsewhere / "none"))
    words = [
        "audit", "verify", "--directory", str(elsewhere / "copy"),
        "--key", str(elsewhere / "first"), "--public", str(elsewhere / "keys.pem"),
    ]  # fmt: skip
    ended = cli(*words)
    assert (ended.status, "3 records" in ended.out) == (0, True), ended.err
    harm(state)
    shutil.copytree(state / "audit", elsewhere / "copy", dirs_exist_ok=True)
    assert "jsonl:2: edited" in cli(*words).err


def test_a_key_that_lies_in_a_copy_is_not_believed(cli: Cli, state: Path, tmp_path: Path) -> None:
    """Who wrote the copy may have written its key."""
    (tmp_path / "keys.pem").write_text(cli("key", "export-public", "audit").out)
    shutil.copytree(state / "audit", tmp_path / "copy")
    assert (tmp_path / "copy" / "first.key").exists()
    words = ("audit", "verify", "--public", str(tmp_path / "keys.pem"), "--directory")
    ended = cli(*words, str(tmp_path / "copy"))
    assert (ended.status, "seals were not checked" in ended.err) == (0, True), ended.err
    pem = (tmp_path / "keys.pem").read_text()
    assert not verify_log(tmp_path / "copy", [pem]).sealed
    shown = (tmp_path / "copy" / "first.key").read_text()
    assert verify_log(tmp_path / "copy", [pem], first_key=shown).sealed


@pytest.mark.parametrize("every", [(), ("--all",)])
def test_what_a_revoked_key_signed_does_not_verify_with_the_keys_of_now(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FUMEHOOD_STATE", str(tmp_path))
    monkeypatch.delenv("FUMEHOOD_CONFIG", raising=False)
    ring = open_ring(tmp_path, Periods())
    old = ring.signer("audit").id
    with AuditLog.open(tmp_path / "audit", RingCustody(ring), segment_bytes=1) as log:
        for number in range(3):
            log.append("test", {"n": number}).result(10)
    shutil.copytree(tmp_path / "audit", tmp_path / "copy")
    pem = tmp_path / "keys.pem"
    words = ("audit", "verify", "--directory", str(tmp_path / "copy"), "--public", str(pem))
    cli("key", "rotate", "audit")
    pem.write_text(cli("key", "export-public", "audit", *every).out)
    assert cli(*words).status == 0
    cli("key", "revoke", old, "--yes")
    pem.write_text(cli("key", "export-public", "audit", *every).out)
    ended = cli(*words)
    assert (ended.status, "signature" in ended.err) == (1, True), ended.err


def test_a_copy_needs_the_public_keys_named(cli: Cli, state: Path, tmp_path: Path) -> None:
    ended = cli("audit", "verify", "--directory", str(state / "audit"))
    assert (ended.status, "--public" in ended.err) == (2, True)
    (tmp_path / "no.pem").write_text("no key")
    words = ("audit", "verify", "--public", str(tmp_path / "no.pem"))
    assert "holds no public key" in cli(*words).err


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("words", [("audit", "init"), ("audit", "init", "--json")])
def test_a_first_key_that_stdout_did_not_take_is_shown_again(
    tmp_path: Path, words: tuple[str, ...], *, begun: bool
) -> None:
    environment = {**os.environ, "FUMEHOOD_STATE": str(tmp_path)}
    environment.pop("FUMEHOOD_CONFIG", None)
    ring = open_ring(tmp_path, Periods())
    if begun:
        AuditLog.open(tmp_path / "audit", RingCustody(ring)).close()
    given_away(tmp_path)
    tmp_path.chmod(0o700)

    def init(to: str) -> int:
        with Path(to).open("w") as file:
            line = [sys.executable, "-m", "fumehood", *words]
            return subprocess.run(line, env=environment, stdout=file, check=False).returncode

    assert init("/dev/full") == 2
    shown = tmp_path / "shown"
    assert init(str(shown)) == 0
    assert "fumehood-seal-1:" in shown.read_text()
    assert not (tmp_path / "audit" / "first.key").exists()
    assert init(str(shown)) == 6


@pytest.mark.parametrize("there", ["", "fresh"])
def test_init_begins_a_log_before_any_daemon_ran(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)  # root acts as the supervisor's account
        config = place / "config.yaml"
        config.write_text('{"supervisor_user": "nobody", "socket_group": "nogroup"}')
        monkeypatch.setenv("FUMEHOOD_STATE", str(place / "fresh"))
        monkeypatch.setenv("FUMEHOOD_CONFIG", str(config))
        if there:
            (place / there).mkdir()
        ended = cli("audit", "init")
        assert ended.status == 0, ended.err
        if os.geteuid() == 0:
            assert (place / "fresh").stat().st_uid == 65_534, "root's is no supervisor's"
        made = {path.name: path.stat().st_uid for path in (place / "fresh" / "audit").iterdir()}
        assert set(made) == {"head", "lock"}
        assert set(made.values()) == {(place / "fresh").stat().st_uid}


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of another account")
def test_no_key_is_shown_of_a_state_whose_keys_are_roots(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        open_ring(state, Periods())
        os.chown(state, 65_534, 65_534)
        monkeypatch.setenv("FUMEHOOD_STATE", str(state))
        monkeypatch.delenv("FUMEHOOD_CONFIG", raising=False)
        ended = cli("audit", "init")
        assert (ended.status, ended.out) == (1, ""), ended.err
        assert "cannot be reached by UID 65534: Permission denied" in ended.err
        assert (
            f"remedy: where they are this installation's, `chown -R 65534 {state / 'keys'}`"
            in ended.err
        )


def begun(log: AuditLog, state: Path) -> list[dict[str, object]]:
    """The records that tell of an earlier log; closes the log."""
    log.close()
    lines = b"".join(path.read_bytes() for path in sorted((state / "audit").glob("*.jsonl")))
    records = [json.loads(line) for line in lines.splitlines()]
    return [
        {"earlier": record["earlier"], "deliberate": record["deliberate"]}
        for record in records
        if record["event"] == "audit.begun"
    ]


def opened_by_a_start(state: Path) -> AuditLog:
    ring = open_ring(state, Periods())
    known = Known(known_path(state), ring)
    return AuditLog.open(state / "audit", RingCustody(ring), known=known)


def test_a_log_that_is_gone_is_noticed_at_the_next_start_and_once(state: Path) -> None:
    log = opened_by_a_start(state)  # of a version that did not note it
    assert (log.replaced, begun(log, state)) == ("", [])
    chain = json.loads(known_path(state).read_bytes())["chain"]
    shutil.rmtree(state / "audit")
    log = opened_by_a_start(state)
    assert log.replaced == chain
    told = [{"earlier": chain, "deliberate": False}]
    assert begun(log, state) == told
    log = opened_by_a_start(state)
    assert (log.replaced, begun(log, state)) == ("", told)


def test_a_log_that_was_put_in_anothers_place_is_noticed(state: Path, tmp_path: Path) -> None:
    opened_by_a_start(state).close()
    (state / "audit").rename(tmp_path / "first")
    log = opened_by_a_start(state)
    log.close()
    second = json.loads(known_path(state).read_bytes())["chain"]
    shutil.rmtree(state / "audit")
    (tmp_path / "first").rename(state / "audit")
    log = opened_by_a_start(state)
    assert log.replaced == second
    assert begun(log, state) == [{"earlier": second, "deliberate": False}]


def test_init_with_keys_that_expired_says_so_and_how_to_mend_it(cli: Cli, state: Path) -> None:
    shutil.rmtree(state / "audit")
    (state / "keys" / "ring.json").unlink()
    root = master.from_file(state / "keys" / "root.json")
    past = Periods(active=1, verify=10)
    Ring.open(state / "keys" / "ring.json", root, past, clock=lambda: "2026-01-01T00:00:00Z")
    given_away(state)
    ended = cli("audit", "init")
    assert (ended.status, ended.out) == (6, "")
    assert "the audit log cannot be begun: there is no active key for audit, receipt" in ended.err
    for purpose in PURPOSES:
        assert f"`fumehood key rotate {purpose}`" in ended.err
        assert cli("key", "rotate", purpose).status == 0
    assert cli("audit", "init").out.startswith("fumehood-seal-1:")


@pytest.mark.parametrize("forged", [False, True])
def test_a_log_that_goes_with_the_note_beside_the_ring_is_noticed_by_the_ring(
    state: Path, *, forged: bool
) -> None:
    """Or one that is put in its place, with a note that says it is the same."""
    opened_by_a_start(state).close()
    chain = json.loads(known_path(state).read_bytes())["chain"]
    shutil.rmtree(state / "audit")
    known_path(state).unlink()
    if forged:
        log = AuditLog.open(state / "audit", RingCustody(open_ring(state, Periods())))
        log.close()
        known_path(state).write_text(json.dumps({"chain": log._tail._ratchet.chain}))
        known_path(state).chmod(0o600)
    log = opened_by_a_start(state)
    assert log.replaced == chain
    told = [{"earlier": chain, "deliberate": False}]
    assert begun(log, state) == told
    log = opened_by_a_start(state)
    assert (log.replaced, begun(log, state)) == ("", told)


def test_a_note_that_is_gone_while_the_log_is_not_is_made_again(state: Path) -> None:
    opened_by_a_start(state).close()
    before = known_path(state).read_bytes()
    known_path(state).unlink()
    log = opened_by_a_start(state)
    assert (log.replaced, begun(log, state)) == ("", [])
    assert known_path(state).read_bytes() == before


def test_a_log_begun_on_purpose_says_so_and_alarms_nobody(cli: Cli, state: Path) -> None:
    opened_by_a_start(state).close()
    chain = json.loads(known_path(state).read_bytes())["chain"]
    (state / "audit").rename(state / "moved")
    given_away(state)
    ended = cli("audit", "init")
    assert (ended.status, ended.out.startswith("fumehood-seal-1:")) == (0, True), ended.err
    assert cli("audit", "verify").status == 0
    log = opened_by_a_start(state)
    assert log.replaced == ""
    assert begun(log, state) == [{"earlier": chain, "deliberate": True}]


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"chain": ', b"\xff"])
def test_a_note_of_the_log_that_cannot_be_read_is_no_log_forgotten(
    state: Path, text: bytes
) -> None:
    opened_by_a_start(state).close()
    known_path(state).write_bytes(text)
    log = opened_by_a_start(state)
    assert log.replaced == "unreadable"
    assert begun(log, state) == [{"earlier": "unreadable", "deliberate": False}]


def test_records_are_searched_shown_followed_and_exported(cli: Cli, state: Path) -> None:
    found = json.loads(cli("audit", "search", "--event", "test", "--json").out)
    assert [record["n"] for record in found] == [2, 1, 0]
    assert cli("audit", "search", "--tool", "none").status == 1
    assert "test" in cli("audit", "search").out
    assert '"n": 1' in cli("audit", "show", "2", "--json").out
    ended = cli("audit", "show", "2")
    assert (ended.status, ended.err) == (0, "")
    assert "\nn: 1\n" in ended.out
    assert cli("audit", "show", "99").status == 6
    assert cli("audit", "tail", "-n", "2").out.count("test") == 2
    assert json.loads(cli("audit", "tail", "-n", "1", "--json").out)["n"] == 2
    for form in ("ocsf", "ecs", "jsonl"):
        lines = cli("audit", "export", "--format", form).out.splitlines()
        assert len([json.loads(line) for line in lines]) == 3
    assert cli("audit", "export", "--format", "cef").out.startswith("CEF:0|Fumehood|")


@pytest.mark.parametrize("with_note", [False, True])
def test_no_edit_of_the_index_hides_a_record_from_who_must_miss_none(
    cli: Cli, state: Path, *, with_note: bool
) -> None:
    invocation = uuid7()
    with AuditLog.open(state / "audit", RingCustody(open_ring(state, Periods()))) as log:
        for event in ("invocation.started", "invocation.ended"):
            log.append(event, {"invocation": invocation}).result(10)
    assert cli("audit", "search").status == 0
    index = state / "audit-index.sqlite3"
    with sqlite3.connect(index) as database:
        database.execute("UPDATE records SET event = 'x', invocation = 'x' WHERE seq = 5")
    database.close()
    if with_note:  # whoever knows of it
        found = index.stat()
        left = f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n"
        (state / "audit-index.sqlite3.left").write_text(left)
    exported = cli("audit", "export", "--event", "invocation.ended", "--format", "jsonl")
    assert json.loads(exported.out)["seq"] == 5
    shown = json.loads(cli("audit", "show", invocation, "--json").out)
    assert [record["seq"] for record in shown] == [4, 5]
    ended = cli("audit", "search", "--no-index", "--event", "invocation.ended", "--json")
    assert json.loads(ended.out)[0]["seq"] == 5
    ended = cli("audit", "search", "--event", "invocation.ended", "--json")
    assert [record["seq"] for record in json.loads(ended.out)] == ([] if with_note else [5])


def test_a_search_without_the_index_finds_the_same(cli: Cli, state: Path) -> None:
    for words in ((), ("--limit", "2"), ("--event", "test"), ("--text", '"n":1')):
        one, other = cli("audit", "search", *words), cli("audit", "search", "--no-index", *words)
        assert (one.out, one.err, one.status) == (other.out, other.err, other.status)


def test_an_edited_record_is_shown_and_is_a_failure(cli: Cli, state: Path) -> None:
    harm(state)
    ended = cli("audit", "show", "2")
    assert (ended.status, "n: 7" in ended.out) == (1, True)
    assert "the chain does not go on from this record" in ended.err


def test_nothing_is_pruned_while_a_daemon_writes(cli: Cli, state: Path) -> None:
    assert cli("audit", "prune", "--before", "2020").out == "0 segments removed\n"
    with AuditLog.open(state / "audit", RingCustody(open_ring(state, Periods()))):
        ended = cli("audit", "prune", "--before", "2020")
    assert (ended.status, "another process" in ended.err) == (6, True)


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state whose log has three segments of two records each."""
    monkeypatch.setenv("FUMEHOOD_STATE", str(tmp_path))
    monkeypatch.setenv("FUMEHOOD_CONFIG", str(tmp_path / "config.json"))
    (tmp_path / "config.json").write_text("{}")
    ring = open_ring(tmp_path, Periods())
    with AuditLog.open(tmp_path / "audit", RingCustody(ring), segment_bytes=1) as log:
        for _ in range(3):
            log.append("test", {}, wake=False)
            log.append("test", {}).result(10)
    return tmp_path


def segments(state: Path) -> int:
    return len(list((state / "audit").glob("segment-*.jsonl")))


@pytest.mark.parametrize("before", ["yesterday", "2026/01/01", "27.11.2026", ""])
def test_nothing_is_pruned_before_what_is_no_time(cli: Cli, three: Path, before: str) -> None:
    there = segments(three)
    ended = cli("audit", "prune", "--before", before)
    assert (ended.status, "is no time" in ended.err) == (2, True), ended.out
    assert segments(three) == there
    assert cli("audit", "prune", "--before", "2100-01-01T00:00:00+02:00").status == 0
    assert segments(three) < there


@pytest.mark.parametrize(("size", "hole", "kept"), [("128MiB", 256, 0), ("8GiB", 5 * 1024, 1)])
def test_prune_keeps_as_much_as_the_configuration_says(
    cli: Cli, three: Path, size: str, hole: int, kept: int
) -> None:
    (three / "config.json").write_text(json.dumps({"storage": {"audit": size}}))
    first = min((three / "audit").glob("segment-*.jsonl"))
    begin, end = first.read_bytes().splitlines(keepends=True)
    with first.open("wb") as file:
        file.write(begin)
        file.seek(hole * 1024 * 1024)
        file.write(b"\n" + end)
    assert cli("audit", "prune", "--before", "2020-01-01").status == 0
    assert first.exists() == kept


def test_records_are_searched_and_exported_by_time_wherever_its_clock_stands(
    cli: Cli, state: Path
) -> None:
    line = cli("audit", "tail", "-n", "1", "--json").out
    at = datetime.fromisoformat(json.loads(line)["time"])
    east = timezone(timedelta(hours=14))
    after, before = (at + timedelta(hours=h) for h in (1, -1))
    for command in (("search", "--json"), ("export", "--format", "jsonl")):
        for moment, since, until in ((before, True, False), (after, False, True)):
            told = moment.astimezone(east).isoformat()
            assert ("seq" in cli("audit", *command, "--since", told).out) is since
            assert ("seq" in cli("audit", *command, "--until", told).out) is until
        for option in ("--since", "--until"):
            assert cli("audit", *command, option, "27.11.2026").status == 2


@pytest.mark.parametrize("words", [("search",), ("tail", "-n", "2"), ("tail", "-f"), ("export",)])
def test_a_fifo_in_place_of_a_segment_hangs_no_command(
    cli: Cli, state: Path, words: tuple[str, ...]
) -> None:
    (segment,) = (state / "audit").glob("segment-*.jsonl")
    segment.unlink()
    os.mkfifo(segment)
    ended = cli("audit", *words)
    assert (ended.status, "not a plain file" in ended.err) == (6, True), ended.err
    ended = cli("audit", "verify")
    assert ended.status == 1
    assert f"bad: {segment}:0: special: it is a FIFO" in ended.err
    assert json.loads(cli("audit", "verify", "--json").out)["first_bad"]["kind"] == "special"
    ended = cli("audit", "prune", "--before", "2020")
    assert (ended.status, "it is a FIFO" in ended.err) == (6, True)


def test_stray_files_are_each_named(cli: Cli, state: Path) -> None:
    for name in ("segment-0", "segment-0000000000000001.jsonl.old"):
        (state / "audit" / name).touch()
    ended = cli("audit", "verify")
    assert ended.status == 1
    assert ended.err.count("stray: it is no file of the log") == 2
    assert len(json.loads(cli("audit", "verify", "--json").out)["strays"]) == 2


@pytest.mark.parametrize("line", [b"x", b"[]", b"{}", b"\xff", b'"' + b"\\ud800" + b'"'])
def test_a_line_that_is_no_record_is_told_where_records_are_read(
    cli: Cli, state: Path, line: bytes
) -> None:
    assert cli("audit", "search").status == 0  # so that the index has it
    (segment,) = (state / "audit").glob("segment-*.jsonl")
    lines = segment.read_bytes().splitlines()
    lines[1] = line + b" " * (len(lines[1]) - len(line))
    segment.write_bytes(b"\n".join(lines) + b"\n")
    for words in (("tail",), ("tail", "--json")):
        ended = cli("audit", *words)
        assert (ended.status, "a line that is no record" in ended.err) == (0, True)
    assert "2 (changed!)" in cli("audit", "search").out
    ended = cli("audit", "show", "2", "--json")
    assert (ended.status, json.loads(ended.out)[0]["sound"]) == (1, False)
    for form in ("ocsf", "ecs", "cef"):
        ended = cli("audit", "export", "--format", form)
        assert (ended.status, "record 2 is none any more" in ended.err) == (1, True), ended.err


@pytest.mark.parametrize("words", [("search",), ("show", "3"), ("export",)])
def test_a_record_that_no_line_is_left_of_is_missed(
    cli: Cli, state: Path, words: tuple[str, ...]
) -> None:
    (segment,) = (state / "audit").glob("segment-*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([lines[0], lines[2]]))
    ended = cli("audit", *words)
    assert "1 record cannot be found" in ended.err
    assert ended.status == (1 if words == ("export",) else 0)


def test_a_search_that_shows_not_all_it_found_says_so(cli: Cli, state: Path) -> None:
    assert "there are more: these are the newest 2" in cli("audit", "search", "--limit", "2").err
    assert cli("audit", "search", "--limit", "3").err == ""


@pytest.mark.parametrize("field", ['"seq":[]', '"uid":1e999', '"tool":"\\ud800"', '"time":{}'])
def test_odd_values_in_an_edited_record_do_not_break_the_index(
    cli: Cli, state: Path, field: str
) -> None:
    (segment,) = (state / "audit").glob("segment-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"n":1', field.encode()))
    assert "(changed!)" in cli("audit", "search").out
    assert cli("audit", "export").status == 1


@pytest.mark.parametrize("option", ["--key", "--public"])
def test_a_fifo_named_for_keys_is_refused_and_a_pipe_of_the_shell_is_read(
    cli: Cli, state: Path, tmp_path: Path, option: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    ended = cli("audit", "verify", option, str(tmp_path / "fifo"))
    assert (ended.status, "is not a plain file" in ended.err) == (2, True)
    readable, writable = os.pipe()
    os.write(writable, cli("key", "export-public", "audit").out.encode())
    os.close(writable)
    assert cli("audit", "verify", "--public", f"/dev/fd/{readable}").status == 0
    os.close(readable)
