"""What a result says was used, against payloads that know what they use: less than 5 % apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from support.on import On

STARTING_SECONDS = 0.08
"""CPU time of an interpreter that starts and ends, on a slow host."""
ENDING_SECONDS = 0.01
"""CPU time that nobody can tell of itself: the end of a process, and the init that waits for it."""
INTERPRETER_BYTES = 8 << 20

CPU = """
import json, os, resource
used = lambda: resource.getrusage(resource.RUSAGE_SELF)
while used().ru_utime < 0.5: pass
first = open('/dev/urandom', 'rb', 0)
while used().ru_stime < 0.5: first.read(1 << 16)
print(json.dumps([used().ru_utime, used().ru_stime]), flush=True)
os._exit(0)
"""
CHILDREN = """
import json, os, resource, time
for _ in range(4):
    if os.fork() == 0:
        while time.process_time() < 0.1: pass
        os._exit(0)
for _ in range(4): os.wait()
both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps(sum(used.ru_utime + used.ru_stime for used in both)), flush=True)
os._exit(0)
"""
WALL = """
import os, time
time.sleep(2)
born = int(open('/proc/self/stat').read().rpartition(')')[2].split()[19]) / os.sysconf('SC_CLK_TCK')
print(time.clock_gettime(time.CLOCK_BOOTTIME) - born, flush=True)
os._exit(0)
"""
KNOWN_BYTES = 256 << 20
HEAP = f"data = b'x' * {KNOWN_BYTES}"
FREED = f"data = b'x' * {KNOWN_BYTES}; del data"
SCRATCH = """
import os
open('/tmp/a', 'wb').write(b'x' * (3 << 20))
open('/out/b', 'wb').write(b'x' * 1000)
os.makedirs('/tmp/c/d')
"""
FULL = "open('/dev/shm/a', 'wb').write(b'x' * (20 << 20))"


def usage(
    on: On,
    script: str,
    arguments: Mapping[str, object] | None = None,
    *,
    cpu: float = 1.0,
) -> dict[str, Any]:
    """Run a script twice; the usage of the second run, which a sandbox opened ahead serves."""
    limits = {"memory": "384MiB", "scratch": "32MiB", "pids": 16, "cpu": cpu, "timeout": "30s"}
    name = on.script(script, warm="opened", **limits)
    for _ in range(2):
        result = on.hood.call(name, arguments)
        assert result["status"] == "ok", result
    texts = [block["text"] for block in result["content"] if block["type"] == "text"]
    return {**result["usage"], "stdout": json.loads("".join(texts) or "null")}


def test_cpu_time_is_divided_as_the_process_saw_it(on: On) -> None:
    used = usage(on, CPU)
    user, system = used["stdout"]
    assert user * 0.95 < used["user_seconds"] < user * 1.05 + ENDING_SECONDS
    assert system * 0.95 < used["system_seconds"] < system * 1.05 + ENDING_SECONDS
    divided = used["user_seconds"] + used["system_seconds"]
    assert used["cpu_seconds"] == pytest.approx(divided, rel=0.01)


def test_children_are_counted_and_held_back_together(on: On) -> None:
    used = usage(on, CHILDREN, cpu=0.2)
    known = used["stdout"]
    assert known > 0.4
    assert known * 0.95 < used["cpu_seconds"] < known * 1.05 + ENDING_SECONDS
    assert used["pids_peak"] == 5
    assert used["wall_seconds"] > 1.5, "two CPUs' worth of work with a limit of a fifth"
    assert used["throttled_seconds"] > 0


def test_wall_time_is_the_life_of_the_program(on: On) -> None:
    used = usage(on, WALL)
    known = used["stdout"]
    assert known * 0.95 < used["wall_seconds"] < known * 1.05 + 0.1


def test_opening_ahead_is_not_charged(on: On) -> None:
    used = usage(on, "pass")
    assert used["cpu_seconds"] < STARTING_SECONDS
    assert used["memory_peak_bytes"] < INTERPRETER_BYTES * 2
    assert used["pids_peak"] == 1
    assert (used["oom_kills"], used["scratch_bytes"], used["scratch_inodes"]) == (0, 0, 0)


@pytest.mark.parametrize("script", [HEAP, FREED], ids=["held", "freed"])
def test_memory_is_its_peak(on: On, script: str) -> None:
    peak = usage(on, script)["memory_peak_bytes"]
    assert peak == pytest.approx(KNOWN_BYTES, rel=0.05), "the interpreter itself included"


def test_scratch_is_what_is_left_in_it(on: On) -> None:
    used = usage(on, SCRATCH)
    assert used["scratch_inodes"] == 4
    assert used["scratch_bytes"] == pytest.approx((3 << 20) + 4096, rel=0.01)


def test_shared_memory_is_scratch_and_memory(on: On) -> None:
    used = usage(on, FULL)
    assert used["scratch_bytes"] == 20 << 20
    assert used["memory_peak_bytes"] > 20 << 20


def test_bytes_in_and_out_are_counted(on: On) -> None:
    script = "import sys; sys.stdout.write(sys.stdin.read()); sys.stderr.write('12345')"
    arguments = {"text": "x" * 200_000}
    used = usage(on, script, arguments)
    size = len(json.dumps(arguments, separators=(",", ":")))
    assert (used["stdin_bytes"], used["stdout_bytes"], used["stderr_bytes"]) == (size, size, 5)


SWITCHES = """
import json, os, resource, threading
for _ in range(3):
    if os.fork() == 0:
        for _ in range(200): os.sched_yield()
        here, there = threading.Semaphore(0), threading.Semaphore(0)
        def echo():
            for _ in range(300): here.acquire(); there.release()
        other = threading.Thread(target=echo); other.start()
        for _ in range(300): here.release(); there.acquire()
        other.join(); os._exit(0)
    os.wait()
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps(sum(u.ru_nvcsw + u.ru_nivcsw for u in used)))
"""


def test_context_switches_are_those_of_all_processes(on: On) -> None:
    used = usage(on, SWITCHES)
    known = used["stdout"]
    assert known > 1_000
    if on.contained:
        assert used["context_switches"] is None, "nobody of ours waits for its processes"
        return
    assert known <= used["context_switches"] <= known * 1.05 + 100  # its end, and init's
