"""Incidents by the front door: looked at, killed, quarantined, told, and let back by review."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import pwd
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import Cancelled, CatalogError, UnknownTool
from support.hood import Hood, eventually, free_port
from support.hood import hood as start

SECRET = b"0123456789abcdef0123456789abcdef"
LOOT = b"what was gathered\n"
RESTLESS = f"""
import ctypes, os, sys, time
loot = open("/tmp/loot", "wb"); loot.write({LOOT!r}); loot.flush()
os.symlink("/etc/shadow", "/tmp/link")
print("gathered", flush=True)
if os.fork() == 0:
    ctypes.CDLL(None).syscall(321, 0, 0, 0)
time.sleep(600)
"""
RESTLESS_WHEN_TOLD = """
import ctypes, json, os, sys, time
seconds = json.load(sys.stdin)["seconds"]
if seconds:
    time.sleep(seconds)
    if os.fork() == 0:
        ctypes.CDLL(None).syscall(321, 0, 0, 0)
    time.sleep(600)
"""
WAIT = "import time; print('up', flush=True); time.sleep(600)"


class Hook:
    """A receiver of webhooks."""

    def __init__(self, port: int) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.changed = threading.Condition()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = self.headers["X-Fumehood-Timestamp"].encode() + b"." + body
                wanted = "v1=" + hmac.new(SECRET, signed, hashlib.sha384).hexdigest()
                with hook.changed:
                    if not hmac.compare_digest(wanted, self.headers["X-Fumehood-Signature"]):
                        hook.wrong.append(self.headers["X-Fumehood-Signature"])
                    hook.bodies.append(json.loads(body))
                    hook.changed.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def secret_file(folder: Path) -> Path:
    """One that the supervisor's account may read, and nobody else, where it can look."""
    owner = pwd.getpwnam("fumehood")
    folder.mkdir(mode=0o700)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    path = folder / "hook.secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    os.chown(path, owner.pw_uid, owner.pw_gid)
    return path


def only_incident(hood: Hood, tool: str) -> dict[str, Any]:
    (found,) = [
        item
        for item in json.loads(hood.cli("incident", "list", "--json").stdout)
        if item["tool"] == tool
    ]
    return dict(found)


def shown(hood: Hood, incident: str) -> dict[str, Any]:
    text = hood.cli("incident", "show", incident, "--capture", "--json", check=True).stdout
    return dict(json.loads(text))


def test_a_tripped_tool_is_looked_at_killed_quarantined_and_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir(mode=0o755)
    port = free_port()
    rule = {"signal": "tripwire", "actions": ["kill", "quarantine_version", "notify"]}
    config = {
        "incidents": {
            "rules": [rule],
            "webhook": f"http://127.0.0.1:{port}/hook",
            "webhook_secret_file": str(secret_file(place / "state")),
        }
    }
    with start(place, config=config) as first:
        first.register(None, "restless", command=["/usr/bin/python3", "-c", RESTLESS])
        with pytest.raises(Cancelled, match="a rule for incidents"):
            first.call("restless", {"word": "private"})
        with pytest.raises(UnknownTool):
            first.call("restless")
        incident = only_incident(first, "restless")
        eventually(lambda: told(first, incident, "webhook: "), 60, "the receiver is down")
        judge(shown(first, str(incident["incident"])))
        assert b"gathered" not in first.log.read_bytes()
    hook = Hook(port)
    try:
        with start(place, config=config) as second:
            with hook.changed:
                assert hook.changed.wait_for(lambda: hook.bodies, 60)
            eventually(lambda: told(second, incident, "told by webhook"), 60, "it is on record")
            let_back(second)
    finally:
        hook.close()
    assert not hook.wrong
    assert [body["incident"] for body in hook.bodies] == [incident["incident"]]
    assert "private" not in json.dumps(hook.bodies)
    assert list((place / "state" / "notices").iterdir()) == []


def told(hood: Hood, incident: dict[str, Any], what: str) -> bool:
    text = hood.cli("incident", "show", str(incident["incident"])).stdout
    return what in text


