"""Profiles made from profiles: one that logs, one that is smaller, and what differs between two.

Pure; it runs nothing. It must never make a profile that allows a tool, outside of learning, what
the one before did not. Standard library only.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

from fumehood.errors import EngineError
from fumehood.kernel import seccomp
from fumehood.kernel.seccomp_profile import (
    ALLOW,
    ERRNO,
    KILL_PROCESS,
    LOG,
    Action,
    Condition,
    Profile,
    Rule,
)

ALWAYS: Final = {
    "The end of a process or thread, and the way back from a signal, whenever it comes.": (
        "exit", "exit_group", "restart_syscall", "rt_sigreturn",
    ),
    "The start of the program, and bubblewrap's own process 1, under the same filter.": (
        "execve", "wait4",
    ),
    "Answered by the vDSO without a system call here, and by the kernel on other machines.": (
        "clock_getres", "clock_gettime", "getcpu", "getrandom", "gettimeofday", "time",
    ),
}  # fmt: skip
"""Never proposed to be denied, though learning may not have seen them; by reason."""
NEVER_OPENED: Final = frozenset(
    {
        "clone3",  # its flags cannot be seen, and programs are meant to fall back
        "io_uring_enter", "io_uring_register", "io_uring_setup",  # do anything past the filter
        "setns", "unshare",  # an engine may leave user namespaces to the filter
        "execveat", "memfd_create", "memfd_secret",  # programs past noexec
        "sync", "syncfs", "syslog",  # reach the host's disks and the kernel's log
    }
)  # fmt: skip
"""Denied even when it is learnt what is denied: nothing else would hold these."""
FAMILIES: Final = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
"""Socket families that network namespaces isolate (AF_VSOCK is not among them)."""
_UINT32: Final = 0xFFFFFFFF
_EPERM: Final = Action(ERRNO, errno.EPERM)
_MASKED: Final = "SCMP_CMP_MASKED_EQ"


def allowed(profile: Profile) -> frozenset[str]:
    """Calls that are allowed, some only with certain arguments."""
    return frozenset(name for rule in profile.rules if _allows(rule) for name in rule.names)


def tripwires(profile: Profile) -> frozenset[str]:
    """Calls that end the process, whatever their arguments are."""
    rules = (r for r in profile.rules if r.action.name == KILL_PROCESS and not r.conditions)
    return frozenset(name for rule in rules for name in rule.names)


def not_denied(profile: Profile, names: Collection[str]) -> frozenset[str]:
    """Those of `names` that the profile lets through, by a rule (also one on arguments) or because
    no rule names them."""
    let = {name for rule in profile.rules if not rule.action.denies for name in rule.names}
    if not profile.default.denies:
        # A call that rules deny for some arguments only falls to the default for the others.
        always = {n for r in profile.rules if not r.conditions for n in r.names}
        let |= frozenset(names) - always
    return frozenset(names) & let


def openable(profile: Profile) -> frozenset[str]:
    """Calls that `opened` lets through: those denied with an error, whatever their arguments are,
    without NEVER_OPENED."""
    rules = (rule for rule in profile.rules if _is_ordinary_denial(rule))
    return frozenset(name for rule in rules for name in rule.names) - NEVER_OPENED


def logging(profile: Profile, names: Collection[str]) -> Profile:
    """The same profile, but allowed calls are logged if they are among `names`. Denials and
    tripwires stay, so a program runs as it does under the profile itself.

    Raises:
        EngineError: control `seccomp`: what the profile does not name is allowed by it.
    """
    if not profile.default.denies:
        raise EngineError(
            f"seccomp profile {profile.name} allows what it does not name",
            "learn from a profile that denies it, such as compute",
            control="seccomp",
        )
    rules = (_logged(rule, names) if _allows(rule) else [rule] for rule in profile.rules)
    return replace(profile, rules=tuple(part for parts in rules for part in parts))


def opened(profile: Profile, names: Collection[str]) -> Profile:
    """A profile to see with which calls are denied: the `openable` ones are let through, and
    logged if they are among `names`.

    Tripwires, rules on arguments, calls without a rule and NEVER_OPENED stay denied.
    """
    rules: list[Rule] = []
    for rule in profile.rules:
        if not _is_ordinary_denial(rule):
            rules.append(rule)
            continue
        held = tuple(name for name in rule.names if name in NEVER_OPENED)
        free = tuple(name for name in rule.names if name not in {*held, "socket"})
        rules += [replace(rule, names=held)] if held else []
        rules += _logged(replace(rule, names=free), names)
        if "socket" in rule.names:
            action = Action(LOG if "socket" in names else ALLOW)
            rules += [
                Rule(("socket",), action, (Condition(0, _MASKED, _UINT32, family),), name)
                for name, family in FAMILIES.items()
            ]
    return replace(profile, rules=tuple(rules))


def proposal(
    profile: Profile, used: Collection[str], *, comment: str, engine: Collection[str] = ()
) -> Profile:
    """The smallest part of `profile` that allows the `used` calls, for this machine's ABI.

    engine: calls that the tool's engine makes under the same filter before the tool is watched;
    kept as ALWAYS is. Reasons stay with their groups; rules on arguments stay whole, as arguments
    are not logged. What is not used any more gets EPERM.
    """
    always = {name for names in ALWAYS.values() for name in names}
    before = allowed(profile)
    kept = before & {*used, *always, *engine}
    killed = {
        name for rule in profile.rules if rule.action.name == KILL_PROCESS for name in rule.names
    }
    gone = before - kept
    rules = []
    for rule in profile.rules:
        stays = rule.action.name == KILL_PROCESS
        names = tuple(name for name in rule.names if stays or name not in gone)
        if names:
            action = Action(ALLOW) if _allows(rule) else rule.action
            rules.append(replace(rule, names=names, action=action))
    known = gone - killed - set(seccomp.unknown_calls(profile))
    if known:
        why = f"Allowed by {profile.name}, and never used while this profile was learnt."
        rules.append(Rule(tuple(sorted(known)), _EPERM, (), why))
    return replace(
        profile, rules=tuple(rules), architectures=(seccomp.native(),), comment=comment, digest=""
    )


def _allows(rule: Rule) -> bool:
    return not rule.action.denies


def _is_ordinary_denial(rule: Rule) -> bool:
    return rule.action.name == ERRNO and not rule.conditions


def _logged(rule: Rule, names: Collection[str]) -> list[Rule]:
    """The rule, logging what is among `names` and allowing the others."""
    parts = (
        replace(rule, names=tuple(n for n in rule.names if n in names), action=Action(LOG)),
        replace(rule, names=tuple(n for n in rule.names if n not in names), action=Action(ALLOW)),
    )
    return [part for part in parts if part.names]


def render(profile: Profile) -> bytes:
    """The profile as OCI JSON, which `seccomp_profile.parse` reads back."""
    document: dict[str, object] = {"comment": profile.comment} if profile.comment else {}
    document |= {"defaultAction": profile.default.name}
    if profile.default.errno:
        document["defaultErrnoRet"] = profile.default.errno
    document["archMap"] = [
        {"architecture": name, "subArchitectures": []} for name in profile.architectures
    ]
    document["syscalls"] = [_rule(rule) for rule in profile.rules]
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _rule(rule: Rule) -> dict[str, object]:
    entry: dict[str, object] = {"comment": rule.comment} if rule.comment else {}
    entry |= {"names": list(rule.names), "action": rule.action.name}
    if rule.action.errno:
        entry["errnoRet"] = rule.action.errno
    if rule.conditions:
        entry["args"] = [
            {"index": c.index, "value": c.value, "op": c.op}
            | ({"valueTwo": c.value_two} if c.op == _MASKED else {})
            for c in rule.conditions
        ]
    return entry


@dataclass(frozen=True, slots=True)
class Difference:
    """What two profiles say of one call; `(default)` is the call that no rule names."""

    call: str
    before: str
    after: str


def differences(one: Profile, two: Profile) -> tuple[Difference, ...]:
    """The calls that two profiles decide differently, by name; comments do not count."""
    names = {name for profile in (one, two) for rule in profile.rules for name in rule.names}
    found = [Difference(name, decision(one, name), decision(two, name)) for name in sorted(names)]
    found.append(Difference("(default)", describe(one.default), describe(two.default)))
    found.append(Difference("(ABI)", _abis(one), _abis(two)))
    return tuple(item for item in found if item.before != item.after)


def decision(profile: Profile, name: str) -> str:
    """What the profile does with a call, in words: `allow`, `EPERM`, `kill`, or by argument."""
    found = [rule for rule in profile.rules if name in rule.names]
    if not found:
        return describe(profile.default)
    if not found[0].conditions:
        return describe(found[0].action)
    return "; ".join(sorted(_cases(found)))


def describe(action: Action) -> str:
    """An action in a word: `allow`, `log`, `kill`, or the name of the error."""
    if action.name == ERRNO:
        return errno.errorcode.get(action.errno, f"errno {action.errno}")
    return {ALLOW: "allow", LOG: "log", KILL_PROCESS: "kill"}[action.name]


def condition(item: Condition) -> str:
    """A comparison in C's words: `arg1 == 1`, `(arg0 & 0xff) == 1`."""
    if item.op == _MASKED:
        mask = "" if item.value == 2**64 - 1 else f" & {item.value:#x}"
        return f"(arg{item.index}{mask}) == {item.value_two:#x}"
    sign = "==" if item.op == "SCMP_CMP_EQ" else "!="
    return f"arg{item.index} {sign} {item.value:#x}"


def _cases(rules: list[Rule]) -> Iterator[str]:
    for rule in rules:
        words = " and ".join(condition(item) for item in rule.conditions)
        yield f"{describe(rule.action)} if {words}"


def _abis(profile: Profile) -> str:
    return ", ".join(sorted(profile.architectures))
