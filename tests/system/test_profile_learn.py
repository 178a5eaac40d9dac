"""A profile is learnt from a real daemon's tool, adopted, and enforced after the next start."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from support.hood import Hood, command_as
from support.hood import hood as start
from support.profiles import CONFINED

TOOL = (
    CONFINED
    + """
import ctypes, errno, json, os, sys

def outcome(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

asked = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)

def mount():
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")

if asked.get("killed") and os.fork() == 0:
    libc.syscall({bpf}, 0, 0, 0)
    os._exit(0)
if asked.get("killed"):
    os.wait()
hold_against()
print(outcome(mount), outcome(os.mkdir, "/tmp/a") if asked.get("mkdir") else "")
"""
)


def script() -> str:
    return TOOL.replace("{bpf}", str({"x86_64": 321, "aarch64": 280}[platform.machine()]))


def learn(hood: Hood, tool: str, *words: str, **options: Any) -> tuple[int, dict[str, Any]]:
    config = str(hood.place / "config.yaml")
    ended = hood.cli(
        "profile", "learn", tool, *words, "--json", "--config", config, **options
    )  # fmt: skip
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_a_profile_is_learnt_adopted_and_enforced(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o755)
    command = ["python3", "-c", script()]
    file = tmp_path / "subject-1-0-0.json"
    with start(place) as hood:
        hood.register(None, "subject", command=command)
        samples = ("--args", "{}", "--args", '{"killed": true}', "--runs", "2", "-o", str(file))
        status, found = learn(hood, "subject", *samples)
        assert status == 0, found
        assert (found["complete"], found["proven"]) == (True, True)
        assert found["samples"] == ["ok"] * 4
        assert {"read", "write", "mmap", "openat", "execve", "wait4"} <= set(found["used"])
        assert {"mkdir", "symlink", "epoll_wait"}.isdisjoint(found["used"])
        assert found["denied"] == ["mount"]
        assert [item.partition(" ")[0] for item in found["killed"]] == ["bpf"]
        changes = {item["call"]: (item["before"], item["after"]) for item in found["diff"]}
        assert changes["mkdir"] == ("allow", "EPERM")
        assert {"read", "mount", "bpf"}.isdisjoint(changes)
        assert json.loads(file.read_text()) == found["proposal"]["document"]
        config = ("--config", str(place / "config.yaml"))
        hood.cli("profile", "adopt", str(file), *config, check=True)
    with start(place) as hood:
        entry = hood.register(
            None, "subject", command=command, version="1.0.1", seccomp="subject-1-0-0"
        )
        assert entry["manifest"]["seccomp"] == "subject-1-0-0"
        assert entry["state"] == "pending", "another profile is looked at again"
        hood.cli("tool", "approve", "subject", "1.0.1", "--accept", "changes", check=True)
        result = hood.call("subject", {"mkdir": True})
        assert result["status"] == "ok"
        assert result["content"][0]["text"].split() == ["EPERM", "EPERM"]
        assert result["enforced"]["seccomp"] == "subject-1-0-0"


def test_a_call_that_floods_hides_no_other(hood: Hood, tmp_path: Path) -> None:
    code = "import os\nfor _ in range(20_000): os.getppid()\nos.getpgid(0)"
    hood.register(None, "flood", command=["python3", "-c", code])
    status, found = learn(hood, "flood", cwd=tmp_path)
    assert status == 0, found
    assert {"getppid", "getpgid"} <= set(found["used"])
    assert (tmp_path / "flood-1-0-0.json").exists()


def test_a_sample_that_is_rejected_ends_learning(hood: Hood, tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["x"]}
    hood.register(None, "picky", command=["cat"], inputSchema=schema)
    status, found = learn(hood, "picky", cwd=tmp_path)
    assert (status, found["error"]["code"]) == (2, "usage")
    assert list(tmp_path.iterdir()) == []


def test_only_root_learns() -> None:
    argv = command_as(65534, "profile", "learn", "echo", "--json")
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3, ended.stderr
    assert json.loads(ended.stdout)["error"]["code"] == "unauthorized"
