"""What a profile says about a call, read straight from its rules: the judge of compiled filters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from fumehood.kernel.seccomp_profile import Action, Condition, Profile, matches

UINT64 = 2**64 - 1


def decide(profile: Profile, name: str, args: tuple[int, ...]) -> Action:
    """The action of whichever rule holds, else the default. Rules never contradict each other."""
    padded = [arg & UINT64 for arg in args] + [0] * (6 - len(args))
    for rule in profile.rules:
        if name in rule.names and all(matches(c, padded[c.index]) for c in rule.conditions):
            return rule.action
    return profile.default


def text(action: Action) -> str:
    """In the words of `bpf.Verdict`."""
    name = action.name.removeprefix("SCMP_ACT_").lower()
    return f"errno {action.errno}" if name == "errno" else name


def satisfying(condition: Condition) -> int:
    """An argument for which the condition holds."""
    if condition.op == "SCMP_CMP_MASKED_EQ":
        return condition.value_two
    return (condition.value + (condition.op == "SCMP_CMP_NE")) & UINT64


def mutations(args: tuple[int, ...], indexes: set[int]) -> Iterator[tuple[int, ...]]:
    """`args`, then `args` with one argument changed: each bit flipped, and its neighbours."""
    yield args
    for index in sorted(indexes):
        value = args[index]
        flips = (value ^ (1 << bit) for bit in range(64))
        for changed in chain(flips, (value + 1, value - 1, 0, UINT64)):
            yield (*args[:index], changed & UINT64, *args[index + 1 :])
