"""Which limit fired, and what it was met with, on the real kernel and by the front door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fumehood.kernel import cgroup
from support.on import On

HEAP = "data = bytearray(200 << 20)"
TMPFS = "f = open('/tmp/a', 'wb')\nfor _ in range(200): f.write(b'x' * (1 << 20)); f.flush()"
SHARED = "import mmap; m = mmap.mmap(-1, 200 << 20)\nfor i in range(0, 200 << 20, 4096): m[i] = 1"
PIPES = """
import fcntl, os
for _ in range(400):
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.set_blocking(w, False)
    os.write(w, b'x' * (1 << 20))
"""
CHILD = "import os\nif os.fork() == 0: bytearray(200 << 20)\nos.wait(); print('done')"
CHILD_THEN_FLOOD = """
import os
if os.fork() == 0: bytearray(200 << 20)
os.wait()
while True: os.write(1, b'x' * 65536)
"""
SIGSYS = "import os, signal; os.kill(os.getpid(), signal.SIGSYS)"
SPARSE = "open('/out/sparse', 'wb').truncate(1 << 40)"
CACHE = """
import os
total = 0
for directory, _, names in os.walk('/usr'):
    for name in names:
        try: file = open(os.path.join(directory, name), 'rb', 0)
        except OSError: continue
        while data := file.read(1 << 16): total += len(data)
        if total > 150 << 20: raise SystemExit(0)
"""
FORKS = """
import os, sys, time
try:
    for _ in range(40):
        if os.fork() == 0: time.sleep(60)
except BlockingIOError:
    sys.exit({status})
"""
FILL = """
import sys
try: open('/tmp/a', 'wb').write(b'x' * (20 << 20))
except OSError: sys.exit({status})
"""
FILES = """
import sys
try:
    for i in range(100000): open(f'/tmp/{{i}}', 'w').close()
except OSError: sys.exit({status})
"""
SPIN = "while True: pass"
SPIN_IN_TURNS = """
import os
while True:
    if os.fork() == 0:
        for _ in range(1_000_000): pass
        os._exit(0)
    os.wait()
"""


def run(on: On, script: str, **limits: object) -> Mapping[str, Any]:
    most = {"memory": "64MiB", "scratch": "128MiB", "pids": 24, "timeout": "30s", **limits}
    return on.call(script, **most)


def counts_kernel_memory() -> bool:
    """Whether this host tells what of a group's memory is the kernel's: v1 does."""
    memory = cgroup.discover().v1.get("memory")
    return memory is not None and (memory / "memory.kmem.max_usage_in_bytes").exists()


@pytest.mark.parametrize(
    ("script", "begins"),
    [(HEAP, "heap: "), (SHARED, "heap: "), (TMPFS, "tmpfs: "), (PIPES, "kernel: ")],
    ids=["heap", "shared", "tmpfs", "pipes"],
)
def test_memory_says_what_it_went_into(on: On, script: str, begins: str) -> None:
    result = run(on, script)
    assert result["status"] == "memory_exceeded"
    breach = result["breach"]
    assert (breach["control"], breach["limit"]) == ("memory", 64 << 20)
    assert breach["observed"] == pytest.approx(64 << 20, rel=0.05)
    assert result["usage"]["oom_kills"] > 0
    wanted = (begins,) if counts_kernel_memory() else (begins, "heap or kernel: ")
    assert breach["detail"].startswith(wanted)


def test_a_killed_child_is_told_although_the_tool_exits_zero(on: On) -> None:
    result = run(on, CHILD)
    assert (result["status"], result["exit_code"]) == ("memory_exceeded", 0)
    assert "not the tool itself" in result["breach"]["detail"]
    assert result["usage"]["oom_kills"] == 1


def test_a_killed_child_does_not_hide_what_ended_the_tool_later(on: On) -> None:
    result = run(on, CHILD_THEN_FLOOD, timeout="60s")
    assert (result["status"], result["breach"]["control"]) == ("output_exceeded", "output")
    assert result["usage"]["oom_kills"] == 1
    (finding,) = [item for item in result["findings"] if item["rule"] == "limit-memory"]
    assert (finding["kind"], finding["place"]) == ("behaviour", "sandbox")


def test_a_signal_like_the_filters_is_no_system_call(on: On) -> None:
    result = run(on, SIGSYS)
    told = result["syscalls"]
    assert (told["seen"], result["signal"]) == ([], 31)
    if told["kills_visible"] and told["complete"]:
        assert (result["status"], result["breach"]) == ("tool_error", None)
        assert "SIGSYS (signal 31)" in result["message"]
    else:
        assert result["status"] == "syscall_killed"


def test_a_sparse_file_was_not_written(on: On) -> None:
    result = run(on, SPARSE)
    assert (result["status"], result["breach"]["detail"]) == ("output_exceeded", "files in /out")
    assert "left in /out have a size of 1024 GiB" in result["message"]


def test_the_page_cache_kills_nobody(on: On) -> None:
    result = run(on, CACHE)
    assert (result["status"], result["usage"]["oom_kills"]) == ("ok", 0)


@pytest.mark.parametrize("status", [0, 3])
def test_refused_processes_are_told(on: On, status: int) -> None:
    result = run(on, FORKS.format(status=status))
    rules = [finding["rule"] for finding in result["findings"]]
    if status:
        assert (result["status"], result["breach"]["control"]) == ("tool_error", "pids")
        assert (result["breach"]["limit"], result["breach"]["observed"]) == (24, 24)
        assert rules == []
    else:
        assert (result["status"], result["breach"], rules) == ("ok", None, ["limit-pids"])


@pytest.mark.parametrize(
    ("script", "control"), [(FILL, "scratch"), (FILES, "scratch_inodes")], ids=["bytes", "inodes"]
)
@pytest.mark.parametrize("status", [0, 3])
def test_full_scratch_space_is_told(on: On, script: str, control: str, status: int) -> None:
    result = run(on, script.format(status=status), scratch="8MiB")
    rules = [finding["rule"] for finding in result["findings"]]
    if status:
        assert (result["status"], result["breach"]["control"]) == ("tool_error", control)
        assert result["breach"]["observed"] == result["breach"]["limit"]
    else:
        assert (result["status"], result["breach"], rules) == ("ok", None, ["limit-scratch"])


@pytest.mark.parametrize("script", [SPIN, SPIN_IN_TURNS], ids=["one", "forks"])
def test_a_cpu_budget_is_held(on: On, script: str) -> None:
    result = run(on, script, cpu_time="600ms")
    assert result["status"] == "timeout"
    breach = result["breach"]
    assert (breach["control"], breach["limit"]) == ("cpu_time", 0.6)
    assert 0.6 <= breach["observed"] < 0.72
    assert "CPU time of 0.6 s" in result["message"]


def test_waiting_does_not_use_a_cpu_budget(on: On) -> None:
    result = run(on, "import time; time.sleep(1.2)", cpu_time="500ms")
    assert result["status"] == "ok"


def test_a_deadline_and_a_flood_keep_their_names(on: On) -> None:
    late = run(on, SPIN, timeout="300ms")
    assert (late["status"], late["breach"]["control"]) == ("timeout", "timeout")
    flood = run(on, "while True: print('x' * 1000)", output="64KiB")
    assert (flood["status"], flood["breach"]["control"]) == ("output_exceeded", "output")