def judge(found: dict[str, Any]) -> None:
    """What is kept of the call, as it was while it ran."""
    lines = [what for _, what in found["timeline"]]
    for wanted in ("called by uid 0", "began to run", "quarantined: restless 1.0.0", "captured"):
        assert any(wanted in line for line in lines), (wanted, lines)
    capture = found["capture"]
    assert json.loads(capture["arguments"]) == {"word": "private"}
    assert base64.b64decode(capture["stdout"]) == b"gathered\n"
    sandbox = capture["sandbox"]
    assert (sandbox["reason"], sandbox["cut"], sandbox["frozen"]) == ("", [], True)
    processes = {process["pid"]: process for process in sandbox["processes"]}
    tool = next(p for p in processes.values() if "/tmp/loot" in p["files"].values())
    assert tool["parent"] in processes, "a tree"
    assert "python3" in tool["program"]
    assert sandbox["cgroup"][0]["cgroup.events"].startswith("populated 1")
    files = {file["path"]: file for file in sandbox["files"]}
    assert files["/tmp/loot"]["sha384"] == hashlib.sha384(LOOT).hexdigest()
    assert files["/tmp/link"]["target"] == "/etc/shadow"
    assert "sha384" not in files["/tmp/link"], "no link is followed"
    assert [(item["syscall"], item["count"]) for item in sandbox["syscalls"]["seen"]] == [
        ("bpf", 1)
    ]
    assert capture["plan"]["seccomp"] == "compute"


def let_back(hood: Hood) -> None:
    """Only by `approve`, which says why it was quarantined first."""
    with pytest.raises(UnknownTool):
        hood.call("restless")
    again = hood.register(None, "restless", command=["/usr/bin/python3", "-c", RESTLESS])
    assert again["state"] == "quarantined", "registering it again is no review"
    assert any("quarantined by incident" in note for note in again["notes"])
    with pytest.raises(UnknownTool):
        hood.call("restless")
    hood.cli("tool", "approve", "restless", "1.0.0", "--accept", "quarantined", check=True)
    with pytest.raises(Cancelled):
        hood.call("restless")
    with hood.client() as client, pytest.raises(CatalogError, match="is quarantined: "):
        client.approve_tool("restless", "1.0.0")
    refused = hood.cli("tool", "approve", "restless", "1.0.0")
    assert refused.returncode != 0
    assert "quarantined by incident" in refused.stderr
    done = hood.cli("tool", "approve", "restless", "1.0.0", "--accept", "quarantined")
    assert done.returncode == 0, done.stderr
    assert "changes: nothing to compare with: no other version was agreed to" in done.stderr
    for shown in ("quarantined by incident", "/usr/bin/python3", "seccomp"):
        assert shown in done.stderr, "what comes back is shown"


def test_an_operators_stop_may_look_first(hood: Hood) -> None:
    hood.register(None, "sitter", command=["/usr/bin/python3", "-c", WAIT])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(hood.call, "sitter")
        eventually(lambda: len(hood.alive("sitter")) == 1, 60, "it runs")
        words = ("stop", "sitter", "--capture", "--reason", "looks odd", "--json")
        stopped = json.loads(hood.cli(*words, check=True).stdout)
        assert (stopped["killed"], stopped["left"]) == (1, 0)
        with pytest.raises(Cancelled):
            call.result(60)
    incident = only_incident(hood, "sitter")
    assert incident["signal"] == "stopped"
    capture = shown(hood, str(incident["incident"]))["capture"]
    assert any(WAIT[:20] in process["command"] for process in capture["sandbox"]["processes"])
    assert base64.b64decode(capture["stdout"]) == b"up\n"
    hood.cli("resume", "sitter", check=True)
    hood.cli("incident", "close", str(incident["incident"]), "--note", "a test", check=True)


