"""Seccomp filters: profiles read from disk and compiled to the BPF that the kernel takes.

It must never drop a denial in silence, and never emit a filter that a foreign ABI can walk
around. Standard library only, because the privileged launcher imports it.

The same files are given to Docker, so they hold nothing that Docker refuses; reasons stand in
`comment`, which Docker ignores.
"""

from __future__ import annotations

import functools
import os
import re
import stat

from fumehood.errors import EngineError
from fumehood.kernel import libseccomp
from fumehood.kernel.seccomp_profile import (
    ALLOW,
    ARCHITECTURES,
    ERRNO,
    KILL_PROCESS,
    LOG,
    OPERATORS,
    Action,
    Condition,
    Profile,
    Rule,
    narrowed,
    parse,
)

__all__ = [
    "NEWER_CALLS",
    "Action",
    "Condition",
    "Profile",
    "Rule",
    "compile_bpf",
    "is_name",
    "library_version",
    "load_named",
    "load_profile",
    "narrowed",
    "native",
    "numbers",
    "parse",
    "unknown_calls",
]

MAX_FILE_BYTES = 256 * 1024
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer filter (linux/bpf_common.h)."""

_PROFILE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")

NEWER_CALLS = {
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
    "listns": 470,
    "cachestat": 451,
    "set_mempolicy_home_node": 450,
}
"""Calls younger than libseccomp 2.5.0's tables. Since 424 a call has the same number on every
architecture (asm-generic/unistd.h), so a rule for one holds with an old libseccomp too."""


def library_version() -> tuple[int, int, int]:
    """Version of the installed libseccomp.

    Raises:
        EngineError: control `seccomp`, when it is missing or too old.
    """
    return libseccomp.seccomp_version()


def load_named(directory: str, name: str) -> Profile:
    """The profile `name` of `directory`. A name is no path: `[a-z0-9-]`, 1 to 64 characters.

    Raises:
        EngineError: control `seccomp`, when it is absent, unsafe or breaks a rule.
    """
    if not is_name(name):
        raise EngineError(
            f"seccomp: {name!r} is no profile name",
            "use lower case letters, digits and hyphens, at most 64",
            control="seccomp",
        )
    return load_profile(os.path.join(directory, name + ".json"))


def is_name(text: str) -> bool:
    """Whether a profile may have this name."""
    return _PROFILE_NAME.fullmatch(text) is not None


def load_profile(path: str) -> Profile:
    """Read one profile. The file itself must not be a link, nor writable by everybody.

    Raises:
        EngineError: control `seccomp`, naming the file and what is wrong in it.
    """
    return parse(_read(path), name=os.path.basename(path).removesuffix(".json"))


def _read(path: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise EngineError(
            f"seccomp profile {path}: {error.strerror}",
            "name a profile that exists, as a file and not as a link to one",
            control="seccomp",
        ) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise EngineError(f"seccomp profile {path}: not a regular file", control="seccomp")
        if found.st_mode & stat.S_IWOTH:
            raise EngineError(
                f"seccomp profile {path}: everybody may write it",
                f"chmod o-w {path}",
                control="seccomp",
            )
        data = os.read(descriptor, MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_FILE_BYTES:
        raise EngineError(
            f"seccomp profile {path}: larger than {MAX_FILE_BYTES} bytes", control="seccomp"
        )
    return data


@functools.lru_cache(maxsize=32)
def compile_bpf(profile: Profile, *, architecture: str = "") -> bytes:
    """The profile as an array of struct sock_filter, as `bwrap --seccomp FD` takes it.

    The filter admits the native ABI only: a call made through another one, i386 and x32
    included, ends the process with SIGSYS. `architecture` is an OCI name, for looking at the
    filter that another machine would get; empty means this one.

    Raises:
        EngineError: control `seccomp`, when libseccomp is missing or too old, when the profile
            is not for this architecture, or when a denial names a call that nobody knows.
    """
    token = _token(profile, architecture)
    with libseccomp.Filter(
        _act(profile.default),
        architecture=token,
        bad_architecture=libseccomp.SCMP_ACT_KILL_PROCESS,
    ) as seccomp_filter:
        for rule in profile.rules:
            if rule.action == profile.default:
                continue  # libseccomp answers EACCES; disjointness makes it say nothing new
            comparisons = [_comparison(c) for c in rule.conditions]
            for name in rule.names:
                number = _number(profile, rule, name, token)
                if number is not None:
                    seccomp_filter.rule_add_exact(_act(rule.action), number, comparisons)
        program = seccomp_filter.export_bpf()
    if not 0 < len(program) <= MAX_INSTRUCTIONS * 8:
        raise EngineError(
            f"seccomp profile {profile.name}: {len(program) // 8} instructions, "
            f"and the kernel takes {MAX_INSTRUCTIONS}",
            "write fewer conditions",
            control="seccomp",
        )
    return program


def unknown_calls(profile: Profile, *, architecture: str = "") -> tuple[str, ...]:
    """Names that neither this libseccomp nor NEWER_CALLS knows, sorted: typing errors, or calls
    younger than both. In an allowing rule they are left to the default action."""
    token = _token(profile, architecture)
    names = {name for rule in profile.rules for name in rule.names}
    return tuple(sorted(name for name in names if _resolve(name, token) is None))


def numbers(profile: Profile, rule: Rule) -> dict[str, int]:
    """The calls that a rule names on this machine, and their numbers. Raises as `compile_bpf`."""
    token = _token(profile, "")
    found = {name: _number(profile, rule, name, token) for name in rule.names}
    return {name: number for name, number in found.items() if number is not None}


def native() -> str:
    """The OCI name of this machine's ABI; raises EngineError for one that has no profiles."""
    token = libseccomp.seccomp_arch_native()
    for name, known in ARCHITECTURES.items():
        if known == token:
            return name
    raise EngineError(f"no seccomp profile is for {token:#x}", control="seccomp")


