"""The plan of an admitted call."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission.planner import BASE_ENVIRONMENT, plan
from fumehood.errors import Rejected
from fumehood.launcher.ceilings import check
from fumehood.model.plan import Ceilings, Mount, Plan
from fumehood.model.request import Admitted, RegisteredTool
from support.manifests import CEILINGS, FIRST_ACCOUNT, request, tool

PROFILES = {"compute": "sha384:" + "c" * 96}


def planned(
    entry: RegisteredTool,
    *,
    arguments: dict[str, object] | None = None,
    ceilings: Ceilings = CEILINGS,
    own_gid: int = -1,
) -> Plan:
    admitted = Admitted(request(arguments or {"text": "x"}), entry)
    return plan(admitted, ceilings=ceilings, profile_digest=PROFILES.__getitem__, own_gid=own_gid)


def test_a_plan_says_all_that_will_hold() -> None:
    made = planned(tool(run__environment={"MODE": "x"}))
    assert made.argv == ("python3", "/tool/main.py")
    assert made.environment == (
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("MODE", "x"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("TMPDIR", "/tmp"),
        ("USER", "tool"),
    )
    assert made.mounts == (
        Mount("tool", "sha384:" + "ab" * 48, "/tool", read_only=True),
        Mount("scratch", "", "/tmp", read_only=False),
        Mount("scratch", "", "/out", read_only=False),
    )
    assert (made.uid, made.gid) == (FIRST_ACCOUNT, FIRST_ACCOUNT)
    assert (made.engine, made.image, made.network) == ("bubblewrap", "host", "none")
    assert (made.seccomp, made.seccomp_digest) == ("compute", PROFILES["compute"])
    assert made.limits.memory_bytes == 128 << 20


def test_the_launcher_takes_what_the_planner_makes() -> None:
    check(planned(tool()), CEILINGS, PROFILES, {})


def test_a_tool_without_files_has_no_tool_mount() -> None:
    made = planned(tool(run__files=None, run__command=["wc"]))
    assert [mount.kind for mount in made.mounts] == ["scratch", "scratch"]


def test_a_manifest_may_give_other_values_to_the_base_environment() -> None:
    made = planned(tool(run__environment={"LANG": "C"}))
    assert dict(made.environment) == {**dict(BASE_ENVIRONMENT), "LANG": "C"}


values = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_nothing_of_the_caller_is_in_a_plan(arguments: dict[str, object]) -> None:
    assert planned(tool(), arguments=arguments) == planned(tool())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"timeout_ms": 9_999},
            "limits.timeout: 10s is above this installation's ceiling of 9999ms",
        ),
        ({"memory_bytes": 64 << 20}, "limits.memory: 128MiB is above .* ceiling of 64MiB"),
        ({"cpu_millis": 500}, "limits.cpu: 1.0 is above .* ceiling of 0.5"),
        ({"pids": 16}, "limits.pids: 32 is above .* ceiling of 16"),
        ({"scratch_bytes": 1 << 20}, "limits.scratch: 16MiB is above .* ceiling of 1MiB"),
        ({"output_bytes": 1024}, "limits.output: 1MiB is above .* ceiling of 1KiB"),
    ],
)
def test_a_ceiling_lowered_since_registration_refuses_and_names_both_numbers(
    change: dict[str, int], says: str
) -> None:
    lowered = replace(CEILINGS, limits=replace(CEILINGS.limits, **change))
    with pytest.raises(Rejected, match=says):
        planned(tool(), ceilings=lowered)


def test_an_image_or_profile_that_is_not_here_refuses() -> None:
    with pytest.raises(Rejected, match="no image 'debian'"):
        planned(tool(run__image="debian"))
    with pytest.raises(Rejected, match="no profile 'other'"):
        planned(tool(seccomp="other"))


@pytest.mark.parametrize("account", [0, 1000, FIRST_ACCOUNT - 1, FIRST_ACCOUNT + 100, -1])
def test_an_account_outside_the_range_refuses(account: int) -> None:
    with pytest.raises(Rejected, match="service account"):
        planned(tool(account=account))


def test_rootless_the_only_account_is_the_daemons_own() -> None:
    rootless = replace(
        CEILINGS, uid_first=0, uid_count=0, uid_own=1000, accepted=("pids", "memory")
    )
    made = planned(tool(account=1000), ceilings=rootless, own_gid=100)
    assert (made.uid, made.gid, made.accepted) == (1000, 100, ("memory", "pids"))
    with pytest.raises(Rejected, match="service account"):
        planned(tool(account=FIRST_ACCOUNT), ceilings=rootless)
