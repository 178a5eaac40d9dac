"""W3C trace context of a call, as MCP carries it in `_meta`: taken strictly, passed on.

Source: https://www.w3.org/TR/trace-context/ (level 1). What is not well-formed is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
MAX_STATE: Final = 512
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?")
_STATE: Final = re.compile(r"[ -~]{1,512}")


@dataclass(frozen=True, slots=True)
class Trace:
    """trace: 32 hex digits; parent: the caller's span, 16; sampled: whether it records its own."""

    trace: str
    parent: str
    sampled: bool
    state: str = ""

    def parent_of(self, span: str) -> str:
        """`traceparent` for what `span` causes."""
        return f"00-{self.trace}-{span}-{'01' if self.sampled else '00'}"


def taken(meta: Mapping[str, Any]) -> Trace | None:
    """The context that came with a request; None where there is none, or none that can be used."""
    value = meta.get(PARENT)
    if not isinstance(value, str):
        return None
    found = _PARENT.fullmatch(value[:256])
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if (
        version == "ff"
        or (version == "00" and more)
        or not (trace.strip("0") and parent.strip("0"))
    ):
        return None
    state = meta.get(STATE, "")
    usable = isinstance(state, str) and _STATE.fullmatch(state) is not None
    return Trace(trace, parent, bool(int(flags, 16) & 1), state if usable else "")


def of_invocation(invocation: str, came: Trace | None) -> Trace:
    """The trace that an invocation is part of: its caller's, or one of its own that is named as
    it is, so that either is found from the other."""
    return came or Trace(invocation.replace("-", ""), "", sampled=True)


def span_of(invocation: str) -> str:
    """The invocation's own span: the random half of its UUIDv7."""
    return invocation.replace("-", "")[16:]


def told(invocation: str, came: Trace | None, *, traced: bool) -> dict[str, str]:
    """What goes on: into the result's `_meta`, and to a tool that asks.

    traced: whether the invocation has a span; else the caller's is passed on as it came.
    """
    if not traced and came is None:
        return {}
    trace = of_invocation(invocation, came)
    span = span_of(invocation) if traced else trace.parent
    return {PARENT: trace.parent_of(span), **({STATE: trace.state} if trace.state else {})}
