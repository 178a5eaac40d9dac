"""A profile that would start no container, or not every time, is told with the call."""

from __future__ import annotations

import platform

import pytest

from fumehood.engines.docker_seccomp import (
    CONTAINER_CALLS,
    INIT_CALLS,
    RUNC_NEEDS,
    denied_before_tool,
)
from fumehood.kernel import seccomp
from fumehood.kernel.seccomp_profile import Profile, parse
from fumehood.resources import profile_directory
from support.profiles import HARMLESS, without

NEEDED = sorted({name for name, _ in (*INIT_CALLS, *RUNC_NEEDS)})


def profile(text: str) -> Profile:
    return parse(text.encode(), name="narrow")


@pytest.mark.parametrize(("name", "call"), [("compute", ""), ("network", ""), ("strict", "clone")])
def test_what_is_shipped(name: str, call: str) -> None:
    """`strict` lets nobody fork."""
    assert denied_before_tool(seccomp.load_named(str(profile_directory()), name)) == call


@pytest.mark.parametrize("call", NEEDED)
def test_each_call_that_is_needed_is_told_by_name(call: str) -> None:
    if call == "arch_prctl" and platform.machine() != "x86_64":
        assert denied_before_tool(profile(without({call}))) == ""  # there is no such call
    else:
        assert denied_before_tool(profile(without({call}))) == call


def test_what_can_be_denied_is_not_told() -> None:
    assert denied_before_tool(profile(without(HARMLESS))) == ""


def test_every_call_before_the_tool_is_either() -> None:
    assert {*NEEDED, *HARMLESS} == CONTAINER_CALLS
    assert not HARMLESS & set(NEEDED)


def test_threads_are_needed_as_well_as_processes() -> None:
    """A rule may let one kind of clone(2) pass and not the other: CLONE_THREAD is 0x10000."""
    text = without({"clone"}).replace(
        '"syscalls": [',
        '"syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "comment": "x", "args": '
        '[{"index": 0, "value": 65536, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},',
        1,
    )
    document = text.replace(
        '"names": [\n        "clone"\n      ],\n      "action": "SCMP_ACT_ERRNO"',
        '"args": [{"index": 0, "value": 65536, "valueTwo": 65536, "op": "SCMP_CMP_MASKED_EQ"}], '
        '"names": ["clone"], "action": "SCMP_ACT_ERRNO"',
    )
    assert document != text
    assert denied_before_tool(profile(document)) == "clone"
