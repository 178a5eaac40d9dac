"""A thin ctypes binding of libseccomp.so.2: one wrapper a call, under the library's own names.

It knows nothing of profiles and decides nothing. Standard library only, because the privileged
launcher imports it (docs/decisions/0002-libseccomp-binding.md says why it is our own).
Constants are those of seccomp.h; every wrapper turns the library's negative errno into
EngineError(control="seccomp").
"""

from __future__ import annotations

import ctypes
import functools
import os
from types import TracebackType

from fumehood.errors import EngineError

LIBRARY = "libseccomp.so.2"
OLDEST = (2, 5, 0)
"""SCMP_FLTATR_CTL_OPTIMIZE came with 2.5.0; before 2.4.0 arguments of 64 bits were compared
wrongly (CVE-2019-9893)."""

SCMP_ACT_KILL_PROCESS = 0x80000000
SCMP_ACT_LOG = 0x7FFC0000
SCMP_ACT_ALLOW = 0x7FFF0000
_SCMP_ACT_ERRNO = 0x00050000

SCMP_CMP_NE = 1
SCMP_CMP_LT = 2
SCMP_CMP_LE = 3
SCMP_CMP_EQ = 4
SCMP_CMP_GE = 5
SCMP_CMP_GT = 6
SCMP_CMP_MASKED_EQ = 7

SCMP_ARCH_X86_64 = 0xC000003E
SCMP_ARCH_AARCH64 = 0xC00000B7

_SCMP_FLTATR_ACT_BADARCH = 2
_SCMP_FLTATR_CTL_OPTIMIZE = 8
_OPTIMIZE_BINARY_TREE = 2

_NR_SCMP_ERROR = -1
"""What name resolution answers for a name that no architecture has."""


class scmp_arg_cmp(ctypes.Structure):  # noqa: N801  (the library's own name)
    """One comparison; for SCMP_CMP_MASKED_EQ datum_a is the mask and datum_b the value."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _ScmpVersion(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


def act_errno(errno: int) -> int:
    """SCMP_ACT_ERRNO(errno)."""
    return _SCMP_ACT_ERRNO | errno


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise EngineError(
            f"{LIBRARY} cannot be loaded",
            "install libseccomp: apt-get install libseccomp2",
            control="seccomp",
            detail=str(error),
        ) from error
    context, uint32 = ctypes.c_void_p, ctypes.c_uint32
    comparisons = ctypes.POINTER(scmp_arg_cmp)
    for name, result, arguments in (
        ("seccomp_version", ctypes.POINTER(_ScmpVersion), ()),
        ("seccomp_arch_native", uint32, ()),
        ("seccomp_init", context, (uint32,)),
        ("seccomp_release", None, (context,)),
        ("seccomp_attr_set", ctypes.c_int, (context, ctypes.c_int, uint32)),
        ("seccomp_arch_add", ctypes.c_int, (context, uint32)),
        ("seccomp_arch_remove", ctypes.c_int, (context, uint32)),
        ("seccomp_syscall_resolve_name_arch", ctypes.c_int, (uint32, ctypes.c_char_p)),
        ("seccomp_syscall_resolve_num_arch", ctypes.c_void_p, (uint32, ctypes.c_int)),
        (
            "seccomp_rule_add_exact_array",
            ctypes.c_int,
            (context, uint32, ctypes.c_int, ctypes.c_uint, comparisons),
        ),
        ("seccomp_export_bpf", ctypes.c_int, (context, ctypes.c_int)),
    ):
        function = getattr(lib, name, None)
        if function is None:
            raise _too_old(f"it lacks {name}")
        function.restype, function.argtypes = result, arguments
    version = lib.seccomp_version().contents
    found = (version.major, version.minor, version.micro)
    if found < OLDEST:
        raise _too_old("this is " + ".".join(map(str, found)))
    return lib


def _too_old(why: str) -> EngineError:
    oldest = ".".join(map(str, OLDEST))
    return EngineError(
        f"{LIBRARY} is too old: {why}", f"install libseccomp {oldest} or later", control="seccomp"
    )


def _check(result: int, call: str) -> None:
    if result < 0:
        raise EngineError(
            f"{call} failed: {os.strerror(-result)}",
            "run `fumehood doctor` to see what this host's libseccomp can do",
            control="seccomp",
        )


def seccomp_version() -> tuple[int, int, int]:
    """The library's version. Raises EngineError when it is missing or older than OLDEST."""
    version = _library().seccomp_version().contents
    return version.major, version.minor, version.micro


def seccomp_arch_native() -> int:
    """The architecture token of this process."""
    return int(_library().seccomp_arch_native())


def seccomp_syscall_resolve_name_arch(architecture: int, name: str) -> int | None:
    """The number of `name`; negative when only other architectures have it, None when unknown."""
    number = int(_library().seccomp_syscall_resolve_name_arch(architecture, name.encode()))
    return None if number == _NR_SCMP_ERROR else number


def seccomp_syscall_resolve_num_arch(architecture: int, number: int) -> str | None:
    """The name of a call, None when this libseccomp knows none with that number."""
    name = _library().seccomp_syscall_resolve_num_arch(architecture, number)
    if not name:
        return None
    try:
        return ctypes.string_at(name).decode("ascii")
    finally:
        _free(name)  # seccomp_syscall_resolve_name(3): the caller frees it


_free = ctypes.CDLL(None).free
_free.argtypes, _free.restype = (ctypes.c_void_p,), None


class Filter:
    """A filter context for one architecture, released when the `with` block ends.

    A call made for any other architecture, x32 on x86-64 included, gets `bad_architecture`.
    """

    def __init__(self, default: int, *, architecture: int, bad_architecture: int) -> None:
        self._lib = _library()
        self._context = self._lib.seccomp_init(default)
        if not self._context:
            raise EngineError("seccomp_init failed", control="seccomp")
        try:
            native = seccomp_arch_native()
            if architecture != native:
                self._check("seccomp_arch_add", architecture)
                self._check("seccomp_arch_remove", native)
            self._check("seccomp_attr_set", _SCMP_FLTATR_ACT_BADARCH, bad_architecture)
            # 300 names in a chain cost up to 300 steps a call; in a tree, 10.
            self._check("seccomp_attr_set", _SCMP_FLTATR_CTL_OPTIMIZE, _OPTIMIZE_BINARY_TREE)
        except EngineError:
            self._lib.seccomp_release(self._context)
            raise

    def __enter__(self) -> Filter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lib.seccomp_release(self._context)

    def _check(self, call: str, *arguments: int) -> None:
        _check(getattr(self._lib, call)(self._context, *arguments), call)

    def rule_add_exact(self, action: int, number: int, comparisons: list[scmp_arg_cmp]) -> None:
        """seccomp_rule_add_exact_array: all comparisons must hold for the action to apply."""
        array = (scmp_arg_cmp * len(comparisons))(*comparisons)
        result = self._lib.seccomp_rule_add_exact_array(
            self._context, action, number, len(comparisons), array
        )
        _check(result, f"seccomp_rule_add_exact_array for call {number}")

    def export_bpf(self) -> bytes:
        """The filter as an array of struct sock_filter, eight bytes an instruction."""
        memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            _check(self._lib.seccomp_export_bpf(self._context, memory), "seccomp_export_bpf")
            return os.pread(memory, os.fstat(memory).st_size, 0)
        finally:
            os.close(memory)
