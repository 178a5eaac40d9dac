"""Counters are read from where each kind of host keeps them, and count from the call's begin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.kernel import cgroup
from fumehood.kernel.meter import Meter
from fumehood.model.outcome import Counters
from fumehood.model.plan import Limits

STARTING = 0.05
"""CPU seconds until Python runs its first line, at most."""
LIMITS = Limits(1000, 500, 256 << 20, 10, 1 << 20, 256, 1 << 20)


def v1(base: Path, **usage: str) -> cgroup.Group:
    """Groups of a v1 host: `cpu__stat="…"` is cpu/cpu.stat there."""
    directories = {name: base / name for name in ("memory", "cpu", "cpuacct", "pids")}
    for path in directories.values():
        path.mkdir(exist_ok=True)
    (base / "memory" / "memory.max_usage_in_bytes").write_text("1000")
    write(base, **usage)
    places = {name: str(path) for name, path in directories.items()}
    return cgroup.Group(places, None, frozenset(), LIMITS, 2)


def write(base: Path, **usage: str) -> None:
    for name, text in usage.items():
        controller, file = name.split("__")
        (base / controller / file.replace("_", ".", 1)).write_text(text)


def v2(base: Path, *controllers: str) -> cgroup.Group:
    return cgroup.Group({}, str(base), frozenset(controllers), LIMITS, 2)


def test_v2_counts_from_the_begin(tmp_path: Path) -> None:
    meter = Meter(v2(tmp_path, "cpu", "memory", "pids"))
    stat = "usage_usec {} \nuser_usec {}\nsystem_usec {}\nnr_throttled 3\nthrottled_usec {}\n"
    (tmp_path / "cpu.stat").write_text(stat.format(100, 60, 40, 0))
    (tmp_path / "pids.events").write_text("max 0\n")
    meter.begin()
    (tmp_path / "cpu.stat").write_text(stat.format(1_500_100, 1_000_060, 500_040, 250_000))
    (tmp_path / "pids.events").write_text("max 7\n")
    assert meter.cpu_seconds() == pytest.approx(1.5)
    assert meter.counters() == Counters(1.0, 0.5, 0.25, 7)


def test_v2_without_controllers_still_tells_cpu_time(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 10\nuser_usec 4\nsystem_usec 6\n")
    meter = Meter(v2(tmp_path))
    assert meter.cpu_seconds() == pytest.approx(10e-6)
    assert meter.counters() == Counters(4e-6, 6e-6, None, None)


def test_v1_counts_from_the_begin(tmp_path: Path) -> None:
    group = v1(
        tmp_path,
        cpuacct__cpuacct_usage="500",
        cpuacct__cpuacct_usage_user="300",
        cpuacct__cpuacct_usage_sys="200",
        cpu__cpu_stat="nr_periods 1\nthrottled_time 1000000\n",
        pids__pids_events="max 1\n",
    )
    meter = Meter(group)
    meter.begin()
    assert Path(group.v1["memory"], "memory.max_usage_in_bytes").read_text().startswith("0")
    write(
        tmp_path,
        cpuacct__cpuacct_usage="2000000500",
        cpuacct__cpuacct_usage_user="1500000300",
        cpuacct__cpuacct_usage_sys="500000200",
        cpu__cpu_stat="nr_periods 9\nthrottled_time 501000000\n",
        pids__pids_events="max 4\n",
    )
    assert meter.cpu_seconds() == pytest.approx(2.0)
    assert meter.counters() == Counters(1.5, 0.5, 0.5, 4)


def test_a_hybrid_host_gives_cpu_time_from_v2_and_throttling_from_v1(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cpu.stat").write_text("usage_usec 9\nuser_usec 5\nsystem_usec 4\n")
    group = v1(tmp_path, cpu__cpu_stat="throttled_time 2000\n")
    group.unified = str(tmp_path / "unified")
    assert Meter(group).counters() == Counters(5e-6, 4e-6, 2e-6, None)


def test_a_host_that_counts_nothing_says_so() -> None:
    meter = Meter(cgroup.Group({}, None, frozenset(), LIMITS, 2))
    meter.begin()
    assert meter.cpu_seconds() is None
    assert meter.counters() == Counters()


@pytest.fixture
def group() -> Iterator[cgroup.Group]:
    """On the real kernel, and preferred by its scheduler to whatever else runs on this host."""
    instance = cgroup.Instance.create(cgroup.discover())
    group = instance.group("aaaaaaaa", LIMITS, 0)
    for path in (Path(path) for path in (group.v1.get("cpu"), group.unified) if path):
        for name, most in (("cpu.shares", "262144"), ("cpu.weight", "10000")):
            for directory in (path.parent, path):
                if (directory / name).exists():
                    (directory / name).write_text(most)
    yield group
    group.kill()
    group.remove()
    instance.close()


BURN = """
import os, resource, sys, time
sys.stdin.read(1)
used = lambda: resource.getrusage(resource.RUSAGE_SELF)
began, before = time.monotonic(), used()
while (t := used()).ru_utime - before.ru_utime < 0.4: pass
while (t := used()).ru_stime - before.ru_stime < 0.4: os.urandom(1 << 16)
print(t.ru_utime - before.ru_utime, t.ru_stime - before.ru_stime, time.monotonic() - began)
"""


def test_the_real_kernel_counts_what_a_process_knows_it_used(group: cgroup.Group) -> None:
    payload = [sys.executable, "-c", BURN]
    with subprocess.Popen(payload, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        group.attach(process.pid)
        meter = Meter(group)
        meter.begin()
        out, _ = process.communicate(b"x")
    user, system, wall = map(float, out.split())
    counters, total = meter.counters(), meter.cpu_seconds()
    assert total is not None
    assert counters.user_seconds is not None
    assert counters.system_seconds is not None
    assert counters.throttled_seconds is not None
    # What starting the interpreter took is in the counters, and not in what it says of itself.
    assert (user + system) * 0.99 < total < (user + system) * 1.05 + STARTING
    assert counters.user_seconds + counters.system_seconds == pytest.approx(total, rel=0.01)
    assert user * 0.95 < counters.user_seconds < user * 1.05 + STARTING
    assert system * 0.95 < counters.system_seconds < system * 1.05 + STARTING
    # Always running, held back by the limit or, on a busy host, waiting for a CPU.
    idle = wall - user - system
    assert idle * 0.75 < counters.throttled_seconds < idle * 1.05


STUTTER = """
import sys, time
sys.stdin.read(1)
held, last, before = 0.0, time.monotonic(), time.process_time()
while time.process_time() - before < 0.5:
    now = time.monotonic()
    if now - last > 0.03: held += now - last
    last = now
