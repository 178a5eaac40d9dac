"""What an engine can never open is refused when a tool is registered, with what would help."""

from __future__ import annotations

import pytest

from fumehood.engines.fit import Unfit, unfit
from fumehood.engines.promises import lacking
from fumehood.kernel import seccomp
from fumehood.kernel.seccomp_profile import Profile, parse
from fumehood.resources import profile_directory
from support.profiles import ALLOWING

ALL = tuple(lacking("runsc"))


def profile(name: str) -> Profile:
    if name == "none":
        raise LookupError(name)
    if name == "open":
        return parse(ALLOWING.encode(), name=name)
    return seccomp.load_named(str(profile_directory()), name)


def look(
    engine: str, runtime: str, name: str = "compute", accepted: tuple[str, ...] = ()
) -> Unfit | None:
    return unfit(
        engine, runtime, name, runtimes=("runc", "runsc"), accepted=accepted, profile=profile
    )


@pytest.mark.parametrize(
    ("engine", "runtime", "name", "accepted"),
    [
        ("bubblewrap", "", "strict", ()),
        ("docker", "", "compute", ()),
        ("docker", "runc", "network", ()),
        ("docker", "runsc", "compute", ALL),
        ("docker", "runsc", "strict", ALL),  # which gVisor does not load
        ("bubblewrap", "", "open", ()),
        ("docker", "runc", "none", ()),  # told as a profile that there is not
    ],
)
def test_what_can_be_opened_passes(
    engine: str, runtime: str, name: str, accepted: tuple[str, ...]
) -> None:
    assert look(engine, runtime, name, accepted) is None


@pytest.mark.parametrize("missing", ALL)
def test_each_gap_of_a_runtime_must_be_accepted_by_name(missing: str) -> None:
    found = look("docker", "runsc", accepted=tuple(name for name in ALL if name != missing))
    assert found is not None
    assert (found.key, missing in found.cause, missing in found.remedy) == (
        "run.runtime", True, True
    )  # fmt: skip


def test_a_runtime_that_the_operator_does_not_allow_is_none() -> None:
    found = look("docker", "kata")
    assert found is not None
    assert found.key == "run.runtime"
    assert "docker.runtimes" in found.remedy


@pytest.mark.parametrize("runtime", ["", "runc"])
def test_a_profile_that_starts_no_container_is_told_with_the_call(runtime: str) -> None:
    found = look("docker", runtime, "strict")
    assert found is not None
    assert found.key == "seccomp"
    assert "denies clone" in found.cause
    assert "bubblewrap" in found.remedy


@pytest.mark.parametrize("runtime", ["", "runc"])
def test_a_profile_that_allows_by_default_is_none_for_runc(runtime: str) -> None:
    """It passes over what its libseccomp cannot name, and the rule is gone."""
    found = look("docker", runtime, "open")
    assert found is not None
    assert (found.key, "allows what it does not name" in found.cause) == ("seccomp", True)
