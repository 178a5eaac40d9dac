"""The reader of profiles refuses by name what it does not understand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import EngineError
from fumehood.kernel.seccomp_profile import (
    MAX_NAMES,
    MAX_RULES,
    MAX_RULES_PER_CALL,
    Action,
    Condition,
    Profile,
    parse,
)

EPERM = "SCMP_ACT_ERRNO"
MASKED = "SCMP_CMP_MASKED_EQ"


def document(*rules: dict[str, Any], **top: Any) -> bytes:
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules), **top}).encode()


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names) or ["read"], "action": action, **more}


def arg(index: int = 0, value: int = 0, op: str = "SCMP_CMP_EQ", **more: Any) -> dict[str, Any]:
    return {"index": index, "value": value, "op": op, **more}


def refusal(data: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        parse(data, name="p")
    assert caught.value.control == "seccomp"
    assert caught.value.remedy
    return caught.value.cause


def test_a_profile_is_read_whole() -> None:
    profile = parse(
        document(
            rule("read", "write", comment="why"),
            rule("kill", action="SCMP_ACT_ERRNO", errnoRet=3),
            rule("clone", args=[arg(0, 8, "SCMP_CMP_MASKED_EQ", valueTwo=8)]),
            defaultErrnoRet=38,
            comment="top",
            archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
        ),
        name="p",
    )
    assert profile.name == "p"
    assert profile.default == Action("SCMP_ACT_ERRNO", 38)
    assert profile.architectures == ("SCMP_ARCH_X86_64",)
    assert profile.comment == "top"
    assert profile.rules[0].names == ("read", "write")
    assert profile.rules[0].comment == "why"
    assert profile.rules[1].action == Action("SCMP_ACT_ERRNO", 3)
    assert profile.rules[2].conditions == (Condition(0, "SCMP_CMP_MASKED_EQ", 8, 8),)
    assert profile.digest.startswith("sha384:")
    assert len(profile.digest) == len("sha384:") + 96


def test_errno_is_eperm_unless_named_as_oci_says() -> None:
    profile = parse(document(rule(action="SCMP_ACT_ERRNO")), name="p")
    assert profile.default == profile.rules[0].action == Action("SCMP_ACT_ERRNO", 1)


def test_one_changed_byte_changes_the_digest() -> None:
    one, two = document(rule()), document(rule()) + b"\n"
    assert parse(one, name="p").digest != parse(two, name="p").digest


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "expected an object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"defaultAction": NaN}', "NaN is no integer"),
        (b'{"defaultAction": 1e999}', "1e999 is no integer"),
        (b'{"defaultAction": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"syscalls": [], "syscalls": []}', "'syscalls' twice"),
        (b'{"syscalls": []}', "'defaultAction' is missing"),
        (document(flags=["SECCOMP_FILTER_FLAG_LOG"]), "'flags' is not understood"),
        (document(listenerPath="/run/x"), "'listenerPath' is not understood"),
        (document(rule(includes={"caps": ["CAP_SYS_ADMIN"]})), "'includes' is not understood"),
        (document(rule(excludes={"arches": ["s390"]})), "'excludes' is not understood"),
        (document({"name": "read", "action": "SCMP_ACT_ALLOW"}), "'name' is not understood"),
        (document(rule(action="SCMP_ACT_DENY")), "unknown action 'SCMP_ACT_DENY'"),
        (document(rule(action="SCMP_ACT_KILL")), "'SCMP_ACT_KILL': it ends one thread"),
        (document(rule(action="SCMP_ACT_TRAP")), "'SCMP_ACT_TRAP': a program can catch"),
        (document(rule(action="SCMP_ACT_NOTIFY")), "no listener"),
        (document(defaultAction=["SCMP_ACT_ALLOW"]), "unknown action"),
        (document(rule(errnoRet=1)), "errnoRet stands beside SCMP_ACT_ALLOW"),
        (document(rule(action="SCMP_ACT_ERRNO", errnoRet=0)), "0 would tell the program"),
        (document(rule(action="SCMP_ACT_ERRNO", errnoRet=4096)), "errnoRet: expected an integer"),
        (document(rule(action="SCMP_ACT_ERRNO", errnoRet=True)), "errnoRet: expected an integer"),
        (document(defaultErrnoRet="1"), "defaultErrnoRet: expected an integer"),
        (document(rule("Read")), "'Read' is no system call's name"),
        (document(rule("read", "read")), "twice"),
        (document({"names": [], "action": "SCMP_ACT_ALLOW"}), "names: empty"),
        (document({"names": "read", "action": "SCMP_ACT_ALLOW"}), "names: expected a list"),
        (document({"names": [7], "action": "SCMP_ACT_ALLOW"}), "7 is no system call's name"),
        (document(rule(comment=7)), "comment: expected text"),
        (document(rule(comment="x" * 5000)), "comment: expected text"),
        (document(rule(args=[arg(op="SCMP_CMP_LIKE")])), "unknown operator 'SCMP_CMP_LIKE'"),
        (document(rule(args=[arg(6)])), "index: expected an integer from 0 to 5"),
        (document(rule(args=[arg(0, -1)])), "value: expected an integer"),
        (document(rule(args=[arg(0, 2**64)])), "value: expected an integer"),
        (document(rule(args=[arg(0, 1), arg(0, 2)])), "compared twice"),
        (document(rule(args=[arg(0, 1, valueTwo=2)])), "compares with one value"),
        (
            document(rule(args=[arg(0, 1, "SCMP_CMP_MASKED_EQ", valueTwo=2)])),
            "bits outside the mask",
        ),
        (document(rule(args=[{"index": 0, "op": "SCMP_CMP_EQ"}])), "'value' is missing"),
        (document(architectures=["SCMP_ARCH_X86"]), "'SCMP_ARCH_X86' is unknown, or a foreign ABI"),
        (document(architectures=["SCMP_ARCH_X32"]), "'SCMP_ARCH_X32' is unknown, or a foreign ABI"),
        (document(architectures=["SCMP_ARCH_X86_64"] * 2), "one of them stands twice"),
        (
            document(
                archMap=[
                    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}
                ]
            ),
            "the native ABI only",
        ),
        (document(architectures=["SCMP_ARCH_X86_64"], archMap=[]), "only one of them"),
        (document(*[rule(f"c{i}") for i in range(MAX_RULES + 1)]), f"more than {MAX_RULES}"),
        (document(rule(*[f"c{i}" for i in range(MAX_NAMES + 1)])), f"more than {MAX_NAMES}"),
        (
            document(*[rule(args=[arg(0, i)]) for i in range(MAX_RULES_PER_CALL + 1)]),
            f"more than {MAX_RULES_PER_CALL} rules for read",
        ),
        (
            document(*[rule(args=[arg(0, 1 << i, MASKED)]) for i in range(30)]),
            "read: more than 8 rules overlap",
        ),
        (document(rule(args=[arg(0, 9)]), rule(args=[arg(0, 9)])), "the same rule twice"),
        (document(rule(args=[arg(0, 0, MASKED)])), "a mask of 0"),
        (document(rule(args=[arg(0, 3, "SCMP_CMP_GE")])), "libseccomp confuses ranges"),
        (document(rule(args=[arg(0, 3, "SCMP_CMP_LT")])), "libseccomp confuses ranges"),
        (document(rule(args=[arg(0, 3, "SCMP_CMP_NE"), arg(1, 1)])), "beside another comparison"),
        (
            document(rule(args=[arg(0, 3, "SCMP_CMP_NE")]), rule(args=[arg(0, 4), arg(1, 1)])),
            "beside a comparison of another argument",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_name(data: bytes, named: str) -> None:
    assert named in refusal(data)


def test_a_refusal_names_the_profile_and_the_place() -> None:
    bad = document(rule(), rule("write", args=[arg(), arg(1, op="X")]))
    assert refusal(bad) == "seccomp profile p: syscalls[1].args[1].op: unknown operator 'X'"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (arg(0, 1), arg(0, 2)),
        (arg(0, 1), arg(0, 1, "SCMP_CMP_NE")),
        (arg(0, 7), arg(0, 8, MASKED, valueTwo=8)),
        (arg(0, 12, MASKED, valueTwo=4), arg(0, 6, MASKED, valueTwo=2)),
    ],
)
def test_rules_that_exclude_each_other_may_differ(one: dict[str, Any], two: dict[str, Any]) -> None:
    rules = rule(args=[one]), rule(args=[two], action=EPERM)
    assert len(parse(document(*rules), name="p").rules) == 2
    assert len(parse(document(*reversed(rules)), name="p").rules) == 2


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([], [arg(0, 2)]),
        ([arg(0, 1)], []),
        ([arg(0, 1)], [arg(1, 1)]),
        ([arg(0, 1, "SCMP_CMP_NE")], [arg(0, 2, "SCMP_CMP_NE")]),
        ([arg(0, 9)], [arg(0, 8, MASKED, valueTwo=8)]),
        ([arg(0, 1, MASKED, valueTwo=0)], [arg(0, 2, MASKED, valueTwo=2)]),
        ([arg(0, 8, MASKED, valueTwo=8)], [arg(0, 100, "SCMP_CMP_NE")]),
    ],
)
def test_rules_whose_order_would_matter_are_refused(
    one: list[dict[str, Any]], two: list[dict[str, Any]]
) -> None:
    assert "read" in refusal(document(rule(args=one), rule(args=two, action=EPERM)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["names", "action", "args", "index", "value", "op", "syscalls", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def assert_read_or_refused(data: bytes) -> None:
    try:
        answer: Profile | str = parse(data, name="p")
    except EngineError as error:
        answer = error.control
    assert answer == "seccomp" or isinstance(answer, Profile)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_profile_or_one_refusal(data: bytes) -> None:
    assert_read_or_refused(data)


@given(st.data())
def test_any_value_in_any_place_is_a_profile_or_one_refusal(data: st.DataObject) -> None:
    whole: Any = json.loads(
        document(
            rule("read", comment="c"),
            rule("clone", args=[arg(0, 8, MASKED, valueTwo=8)]),
            rule("kill", action=EPERM, errnoRet=3),
            archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
            defaultErrnoRet=38,
        )
    )
    place = whole
    while isinstance(place, dict | list) and place:
        holder = place
        key = data.draw(
            st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        )
        place = holder[key]
        if data.draw(st.booleans()):
            break
    holder[key] = data.draw(json_values)
    assert_read_or_refused(json.dumps(whole).encode())
