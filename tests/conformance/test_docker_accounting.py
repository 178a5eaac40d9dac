"""Containers are counted and attributed like any other sandbox."""

from __future__ import annotations

import platform

import pytest

from fumehood.launcher import messages as m
from support.docker import DockerProcess, docker_plan

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BURN = """
import resource, os
while resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.3: pass
open('/tmp/a', 'wb').write(b'x' * (1 << 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""
KILLED = f"import ctypes; ctypes.CDLL(None).syscall({BPF}, 0, 0, 0)"


def end(containers: DockerProcess, script: str) -> m.EndedMessage:
    found = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", script)).end
    assert isinstance(found, m.EndedMessage)
    return found


def test_cpu_time_is_divided_and_scratch_is_measured(containers: DockerProcess) -> None:
    call = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", BURN))
    ended, own = call.end, float(call.out)
    assert isinstance(ended, m.EndedMessage)
    user, system = ended.counters.user_seconds, ended.counters.system_seconds
    assert user is not None
    assert system is not None
    assert 0.95 * own < user < 2 * own  # the tool's own measure of itself
    assert ended.cpu_seconds == pytest.approx(user + system, rel=0.01)
    assert ended.counters.scratch_bytes == 1 << 20
    assert ended.counters.scratch_inodes == 1


def test_the_call_that_killed_it_is_named(containers: DockerProcess) -> None:
    ended = end(containers, KILLED)
    (seen,) = ended.syscalls.seen
    assert (seen.syscall, seen.action, seen.count) == ("bpf", "kill", 1)
    assert ended.syscalls.kills_visible
