"""Section 4, second part: 1 to 1,000 registered tools, 1 to 1,000 connected clients, and the
memory of what waits ready."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import plot, process, report
from bench.daemon import LEVELS, Daemon, Levels, daemon
from bench.latency import WORK
from bench.load import connect
from bench.peers.base import Place
from bench.section import Findings, Scale, alone
from bench.stats import slope, spread, summarise
from bench.targets import Verdict

COUNTS = (1, 10, 100, 1000)
RSS_JUDGED_AT = 100
MOST_RSS_MB = 120
MOST_READY_MB = 2
MB = 1_000_000
FIRST_UID, EACH_UID = 70_000, 64
"""One account may hold only so many connections, so a thousand come from many accounts."""
CONFIG = {
    "connections": 4_096,
    "callers": {"users": [0, *range(FIRST_UID, FIRST_UID + COUNTS[-1] // EACH_UID + 1)]},
}
DESCRIPTORS = 4096


@dataclass(frozen=True, slots=True)
class Point:
    """calls, listed: milliseconds of each tools/call and tools/list; rss: the supervisor's, in
    bytes."""

    count: int
    calls: Sequence[float] = ()
    listed: Sequence[float] = ()
    rss: int = 0
    failed: str = ""

    @property
    def ms(self) -> float:
        """Median of a call."""
        return statistics.median(self.calls)


def run(place: Place, scale: Scale) -> Findings:
    _raise_descriptors()
    with daemon(place, "daemon-tools") as ours:
        tools = _tools(ours, scale)
    with daemon(place, "daemon-clients", config=CONFIG) as ours:
        ours.add(WORK, "echo")
        clients = _clients(ours, scale)
    print(_table("registered tools", tools))
    print(_table("connected clients", clients))
    ready = _ready(place)
    print(_ready_table(ready))
    series = {"registered tools": tools, "connected clients": clients}
    at = next((p.rss for p in tools if p.count == RSS_JUDGED_AT), None)
    started = ready.get("started")
    return Findings(
        data={
            **{name: {"points": [_json(p) for p in points]} for name, points in series.items()},
            "ready sandbox, unshared bytes": ready,
        },
        verdicts=[
            Verdict(
                f"supervisor RSS with {RSS_JUDGED_AT} tools",
                most=MOST_RSS_MB,
                measured=at / MB if at else None,
                unit="MB",
            ),
            Verdict(
                "idle started `cat`, unshared memory",
                most=MOST_READY_MB,
                measured=started / MB if isinstance(started, int) else None,
                unit="MB",
            ),
        ],
        plots={
            "growth-count.svg": plot.lines(
                "Time of one call",
                "how many",
                "ms",
                {n: [(p.count, p.ms) for p in pts if not p.failed] for n, pts in series.items()},
            )
        },
    )


def _raise_descriptors() -> None:
    """A thousand connections need a thousand descriptors on our side too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _tools(ours: Daemon, scale: Scale) -> list[Point]:
    points, registered = [], 0
    for count in COUNTS:
        while registered < count:
            ours.add(WORK, f"echo-{registered:04}")
            registered += 1
        points.append(_point(ours, count, "echo-0000", scale))
        if count == RSS_JUDGED_AT:
            more = sum(process.unshared(pid) for pid in process.descendants(ours.supervisor()))
            print(f"beside the supervisor, its scanning processes: {more / MB:.0f} MB unshared")
    return points


