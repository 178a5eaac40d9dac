"""Section 4, last part: an audit log of up to ten million records: the daemon's start, a call, and
`fumehood audit verify`, in time and memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import RUNTIME, plot, report
from bench.daemon import console, daemon
from bench.latency import WORK
from bench.peers.base import Place
from bench.section import Findings, Scale, alone
from bench.stats import slope, summarise

COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
FULL_ROUNDS, LARGE_ROUNDS = 30, 10
"""Below so many rounds the ten and the one million are left out: they take minutes."""
BYTES_PER_RECORD = 1_500
CONFIG = {"storage": {"audit": "24GiB"}}
"""Ten million records are 14.5 GB, which the default of 4 GiB does not hold: retention must not
remove what is measured."""
FILL = Path(__file__).with_name("audit_fill.py")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Point:
    """Seconds and peak bytes at one length of the log. fill: what making it took, and start the
    daemon's; verify_peak: of the largest of the processes that share a check."""

    records: int
    log_bytes: int
    fill: float
    start: float
    call_ms: float
    verify: float
    verify_peak: int

    def needed(self, count: int) -> float:
        """Seconds for a log of `count` records, going by this one."""
        return (self.fill + self.verify) * count / self.records + self.start + 10

    def most(self, seconds: float) -> int:
        """Records, in whole ones of these, that fit into so many seconds."""
        fitting = (seconds - self.start - 10) / (self.fill + self.verify)
        return max(0, int(fitting)) * self.records


def run(place: Place, scale: Scale) -> Findings:
    most = COUNTS[-1] if scale.rounds >= FULL_ROUNDS else COUNTS[-2]
    most = most if scale.rounds >= LARGE_ROUNDS else COUNTS[1]
    free = shutil.disk_usage(place.folder).free
    counts = [c for c in COUNTS if c <= most and c * BYTES_PER_RECORD * 1.2 < free]
    with daemon(place, "daemon-audit", config=CONFIG) as ours:
        ours.add(WORK, "echo")
        state = ours.state
        with ours.client() as client:
            client.call("echo", WORK.arguments, timeout=60)
    sample = _sample(place, state)
    points: list[Point] = []
    notes = [
        f"{count:,} records: not measured with {scale.rounds} rounds"
        for count in COUNTS
        if count > most
    ]
    for count in counts:
        needed = points[-1].needed(count) if points else 0.0
        if needed > scale.left:
            left = max(scale.left, 0.0)
            notes.append(
                f"{count:,} records: not measured: {needed:.0f} s at the pace so far, {left:.0f} s"
                " are left of a run"
            )
            count = points[-1].most(scale.left)
            if count < 2 * points[-1].records:
                continue
            notes.append(f"{count:,} records instead")
        points.append(_point(place, state, sample, count))
    print(_table(points))
    notes += [
        f"{count:,} records: not measured: {free / 1e9:.0f} GB are free"
        for count in COUNTS
        if count <= most and count not in counts
    ]
    print("\n".join(notes))
    return Findings(
        data={"audit": [_json(point) for point in points], **_slopes(points)},
        plots={
            "growth-audit.svg": plot.lines(
                "An audit log grows",
                "records",
                "seconds",
                {
                    "audit verify": [(p.records, p.verify) for p in points],
                    "start of the daemon": [(p.records, p.start) for p in points],
                },
            )
        },
    )


def _sample(place: Place, state: Path) -> Path:
    """A copy of the log of a daemon that answered a call."""
    sample = place.path / "audit-sample.jsonl"
    segments = sorted((state / "audit").glob("*.jsonl"))
    sample.write_bytes(b"".join(path.read_bytes() for path in segments))
    return sample


def _point(place: Place, state: Path, sample: Path, count: int) -> Point:
    """A log of exactly `count` records made anew: what the daemon itself appended is dropped."""
    log = state / "audit"
    owner = log.stat()
    for path in log.iterdir():
        path.unlink()
    begin = time.monotonic()
    words = [str(FILL), RUNTIME, str(state), str(count), str(sample)]
    subprocess.run([console()[0], "-I", *words], check=True)
    fill = time.monotonic() - begin
    for path in log.iterdir():
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o600)
    size = sum(path.stat().st_size for path in log.iterdir())
    seconds, peak = _verify(state)
    name = f"daemon-audit-{count}"
    begin = time.monotonic()
    with daemon(place, name, state=state, config=CONFIG) as ours:
        start = time.monotonic() - begin
        calls = []
        with ours.client() as client:
            for _ in range(10):
                begin = time.perf_counter()
                client.call("echo", WORK.arguments, timeout=60)
                calls.append(time.perf_counter() - begin)
    return Point(count, size, fill, start, summarise(calls).p50, seconds, peak)


_MEASURE = """
import json, resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, time.monotonic() - begin, used.ru_maxrss * 1024]))
"""
"""In a process of its own: a child is charged with the memory of whoever starts it (exec(2) keeps
the larger of both), and a benchmark is large."""


def _verify(state: Path) -> tuple[float, int]:
    """Seconds and peak bytes of `fumehood audit verify`."""
    argv = [*console(), "audit", "verify", "--state", str(state)]
    measured = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _MEASURE, *argv],
        env={"PATH": "/usr/bin:/bin", "HOME": "/"},
        stdout=subprocess.PIPE,
        check=True,
    )
    status, seconds, peak = json.loads(measured.stdout)
    if status:
        sys.exit("the audit log that the benchmark wrote does not verify: bench/growth_audit.py")
    return seconds, peak


def _slopes(points: list[Point]) -> dict[str, float]:
    return {
        "verify_us_per_record": round(slope([(p.records, p.verify * 1e6) for p in points]), 3),
        "verify_bytes_per_record": round(slope([(p.records, p.verify_peak) for p in points]), 3),
        "start_us_per_record": round(slope([(p.records, p.start * 1e6) for p in points]), 4),
    }


def _table(points: list[Point]) -> str:
    head = ["records", "log, MB", "daemon's start, s", "ms for one call", "verify, s"]
    rows = [
        [
            f"{p.records:,}",
            f"{p.log_bytes / 1e6:.0f}",
            f"{p.start:.2f}",
            f"{p.call_ms:.1f}",
            f"{p.verify:.2f}",
            f"{p.verify_peak / MIB:.0f}",
        ]
        for p in points
    ]
    found = _slopes(points)
    return report.table("4. A growing audit log", [*head, "verify at most, MiB"], rows) + (
        f"\nslope: verify {found['verify_us_per_record']:.2f} µs and "
        f"{found['verify_bytes_per_record']:.2f} bytes of memory for each record, "
        f"start {found['start_us_per_record']:.3f} µs"
    )


def _json(point: Point) -> dict[str, object]:
    return {
        "records": point.records,
        "log_bytes": point.log_bytes,
        "fill_seconds": round(point.fill, 3),
        "start_seconds": round(point.start, 3),
        "call_ms": round(point.call_ms, 3),
        "verify_seconds": round(point.verify, 3),
        "verify_peak": point.verify_peak,
    }


if __name__ == "__main__":
    alone("growth_audit", run, docker=False)
