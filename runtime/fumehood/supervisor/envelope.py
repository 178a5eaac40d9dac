"""What calls of one tool version usually take, and whether one took far more: robust statistics.

Pure. It must never flag before it has seen enough, and never on a spread that chance explains.
Median and median absolute deviation (MAD) keep their meaning while fewer than half of the calls
are unusual themselves; only what lies above is told, since nothing is harmed by using less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from fumehood.model.outcome import Notice, Outcome, Syscalls

SAMPLES: Final = 64
"""Calls that are remembered; a tool whose ways change is unusual for half as many."""
NORMAL: Final = 1.4826
"""A MAD times this is the standard deviation of a normal distribution."""
RELATIVE: Final = 0.1
"""Least spread, as a part of the median: two runs of one program never take the same."""
_RECOUNT: Final = 8
"""New calls after which the statistics are taken again (0.1 ms)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """floor: the least spread, in its unit. show: writes a value for a person."""

    name: str
    floor: float
    show: Callable[[float], str]
    said: str


def _seconds(value: float) -> str:
    return f"{value:.3g} s"


def _bytes(value: float) -> str:
    return f"{value / (1 << 20):.1f} MiB" if value >= 1 << 20 else f"{value:.0f} bytes"


def _count(value: float) -> str:
    return f"{value:g}"


METRICS: Final = (
    Metric("duration", 0.1, _seconds, "it ran"),
    Metric("cpu", 0.05, _seconds, "its CPU time was"),
    Metric("memory", 1 << 20, _bytes, "its memory peak was"),
    Metric("output", 4096, _bytes, "its output was"),
    Metric("denials", 0.25, _count, "system calls it was killed for:"),
)

Sample = Mapping[str, float]
"""A value for each metric that this host can tell."""


def sample(outcome: Outcome) -> dict[str, float]:
    """What one invocation took."""
    usage = outcome.usage
    output = usage.stdout_bytes + usage.stderr_bytes + sum(len(a.data) for a in outcome.artifacts)
    found: dict[str, float | None] = {
        "duration": usage.wall_seconds,
        "cpu": usage.cpu_seconds,
        "memory": usage.memory_peak_bytes,
        "output": output,
        "denials": _denials(outcome.syscalls),
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _denials(told: Syscalls | None) -> int | None:
    if told is None or not told.kills_visible:
        return None
    return told.others + sum(item.count for item in told.seen)


def teaches(outcome: Outcome) -> bool:
    """Whether it shows what the tool usually takes: not when something cut it short."""
    return outcome.status in ("ok", "tool_error") and outcome.breach is None


@dataclass(frozen=True, slots=True)
class Usual:
    """median, and the spread that one deviation is, of `calls` calls."""

    calls: int
    median: float
    spread: float


class Envelope:
    """The last calls of one tool version."""

    __slots__ = ("_counted", "_stale", "_values")

    def __init__(self, values: Mapping[str, Sequence[float]] | None = None) -> None:
        """values: for each metric the calls that are known, the oldest first."""
        known = values or {}
        self._values = {m.name: deque(known.get(m.name, ()), SAMPLES) for m in METRICS}
        self._counted: dict[str, Usual] = {}
        self._stale = _RECOUNT

    @property
    def values(self) -> dict[str, list[float]]:
        return {name: list(values) for name, values in self._values.items()}

    def learn(self, one: Sample) -> None:
        for name, value in one.items():
            self._values[name].append(value)
        self._stale += 1

    def usual(self) -> Mapping[str, Usual]:
        """What is usual, of each metric that was ever seen; a few calls behind."""
        few = min((u.calls for u in self._counted.values()), default=0) < SAMPLES
        if self._stale >= (1 if few else _RECOUNT):
            self._counted = {
                metric.name: _usual(values, metric.floor)
                for metric in METRICS
                if (values := self._values[metric.name])
            }
            self._stale = 0
        return self._counted

    def unusual(self, one: Sample, *, least: int, deviations: float) -> tuple[Notice, ...]:
        """A notice for each metric far above what is usual, once `least` calls are known."""
        found, known = [], self.usual()
        for metric in METRICS:
            value, usual = one.get(metric.name), known.get(metric.name)
            if value is None or usual is None or usual.calls < least:
                continue
            if value > usual.median + deviations * usual.spread:
                found.append(_notice(metric, value, usual))
        return tuple(found)


def _usual(values: Sequence[float], floor: float) -> Usual:
    middle = median(values)
    mad = median([abs(value - middle) for value in values])
    return Usual(len(values), middle, max(NORMAL * mad, RELATIVE * middle, floor))


def _notice(metric: Metric, value: float, usual: Usual) -> Notice:
    message = (
        f"{metric.said} {metric.show(value)}, {(value - usual.median) / usual.spread:.0f} "
        f"deviations of {metric.show(usual.spread)} above the {metric.show(usual.median)} that "
        f"are usual (median of {usual.calls} calls of this version)"
    )
    return Notice(f"unusual-{metric.name}", "low", message)


def told(known: Mapping[str, Usual]) -> str:
    """What is usual, in one line for a person; empty when nothing is known."""
    parts = [f"{m.name} {m.show(known[m.name].median)}" for m in METRICS if m.name in known]
    calls = max((usual.calls for usual in known.values()), default=0)
    return f"usual for {calls} calls: {', '.join(parts)}" if parts else ""
