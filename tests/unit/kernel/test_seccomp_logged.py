"""Two filters answer every call as the one that they were made of, and record what they deny."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from fumehood.kernel import accounts, readback, seccomp, seccomp_logged
from fumehood.kernel.seccomp_logged import MOVABLE, SET_UP_FAMILIES, Pair
from fumehood.kernel.seccomp_profile import ALLOW, ERRNO, Action, Profile, Rule
from fumehood.resources import profile_directory
from unit.kernel.bpf import AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, evaluate

NATIVE = {"x86_64": AUDIT_ARCH_X86_64, "aarch64": AUDIT_ARCH_AARCH64}[platform.machine()]
X32_BIT = 0x40000000
RANK = ("kill_process", "kill_thread", "errno", "log", "allow")
"""The lowest wins (seccomp(2)); of equal ones the newest filter's."""
NUMBERS = [*range(480), 0x7FFFFFFF, X32_BIT, X32_BIT + 41, X32_BIT + 321]
ARGUMENTS = (0, 1, 2, 16, 38, 40, 0x10000000, 2**32 + 16, 2**63)


def profile(name: str) -> Profile:
    return seccomp.load_named(str(profile_directory()), name)


def made(name: str) -> Pair:
    found = seccomp_logged.pair(profile(name))
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["compute", "network", "strict"])
def test_both_together_answer_every_call_as_the_profile(name: str) -> None:
    whole, pair = seccomp.compile_bpf(profile(name)), made(name)
    moved = set()
    for number in NUMBERS:
        for argument in ARGUMENTS:
            asked = (number, argument, argument, argument)
            first, second = evaluate(pair.first, *asked), evaluate(pair.second, *asked)
            wanted = evaluate(whole, *asked)
            answer = first if RANK.index(first.action) < RANK.index(second.action) else second
            assert str(answer) == str(wanted), (number, argument)
            if first.action == "errno":
                assert second.action == "allow", "or the newer one, which records nothing, answers"
                moved.add(number)
    assert len(moved) > (60 if name != "strict" else 40)


@pytest.mark.parametrize("arch", [AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64])
def test_foreign_abis_are_left_to_the_profile(arch: int) -> None:
    if arch == NATIVE:
        return
    pair = made("compute")
    for number in (0, 41, 321, 400):
        assert str(evaluate(pair.first, number, arch=arch)) == "allow"
        assert str(evaluate(pair.second, number, arch=arch)) == "kill_process"


def test_what_bubblewrap_needs_stays_behind_it() -> None:
    found, pair = profile("compute"), made("compute")
    for rule in found.rules:
        for name, number in seccomp.numbers(found, rule).items():
            if name not in MOVABLE and name != "socket":
                assert str(evaluate(pair.first, number)) == "allow", name
            if name == "socket":
                for family in SET_UP_FAMILIES:
                    assert str(evaluate(pair.first, number, family)) == "allow"
                assert str(evaluate(pair.first, number, 40)) == "errno 1"


SET_UP = frozenset(
    {
        "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick",
        "move_mount", "mount_setattr", "open_tree", "open_tree_attr", "unshare", "setns",
        "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
        "setfsuid", "setfsgid", "capset", "sethostname", "setdomainname", "bind", "memfd_create",
        "statmount", "listmount",
    }
)  # fmt: skip


@pytest.mark.parametrize("name", ["compute", "network"])
def test_what_stays_behind_it_of_these_profiles_is_known(name: str) -> None:
    """A denial that is added to a profile is to be thought of here, too."""
    denied = {
        call
        for rule in profile(name).rules
        if rule.action.name == ERRNO and rule.action.errno != 38 and not rule.conditions
        for call in rule.names
    }
    assert denied - MOVABLE - {"socket"} <= SET_UP
    assert not MOVABLE & SET_UP


def test_a_denial_that_no_sandbox_could_be_set_up_with_is_not_moved() -> None:
    calls = ("mkdir", "mkdirat", "symlink", "umask", "chmod", "prctl", "seccomp", "read", "ptrace")
    rules = (Rule(calls, Action(ERRNO, 1)),)
    own = Profile("own", Action(ALLOW), (seccomp.native(),), rules, "", "")
    found = seccomp_logged.pair(own)
    assert found is not None
    for call, number in seccomp.numbers(own, rules[0]).items():
        assert str(evaluate(found.first, number)) == ("errno 1" if call == "ptrace" else "allow")
        assert str(evaluate(found.second, number)) == ("allow" if call == "ptrace" else "errno 1")


def test_a_profile_that_denies_nothing_of_it_has_no_pair() -> None:
    rules = (Rule(("read",), Action(ALLOW)), Rule(("mount",), Action(ERRNO, 1)))
    nothing = Profile("nothing", Action(ERRNO, 38), (seccomp.native(),), rules, "", "")
    assert seccomp_logged.pair(nothing) is None


def test_one_filter_alone_is_no_proof_where_two_are_promised(tmp_path: Path) -> None:
    """The first one is there before bubblewrap is: it must not pass for the profile."""
    program = made("compute").first
    stdio = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
    uid = os.getuid()
    pid = accounts.spawn_filtered(
        "/bin/sleep", ["sleep", "60"], stdio, uid=uid, gid=os.getgid(), program=program
    )
    try:
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
            os.sched_yield()
        assert readback.prove_seccomp(pid, -1)
        assert readback.prove_seccomp(pid, -1, filters=seccomp_logged.FILTERS) is None
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        for fd in stdio:
            os.close(fd)


def test_a_program_that_cannot_be_executed_ends_and_nothing_else_runs() -> None:
    with open(os.devnull, "rb") as null:
        pid = accounts.spawn_filtered(
            "/nonexistent", ["x"], [null.fileno()], uid=os.getuid(), gid=os.getgid(),
            program=made("compute").first,
        )  # fmt: skip
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
