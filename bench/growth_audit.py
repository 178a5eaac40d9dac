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
BYTES_PER_RECORD = 700
VERIFIED = 1_000_000
"""Longer logs are started from and called with, not verified: that is a straight line by then."""
MIB = 1024 * 1024

_FILL = """
import json, sys
GROUP = int(sys.argv[5])
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from fumehood.audit.chain import SEGMENT_BYTES
from fumehood.audit.custody import SEGMENT_TYPE, RingCustody
from fumehood.audit.head import START, Signed, render_head, show_first_key, write_signed
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import encode_fields
from fumehood.audit.segments import segment_name
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
state, wanted, last = Path(sys.argv[2]), int(sys.argv[3]), START
keys, log = RingCustody(open_ring(state, Periods())), state / "audit"
first_key = bytes(48)
(log / "first.key").write_text(show_first_key(first_key))
(log / "first.key").chmod(0o600)
ratchet, time = Ratchet.first(first_key), "2026-01-01T00:00:00.000000Z"
fields = encode_fields("invocation.ended", json.loads(sys.argv[4]))
while last.seq < wanted:
    if last.seq:
        end = Signed(ratchet.chain, first, last, epoch, time)
        write_signed(path.with_suffix(".sig"), end, keys, SEGMENT_TYPE)
        ratchet.next_segment()
    first, room = last.seq + 1, SEGMENT_BYTES
    path = log / segment_name(first)
    with path.open("wb", 1 << 20) as file:
        while last.seq < wanted and room > 0:
            epoch, sealer = ratchet.epoch, ratchet.sealer()
            for _ in range(min(GROUP, wanted - last.seq)):
                line, last = sealer.seal(last, time, "invocation.ended", fields)
                room -= file.write(line)
            ratchet.advance()
(log / "head").write_bytes(render_head(ratchet, ratchet.sealer(), last, keys))
"""
"""Run by the daemon's interpreter: writes the same lines and files as the daemon would, only
without waiting for the disk after each."""

_RECORD = {
    "invocation": "01a2002f-a269-716f-a068-95ee26d21dae",
    "tool": "echo",
    "caller": {"uid": 0, "gid": 0, "pid": 1},
    "tool_version": "1.0.0",
    "tool_digest": "sha384:" + "0" * 96,
    "status": "ok",
    "exit_code": 0,
    "usage": {"wall_seconds": 0.01, "cpu_seconds": 0.01, "memory_peak_bytes": 1_000_000},
    "plan": "sha384:" + "1" * 96,
}


@dataclass(frozen=True, slots=True)
class Point:
    """Seconds and peak bytes at one length of the log."""

    records: int
    log_bytes: int
    start: float
    call_ms: float
    verify: float | None
    verify_peak: int
    took: float


def run(place: Place, scale: Scale) -> Findings:
    most = COUNTS[-1] if scale.rounds >= FULL_ROUNDS else COUNTS[-2]
    most = most if scale.rounds >= LARGE_ROUNDS else COUNTS[1]
    free = shutil.disk_usage(place.folder).free
    counts = [c for c in COUNTS if c <= most and c * BYTES_PER_RECORD * 1.2 < free]
    with daemon(place, "daemon-audit") as ours:
        ours.add(WORK, "echo")
        state = ours.state
    points: list[Point] = []
    notes: list[str] = []
    for count in counts:
        needed = points[-1].took * count / points[-1].records if points else 0.0
        if needed > scale.left:
            left = max(scale.left, 0.0)
            notes.append(
                f"{count:,} records: not measured: {needed:.0f} s at the pace so far, {left:.0f} s"
                " are left of a run"
            )
            continue
        points.append(_point(place, state, count))
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
                    "audit verify": [(p.records, p.verify) for p in points if p.verify],
                    "start of the daemon": [(p.records, p.start) for p in points],
                },
            )
        },
    )


def _point(place: Place, state: Path, count: int) -> Point:
    """A log of exactly `count` records made anew: what the daemon itself appended is dropped."""
    began = time.monotonic()
    log = state / "audit"
    owner = log.stat()
    for path in log.iterdir():
        path.unlink()
    python = console()[0]
    # The daemon seals anew for each group that it writes; a log that nobody verifies may be made
    # of the largest ones.
    group = 4 if count <= VERIFIED else 512
    words = [RUNTIME, str(state), str(count), json.dumps(_RECORD), str(group)]
    subprocess.run([python, "-I", "-c", _FILL, *words], check=True)
    for path in log.iterdir():
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o600)
    size = sum(path.stat().st_size for path in log.iterdir())
    seconds, peak = _verify(state) if count <= VERIFIED else (None, 0)
    name = f"daemon-audit-{count}"
    begin = time.monotonic()
    with daemon(place, name, state=state) as ours:
        start = time.monotonic() - begin
        calls = []
        with ours.client() as client:
            for _ in range(10):
                begin = time.perf_counter()
                client.call("echo", WORK.arguments, timeout=60)
                calls.append(time.perf_counter() - begin)
    took = time.monotonic() - began
    return Point(count, size, start, summarise(calls).p50, seconds, peak, took)


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
    verified = [(p.records, p.verify, p.verify_peak) for p in points if p.verify is not None]
    return {
        "verify_us_per_record": round(slope([(n, took * 1e6) for n, took, _ in verified]), 3),
        "verify_bytes_per_record": round(slope([(n, peak) for n, _, peak in verified]), 3),
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
            "-" if p.verify is None else f"{p.verify:.2f}",
            "-" if p.verify is None else f"{p.verify_peak / MIB:.0f}",
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
        "start_seconds": round(point.start, 3),
        "call_ms": round(point.call_ms, 3),
        "verify_seconds": None if point.verify is None else round(point.verify, 3),
        "verify_peak": point.verify_peak,
    }


if __name__ == "__main__":
    alone("growth_audit", run, docker=False)