print(held)
"""


def test_throttled_time_is_what_a_process_saw_pass(group: cgroup.Group) -> None:
    """It runs for a fifth of each 100 ms; nothing else keeps it, preferred to all others, from
    running for 30 of them."""
    settings = cgroup.Group(group.v1, group.unified, group.v2, replace(LIMITS, cpu_millis=200), 0)
    settings.create()
    payload = [sys.executable, "-c", STUTTER]
    with subprocess.Popen(payload, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        group.attach(process.pid)
        meter = Meter(group)
        meter.begin()
        out, _ = process.communicate(b"x")
    known, found = float(out), meter.counters().throttled_seconds
    assert known > 1.0
    assert found == pytest.approx(known, rel=0.05)


def test_what_a_tool_met_before_its_call_is_not_the_calls_on_v2(tmp_path: Path) -> None:
    """Where the kernel's peaks cannot start afresh, one that was before the call is not told."""
    meter = Meter(v2(tmp_path, "cpu", "memory", "pids"))
    files = {
        "cpu.stat": "usage_usec 0\nuser_usec 0\nsystem_usec 0\n",
        "pids.events": "max 7\n",
        "pids.peak": "9\n",
        "pids.current": "3\n",
        "memory.events": "oom_kill 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    meter.begin(scratch=str(tmp_path))
    meter.close()
    assert (meter.oom_kills(), meter.counters().pids_refused) == (0, 0)
    assert meter.pids_peak(7, overhead=2) is None
    (tmp_path / "memory.events").write_text("oom_kill 3\n")
    (tmp_path / "pids.events").write_text("max 8\n")
    assert (meter.oom_kills(), meter.counters().pids_refused) == (1, 1)
    assert meter.pids_peak(8, overhead=2) == 8
