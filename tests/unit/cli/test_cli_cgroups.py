"""Controllers are tried and left as they were; a remedy is one that can help on this host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from fumehood.cli import cgroups, checks
from fumehood.cli.cgroups import Unlimited, Why
from fumehood.kernel import cgroup

TOP = Path("/sys/fs/cgroup")
V1 = cgroup.Layout(None, frozenset(), {name: TOP / name for name in cgroup.CONTROLLERS})
V2 = cgroup.Layout(TOP, frozenset(cgroup.CONTROLLERS), {})
HYBRID = cgroup.Layout(TOP / "unified", frozenset(), V1.v1)
NONE = cgroup.Layout(None, frozenset(), {})
KINDS = [NONE, V1, HYBRID, V2]


def mends(why: Why, layout: cgroup.Layout, *, root: bool) -> str:
    found = Unlimited(why, "the cause", TOP / "memory")
    return cgroups.remedy(found, "memory", layout, root=root)


def test_every_controller_is_tried_and_nothing_is_left_behind() -> None:
    found = {check.name: check for check in checks.cgroups(("memory", "cpu", "pids"))}
    assert set(found) == {"cgroup", "memory", "cpu", "pids"}
    assert found["cgroup"].state == "ok"
    layout = cgroup.discover()
    parents = [*layout.v1.values(), *([layout.unified] if layout.unified else [])]
    assert not [path for parent in parents for path in parent.glob(f"*doctor-{os.getpid()}")]


def test_a_controller_enabled_for_the_trial_is_switched_off_again(tmp_path: Path) -> None:
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("cpu\n")
    with cgroups.enabled(tmp_path, "memory"):
        assert control.read_text() == "+memory"
    assert control.read_text() == "-memory"


def test_a_controller_that_was_enabled_before_stays_so(tmp_path: Path) -> None:
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("cpu memory\n")
    with cgroups.enabled(tmp_path, "memory"):
        pass
    assert control.read_text() == "+memory", "it was not taken from whoever enabled it"


def test_the_kernels_own_groups_are_as_they_were() -> None:
    layout = cgroup.discover()
    assert layout.unified is not None, "these tests need a cgroup v2 hierarchy"
    control = layout.unified / "cgroup.subtree_control"
    offered = (layout.unified / "cgroup.controllers").read_text().split()
    before = control.read_text().split()
    for controller in offered:
        with cgroups.enabled(layout.unified, controller):
            assert controller in control.read_text().split()
    assert control.read_text().split() == before


def test_a_controller_that_is_not_there_cannot_limit() -> None:
    with pytest.raises(Unlimited, match="not mounted") as caught:
        cgroups.prove(NONE, "memory")
    assert caught.value.why == "unmounted"


def test_a_group_that_cannot_be_made_is_no_proof(tmp_path: Path) -> None:
    nowhere = cgroup.Layout(None, frozenset(), {"pids": tmp_path / "nowhere"})
    with pytest.raises(Unlimited, match="No such file"):
        cgroups.prove(nowhere, "pids")


def test_swap_that_goes_around_the_memory_limit_is_no_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cgroup, "swap_is_on", lambda: True)
    monkeypatch.setattr(cgroups, "_SWAP_FILES", ())
    with pytest.raises(Unlimited) as caught:
        cgroups.prove(cgroup.discover(), "memory")
    assert caught.value.why == "swap"
    assert "swapoff" in mends("swap", HYBRID, root=True)


@pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.mode)
@pytest.mark.parametrize("why", get_args(Why))
def test_root_is_never_told_to_be_root_nor_to_ask_its_own_manager(
    why: Why, layout: cgroup.Layout
) -> None:
    said = mends(why, layout, root=True)
    assert said
    assert "run as root" not in said
    assert "--user" not in said
    assert "sudo" not in said


@pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.mode)
@pytest.mark.parametrize("why", sorted(set(get_args(Why)) - {"disabled"}))
def test_a_user_is_offered_a_delegated_group_only_where_there_can_be_one(
    why: Why, layout: cgroup.Layout
) -> None:
    said = mends(why, layout, root=False)
    assert said.endswith("or accept it by name: --accept-unenforced memory")
    if layout.mode != "v2":
        assert "systemd-run" not in said, "no v1 controller is ever delegated"


@pytest.mark.parametrize(
    ("why", "layout", "command"),
    [
        ("unmounted", NONE, "mount -t cgroup2 none /sys/fs/cgroup"),
        ("unmounted", HYBRID, "mount -t cgroup -o memory none /sys/fs/cgroup/memory"),
        ("read-only", HYBRID, "mount -o remount,bind,rw /sys/fs/cgroup/memory"),
        ("occupied", V2, "/sys/fs/cgroup/memory/init/cgroup.procs"),
        ("unoffered", V2, "Delegate=cpu memory pids"),
        ("disabled", V2, "cgroup_disable=memory"),
    ],
)
def test_root_is_given_the_command(why: Why, layout: cgroup.Layout, command: str) -> None:
    assert command in mends(why, layout, root=True)


def test_a_host_without_cgroups_can_be_accepted_controller_by_controller() -> None:
    assert checks.hierarchy("none", ("memory", "cpu")).state == "missing"
    assert checks.hierarchy("none", ("memory", "cpu", "pids")).state == "degraded"
    assert checks.hierarchy("v2", ()).state == "ok"
