"""A plan's digest: equal plans agree, and no field can change behind it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.model.plan import Limits, Mount, Plan

LIMITS = Limits(10_000, 1_000, 128 << 20, 32, 16 << 20, 4096, 1 << 20)
PLAN = Plan(
    engine="bubblewrap",
    image="host",
    argv=("python3", "/tool/main.py"),
    environment=(("LANG", "C.UTF-8"),),
    mounts=(Mount("tool", "sha384:" + "0" * 96, "/tool", read_only=True),),
    uid=1_900_000_000,
    gid=1_900_000_000,
    seccomp="compute",
    seccomp_digest="sha384:" + "1" * 96,
    network="none",
    limits=LIMITS,
)
CHANGES: dict[str, Any] = {
    "engine": "docker",
    "image": "other",
    "argv": ("python3", "/tool/main", ".py"),
    "environment": (("LANG", "C"),),
    "mounts": (),
    "uid": 1_900_000_001,
    "gid": 1_900_000_001,
    "seccomp": "other",
    "seccomp_digest": "sha384:" + "2" * 96,
    "network": "host",
    "limits": dataclasses.replace(LIMITS, pids=33),
    "accepted": ("memory",),
    "runtime": "runsc",
    "log_denials": True,
}


def test_the_digest_is_sha384_and_does_not_change_between_runs() -> None:
    assert PLAN.digest() == dataclasses.replace(PLAN).digest()
    assert len(PLAN.digest()) == len("sha384:") + 96


def test_every_field_is_covered_here() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Plan)}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_field_changes_the_digest(name: str) -> None:
    assert dataclasses.replace(PLAN, **{name: CHANGES[name]}).digest() != PLAN.digest()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_every_limit_changes_the_digest(name: str) -> None:
    limits = dataclasses.replace(LIMITS, **{name: getattr(LIMITS, name) + 1})
    assert dataclasses.replace(PLAN, limits=limits).digest() != PLAN.digest()


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_argument_boundaries_are_part_of_the_digest(one: list[str], two: list[str]) -> None:
    plans = [dataclasses.replace(PLAN, argv=tuple(argv)) for argv in (one, two)]
    assert (plans[0].digest() == plans[1].digest()) == (one == two)


def test_plans_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.uid = 0  # type: ignore[misc]  # what is tested


def test_the_launchers_values_need_the_standard_library_only() -> None:
    code = (
        "import sys; import fumehood.model.plan, fumehood.model.codec, fumehood.model.outcome;"
        "print(*{m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert set(loaded) <= {"fumehood", "__main__", "sitecustomize", "usercustomize"} | {
        name for name in loaded if name.startswith(("_distutils", "__editable__", "_virtualenv"))
    }
