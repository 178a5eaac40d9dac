"""The layout of cgroups is read from mount tables; groups are tried on the real kernel."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.errors import EngineError
from fumehood.kernel import cgroup, cgroup_sweep, proc
from fumehood.kernel.meter import Meter
from fumehood.model.plan import Limits

LIMITS = Limits(1000, 500, 32 << 20, 10, 1 << 20, 256, 1 << 20)


def places(of: cgroup.Group | cgroup.Instance) -> list[Path]:
    """Its directories."""
    return [*map(Path, of._places)] if isinstance(of, cgroup.Group) else of._paths()


def mount(fstype: str, target: Path, *options: str) -> proc.MountPoint:
    return proc.MountPoint("/", str(target), frozenset({"rw"}), fstype, frozenset(options))


def test_a_v2_host(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma\n")
    layout = cgroup.discover([mount("cgroup2", tmp_path, "rw")])
    assert (layout.mode, layout.usable) == ("v2", {"cpu", "memory", "pids"})


def test_a_v1_host_with_joint_cpu_controllers(tmp_path: Path) -> None:
    table = [
        mount("cgroup", tmp_path / "memory", "rw", "memory"),
        mount("cgroup", tmp_path / "cpu,cpuacct", "rw", "cpu", "cpuacct"),
        mount("cgroup", tmp_path / "systemd", "rw", "name=systemd"),
    ]
    layout = cgroup.discover(table)
    assert (layout.mode, layout.usable) == ("v1", {"cpu", "memory"})
    assert layout.v1["cpu"] == layout.v1["cpuacct"]


def test_a_hybrid_host_takes_each_controller_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    table = [
        mount("cgroup2", tmp_path, "rw"),
        mount("cgroup", tmp_path / "pids", "rw", "pids"),
    ]
    layout = cgroup.discover(table)
    assert (layout.mode, layout.v2, layout.usable) == ("hybrid", frozenset(), {"pids"})


def test_a_host_without_cgroups_enforces_none() -> None:
    instance = cgroup.Instance.create(cgroup.discover([]))
    assert instance.enforceable == frozenset()
    assert set(instance.problems) == {"memory", "cpu", "pids"}


def test_v2_settings_have_the_kernels_names_and_units(tmp_path: Path) -> None:
    """On a plain directory: what would be written, and where, on a host with v2 alone."""
    (tmp_path / "g").mkdir()
    for name in ("memory.max", "memory.oom.group", "cpu.max", "pids.max"):
        (tmp_path / "g" / name).touch()  # as the kernel does; what it lacks is never made
    group = cgroup.Group(
        v1={},
        unified=str(tmp_path / "g"),
        v2=frozenset({"memory", "cpu", "pids"}),
        limits=LIMITS,
        overhead=2,
    )
    group.create()
    written = {path.name: path.read_text() for path in (tmp_path / "g").iterdir()}
    assert written == {
        "memory.max": str(32 << 20),
        "memory.oom.group": "1",
        "cpu.max": "50000 100000",
        "pids.max": "12",
    }


def test_v2_counters_are_read_by_name(tmp_path: Path) -> None:
    group = cgroup.Group({}, str(tmp_path), frozenset({"memory", "pids"}), LIMITS, 2)
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    assert group.cpu_seconds() == 1.5
    assert (group.oom_kills(), group.memory_peak()) == (1, 4096)
    assert group.pids_peak() is None, "Linux before 6.1 has no pids.peak"


def test_swap_that_cannot_be_limited_makes_memory_unenforceable(tmp_path: Path) -> None:
    instance = cgroup.Instance(cgroup.Layout(unified=None, v2=frozenset(), v1={"memory": tmp_path}))
    instance._v1["memory"] = tmp_path
    instance._check_swap(False)
    assert instance.enforceable == {"memory"}
    instance._check_swap(True)
    assert "swap" in instance.problems["memory"]
    assert instance.enforceable == frozenset()


def test_processes_of_a_delegated_cgroup_move_beside_the_instance(tmp_path: Path) -> None:
    """A user's shell may be among them: it must not die with the launcher."""
    (tmp_path / "cgroup.procs").write_text("4242\n")
    layout = cgroup.Layout(unified=tmp_path / "top", v2=frozenset({"memory"}), v1={})
    instance = cgroup.Instance(layout)
    instance._create_unified(tmp_path)
    assert (tmp_path / "daemon/cgroup.procs").read_text() == "4242"
    assert not list((tmp_path / instance.name).rglob("daemon"))
    os.close(instance._lock)


@pytest.fixture
def instance() -> Iterator[cgroup.Instance]:
    instance = cgroup.Instance.create(cgroup.discover())
    yield instance
    instance.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_limits_and_membership_are_read_back(
    instance: cgroup.Instance, sleeper: subprocess.Popen[bytes]
) -> None:
    group = instance.group("aaaaaaaa", LIMITS, 0)
    with pytest.raises(EngineError, match="not in its cgroup"):
        group.read_back(sleeper.pid)
    group.attach(sleeper.pid)
    proofs = {proof.control for proof in group.read_back(sleeper.pid)}
    assert "cgroup" in proofs
    assert {"memory", "cpu", "pids"} <= {name.split(".")[0] for name in proofs}
    group.kill()
    assert sleeper.wait(5) == -signal.SIGKILL
    assert group.remove()


