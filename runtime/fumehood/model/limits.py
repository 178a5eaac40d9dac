"""Limits as a person writes them, with the bounds that hold for everybody.

Must never fill a gap with "unlimited": each field has a default, a unit, a least and a most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from fumehood.model.document import shown
from fumehood.model.plan import Limits
from fumehood.model.units import (
    Cpu,
    FieldError,
    Milliseconds,
    Size,
    format_cpu,
    format_duration,
    format_size,
)

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

SCRATCH_BYTES_PER_INODE: Final = 4 * KIB
MIN_SCRATCH_INODES: Final = 64
MAX_SCRATCH_INODES: Final = 65_536

_SCRATCH: Final = "/tmp and /out together"  # noqa: S108  (paths inside the sandbox)

_FORMATS: Final[dict[str, Callable[[int], object]]] = {
    "timeout": format_duration,
    "cpu": format_cpu,
    "memory": format_size,
    "pids": int,
    "scratch": format_size,
    "output": format_size,
}


def bounds(least: float, most: float, show: Callable[[Any], object]) -> AfterValidator:
    """Refuse a value outside `least`…`most`, naming it and the bound it breaks."""

    def check(value: float) -> float:
        remedy = f"write {show(least)} to {show(most)}"
        if value < least:
            raise FieldError(f"{show(value)} is below the least allowed, {show(least)}", remedy)
        if value > most:
            raise FieldError(f"{show(value)} is above the most allowed, {show(most)}", remedy)
        return value

    return AfterValidator(check)


def whole(least: int, most: int) -> tuple[BeforeValidator, AfterValidator, WithJsonSchema]:
    """What makes a field a whole number between two bounds; true and 1.0 are not numbers here."""

    def check(value: object) -> object:
        if type(value) is not int or abs(value) >= 2**64:
            remedy = f"write a whole number from {least} to {most}"
            raise FieldError(f"expected a whole number, got {shown(value)}", remedy)
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return BeforeValidator(check), bounds(least, most, int), WithJsonSchema(schema)


Timeout = Annotated[Milliseconds, bounds(10, 24 * 3_600_000, format_duration)]
Grace = Annotated[Milliseconds, bounds(10, 10_000, format_duration)]
Cores = Annotated[Cpu, bounds(10, 1_024_000, format_cpu)]
Memory = Annotated[Size, bounds(4 * MIB, 1024 * GIB, format_size)]
Pids = Annotated[int, *whole(4, 32_768)]
Scratch = Annotated[Size, bounds(64 * KIB, 64 * GIB, format_size)]
Output = Annotated[Size, bounds(1 * KIB, 1 * GIB, format_size)]


class _Limits(BaseModel):
    """Limits that have a ceiling. Units as held: milliseconds, thousandths of a core, bytes.

    pids counts processes and threads together; below 4 no sandbox can start, because its own
    first processes count. scratch is /tmp and /out together; output is each of stdout and
    stderr, and all artifacts together.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=False)

    timeout: Timeout = Field(default=10_000, description="wall time from start to death")
    cpu: Cores = Field(default=1_000, description="CPU bandwidth in cores")
    memory: Memory = Field(default=128 * MIB, description="memory and tmpfs together, no swap")
    pids: Pids = Field(default=32, description="processes and threads together")
    scratch: Scratch = Field(default=16 * MIB, description=_SCRATCH)
    output: Output = Field(default=1 * MIB, description="each of stdout, stderr, all artifacts")

    def to_plan(self) -> Limits:
        """The same limits as a plan holds them; inodes are derived, one for 4 KiB of scratch."""
        inodes = self.scratch // SCRATCH_BYTES_PER_INODE
        return Limits(
            timeout_ms=self.timeout,
            cpu_millis=self.cpu,
            memory_bytes=self.memory,
            pids=self.pids,
            scratch_bytes=self.scratch,
            scratch_inodes=min(max(inodes, MIN_SCRATCH_INODES), MAX_SCRATCH_INODES),
            output_bytes=self.output,
        )


class LimitsSpec(_Limits):
    """The `limits` of a manifest. cpu_time has no ceiling of its own: timeout times cpu bounds
    what a tool can burn; nor has grace, whose most is small."""

    cpu_time: Timeout | None = Field(default=None, description="CPU time, user and system")
    grace: Grace = Field(default=500, description="from SIGTERM to the kill")

    def to_plan(self) -> Limits:
        return dataclasses.replace(
            super().to_plan(), cpu_time_ms=self.cpu_time or 0, grace_ms=self.grace
        )


class CeilingsSpec(_Limits):
    """The operator's `ceilings`: the most any manifest may ask for."""

    timeout: Timeout = Field(default=600_000, description="wall time from start to death")
    cpu: Annotated[Cpu, bounds(1_000, 1_024_000, format_cpu)] = Field(
        default=2_000, description="CPU bandwidth in cores"
    )
    memory: Memory = Field(default=2 * GIB, description="memory and tmpfs together, no swap")
    pids: Pids = Field(default=512, description="processes and threads together")
    scratch: Scratch = Field(default=512 * MIB, description=_SCRATCH)
    output: Output = Field(default=16 * MIB, description="each of stdout, stderr, all artifacts")


def above(asked: Limits, ceiling: Limits) -> tuple[str, str] | None:
    """The first limit above its ceiling: its key, and one sentence naming both numbers."""
    for key, name in _FIELDS:
        wants, most = getattr(asked, name), getattr(ceiling, name)
        if wants > most:
            show = _FORMATS[key]
            return key, f"{show(wants)} is above this installation's ceiling of {show(most)}"
    return None


_FIELDS: Final = (
    ("timeout", "timeout_ms"),
    ("cpu", "cpu_millis"),
    ("memory", "memory_bytes"),
    ("pids", "pids"),
    ("scratch", "scratch_bytes"),
    ("output", "output_bytes"),
)
