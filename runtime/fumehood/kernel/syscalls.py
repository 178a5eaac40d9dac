"""Names of system calls, by the number and the architecture that the kernel reports.

Standard library only.
"""

from __future__ import annotations

import functools

from fumehood.errors import EngineError
from fumehood.kernel import libseccomp
from fumehood.kernel.seccomp import NEWER_CALLS

# AUDIT_ARCH_* (linux/audit.h), which are libseccomp's tokens too
_ARCHITECTURES = {
    0xC000003E: "x86_64",
    0x40000003: "i386",
    0xC00000B7: "aarch64",
    0x40000028: "arm",
}
_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_X32_TOKEN = 0x4000003E
_NEWER = {number: name for name, number in NEWER_CALLS.items()}


@functools.lru_cache(maxsize=1024)
def name(architecture: int, number: int) -> tuple[str, str]:
    """Architecture and call, such as ("i386", "socketcall").

    An unknown call is its number, an unknown architecture its AUDIT_ARCH value in hex.
    """
    if architecture == _X86_64 and number & _X32_BIT:
        return "x32", _call(_X32_TOKEN, number) or str(number & ~_X32_BIT)
    where = _ARCHITECTURES.get(architecture, f"{architecture:#x}")
    return where, _call(architecture, number) or _NEWER.get(number, str(number))


def _call(architecture: int, number: int) -> str | None:
    try:
        return libseccomp.seccomp_syscall_resolve_num_arch(architecture, number)
    except EngineError:
        return None