def _token(profile: Profile, architecture: str) -> int:
    native = libseccomp.seccomp_arch_native()
    token = ARCHITECTURES.get(architecture) if architecture else native
    name = next((n for n, t in ARCHITECTURES.items() if t == token), None)
    if token is None or name not in profile.architectures:
        raise EngineError(
            f"seccomp profile {profile.name} is not for this architecture "
            f"({architecture or hex(native)})",
            "use a profile that names it; Fumehood knows " + ", ".join(ARCHITECTURES),
            control="seccomp",
        )
    return token


def _resolve(name: str, token: int) -> int | None:
    number = libseccomp.seccomp_syscall_resolve_name_arch(token, name)
    return NEWER_CALLS.get(name) if number is None else number


def _number(profile: Profile, rule: Rule, name: str, token: int) -> int | None:
    """The number to give libseccomp, None where this architecture lacks the call or no rule is
    needed for it.

    A denial must not vanish: with a name that nobody knows it may be a typing error for a call
    that then stays open, or a tripwire that never fires. An allowance may vanish: the default
    then applies.
    """
    number = _resolve(name, token)
    if number is None and rule.action.denies:
        version = ".".join(map(str, library_version()))
        raise EngineError(
            f"seccomp profile {profile.name} denies {name!r}, a call that libseccomp {version} "
            "does not know",
            "correct the name, or install a newer libseccomp",
            control="seccomp",
        )
    if number is None or number < 0:
        return None
    native = libseccomp.seccomp_arch_native()
    if token == native:
        return number
    # Filters for another architecture take native numbers and translate them by name.
    return libseccomp.seccomp_syscall_resolve_name_arch(native, name)


def _act(action: Action) -> int:
    return {
        ALLOW: libseccomp.SCMP_ACT_ALLOW,
        LOG: libseccomp.SCMP_ACT_LOG,
        KILL_PROCESS: libseccomp.SCMP_ACT_KILL_PROCESS,
        ERRNO: libseccomp.act_errno(action.errno),
    }[action.name]


def _comparison(condition: Condition) -> libseccomp.scmp_arg_cmp:
    return libseccomp.scmp_arg_cmp(
        condition.index, OPERATORS[condition.op], condition.value, condition.value_two
    )
