"""From a call to its proof, through the front door of a real daemon."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from fumehood.errors import AuditError, Cancelled, UnknownApproval, UnknownInvocation, UnknownTool
from fumehood.verify import ReceiptError, verify_receipt
from support.hood import Hood, eventually
from support.hood import hood as start
from support.receiver import Receiver

SAY = "import json,sys; print(json.dumps({'said': json.load(sys.stdin)['word']}))"


@pytest.fixture(scope="module")
def spoken(hood: Hood) -> dict[str, object]:
    hood.register(None, "say", command=["/usr/bin/python3", "-c", SAY])
    return hood.call("say", {"word": "hello"})


def test_a_call_has_a_receipt_that_verifies_with_the_exported_key(
    hood: Hood, spoken: dict[str, object]
) -> None:
    record = spoken["record"]
    assert isinstance(record, dict)
    invocation = str(spoken["invocation"])
    trust = hood.cli("key", "export-public", "receipt", check=True).stdout
    with hood.client() as client:
        envelope = client.receipt(invocation)
        with pytest.raises(UnknownInvocation):
            client.receipt("01900000-0000-7000-8000-000000000000")
    receipt = verify_receipt(envelope, [trust], digest=record["digest"])
    assert (receipt.status, receipt.record["seq"]) == ("ok", record["seq"])
    assert receipt.record["proofs"]["no_new_privs"] == "1"
    assert receipt.plan is not None
    assert receipt.plan["seccomp_digest"] == receipt.record["seccomp"]
    receipt.is_of(arguments={"word": "hello"}, result=spoken)
    with pytest.raises(ReceiptError):
        receipt.is_of(arguments={"word": "other"})


def test_a_record_that_was_forged_with_what_follows_it_has_no_receipt(tmp_path: Path) -> None:
    """The forged chain is whole as far as the record behind the next one; nobody signs for it."""
    tmp_path.chmod(0o755)
    with start(tmp_path) as hood:
        hood.register(None, "say", command=["/usr/bin/python3", "-c", SAY])
        forged, sound = (str(hood.call("say", {"word": word})["invocation"]) for word in "ab")
        hood.call("say", {"word": "c"})
        newest = sorted((hood.state / "audit").glob("segment-*.jsonl"))[-1]
        lines = newest.read_bytes().splitlines()
        at = next(
            number
            for number, line in enumerate(lines)
            if forged.encode() in line and b'"event":"invocation.ended"' in line
        )
        changed = lines[at].replace(b'"exit_code":0', b'"exit_code":9')
        link, forged_link = (hashlib.sha384(line).hexdigest() for line in (lines[at], changed))
        mended = lines[at + 1].replace(link.encode(), forged_link.encode())
        assert changed != lines[at]
        assert mended != lines[at + 1]
        offset = sum(len(line) + 1 for line in lines[:at])
        with newest.open("r+b") as file:
            file.seek(offset)
            file.write(changed + b"\n" + mended + b"\n")
        with hood.client() as client:
            # The second once the daemon has noticed, and cannot record the refusal.
            with pytest.raises((UnknownInvocation, AuditError), match=r"damaged|not be recorded"):
                client.receipt(forged)
            client.receipt(sound)
        eventually(lambda: bool(hood.status()["refusing"]), 60, "the daemon notices it besides")


def test_the_command_line_writes_and_verifies_it(
    hood: Hood, spoken: dict[str, object], tmp_path: Path
) -> None:
    file, trust, result = (tmp_path / name for name in ("r.json", "t.pem", "result.json"))
    trust.write_text(hood.cli("key", "export-public", check=True).stdout)
    result.write_text(json.dumps(spoken))
    hood.cli("receipt", str(spoken["invocation"]), "--out", str(file), check=True)
    words = ("receipt", "verify", str(file), "--trust", str(trust))
    shown = hood.cli(*words, "--result", str(result), check=True)
    assert shown.stdout.startswith(f"ok: {spoken['invocation']}\ntool: say ")
    result.write_text(json.dumps({**spoken, "content": []}))
    assert "other result" in hood.cli(*words, "--result", str(result)).stderr


def test_a_key_that_is_rotated_while_the_daemon_runs_is_used_and_recorded(hood: Hood) -> None:
    made = json.loads(hood.cli("key", "rotate", "receipt", "--json", check=True).stdout)
    (key,) = made["keys"]
    called = hood.call("say", {"word": "again"})
    with hood.client() as client:
        envelope = client.receipt(str(called["invocation"]))
    assert [signature["keyid"] for signature in envelope["signatures"]] == [key["id"]]
    until = time.monotonic() + 60
    wanted = f'"key_id":"{key["id"]}"'.encode()
    while not any(
        b'"event":"key.created"' in line and wanted in line
        for path in (hood.state / "audit").glob("segment-*.jsonl")
        for line in path.read_bytes().splitlines()
    ):
        assert time.monotonic() < until, "the daemon records the new key"
        hood.call("say", {"word": "waiting"})


CHOSEN = "hunter2"
STRICT = {
    "type": "object",
    "properties": {"map": {"additionalProperties": {"type": "integer"}}},
    "additionalProperties": False,
}


def test_no_name_that_a_caller_chose_stands_in_records_or_the_log(hood: Hood) -> None:
    hood.register(None, "strict", command=["cat"], inputSchema=STRICT)
    for arguments in ({CHOSEN: 1}, {"map": {CHOSEN: "x"}}):
        refused = hood.call("strict", arguments)
        assert refused["status"] == "rejected"
        assert CHOSEN in refused["message"], "its own caller is told"
    with hood.client() as client:
        for ask in (client.logs, client.receipt, client.cancel_invocation, client.asked_arguments):
            with pytest.raises((UnknownInvocation, UnknownApproval)):
                ask(CHOSEN)
    text = b"".join(path.read_bytes() for path in (hood.state / "audit").glob("segment-*.jsonl"))
    causes = [json.loads(line).get("cause") for line in text.splitlines()]
    assert "the arguments: unknown property *" in causes
    assert "/map/*: expected integer, got a string" in causes
    assert text.count(b'"asked_for":"*"') == 3
    assert text.count(b'"approval":"*"') == 1
    assert CHOSEN.encode() not in text
    assert CHOSEN not in hood.log.read_text()


def scraped(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        asking.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        return b"".join(iter(lambda: asking.recv(65536), b""))


WAIT = "import time; print('up', flush=True); time.sleep(600)"


WAIT = "import time; print('up', flush=True); time.sleep(600)"


def test_every_call_that_ends_is_counted(tmp_path: Path) -> None:
    """Of a tool that there is not, cancelled while it waited, and refused by a closed gate, too."""
    tmp_path.chmod(0o755)
    config = {"sandboxes": 2, "warm": 0, "metrics": {"listen": "unix"}}  # one for one caller
    with start(tmp_path, config=config) as hood, concurrent.futures.ThreadPoolExecutor(2) as pool:
        hood.register(None, "sitter", command=["/usr/bin/python3", "-c", WAIT])
        for name in ("nobody", "nothing"):
            with pytest.raises(UnknownTool):
                hood.call(name)
        calls = [pool.submit(hood.call, "sitter") for _ in range(2)]
        eventually(lambda: (s := hood.status())["running"] == s["waiting"] == 1, 60, "one waits")
        hood.cli("stop", "sitter", check=True)
        for call in calls:
            with pytest.raises(Cancelled):
                call.result(60)
        ring = hood.state / "keys" / "ring.json"
        ring.chmod(0o644)
        try:
            eventually(lambda: bool(hood.status()["refusing"]), 60, "the gate is closed")
            assert hood.call("sitter")["status"] == "rejected"
        finally:
            ring.chmod(0o600)
        numbers = scraped(hood.state / "metrics.sock").decode().splitlines()
        assert 'fumehood_invocations_total{status="cancelled",tool="sitter"} 2.0' in numbers
        assert 'fumehood_invocations_total{status="rejected",tool="other"} 3.0' in numbers
        assert 'fumehood_kills_total{control="operator"} 2.0' in numbers


def test_a_stop_ends_what_runs_and_holds_after_a_restart(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    receiver = Receiver()
    forward = {"to": receiver.address, "format": "jsonl"}
    with start(
        config={"metrics": {"listen": "unix"}, "forward": forward, "audit": {"content": ["say"]}}
    ) as first:
        place = first.place
        first.register(None, "sleepy", command=["/usr/bin/python3", "-c", WAIT])
        first.register(None, "say", command=["/usr/bin/python3", "-c", SAY])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            call = pool.submit(first.call, "sleepy")
            eventually(lambda: len(first.alive("sleepy")) == 1, 60, "it runs")
            stopped = json.loads(first.cli("stop", "sleepy", "--json", check=True).stdout)
            assert (stopped["killed"], stopped["left"]) == (1, 0)
            assert first.alive("sleepy") == []
            with pytest.raises(Cancelled):
                call.result(60)
        assert first.call("sleepy")["status"] == "rejected"
        said = first.call("say", {"word": "kept"})
        assert said["status"] == "ok"
        shown = first.cli("audit", "show", str(said["invocation"]), "--content", "--json")
        kept_content = json.loads(shown.stdout)[-1]["content"]
        assert json.loads(kept_content["arguments"]) == {"word": "kept"}
        assert b'"word"' not in next((first.state / "audit").glob("*.jsonl")).read_bytes()
        numbers = scraped(first.state / "metrics.sock")
        assert b'fumehood_invocations_total{status="ok",tool="say"} 1.0' in numbers
        assert b"fumehood_stops 1.0" in numbers
        with receiver.changed:
            assert receiver.changed.wait_for(lambda: "tool.stopped" in receiver.events, 60)
        kept = tmp_path / "kept"
        first.stop()
        receiver.close()
        shutil.copytree(place, kept, ignore=shutil.ignore_patterns("socket", "log", "metrics.sock"))
        for path in (kept / "state", *(kept / "state").rglob("*")):
            found = (place / path.relative_to(kept)).lstat()
            os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)
    rules = [{"signal": "tripwire", "actions": ["stop_tool"]}]
    with start(kept, config={"incidents": {"rules": rules}}) as second:
        assert "sleepy" in second.cli("stop", "--list").stdout
        assert second.call("sleepy")["status"] == "rejected"
        second.cli("resume", "sleepy", check=True)
        second.cli("stop", "--all", check=True)
        assert second.call("say", {"word": "x"})["status"] == "rejected"
        second.cli("resume", "--all", check=True)
        assert second.call("say", {"word": "x"})["status"] == "ok"

        # A rule stops by itself: one call trips it, and another of the tool, which runs, ends.
        second.register(None, "moody", command=["/usr/bin/python3", "-c", MOODY])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waits = pool.submit(second.call, "moody", {"trip": False})
            eventually(lambda: len(second.alive("moody")) == 1, 60, "it runs")
            assert second.call("moody", {"trip": True})["status"] == "syscall_killed"
            with pytest.raises(Cancelled, match="a rule for incidents"):
                waits.result(60)
        assert "moody" in second.cli("stop", "--list").stdout


MOODY = """
import ctypes, json, sys, time
if json.load(sys.stdin)["trip"]:
    ctypes.CDLL(None).syscall(321, 0, 0, 0)
