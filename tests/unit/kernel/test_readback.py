"""Each promise of a plan is compared with what a real, open sandbox has: one that differs is
found, and named."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fumehood.errors import EngineError
from fumehood.kernel import proc
from fumehood.kernel.readback import prove_confined, prove_mounts, prove_seccomp
from fumehood.launcher import messages as m
from fumehood.model.plan import Mount, Plan
from support.launcher import launcher, plan

TREE = "ab" * 48


@dataclass(frozen=True)
class Held:
    """An open sandbox, its init's PID, the plan it has, and the host's namespaces."""

    pid: int
    plan: Plan
    host: dict[str, str]


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with launcher(Path(folder)) as process:
            wanted = plan()
            process.open("00000000-1", wanted)
            opened = process.receive()
            assert isinstance(opened, m.OpenedMessage), opened
            source = next(p.source for p in opened.proofs if p.control == "uid")
            yield Held(int(source.split("/")[2]), wanted, dict(proc.namespaces("self")))


def test_what_was_promised_is_found(held: Held) -> None:
    proven = {p.control for p in prove_confined(held.pid, held.plan, held.host)}
    proven |= {p.control for p in prove_mounts(held.pid, held.plan)}
    assert {"uid", "gid", "groups", "capabilities", "no_new_privs", "root", "mount./tmp",
            "mount./out", *(f"namespace.{name}" for name in proc.NAMESPACES)} <= proven  # fmt: skip


@pytest.mark.parametrize("name", proc.NAMESPACES)
def test_a_namespace_of_the_host_is_found(held: Held, name: str) -> None:
    shared = {**held.host, name: proc.namespaces(held.pid)[name]}
    with pytest.raises(EngineError) as caught:
        prove_confined(held.pid, held.plan, shared)
    assert caught.value.control == f"namespace.{name}"


Change = Callable[[proc.Status], proc.Status]


@pytest.mark.parametrize(
    ("change", "control"),
    [
        *(
            (lambda s, i=i: replace(s, uids=(*s.uids[:i], 0, *s.uids[i + 1:])), "service_account")
            for i in range(4)
        ),
        *(
            (lambda s, i=i: replace(s, gids=(*s.gids[:i], 0, *s.gids[i + 1:])), "service_account")
            for i in range(4)
        ),
        (lambda s: replace(s, groups=(*s.groups, 4)), "groups"),
        *(
            (lambda s, i=i: replace(s, capabilities=tuple(int(n == i) for n in range(5))),
             "capabilities")
            for i in range(5)
        ),
        (lambda s: replace(s, no_new_privs=0), "no_new_privs"),
    ],
)  # fmt: skip
def test_an_identity_or_privilege_that_differs_is_found(
    held: Held, change: Change, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = proc.read_status(held.pid)
    monkeypatch.setattr(proc, "read_status", lambda _pid: change(found))
    with pytest.raises(EngineError) as caught:
        prove_confined(held.pid, held.plan, held.host)
    assert caught.value.control == control


def test_another_account_than_the_plans_is_found(held: Held) -> None:
    with pytest.raises(EngineError) as caught:
        prove_confined(held.pid, replace(held.plan, uid=held.plan.uid + 1), held.host)
    assert caught.value.control == "service_account"


@pytest.mark.parametrize(
    ("target", "added", "removed", "control"),
    [
        ("/", "rw", "ro", "root"),
        ("/", "", "nosuid", "nosuid"),
        ("/tmp", "", "noexec", "scratch"),
        ("/out", "", "nodev", "scratch"),
        ("/usr", "rw", "ro", "mounts"),
    ],
)
def test_a_mount_with_other_options_is_found(
    held: Held, target: str, added: str, removed: str, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = proc.mount_table(held.pid)
    assert prove_mounts(held.pid, held.plan), "as it is"
    changed, targets = [], set[str]()
    for line in table.decode().split("\n"):
        root, where, options, *rest, super_options = line.split(" ")
        targets.add(where)
        if where == target:
            kept = [option for option in options.split(",") if option != removed]
            options = ",".join([*kept, *([added] if added else [])])
            super_options = ",".join({*super_options.split(",")} - {"ro"})
        changed.append(" ".join([root, where, options, *rest, super_options]))
    assert target in targets
    monkeypatch.setattr(proc, "mount_table", lambda _pid: "\n".join(changed).encode())
    with pytest.raises(EngineError) as caught:
        prove_mounts(held.pid, held.plan)
    assert caught.value.control == control


@pytest.mark.parametrize(
    ("changes", "control"),
    [
        ({"image": f"sha256:{'cd' * 32}"}, "image"),
        ({"mounts": (Mount("scratch", "", "/elsewhere", False),)}, "/elsewhere"),
        ({"mounts": (Mount("tool", f"sha384:{TREE}", "/tool", True),)}, "/tool"),
    ],
)
def test_another_tree_or_mount_than_the_plans_is_found(
    held: Held, changes: dict[str, object], control: str
) -> None:
    with pytest.raises(EngineError) as caught:
        prove_mounts(held.pid, replace(held.plan, **changes))  # type: ignore[arg-type]
    assert caught.value.control == control


def test_scratch_of_another_size_is_found(held: Held) -> None:
    limits = replace(held.plan.limits, scratch_bytes=held.plan.limits.scratch_bytes + 4096)
    with pytest.raises(EngineError) as caught:
        prove_mounts(held.pid, replace(held.plan, limits=limits))
    assert caught.value.control == "scratch"


def test_a_process_without_a_filter_proves_nothing(held: Held) -> None:
    assert prove_seccomp(held.pid, -1) is None, "nothing loads the filter before the start"
