"""A gauge finds the files of a sandbox's cgroup through its proofs, on every kind of host."""

from __future__ import annotations

from pathlib import Path

from fumehood.kernel.cgroup import Layout
from fumehood.kernel.gauge import Gauge, Reading, refused
from fumehood.model.outcome import Proof


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def proofs(*files: Path) -> list[Proof]:
    """As the launcher reads back limits, among others that name no cgroup."""
    other = [Proof("no_new_privs", "1", "/proc/9/status"), Proof("cgroup", "member", "/proc/9")]
    return other + [Proof(path.name, "1", str(path)) for path in files]


def test_v2(tmp_path: Path) -> None:
    group = tmp_path / "slice" / "fumehood-1" / "box"
    put(group / "memory.current", "4096\n")
    put(group / "pids.current", "3\n")
    put(group / "pids.events", "max 7\n")
    put(group / "cpu.pressure", "some avg10=0.00 total=2500000\nfull avg10=0.00 total=1\n")
    put(group / "cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
    gauge = Gauge(
        proofs(group / "memory.max", group / "pids.max"), Layout(tmp_path, frozenset(), {})
    )
    assert gauge.read() == Reading(1.5, 4096, 3, 7, 2.5, pids_full=True)
    assert refused(proofs(group / "pids.max"), Layout(tmp_path, frozenset(), {})) == 7


def test_v1(tmp_path: Path) -> None:
    place = Path("fumehood-1", "box")
    put(tmp_path / "memory" / place / "memory.usage_in_bytes", "8192")
    put(tmp_path / "pids" / place / "pids.current", "5")
    put(tmp_path / "cpuacct" / place / "cpuacct.usage", "2500000000")
    layout = Layout(None, frozenset(), {n: tmp_path / n for n in ("memory", "pids", "cpuacct")})
    memory, pids = tmp_path / "memory" / place, tmp_path / "pids" / place
    found = proofs(memory / "memory.limit_in_bytes", pids / "pids.max")
    assert Gauge(found, layout).read() == Reading(2.5, 8192, 5, pids_full=True)
    put(pids / "pids.events", "max 7")
    assert Gauge(found, layout).read().pids_refused == 7
    assert Gauge(found, layout, nested=True).read().pids_refused is None
    put(pids / "tool" / "pids.events", "max 3")
    alone = proofs(memory / "memory.limit_in_bytes", pids / "tool" / "pids.max")
    assert Gauge(alone, layout, nested=True).read().pids_refused == 3


def test_what_was_refused_alone_is_read_as_the_whole_gauge_reads_it(tmp_path: Path) -> None:
    group = tmp_path / "pids" / "fumehood-1" / "box"
    layout = Layout(None, frozenset(), {"pids": tmp_path / "pids"})
    found = proofs(group / "pids.max")
    assert refused(found, layout) is None
    assert refused(proofs(), layout) is None
    put(group / "pids.events", "max 7")
    assert refused(found, layout) == 7
    assert refused(found, layout, nested=True) is None
    put(group / "tool" / "pids.events", "max 3")
    alone = proofs(group / "pids.max", group / "tool" / "pids.max")
    for nested in (False, True):
        assert refused(alone, layout, nested=nested) == 3
        assert Gauge(alone, layout, nested=nested).read().pids_refused == 3


def test_hybrid_counts_cpu_time_where_the_launcher_makes_a_group(tmp_path: Path) -> None:
    """With cpuacct mounted, too: only the launcher of an engine that nests groups uses it."""
    place = Path("fumehood-1", "box")
    put(tmp_path / "unified" / place / "cpu.stat", "usage_usec 2000000\n")
    layout = Layout(
        tmp_path / "unified", frozenset(), {n: tmp_path / n for n in ("memory", "cpuacct")}
    )
    found = proofs(tmp_path / "memory" / place / "memory.limit_in_bytes")
    assert Gauge(found, layout).read().cpu_seconds == 2.0
    put(tmp_path / "cpuacct" / place / "cpuacct.usage", "3000000000")
    assert Gauge(found, layout).read().cpu_seconds == 2.0
    assert Gauge(found, layout, nested=True).read().cpu_seconds == 3.0


def test_hybrid_without_cpuacct(tmp_path: Path) -> None:
    place = Path("fumehood-1", "box")
    put(tmp_path / "memory" / place / "memory.usage_in_bytes", "8192")
    put(tmp_path / "unified" / place / "cpu.stat", "usage_usec 2000000")
    put(tmp_path / "unified" / place / "cpu.pressure", "some avg10=1.00 total=500000\n")
    layout = Layout(tmp_path / "unified", frozenset(), {"memory": tmp_path / "memory"})
    found = proofs(tmp_path / "memory" / place / "memory.limit_in_bytes")
    assert Gauge(found, layout).read() == Reading(2.0, 8192, waited_seconds=0.5)


def test_without_cgroups_nothing_is_known(tmp_path: Path) -> None:
    assert Gauge(proofs(), Layout(None, frozenset(), {})).read() == Reading()


def test_what_has_ended_is_not_known_any_more(tmp_path: Path) -> None:
    gone = proofs(tmp_path / "box" / "memory.max")
    assert Gauge(gone, Layout(tmp_path, frozenset(), {})).read() == Reading()
