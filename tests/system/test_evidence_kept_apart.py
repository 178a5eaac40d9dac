"""What must not be where: content in logs, the first key on the host, the daemon in a verifier."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fumehood
from fumehood.errors import FumehoodError
from support.hood import Hood, eventually
from support.hood import hood as start

CANARY = "canary-5d1e7c"
# In two parts: a tool's own command is the operator's word, and on record with its plan.
MADE = "import sys; made = 'canary-' + '5d1e7c'"
SPEAK = f"{MADE}; sys.stdin.read(); sys.stderr.write(made + '-err'); print(made + '-out')"
BURST = f"{SPEAK}; sys.stdout.write(made * 200_000)"
LINGER = f"{SPEAK}; sys.stderr.flush(); import time; time.sleep(600)"
TRIP = (
    f"{MADE}; import ctypes; print(made + '-trip', flush=True);"
    " ctypes.CDLL(None).syscall(321, 0, 0, 0)"
)


def test_neither_log_nor_record_nor_metric_holds_what_went_in_or_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    tools = {
        "speaks": ["/usr/bin/python3", "-c", SPEAK],
        "fails": ["/usr/bin/python3", "-c", f"{SPEAK}; sys.exit(3)"],
        "bursts": ["/usr/bin/python3", "-c", BURST],
        "trips": ["/usr/bin/python3", "-c", TRIP],
        "sleeps": ["/usr/bin/python3", "-c", f"{SPEAK}; import time; time.sleep(600)"],
        "missing": ["/nowhere/program"],
    }
    with start(tmp_path, config={"metrics": {"listen": "unix"}}) as hood:
        for name, command in tools.items():
            limits = {"timeout": "1s"} if name == "sleeps" else {}
            schema = {"inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
            hood.register(None, name, command=command, limits=limits, **schema)
        statuses = {name: hood.call(name, {"word": f"{CANARY}-in"})["status"] for name in tools}
        assert statuses == {
            "speaks": "ok", "fails": "tool_error", "bursts": "output_exceeded",
            "trips": "syscall_killed", "sleeps": "timeout", "missing": "engine_error",
        }  # fmt: skip
        assert hood.call("speaks", {"n": f"{CANARY}-wrong"})["status"] == "rejected"
        with pytest.raises(FumehoodError):
            hood.call(f"{CANARY}-tool", {"word": f"{CANARY}-in"})
        lose_the_launcher(hood)
        written = hood.log.read_bytes()
        for line in written.splitlines():
            assert line.startswith((b"{", b"socket ", b"state ", b"engines ", b"cgroup ")), line
        places = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert b"invocation failed" in hood.log.read_bytes(), "something was logged of them"
    assert CANARY.encode() not in hood.log.read_bytes()
    held = [p for p in places if p.exists() and f"{CANARY}-".encode() in p.read_bytes()]
    kept = {path.relative_to(tmp_path / "state").parts[0] for path in held}
    assert kept <= {"audit", "audit-index.sqlite3"}, held  # the name that a caller made up
    for path in (tmp_path / "state" / "audit").glob("segment-*.jsonl"):
        text = path.read_text()
        for place in ("in", "out", "err", "trip", "wrong"):
            assert f"{CANARY}-{place}" not in text


def lose_the_launcher(hood: Hood) -> None:
    """While a tool runs that has written to stderr."""
    hood.register(None, "lost", command=["/usr/bin/python3", "-c", LINGER])

    def has_written() -> bool:
        with hood.client() as client:
            return any(one["stderr_bytes"] for one in client.invocations()["invocations"])

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        lost = pool.submit(hood.call, "lost")
        eventually(has_written, 30, "it writes to stderr")
        os.kill(hood.launcher, signal.SIGKILL)
        assert lost.result(60)["status"] == "engine_error"


def test_the_first_key_is_beside_the_log_until_it_is_taken_and_status_says_so(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    with start(tmp_path) as hood:
        assert "`fumehood audit init`" in hood.status()["first_key"]
        assert b"the first sealing key lies beside the audit log" in hood.log.read_bytes()
        key = hood.cli("audit", "init", check=True).stdout.strip()
        assert key.startswith("fumehood-seal-1:")
        assert hood.status()["first_key"] == "kept elsewhere"
        assert hood.cli("audit", "init").returncode != 0, "it is shown once"
        hood.register(None, "echo", command=["cat"])
        assert hood.call("echo")["status"] == "ok"
        file = tmp_path / "first.txt"
        file.write_text(key)
        done = hood.cli("audit", "verify", "--key", str(file), "--json", check=True)
        assert json.loads(done.stdout)["ok"]


ALLOWED = {"cryptography", "cffi", "sitecustomize"}
VERIFIER = """
import sys
sys.path[:] = [sys.argv[1], *[p for p in sys.path if p]]
import fumehood.verify
ours = sorted(n for n in sys.modules if n.split(".")[0] == "fumehood")
others = {n.split(".")[0] for n in sys.modules} - sys.stdlib_module_names - {"fumehood"}
print(ours, sorted(others), sep="\\n")
"""


def test_a_verifier_needs_nothing_of_the_daemon() -> None:
    root = str(Path(fumehood.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", VERIFIER, root], capture_output=True, text=True, check=True
    )
    ours, others = (eval(line) for line in done.stdout.splitlines())
    rooms = {name.split(".")[1] for name in ours if "." in name}
    assert rooms <= {"crypto", "errors", "model", "verify"}, rooms
    assert {name for name in others if not name.startswith("_")} <= ALLOWED, others
