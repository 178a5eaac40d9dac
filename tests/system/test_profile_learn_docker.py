"""A profile is learnt from a tool in containers, adopted, and enforced by Docker; one that would
start no container is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fumehood.engines.docker_seccomp import CONTAINER_CALLS
from fumehood.errors import FumehoodError
from support.docker import Engine
from support.hood import hood as start
from support.profiles import CONFINED, HARMLESS, without

TOOL = (
    CONFINED
    + """
import errno, json, os, sys

hold_against()
asked = json.load(sys.stdin)
try:
    if asked.get("mkdir"):
        os.mkdir("/tmp/a")
    said = "made"
except OSError as error:
    said = errno.errorcode[error.errno]
try:
    os.chroot("/")
except OSError as error:
    said += " " + errno.errorcode[error.errno]
print(said)
"""
)


def test_a_profile_is_learnt_from_containers(docker_engine: Engine, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o755)
    config = {"engines": ["docker"], "docker": {"socket": docker_engine.socket}}
    options = ("--config", str(place / "config.yaml"))
    run = {"engine": "docker", "runtime": "runc", "warm": "none"}
    command = ["python3", "-c", TOOL]
    learnt, lean, broken = (tmp_path / f"{name}.json" for name in ("learnt", "lean", "broken"))
    lean.write_text(without(HARMLESS))
    broken.write_text(without({"fstatfs"}))
    with start(place, config=config) as hood:
        hood.register(None, "subject", command=command, run=run)
        ended = hood.cli(
            "profile", "learn", "subject", "--args", "{}", "-o", str(learnt), "--json", *options
        )
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
        found = json.loads(ended.stdout)
        assert (found["complete"], found["proven"]) == (True, True)
        assert found["samples"] == ["ok"]
        assert {"read", "write", "mmap", "openat"} <= set(found["used"])
        assert found["denied"] == ["chroot"]
        assert found["killed"] == [], "it ran outside of some other confinement"
        changes = {item["call"]: (item["before"], item["after"]) for item in found["diff"]}
        assert changes["mkdir"] == ("allow", "EPERM")
        assert not CONTAINER_CALLS & set(changes), "what starts a container is kept"
        assert json.loads(learnt.read_text()) == found["proposal"]["document"]
        for file in (learnt, lean, broken):
            hood.cli("profile", "adopt", str(file), *options, check=True)
    with start(place, config=config) as hood:
        hood.register(None, "subject", command=command, run=run, version="1.0.1", seccomp="learnt")
        hood.cli("tool", "approve", "subject", "1.0.1", "--accept", "changes", check=True)
        result = hood.call("subject", {"mkdir": True})
        assert result["status"] == "ok", result
        assert result["content"][0]["text"].split() == ["EPERM", "EPERM"]
        assert result["enforced"]["seccomp"] == "learnt"
        hood.register(None, "lean", command=["cat"], run=run, seccomp="lean")
        assert hood.call("lean")["status"] == "ok"
        with pytest.raises(FumehoodError, match="denies fstatfs, which runc") as caught:
            hood.register(None, "broken", command=["cat"], run=run, seccomp="broken")
        assert "bubblewrap" in caught.value.remedy