def _clients(ours: Daemon, scale: Scale) -> list[Point]:
    points = []
    with contextlib.ExitStack() as stack:
        held = 0
        for count in COUNTS:
            try:
                # One more calls: `count` in all.
                while held < count - 1:
                    more = min(EACH_UID - held % EACH_UID, count - 1 - held)
                    with _account(FIRST_UID + held // EACH_UID, ours.socket.stat().st_gid):
                        made = connect(ours.socket, more)
                    held += more
                    for one in made:
                        stack.enter_context(one)
            except OSError as error:
                points.append(Point(count, failed=f"no connection: {error}"))
                break
            points.append(_point(ours, count, "echo", scale))
    return points


@contextlib.contextmanager
def _account(uid: int, gid: int) -> Iterator[None]:
    """Be somebody else while connecting (SO_PEERCRED remembers it); nobody else but root can."""
    if os.geteuid():
        yield
        return
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _point(ours: Daemon, count: int, tool: str, scale: Scale) -> Point:
    calls, listed = [], []
    try:
        with ours.client() as client:
            for number in range(scale.of(20, 3)):
                begin = time.perf_counter()
                client.call(tool, WORK.arguments, timeout=60)
                calls.append((time.perf_counter() - begin) * 1000)
                if number % 4 == 0:
                    begin = time.perf_counter()
                    client.tools()
                    listed.append((time.perf_counter() - begin) * 1000)
        rss = process.rss(ours.supervisor())
    except Exception as error:  # noqa: BLE001  (recorded in the table)
        return Point(count, failed=f"{type(error).__name__}: {error}")
    return Point(count, calls, listed, rss)


def _ready(place: Place) -> dict[str, int | str]:
    """Unshared bytes of all processes of one sandbox that waits, by level."""
    found: dict[str, int | str] = {}
    for level in LEVELS[1:]:
        # A daemon for each: what waits ready is of one level only.
        with contextlib.ExitStack() as stack:
            levels = Levels(stack, place)
            row = levels.offer(WORK, level)
            found[level] = row if isinstance(row, str) else _unshared(levels, row.options["tool"])
    return found


def _unshared(levels: Levels, tool: str) -> int | str:
    with levels.warm.client() as client:
        client.call(tool, WORK.arguments, timeout=60)
        account = int(client.show_tool(tool)["account"])
        deadline = time.monotonic() + 5
        while not client.status()["ready"] and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        ready = int(client.status()["ready"])
        total = sum(process.unshared(pid) for pid in process.processes_of(account))
    return total // ready if ready and total else "nothing waits ready"


def _table(name: str, points: Sequence[Point]) -> str:
    head = [name, "ms for one call", "ms for tools/list", "calls", "supervisor, MB"]
    rows = [
        [f"{p.count:,}", p.failed, "", "", ""]
        if p.failed
        else [
            f"{p.count:,}",
            spread(p.calls, 2),
            spread(p.listed, 2),
            str(len(p.calls)),
            f"{p.rss / MB:.0f}",
        ]
        for p in points
    ]
    good = [p for p in points if not p.failed]
    each = slope([(p.count, p.rss) for p in good])
    return report.table(f"4. Growing {name}, median ± MAD", head, rows) + (
        f"\nslope: {_late(good)} and {each / 1000:.1f} KB of memory with each one more"
    )


def _late(points: Sequence[Point]) -> str:
    """What each one more adds to a call; nothing that the spread of the calls could be."""
    late = slope([(p.count, p.ms * 1000) for p in points])
    noise = max((summarise([ms / 1000 for ms in p.calls]).mad for p in points), default=0.0)
    if points and abs(late) * points[-1].count <= noise * 1000:
        return "nothing beyond the spread of a call"
    return f"{late:.2f} µs for a call"


def _ready_table(ready: dict[str, int | str]) -> str:
    rows = [
        [level, f"{value / MB:.2f}" if isinstance(value, int) else value]
        for level, value in ready.items()
    ]
    return report.table("4. One `cat` sandbox that waits ready", ["level", "unshared MB"], rows)


def _json(point: Point) -> dict[str, object]:
    if point.failed:
        return {"count": point.count, "failed": point.failed}
    return {
        "count": point.count,
        "call": summarise([ms / 1000 for ms in point.calls]).to_json(),
        "tools/list": summarise([ms / 1000 for ms in point.listed]).to_json(),
        "supervisor_rss": point.rss,
    }


if __name__ == "__main__":
    alone("growth_count", run, docker=False)