def test_a_process_in_a_group_of_its_own_is_proven_there_and_nowhere_else(
    instance: cgroup.Instance, sleeper: subprocess.Popen[bytes]
) -> None:
    group = instance.group("aaaaaaaa", LIMITS, 0)
    group.attach(sleeper.pid)
    name, place = next(iter(group.v1.items()), ("", group.unified))
    assert place is not None
    own = Path(place, cgroup.TOOL)
    own.mkdir()
    with pytest.raises(EngineError, match="not in its cgroup"):
        group.read_back(sleeper.pid, apart={name: own})
    cgroup.write(own / "cgroup.procs", str(sleeper.pid))
    assert group.read_back(sleeper.pid, apart={name: own})
    with pytest.raises(EngineError, match="not in its cgroup"):
        group.read_back(sleeper.pid)
    sleeper.kill()
    sleeper.wait(5)
    own.rmdir()
    assert group.remove()


def test_a_process_is_held_only_by_a_group_it_is_in_everywhere(
    instance: cgroup.Instance, sleeper: subprocess.Popen[bytes]
) -> None:
    group = instance.group("aaaaaaaa", LIMITS, 0)
    assert not group.holds(sleeper.pid)
    group.attach(sleeper.pid)
    assert group.holds(sleeper.pid)
    for place in {*group.v1.values(), group.unified} - {None}:
        cgroup.write(f"{Path(str(place)).parent}/cgroup.procs", str(sleeper.pid))
        assert not group.holds(sleeper.pid)
        group.attach(sleeper.pid)
    sleeper.kill()
    sleeper.wait(5)
    assert group.remove()


def test_cpu_time_is_counted_once_where_no_engine_nests_groups(
    instance: cgroup.Instance,
) -> None:
    group = instance.group("aaaaaaaa", LIMITS, 0)
    assert ("cpuacct" in group.v1) == (group.unified is None and "cpuacct" in instance.layout.v1)
    assert Meter(group).cpu_seconds() == 0
    assert group.remove()


def test_a_limit_that_somebody_changed_is_found(
    instance: cgroup.Instance, sleeper: subprocess.Popen[bytes]
) -> None:
    group = instance.group("aaaaaaaa", LIMITS, 0)
    group.attach(sleeper.pid)
    pids = group.v1.get("pids") or group.unified
    assert pids is not None
    Path(pids, "pids.max").write_text("max")
    with pytest.raises(EngineError) as caught:
        group.read_back(sleeper.pid)
    assert caught.value.control == "pids"
    group.kill()
    sleeper.wait(5)
    assert group.remove()


def test_a_sweep_kills_what_a_dead_launcher_left_and_spares_the_living(
    instance: cgroup.Instance, sleeper: subprocess.Popen[bytes]
) -> None:
    dead = cgroup.Instance(instance.layout)
    dead.name = f"{cgroup.PREFIX}{sleeper.pid}-0-abcdef"  # a PID that was used again
    if instance.layout.unified:
        dead._create_unified(instance.layout.unified)
    dead._create_v1(())
    dead.group("aaaaaaaa", LIMITS, 0).attach(sleeper.pid)
    os.close(dead._lock)  # what the kernel does when the launcher dies
    living = instance.group("bbbbbbbb", LIMITS, 0)
    cgroup_sweep.sweep(instance.layout)
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not any(path.exists() for path in places(dead))
    assert all(path.exists() for path in places(living))
    assert living.remove()


def test_a_sweep_of_an_ordinary_user_leaves_the_instances_of_others(
    instance: cgroup.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = cgroup.Instance.create(instance.layout)
    os.close(dead._lock)
    owner = places(dead)[0].stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4321)
    monkeypatch.setattr(cgroup, "parent_in_unified", lambda layout: layout.unified)
    assert cgroup_sweep.sweep(instance.layout) == 0
    assert all(path.exists() for path in places(dead))
    monkeypatch.undo()
    dead._lock = -1
    dead.close()


def test_a_sweep_spares_a_launcher_that_has_not_locked_its_place_yet(
    instance: cgroup.Instance,
) -> None:
    early = cgroup.Instance.create(instance.layout)
    os.close(early._lock)
    early._lock = -1
    cgroup_sweep.sweep(instance.layout)
    assert all(path.exists() for path in places(early))
    early.close()


def test_a_sweep_bears_that_another_launcher_sweeps_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{cgroup.PREFIX}1-0-abcdef").mkdir()

    scandir = os.scandir

    def seen_and_gone(path: Path) -> list[os.DirEntry[str]]:
        with scandir(path) as entries:
            found = list(entries)
        for entry in found:
            os.rmdir(entry)
        return found

    monkeypatch.setattr(os, "scandir", seen_and_gone)
    assert cgroup_sweep.sweep(cgroup.Layout(None, frozenset(), {}, (tmp_path,))) == 0
