"""The seccomp filter that each engine really loaded, taken from the kernel and evaluated.

bubblewrap is given our own compiled filter, Docker the profile's JSON, which runc compiles: both
must decide every rule of the profile, with arguments that it means and arguments just beside.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import threading
from pathlib import Path

import pytest

from conformance.test_promises import running
from fumehood.errors import FumehoodError
from fumehood.kernel import libseccomp, seccomp
from fumehood.kernel.seccomp_profile import ARCHITECTURES
from fumehood.resources import profile_directory
from support.engines import BUBBLEWRAP, RUNC, Target
from support.filters import loaded
from support.hood import Hood, processes_of
from unit.kernel import bpf, oracle

NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[platform.machine()]
ARCH = ARCHITECTURES[NATIVE]
X32 = bpf.X32_SYSCALL_BIT
WAITS = "#include <unistd.h>\nint main(void) { for (;;) sleep(3600); }\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a static program that only waits: every profile lets it live."""
    folder = tmp_path_factory.mktemp("waits")
    subprocess.run(
        ["gcc", "-static", "-x", "c", "-o", folder / "waits", "-"],
        input=WAITS, text=True, check=True,
    )  # fmt: skip
    return folder


def taken(hood: Hood, target: Target, profile: str, program: Path) -> list[bytes]:
    """The filters of a tool that runs under the profile."""
    name = target.tool(f"waits-{profile}")
    hood.register(program, name, command=["/tool/waits"], run=target.run, seccomp=profile)
    caller = threading.Thread(target=hood.call, args=(name,))
    caller.start()
    try:
        return loaded(running(hood.account(name), b"/tool/waits\0"))
    finally:
        for pid in processes_of(hood.account(name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        caller.join(60)


@pytest.mark.parametrize("name", ["compute", "network", "strict"])
def test_bubblewrap_loads_what_we_compiled(name: str, engines: Hood, program: Path) -> None:
    """Which tests/unit/kernel/test_profiles.py evaluates, rule by rule."""
    profile = seccomp.load_named(str(profile_directory()), name)
    assert taken(engines, BUBBLEWRAP, name, program) == [seccomp.compile_bpf(profile)]


@pytest.mark.parametrize("name", ["compute", "network"])
def test_runc_decides_every_rule_as_the_profile_does(
    name: str, engines: Hood, program: Path
) -> None:
    (filter_,) = taken(engines, RUNC, name, program)
    profile = seccomp.load_named(str(profile_directory()), name)
    checked = 0
    for rule in profile.rules:
        base = [0] * 6
        for condition in rule.conditions:
            base[condition.index] = oracle.satisfying(condition)
        indexes = {condition.index for condition in rule.conditions}
        for call in rule.names:
            number = libseccomp.seccomp_syscall_resolve_name_arch(ARCH, call)
            if number is None or number < 0:
                continue  # not one that this libseccomp can tell runc
            for args in oracle.mutations(tuple(base), indexes):
                action = oracle.decide(profile, call, args)
                found = str(bpf.evaluate(filter_, number, *args, arch=ARCH))
                # Engines before 23 answer EPERM where no rule holds: see docs/engines.md.
                others = {"errno 1"} if action == profile.default else set()
                assert found in {oracle.text(action), *others}, (call, args)
                checked += 1
    assert checked > 500
    for number in (500, 1024, 0x3FFFFFFF):
        assert str(bpf.evaluate(filter_, number, arch=ARCH)) == "errno 38"
    if NATIVE == "SCMP_ARCH_X86_64":
        for number in range(600):
            for foreign, call in ((bpf.AUDIT_ARCH_I386, number), (ARCH, number | X32)):
                found = str(bpf.evaluate(filter_, call, arch=foreign))
                assert found in ("kill_process", "kill_thread")


def test_a_profile_that_starts_no_container_is_refused_by_name(
    engines: Hood, program: Path
) -> None:
    """Docker gives a container's init the tool's filter, and `strict` lets nobody fork."""
    name = RUNC.tool("waits-strict")
    with pytest.raises(FumehoodError, match="seccomp: the profile 'strict' denies clone") as caught:
        engines.register(program, name, command=["/tool/waits"], run=RUNC.run, seccomp="strict")
    assert "bubblewrap" in caught.value.remedy
