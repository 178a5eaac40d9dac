"""Section 4, first part: output from 1 KB to 100 MB, arguments from 1 KB to 10 MB."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import plot, process, report
from bench.daemon import Daemon, daemon
from bench.peers.base import Place, Work
from bench.section import Findings, Scale, alone
from bench.stats import exponent, slope, spread, summarise
from fumehood.errors import FumehoodError

KB, MB = 1000, 1_000_000
OUTPUTS = (KB, 10 * KB, 100 * KB, MB, 10 * MB, 100 * MB)
ARGUMENTS = (KB, 10 * KB, 100 * KB, MB, 10 * MB)
LINEAR_FROM = 100 * KB
"""Below, a call's own cost hides what its size costs."""
LINE = "the quick brown fox jumps over the lazy dog 0123456789 and so on"
CONFIG = {"frame_bytes": "64MiB", "ceilings": {"output": "256MiB"}}


@dataclass(frozen=True, slots=True)
class Point:
    """Calls of one size: milliseconds of each; peak is the supervisor's memory in bytes."""

    size: int
    calls: Sequence[float] = ()
    peak: int = 0
    failed: str = ""

    @property
    def ms(self) -> float:
        """Median of a call."""
        return statistics.median(self.calls)


def run(place: Place, scale: Scale) -> Findings:
    with daemon(place, "daemon-size", config=CONFIG) as ours:
        outputs = [_output(ours, size, scale) for size in OUTPUTS]
    # A fresh one: what large outputs left in the allocator is not the arguments' to answer for.
    with daemon(place, "daemon-arguments", config=CONFIG) as ours:
        ours.add(_shell("swallow", "cat >/dev/null"), "swallow")
        arguments = [_arguments(ours, size, scale) for size in ARGUMENTS]
    series = {"output": outputs, "arguments": arguments}
    for name, points in series.items():
        print(_table(name, points))
    lines = {n: [(p.size, p.ms) for p in points if not p.failed] for n, points in series.items()}
    memory = {
        n: [(p.size, p.peak / process.MIB) for p in points if not p.failed]
        for n, points in series.items()
    }
    return Findings(
        data={
            name: {"points": [_json(p) for p in points], **_slopes(points)}
            for name, points in series.items()
        },
        plots={
            "growth-size.svg": plot.lines("Time of one call", "bytes", "ms", lines),
            "growth-size-memory.svg": plot.lines(
                "Supervisor's memory at most", "bytes", "MiB", memory
            ),
        },
    )


def _shell(name: str, script: str) -> Work:
    return Work(name, ("sh", "-c", script), {})


def _output(ours: Daemon, size: int, scale: Scale) -> Point:
    name = f"output-{size}"
    work = _shell(name, f"yes '{LINE}' | head -c {size}")
    ours.add(work, name, limits={"output": f"{2 * size // 1024 + 1}KiB", "timeout": "120s"})
    return _point(ours, size, scale, lambda client: client.call(name, {}, timeout=300))


def _arguments(ours: Daemon, size: int, scale: Scale) -> Point:
    text = (LINE + "\n") * (size // (len(LINE) + 1) + 1)
    given = {"text": text[:size]}
    return _point(ours, size, scale, lambda client: client.call("swallow", given, timeout=300))


def _point(ours: Daemon, size: int, scale: Scale, call: Callable[[Any], dict[str, Any]]) -> Point:
    supervisor = ours.supervisor()
    calls = min(scale.of(10, 3), max(3, 200 * MB // size))
    milliseconds = []
    try:
        with ours.client() as client:
            call(client)
            process.reset_peak(supervisor)
            for _ in range(calls):
                begin = time.perf_counter()
                result = call(client)
                milliseconds.append((time.perf_counter() - begin) * 1000)
                if result["status"] != "ok":
                    return Point(size, failed=f"status {result['status']}")
    except (FumehoodError, OSError) as error:
        return Point(size, failed=str(error))
    return Point(size, milliseconds, process.peak(supervisor))


def _slopes(points: list[Point]) -> dict[str, float]:
    """ms and bytes of memory for each MB, and the exponent of the growth in time."""
    good = [p for p in points if not p.failed and p.size >= LINEAR_FROM]
    return {
        "ms_per_mb": round(slope([(p.size / MB, p.ms) for p in good]), 3),
        "memory_per_byte": round(slope([(p.size, p.peak) for p in good]), 2),
        "exponent": round(exponent([(p.size, p.ms) for p in good if p.size >= MB]), 2),
    }


def _table(name: str, points: list[Point]) -> str:
    rows = [
        [f"{p.size:,}", p.failed, "", ""]
        if p.failed
        else [
            f"{p.size:,}",
            spread(p.calls),
            str(len(p.calls)),
            f"{p.peak / process.MIB:.0f}",
        ]
        for p in points
    ]
    found = _slopes(points)
    head = ["bytes", "ms for one call", "calls", "supervisor at most, MiB"]
    return report.table(f"4. Growing {name}, median ± MAD", head, rows) + (
        f"\nslope from {LINEAR_FROM:,} bytes: {found['ms_per_mb']:g} ms for each MB, "
        f"{found['memory_per_byte']:g} bytes of memory for each byte; "
        f"time grows as size^{found['exponent']:g} from 1 MB"
    )


def _json(point: Point) -> dict[str, object]:
    if point.failed:
        return {"bytes": point.size, "failed": point.failed}
    return {
        "bytes": point.size,
        "call": summarise([ms / 1000 for ms in point.calls]).to_json(),
        "supervisor_peak": point.peak,
    }


if __name__ == "__main__":
    alone("growth_size", run, docker=False)
