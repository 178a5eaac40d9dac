"""Numbers from samples: percentiles, spread, slopes. Pure; must never drop a sample."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """Milliseconds of `n` calls. mad: median absolute deviation from the median."""

    n: int
    least: float
    p50: float
    p90: float
    p99: float
    mad: float

    def to_json(self) -> dict[str, float]:
        return {key: round(value, 4) for key, value in asdict(self).items()}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: a value that was measured, never one between two."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarise(seconds: Sequence[float]) -> Summary:
    """Summary of at least one sample given in seconds."""
    ordered = sorted(value * 1000 for value in seconds)
    middle = statistics.median(ordered)
    return Summary(
        n=len(ordered),
        least=ordered[0],
        p50=middle,
        p90=percentile(ordered, 0.9),
        p99=percentile(ordered, 0.99),
        mad=statistics.median(abs(value - middle) for value in ordered),
    )


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median ± median absolute deviation of at least one value, as tables print it."""
    middle = statistics.median(values)
    mad = statistics.median(abs(value - middle) for value in values)
    return f"{middle:.{digits}f} ±{mad:.{digits}f}"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares, y for each x; nan for fewer than two different x."""
    if len({x for x, _ in points}) < 2:
        return math.nan
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope in log-log: 1 means y grows as x does, 0 not at all; nan where it has no meaning."""
    usable = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    return slope(usable)
