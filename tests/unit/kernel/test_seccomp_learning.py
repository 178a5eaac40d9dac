"""Profiles made from profiles: what they log, and that none allows more than it should."""

from __future__ import annotations

import pytest

from fumehood.errors import EngineError
from fumehood.kernel import seccomp
from fumehood.kernel import seccomp_learning as learning
from fumehood.kernel.seccomp_profile import Profile, parse
from fumehood.resources import profile_directory

SHIPPED = sorted(path.stem for path in profile_directory().glob("*.json"))


@pytest.fixture(params=SHIPPED)
def profile(request: pytest.FixtureRequest) -> Profile:
    return seccomp.load_named(str(profile_directory()), request.param)


def read_back(profile: Profile) -> Profile:
    return parse(learning.render(profile), name=profile.name)


def names(profile: Profile) -> set[str]:
    return {name for rule in profile.rules for name in rule.names}


def test_a_profile_that_is_written_and_read_means_the_same(profile: Profile) -> None:
    again = read_back(profile)
    assert learning.differences(profile, again) == ()
    assert again.rules == profile.rules
    assert seccomp.compile_bpf(again) == seccomp.compile_bpf(profile)


def test_logging_denies_what_the_profile_denies(profile: Profile) -> None:
    logged = read_back(learning.logging(profile, {"read", "ioctl", "ptrace"}))
    seccomp.compile_bpf(logged)
    for item in learning.differences(profile, logged):
        assert item.call in ("read", "ioctl")
        assert item.before.replace("allow", "log") == item.after


def test_opening_leaves_tripwires_arguments_and_what_nothing_else_holds(profile: Profile) -> None:
    opened = read_back(learning.opened(profile, learning.openable(profile)))
    seccomp.compile_bpf(opened)
    for item in learning.differences(profile, opened):
        assert item.call not in learning.NEVER_OPENED
        assert not item.before.startswith("kill")
        if item.call != "socket":
            assert "if" not in item.before
            assert item.after == "log"
        else:
            assert item.after == "; ".join(
                f"log if (arg0 & 0xffffffff) == {family:#x}" for family in (1, 16, 2, 10)
            )


def test_a_proposal_allows_nothing_new(profile: Profile) -> None:
    proposed = read_back(learning.proposal(profile, {"read", "mount", "bpf"}, comment="c"))
    seccomp.compile_bpf(proposed)
    always = {name for group in learning.ALWAYS.values() for name in group}
    assert learning.allowed(proposed) == ({"read"} | always) & learning.allowed(profile)
    assert "mount" not in learning.allowed(proposed)
    assert learning.decision(proposed, "bpf") == "kill"
    for item in learning.differences(profile, proposed):
        assert item.after in ("EPERM", "ENOSYS") or item.call == "(ABI)", item


def test_what_the_engine_does_under_the_filter_is_kept_and_nothing_new(profile: Profile) -> None:
    bare = learning.proposal(profile, set(), comment="c")
    wide = learning.proposal(profile, set(), comment="c", engine={"setpgid", "mount", "bpf"})
    more = learning.allowed(wide) - learning.allowed(bare)
    assert more == {"setpgid"} & learning.allowed(profile)
    assert learning.decision(wide, "bpf") == "kill"


def test_a_used_call_keeps_its_rules_on_arguments(profile: Profile) -> None:
    proposed = learning.proposal(profile, {"ioctl", "clone", "prctl"}, comment="c")
    for name in ("ioctl", "clone", "prctl"):
        assert learning.decision(proposed, name) == learning.decision(profile, name)


def test_groups_keep_their_reasons(profile: Profile) -> None:
    proposed = learning.proposal(profile, learning.allowed(profile), comment="c")
    assert {rule.comment for rule in profile.rules} == {rule.comment for rule in proposed.rules}
    assert names(proposed) == names(profile)


def test_a_proposal_is_for_the_abi_it_was_learnt_on(profile: Profile) -> None:
    proposed = learning.proposal(profile, set(), comment="c")
    assert proposed.architectures == (seccomp.native(),)


def test_nothing_can_be_learnt_from_a_profile_that_allows_by_default() -> None:
    open_ = parse(b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}', name="open")
    with pytest.raises(EngineError, match="allows what it does not name"):
        learning.logging(open_, set())
