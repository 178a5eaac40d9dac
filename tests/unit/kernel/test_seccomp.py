"""Profiles become filters that mean the same to the kernel, or an error that names seccomp."""

from __future__ import annotations

import ctypes
import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fumehood.errors import EngineError
from fumehood.kernel import libseccomp, seccomp
from fumehood.kernel.seccomp_profile import Profile, parse
from unit.kernel import bpf, confined, oracle

EPERM_RULE = {"action": "SCMP_ACT_ERRNO", "errnoRet": 1}
ALLOW, KILL = "SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS"


def profile(
    *rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", architectures: tuple[str, ...] = ()
) -> Profile:
    raw: dict[str, Any] = {
        "defaultAction": default,
        "syscalls": rules,
        "architectures": architectures,
    }
    if default == "SCMP_ACT_ERRNO":
        raw["defaultErrnoRet"] = 38
    return parse(json.dumps(raw).encode(), name="p")


def number(name: str) -> int:
    found = libseccomp.seccomp_syscall_resolve_name_arch(libseccomp.seccomp_arch_native(), name)
    assert found is not None
    return found


NATIVE = libseccomp.seccomp_arch_native()


def verdict(program: bytes, name: str, *args: int) -> str:
    return str(bpf.evaluate(program, number(name), *args, arch=NATIVE))


# --- files --------------------------------------------------------------------------------


def test_a_profile_is_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine-2.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}')
    assert seccomp.load_named(str(tmp_path), "mine-2").name == "mine-2"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x.json", ".", "X", "a\0", "-", "a" * 65])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="is no profile name"):
        seccomp.load_named(str(tmp_path), name)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}')
    (tmp_path / "link.json").symlink_to(target)
    with pytest.raises(EngineError, match=r"link\.json"):
        seccomp.load_profile(str(tmp_path / "link.json"))


@pytest.mark.parametrize("kind", ["absent", "folder", "fifo", "huge", "writable"])
def test_what_is_no_safe_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind != "absent":
        path.write_bytes(b" " * (seccomp.MAX_FILE_BYTES + 1) if kind == "huge" else b"{}")
        path.chmod(0o666 if kind == "writable" else 0o644)
    with pytest.raises(EngineError) as caught:
        seccomp.load_profile(str(path))
    assert caught.value.control == "seccomp"
    assert str(path) in caught.value.cause


# --- names --------------------------------------------------------------------------------


def test_an_allowed_call_that_nobody_knows_is_left_to_the_default() -> None:
    p = profile({"names": ["read", "no_such_call"], "action": ALLOW})
    assert verdict(seccomp.compile_bpf(p), "read") == "allow"
    assert seccomp.unknown_calls(p) == ("no_such_call",)


@pytest.mark.parametrize("action", [EPERM_RULE, {"action": KILL}])
def test_a_denied_call_that_nobody_knows_is_an_error(action: dict[str, Any]) -> None:
    p = profile({"names": ["keyctll"], **action})
    with pytest.raises(EngineError, match="'keyctll'") as caught:
        seccomp.compile_bpf(p)
    assert caught.value.control == "seccomp"


def test_a_call_of_another_architecture_only_needs_no_rule() -> None:
    p = profile({"names": ["socketcall"], "action": KILL}, {"names": ["read"], "action": ALLOW})
    assert seccomp.unknown_calls(p) == ()
    assert verdict(seccomp.compile_bpf(p), "read") == "allow"


def test_calls_younger_than_the_library_have_their_numbers() -> None:
    p = profile({"names": sorted(seccomp.NEWER_CALLS), "action": ALLOW})
    program = seccomp.compile_bpf(p)
    for call in seccomp.NEWER_CALLS.values():
        assert str(bpf.evaluate(program, call, arch=NATIVE)) == "allow"
    assert seccomp.unknown_calls(p) == ()


def test_the_library_agrees_on_every_younger_number_it_knows() -> None:
    for name, expected in seccomp.NEWER_CALLS.items():
        for token in (libseccomp.SCMP_ARCH_X86_64, libseccomp.SCMP_ARCH_AARCH64):
            found = libseccomp.seccomp_syscall_resolve_name_arch(token, name)
            assert found in (None, expected)


# --- architectures ------------------------------------------------------------------------


def test_foreign_abis_kill() -> None:
    program = seccomp.compile_bpf(
        profile({"names": ["read"], "action": ALLOW}), architecture="SCMP_ARCH_X86_64"
    )
    for arch in (bpf.AUDIT_ARCH_I386, bpf.AUDIT_ARCH_ARM, bpf.AUDIT_ARCH_AARCH64, 0):
        assert str(bpf.evaluate(program, 0, arch=arch)) == "kill_process"
    for call in (0, 1, 59, 512, 547):
        assert str(bpf.evaluate(program, call | bpf.X32_SYSCALL_BIT)) == "kill_process"


