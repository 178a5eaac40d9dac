"""The command line, the daemon and real sandboxes together: what a user does by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fumehood
from fumehood.cli import checks, private
from fumehood.cli.engines import ATTEMPTS
from fumehood.client import Client
from fumehood.places import places

ROOT = Path(__file__).parents[2]
PACKAGE = str(Path(fumehood.__file__).parent.parent)
MAIN = f"import sys; sys.path.insert(0, {PACKAGE!r}); from fumehood.cli.main import main; main()"
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir())
WORD_COUNT = str(ROOT / "examples" / "word-count" / "tool.yaml")
CONTROLS = {"service_account", "memory", "cpu", "pids", "scratch"}


@pytest.fixture(scope="module")
def accept() -> list[str]:
    """What must be accepted here by name: nothing as root, see SECURITY.md for rootless."""
    found = checks.host(places(environ=os.environ, uid=os.geteuid()))
    return [check.name for check in found if check.state == "missing" and check.name in CONTROLS]


@pytest.fixture(scope="module")
def socket(accept: list[str]) -> Iterator[Path]:
    """A daemon with all examples registered."""
    with private.daemon(None, accept) as socket:
        added = fh("tool", "add", *(f"examples/{name}/tool.yaml" for name in EXAMPLES), at=socket)
        assert added.returncode == 0, added.stderr
        yield socket


def fh(*argv: str, at: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command line, run to its end."""
    environment = os.environ | ({"FUMEHOOD_SOCKET": str(at)} if at else {})
    return subprocess.run(
        [sys.executable, "-c", MAIN, *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=environment,
    )


def answer(name: str, socket: Path) -> Any:
    """The structured result of an example's own sample call."""
    done = fh("call", name, f"@examples/{name}/example.json", "--json", at=socket)
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"]) == (0, "ok"), result
    return result["structured"] or result["content"][0]["text"]


def test_word_count(socket: Path) -> None:
    assert answer("word-count", socket)["words"] == 6


def test_csv_profile(socket: Path) -> None:
    profile = answer("csv-profile", socket)
    assert profile["rows"] == 3
    assert [column["type"] for column in profile["columns"]] == ["text", "integer", "number"]


def test_json_query(socket: Path) -> None:
    assert answer("json-query", socket) == {"result": ["Edsger", "Grace"]}


def test_regex_search(socket: Path) -> None:
    matches = answer("regex-search", socket)["matches"]
    assert [match["line"] for match in matches] == [1, 3]


def test_regex_search_takes_no_pattern_for_an_option(socket: Path) -> None:
    given = {"text": "a --help b\nc\n", "pattern": "--help"}
    done = fh("call", "regex-search", "-", at=socket, stdin=json.dumps(given))
    assert json.loads(done.stdout) == {"matches": [{"line": 1, "text": "a --help b"}]}


def test_text_diff(socket: Path) -> None:
    assert "-two\n+2\n" in answer("text-diff", socket)


def test_archive_inspect(socket: Path) -> None:
    listed = answer("archive-inspect", socket)["listed"]
    assert [entry["warnings"] for entry in listed] == [
        [],
        ["leaves the folder"],
        ["link may lead outside"],
    ]


def test_checksum(socket: Path) -> None:
    assert answer("checksum", socket)["sha256"].startswith("2e9d72a733ae5a6c")


def test_line_chart_leaves_an_artifact(socket: Path, tmp_path: Path) -> None:
    done = fh(
        "call", "line-chart", "@examples/line-chart/example.json", "--out", str(tmp_path), at=socket
    )
    assert done.returncode == 0
    assert (tmp_path / "chart.svg").read_text().startswith("<svg ")


def test_attacks_are_refused(socket: Path) -> None:
    for kind in ("files", "network"):
        done = fh("call", "attack", "--arg", f"kind={kind}", at=socket)
        assert done.returncode == 0
        assert "it worked" not in done.stdout


def test_a_secret_is_redacted(socket: Path) -> None:
    done = fh("call", "attack", "--arg", "kind=secret", at=socket)
    assert "[redacted:" in done.stdout
    assert "finding: secret " in done.stderr


def test_a_memory_bomb_hits_its_limit(socket: Path, accept: list[str]) -> None:
    if "memory" in accept:  # nothing limits it there, and the deadline would only end it late
        assert os.geteuid() != 0
        return
    done = fh("call", "attack", "--arg", "kind=memory", at=socket)
    assert done.returncode == 4
    assert "error: memory_exceeded: " in done.stderr
    assert "limit: memory: allowed 64 MiB" in done.stderr


def test_an_endless_sleep_hits_its_deadline(socket: Path) -> None:
    done = fh("call", "attack", "--arg", "kind=sleep", at=socket)
    assert done.returncode == 4
    assert "error: timeout: " in done.stderr


def test_arguments_that_break_the_schema_are_rejected(socket: Path) -> None:
    done = fh("call", "word-count", '{"text": 42}', at=socket)
    assert done.returncode == 3
    assert "/text" in done.stderr
    tool = json.loads(fh("call", "word-count", '{"text": 42}', "--json", at=socket).stdout)["tool"]
    assert tool["version"] == "1.0.0"
    assert tool["digest"].startswith("sha384:")


def test_ctrl_c_cancels_and_kills_the_sandbox(socket: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "call", "attack", "--arg", "kind=sleep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"FUMEHOOD_SOCKET": str(socket)},
    )
    with Client.connect(socket) as client:
        while client.status()["running"] == 0:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "cancelled" in err
        assert client.status()["running"] == 0


def test_run_needs_no_daemon_and_protects_the_same(accept: list[str]) -> None:
    options = [word for name in accept for word in ("--accept-unenforced", name)]
    done = fh("run", WORD_COUNT, '{"text": "to be or not to be"}', "--json", *options)
    result = json.loads(done.stdout)
    assert (done.returncode, result["structured"]["words"]) == (0, 6)
    enforced = result["enforced"]
    assert enforced["no_new_privs"]
    assert enforced["capabilities"] == []
    assert enforced["uid"] != 0
    assert sorted(enforced["not_enforced"]) == sorted(accept)


def test_run_refuses_a_manifest_above_a_ceiling_with_both_numbers(
    tmp_path: Path, accept: list[str]
) -> None:
    greedy = tmp_path / "tool.yaml"
    text = Path(WORD_COUNT).read_text()
    greedy.write_text(text.replace("memory: 128MiB", "memory: 64GiB"))
    options = [word for name in accept for word in ("--accept-unenforced", name)]
    done = fh("run", str(greedy), "{}", *options)
    assert done.returncode in (2, 3)
    assert "64GiB" in done.stderr
    assert "2GiB" in done.stderr


def test_doctor_proves_this_host_and_finds_no_way_out(accept: list[str]) -> None:
    options = [word for name in accept for word in ("--accept-unenforced", name)]
    done = fh("doctor", "--json", *options)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), report
    (engine,) = [engine for engine in report["engines"] if engine["used"]]
    assert (engine["name"], engine["state"]) == ("bubblewrap", "available")
    assert len(engine["attempts"]) == len(ATTEMPTS)
    assert set(engine["promises"].values()) == {"kept"}