def test_a_stop_that_no_disk_takes_kills_and_holds_all_the_same(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with start(tmp_path) as hood, concurrent.futures.ThreadPoolExecutor(1) as pool:
        hood.register(None, "sitter", command=["/usr/bin/python3", "-c", WAIT])
        call = pool.submit(hood.call, "sitter")
        eventually(lambda: len(hood.alive("sitter")) == 1, 60, "it runs")
        mode = hood.state.stat().st_mode
        hood.state.chmod(0o500)
        try:
            refused = hood.cli("stop", "--all", "--reason", "now")
        finally:
            hood.state.chmod(mode)
        assert refused.returncode != 0
        assert "the list of stops cannot be written" in refused.stderr
        with pytest.raises(Cancelled):
            call.result(60)
        assert hood.alive("sitter") == []
        assert hood.call("sitter")["status"] == "rejected"
        hood.cli("stop", "--all", check=True)
    with start(tmp_path) as again:
        assert again.call("sitter")["status"] == "rejected"


def test_a_changed_file_is_an_incident_also_when_it_is_found_at_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    script = "print('as it was')\n#"
    with start(tmp_path) as first:
        for name in ("now", "later"):
            files = {"a.py": script + name}
            first.register(None, name, command=["/usr/bin/python3", "/tool/a.py"], files=files)
        spoil(first.state, "now")
        with pytest.raises(UnknownTool):
            first.call("now")
        assert only_incident(first, "now")["signal"] == "integrity"
    spoil(tmp_path / "state", "later")
    (torn,) = (tmp_path / "state" / "incidents").glob("*.json")
    torn.write_bytes(torn.read_bytes()[:100])
    with start(tmp_path) as second:
        found = only_incident(second, "later")
        assert "a.py" in found["timeline"][0][1]
        no_torn_incident_is_forgotten(second, torn)


def test_nothing_that_waited_is_launched_of_what_was_taken_out_of_use(tmp_path: Path) -> None:
    """By its files, changed meanwhile, and by a rule: more calls than this caller has sandboxes."""
    tmp_path.chmod(0o755)
    rules = [
        {"signal": "integrity", "actions": ["notify"]},
        {"signal": "tripwire", "actions": ["quarantine_version"]},
    ]
    config = {"sandboxes": 3, "warm": 0, "incidents": {"rules": rules}}  # two for one caller
    with start(tmp_path, config=config) as hood, concurrent.futures.ThreadPoolExecutor(9) as pool:
        hood.register(None, "sitter", command=["/usr/bin/python3", "-c", WAIT])
        hood.register(None, "restless", command=["/usr/bin/python3", "-c", RESTLESS_WHEN_TOLD])
        files = {"a.py": "print('it ran')\n#was"}
        hood.register(None, "files", command=["/usr/bin/python3", "/tool/a.py"], files=files)
        sitting = [pool.submit(hood.call, "sitter") for _ in range(2)]
        eventually(lambda: hood.status()["running"] == 2, 60, "all sandboxes are taken")
        waiting = [pool.submit(hood.call, "files") for _ in range(2)]
        eventually(lambda: hood.status()["waiting"] == 2, 60, "two wait")
        spoil(hood.state, "#was")
        hood.cli("stop", "sitter", check=True)
        for call in sitting:
            with pytest.raises(Cancelled):
                call.result(60)
        for call in waiting:
            with pytest.raises(UnknownTool):
                call.result(60)
        hood.cli("resume", "sitter", check=True)
        sitting = [pool.submit(hood.call, "sitter")]
        tripping = pool.submit(hood.call, "restless", {"seconds": 1})
        eventually(lambda: hood.status()["running"] == 2, 60, "all sandboxes are taken")
        waiting = [pool.submit(hood.call, "restless", {"seconds": 0}) for _ in range(2)]
        for call in (tripping, *waiting):
            with pytest.raises((Cancelled, UnknownTool)):
                call.result(60)
        launched = hood.cli("audit", "search", "--event", "invocation.launched", "--json")
        tools = [record["tool"] for record in json.loads(launched.stdout)]
        assert sorted(tools) == ["restless", "sitter", "sitter", "sitter"]
        hood.cli("stop", "sitter", check=True)


def no_torn_incident_is_forgotten(hood: Hood, torn: Path) -> None:
    listed = hood.cli("incident", "list")
    (line,) = [line for line in listed.stdout.splitlines() if torn.stem in line]
    assert (listed.returncode, line.split()[1], line.split()[-1]) == (1, "unreadable", "unreadable")
    refused = hood.cli("incident", "close", torn.stem, "--note", "x")
    assert (refused.returncode, "is torn, or was changed" in refused.stderr) == (1, True)
    recorded = hood.cli("audit", "search", "--event", "incident.unreadable", "--json").stdout
    assert recorded.count(torn.stem) == 1
    torn.unlink()
    assert torn.stem not in hood.cli("incident", "list").stdout


def spoil(state: Path, name: str) -> None:
    (path,) = [p for p in (state / "store").rglob("a.py") if p.read_text().endswith(name)]
    path.chmod(0o644)
    path.write_text("print('another')\n")
