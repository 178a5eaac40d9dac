"""No plan that passes the launcher's own check breaks a ceiling, however it was made."""

from __future__ import annotations

import dataclasses
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import PlanRefused, ProtocolError
from fumehood.launcher import ceilings
from fumehood.launcher import messages as m
from fumehood.model.codec import decode, encode
from fumehood.model.plan import SCRATCH_MOUNTS, TOOL_MOUNT, Ceilings, Limits, Mount, Plan
from support.launcher import ACCOUNT, CEILING, LIMITS, plan

CEILINGS = Ceilings(
    uid_first=ACCOUNT,
    uid_count=4,
    uid_own=-1,
    store="/store",
    profiles="/profiles",
    images=("host",),
    limits=CEILING,
    sandboxes=8,
)
PROFILES = {"compute": plan().seccomp_digest}

numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 4096), st.just(ACCOUNT))
words = st.one_of(
    st.sampled_from(["host", "compute", "/tmp", "/out", "/tool", "/", "../x", "", "PATH", "LD_X"]),
    st.text(string.printable + "\0é", max_size=12),
    st.just("sha384:" + "a" * 96),
)
limits = st.builds(
    Limits,
    **{
        field.name: st.one_of(numbers, st.just(getattr(LIMITS, field.name)))
        for field in dataclasses.fields(Limits)
    },
)
mounts = st.builds(
    Mount,
    kind=st.sampled_from(["tool", "scratch"]),
    source=words,
    target=words,
    read_only=st.booleans(),
)
good_mounts = st.just(plan().mounts)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A good plan with a few parts replaced by anything of the right type."""
    parts = {
        "image": words,
        "argv": st.lists(words, max_size=4).map(tuple),
        "environment": st.lists(st.tuples(words, words), max_size=3).map(tuple),
        "mounts": st.one_of(good_mounts, st.lists(mounts, max_size=4).map(tuple)),
        "uid": numbers,
        "gid": numbers,
        "seccomp": words,
        "seccomp_digest": words,
        "limits": limits,
        "accepted": st.lists(words, max_size=2).map(tuple),
    }
    names = draw(st.lists(st.sampled_from(sorted(parts)), unique=True, max_size=3))
    return dataclasses.replace(plan(), **{name: draw(parts[name]) for name in names})


def accepted(wanted: Plan, unenforceable: dict[str, str] | None = None) -> bool:
    try:
        ceilings.check(wanted, CEILINGS, PROFILES, unenforceable or {})
    except PlanRefused as error:
        return bool(not error.control or not error.cause)  # a refusal names both
    return True


def test_a_plan_accepts_no_more_than_the_operator_did() -> None:
    """The read-back of the groups is left out for a plan that accepts `service_account`."""
    wanted = dataclasses.replace(plan(), accepted=("memory", "service_account"))
    operators = dataclasses.replace(CEILINGS, accepted=("memory",))
    with pytest.raises(PlanRefused, match="did not accept 'service_account'") as refused:
        ceilings.check(wanted, operators, PROFILES, {})
    assert refused.value.control == "accepted"
    operators = dataclasses.replace(CEILINGS, accepted=("memory", "service_account", "cpu"))
    ceilings.check(wanted, operators, PROFILES, {"memory": "no controller"})


@given(plans())
def test_what_passes_keeps_every_promise(wanted: Plan) -> None:
    if not accepted(wanted):
        return
    assert ACCOUNT <= wanted.uid < ACCOUNT + 4
    assert wanted.gid == wanted.uid
    assert not wanted.accepted
    assert wanted.image == "host"
    assert wanted.seccomp_digest == PROFILES[wanted.seccomp]
    for field in dataclasses.fields(Limits):
        assert 0 <= getattr(wanted.limits, field.name) <= getattr(CEILING, field.name)
    assert wanted.argv
    assert not wanted.argv[0].startswith("-")
    assert not any("\0" in word for word in wanted.argv)
    assert not any(name.startswith("LD_") for name, _ in wanted.environment)
    for mount in wanted.mounts:
        assert mount.target in (*SCRATCH_MOUNTS, TOOL_MOUNT)
        assert "/" not in mount.source
        assert mount.read_only == (mount.kind == "tool")


@given(plans())
def test_a_plan_survives_the_wire_or_is_refused_by_it(wanted: Plan) -> None:
    text = json.dumps(encode(wanted))
    assert decode(Plan, json.loads(text)) == wanted
    assert decode(Plan, json.loads(text)).digest() == wanted.digest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children)
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([field.name for field in dataclasses.fields(Plan)]))
def test_any_json_in_place_of_a_field_is_decoded_strictly_or_refused(
    value: object, name: str
) -> None:
    body = {"type": "Open", "sandbox": "aaaaaaaa", "plan": {**encode(plan()), name: value}}
    try:
        message = m.unpack(json.dumps(body).encode(), m.TO_LAUNCHER)
    except ProtocolError:
        return
    assert isinstance(message, m.Open)
    field = getattr(message.plan, name)
    assert encode(field) == value
    assert type(encode(field)) is type(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        m.unpack(data, m.TO_LAUNCHER)


def test_a_missing_control_is_refused_unless_both_sides_accepted_it() -> None:
    missing = {"memory": "no cgroup"}
    asked = dataclasses.replace(plan(), accepted=("memory",))
    assert not accepted(plan(), missing)
    assert not accepted(asked, missing), "the supervisor alone cannot accept"
    lenient = dataclasses.replace(CEILINGS, accepted=("memory",))
    ceilings.check(asked, lenient, PROFILES, missing)
    with pytest.raises(PlanRefused) as caught:
        ceilings.check(plan(), lenient, PROFILES, missing)
    assert caught.value.control == "memory"


def test_rootless_runs_as_its_own_user_only() -> None:
    own = dataclasses.replace(CEILINGS, uid_first=0, uid_count=0, uid_own=1000)
    ceilings.check(plan(uid=1000, gid=1000), own, PROFILES, {})
    for uid in (0, 1001, ACCOUNT):
        with pytest.raises(PlanRefused):
            ceilings.check(plan(uid=uid, gid=uid), own, PROFILES, {})