def test_the_audit_log_verifies_and_an_edit_is_found(tmp_path: Path, accept: list[str]) -> None:
    state, ready = tmp_path / "state", os.pipe()
    words = ["--socket", str(tmp_path / "s"), "--state", str(state), "--ready-fd", str(ready[1])]
    words += [word for name in accept for word in ("--accept-unenforced", name)]
    daemon = subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", *words], pass_fds=(ready[1],), stderr=subprocess.PIPE
    )
    os.close(ready[1])
    try:
        assert os.read(ready[0], 1), daemon.communicate()[1]
        assert fh("tool", "add", WORD_COUNT, at=tmp_path / "s").returncode == 0
        assert fh("call", "word-count", '{"text": "x"}', at=tmp_path / "s").returncode == 0
        live = fh("audit", "verify", "--state", str(state))
        assert live.stdout.startswith("ok: "), live.stderr
        second = fh("serve", "--socket", str(tmp_path / "s"), "--state", str(tmp_path / "other"))
        assert second.returncode == 2
        assert "already answers" in second.stderr
    finally:
        os.close(ready[0])
        daemon.terminate()
        daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    assert not (tmp_path / "s").exists()

    segment = next((state / "audit").glob("*.jsonl"))
    segment.write_text(segment.read_text().replace("word-count", "word-cuont", 1))
    bad = fh("audit", "verify", "--state", str(state), "--json")
    report = json.loads(bad.stdout)
    assert (bad.returncode, report["ok"]) == (1, False)
    assert report["first_bad"]["kind"] == "edited"