def test_a_profile_for_another_machine_is_refused() -> None:
    other = {"x86_64": "SCMP_ARCH_AARCH64", "aarch64": "SCMP_ARCH_X86_64"}[platform.machine()]
    with pytest.raises(EngineError, match="is not for this architecture"):
        seccomp.compile_bpf(profile(architectures=(other,)))


# --- meaning ------------------------------------------------------------------------------

CALLS = ("read", "getppid", "kcmp", "mseal")
values = st.sampled_from([0, 1, 2, 3, 7, 8, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
plain = st.builds(
    lambda index, op, value: {"index": index, "op": f"SCMP_CMP_{op}", "value": value},
    st.integers(0, 5),
    st.sampled_from(["NE", "EQ"]),
    values,
)
masked = st.builds(
    lambda index, mask, value: {
        "index": index,
        "op": "SCMP_CMP_MASKED_EQ",
        "value": mask,
        "valueTwo": value & mask,
    },
    st.integers(0, 5),
    values,
    values,
)
rules = st.builds(
    lambda names, action, args: {"names": names, "args": args, **action},
    st.lists(st.sampled_from(CALLS), min_size=1, max_size=2, unique=True),
    st.sampled_from([{"action": ALLOW}, {"action": KILL}, EPERM_RULE]),
    st.lists(plain | masked, max_size=2, unique_by=lambda a: int(a["index"])),
)


@settings(max_examples=200)
@given(st.lists(rules, max_size=5), st.data())
def test_any_profile_that_is_read_is_compiled_to_what_its_rules_say(
    drawn: list[dict[str, Any]], data: st.DataObject
) -> None:
    try:
        p = profile(*drawn)
    except EngineError:
        assume(False)
    program = seccomp.compile_bpf(p)
    numbers = {name: seccomp.NEWER_CALLS.get(name) or number(name) for name in CALLS}
    samples = [tuple(data.draw(values) for _ in range(6)) for _ in range(4)]
    for rule in p.rules:
        args = [0] * 6
        for condition in rule.conditions:
            args[condition.index] = oracle.satisfying(condition)
        samples.append(tuple(args))
    for name in CALLS:
        for sample in samples:
            expected = oracle.text(oracle.decide(p, name, sample))
            assert str(bpf.evaluate(program, numbers[name], *sample, arch=NATIVE)) == expected


def test_the_evaluator_and_the_kernel_agree() -> None:
    program = seccomp.compile_bpf(
        profile(
            {"names": ["kcmp", "getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
            {"names": ["getppid"], "action": KILL},
            default=ALLOW,
        )
    )
    calls = [("native", number(name), 0, 0) for name in ("kcmp", "getsid", "getppid", "getpid")]
    assert confined.run(program, calls) == ["errno 77", "errno 77", "signal 31", "ok"]
    evaluated = [verdict(program, name) for name in ("kcmp", "getsid", "getppid", "getpid")]
    assert evaluated == ["errno 77", "errno 77", "kill_process", "allow"]


def test_a_filter_longer_than_the_kernel_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "MAX_INSTRUCTIONS", 10)
    few = profile({"names": ["read"], "action": ALLOW})
    many = profile({"names": ["read", "write", "close", "getsid"], "action": ALLOW})
    assert seccomp.compile_bpf(few)
    with pytest.raises(EngineError, match="the kernel takes 10"):
        seccomp.compile_bpf(many)


# --- the library --------------------------------------------------------------------------


def test_the_version_is_told() -> None:
    assert seccomp.library_version() >= libseccomp.OLDEST


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    libseccomp._library.cache_clear()
    monkeypatch.setattr(libseccomp, "LIBRARY", "libseccomp-that-is-not-here.so.2")
    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        seccomp.library_version()
    assert caught.value.control == "seccomp"
    assert "apt-get install libseccomp2" in caught.value.remedy


@pytest.mark.parametrize("library", ["libc.so.6", "old"])
def test_an_old_library_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    libseccomp._library.cache_clear()
    if library == "old":
        monkeypatch.setattr(libseccomp, "OLDEST", (99, 0, 0))
    else:
        monkeypatch.setattr(libseccomp, "LIBRARY", library)
    with pytest.raises(EngineError, match="is too old") as caught:
        seccomp.library_version()
    assert caught.value.control == "seccomp"
    libseccomp._library.cache_clear()


def test_a_refusal_of_the_library_names_the_call() -> None:
    with (
        libseccomp.Filter(
            libseccomp.SCMP_ACT_ALLOW,
            architecture=NATIVE,
            bad_architecture=libseccomp.SCMP_ACT_KILL_PROCESS,
        ) as context,
        pytest.raises(EngineError, match="seccomp_rule_add_exact_array for call 0 failed"),
    ):
        context.rule_add_exact(libseccomp.SCMP_ACT_ALLOW, 0, [])


def test_the_struct_has_the_librarys_size() -> None:
    assert ctypes.sizeof(libseccomp.scmp_arg_cmp) == 24