time.sleep(600)
"""
TRIP = "import ctypes; ctypes.CDLL(None).syscall(321, 0, 0, 0)"  # bpf(2) on x86-64


def test_a_killing_call_opens_an_incident_whose_capture_the_operator_can_read(hood: Hood) -> None:
    hood.register(None, "grab", command=["/usr/bin/python3", "-c", f"print('seen'); {TRIP}"])
    called = hood.call("grab", {"word": "private"})
    assert called["status"] == "syscall_killed"
    listed = hood.cli("incident", "list", "--json")
    assert listed.returncode == 1
    (incident,) = [i for i in json.loads(listed.stdout) if i["tool"] == "grab"]
    assert (incident["signal"], incident["invocation"]) == ("tripwire", called["invocation"])
    shown = hood.cli("incident", "show", incident["incident"], "--capture", "--json", check=True)
    capture = json.loads(shown.stdout)["capture"]
    assert json.loads(capture["arguments"]) == {"word": "private"}
    assert capture["plan"]["seccomp"]
    hood.cli("incident", "close", incident["incident"], "--note", "a test", check=True)
    left = json.loads(hood.cli("incident", "list", "--json").stdout)
    assert incident["incident"] not in {i["incident"] for i in left}, "others' may be open still"


def test_a_receiver_that_is_down_across_a_restart_misses_no_record(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    receiver = Receiver()
    receiver.down = True
    config = {"forward": {"to": receiver.address, "format": "jsonl"}}
    try:
        with start(tmp_path, config=config) as first:
            first.register(None, "say", command=["/usr/bin/python3", "-c", SAY])
            for word in ("one", "two"):
                assert first.call("say", {"word": word})["status"] == "ok", "no call waits for it"
            eventually(lambda: b"cannot be forwarded" in first.log.read_bytes(), 60, "it is told")
        with start(tmp_path, config=config) as second:
            assert second.call("say", {"word": "three"})["status"] == "ok"
            assert receiver.seqs == []
            receiver.down = False
            last = int(second.status()["audit_seq"])
            receiver.until(last)
        assert list(dict.fromkeys(receiver.seqs))[:last] == list(range(1, last + 1))
    finally:
        receiver.close()
