"""`fumehood top`: what runs and waits, refreshed until q or Ctrl-C; plain text in a pipe.

Must leave a terminal as it was, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from fumehood.cli.options import SocketOption, chosen
from fumehood.cli.present import age, is_terminal, printable, size
from fumehood.cli.ps import memory, progress, state
from fumehood.client import Client

HEADERS: Final = (
    "INVOCATION", "TOOL", "CALLER", "STATE", "AGE", "CPU%", "MEMORY", "PIDS", "PROGRESS",
)  # fmt: skip
_TO_THE_RIGHT: Final = frozenset({"AGE", "CPU%", "MEMORY", "PIDS"})
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _ERASE_RIGHT, _ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def command(
    interval: Annotated[
        float,
        typer.Option("--interval", "-d", min=0.2, max=60.0, metavar="SECONDS", help="Refresh."),
    ] = 1.0,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            metavar="N",
            help="Stop after N looks. In a pipe the default is one.",
            show_default=False,
        ),
    ] = None,
    socket: SocketOption = None,
) -> None:
    """Show what runs and waits, refreshed: your own, or all for an operator.

    CPU% is of one core, since the look before; MEMORY is in use of `limits.memory`. Those that
    use most CPU come first. q or Ctrl-C ends it. Not on a terminal it prints plain text.
    """
    with Client.connect(chosen(socket).socket) as client:
        if is_terminal(sys.stdout):
            with _screen(), contextlib.suppress(KeyboardInterrupt):
                _refresh(client, interval, count)
        else:
            _print(client, interval, count or 1)


class Looks:
    """What was seen the time before, to tell the CPU in use since."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, float]] = {}

    def cpu(self, items: Sequence[Mapping[str, Any]], now: float) -> dict[str, float]:
        """Percent of one core in use by each invocation, since it began when it is new."""
        used, seen = {}, {}
        for item in items:
            name, spent = str(item["invocation"]), item["cpu_seconds"]
            if spent is None:
                continue
            seen[name] = (now, float(spent))
            since, before = self._before.get(name, (now - (item["running_seconds"] or 0), 0.0))
            if now > since:
                used[name] = max(spent - before, 0.0) / (now - since) * 100
        self._before = seen
        return used


def frame(report: Mapping[str, Any], cpu: Mapping[str, float]) -> list[str]:
    """The lines of one look, as wide as they are."""
    items = sorted(report["invocations"], key=lambda i: -cpu.get(i["invocation"], -1.0))
    rows = [_row(item, cpu) for item in items]
    widths = [max(len(line[column]) for line in (HEADERS, *rows)) for column in range(len(HEADERS))]
    return [_summary(report), "", *(_line(line, widths) for line in (HEADERS, *rows))]


def _row(item: Mapping[str, Any], cpu: Mapping[str, float]) -> tuple[str, ...]:
    used = cpu.get(item["invocation"])
    words = (
        item["invocation"],
        item["tool"],
        item["caller"]["name"] or item["caller"]["uid"],
        state(item),
        age(item["age_seconds"]),
        "-" if used is None else f"{used:.0f}",
        memory(item),
        "-" if item["pids"] is None else item["pids"],
        progress(item["progress"]),
    )
    return tuple(printable(str(word)) for word in words)


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        word.rjust(width) if name in _TO_THE_RIGHT else word.ljust(width)
        for name, word, width in zip(HEADERS, words, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def _summary(report: Mapping[str, Any]) -> str:
    states = [item["state"] for item in report["invocations"]]
    waiting = sum(state in ("admitting", "waiting") for state in states)
    said = f"{len(states) - waiting} running, {waiting} waiting"
    if host := report.get("host"):
        said += (
            f"   host: CPU {host['cpu_percent']:.0f} % of {host['cpus']}, load {host['load_1']}, "
            f"memory {size(host['memory_available_bytes'])} of "
            f"{size(host['memory_total_bytes'])} available"
        )
    return said


def _print(client: Client, interval: float, count: int) -> None:
    """Frames of plain text, `interval` seconds apart."""
    looks = Looks()
    for number in range(count):
        if number:
            time.sleep(interval)  # as often as was asked for
            sys.stdout.write("\n")
        report = client.invocations()
        lines = frame(report, looks.cpu(report["invocations"], time.monotonic()))
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _refresh(client: Client, interval: float, count: int | None) -> None:
    looks, number = Looks(), 0
    while count is None or number < count:
        number += 1
        report = client.invocations()
        lines = frame(report, looks.cpu(report["invocations"], time.monotonic()))
        _draw(lines, *shutil.get_terminal_size())
        if _wait_for_q(interval):
            return


def _draw(lines: Sequence[str], width: int, height: int) -> None:
    """Over what is there, without clearing it first: that would flicker."""
    room = max(height - 1, 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more"]
    drawn = [
        f"{_BOLD}{line[:width]}{_PLAIN}{_ERASE_RIGHT}"
        if number == 2
        else line[:width] + _ERASE_RIGHT
        for number, line in enumerate(lines)
    ]
    sys.stdout.write(_HOME + "\r\n".join(drawn) + "\r\n" + _ERASE_BELOW)
    sys.stdout.flush()


def _wait_for_q(seconds: float) -> bool:
    """Wait; True when somebody typed q."""
    if not sys.stdin.isatty():
        time.sleep(seconds)  # nobody types: only the next frame is awaited
        return False
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        if ready and os.read(sys.stdin.fileno(), 64) in (b"q", b"Q", b""):
            return True
    return False


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """A screen of its own, on which keys are read one by one."""
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    keys = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    try:
        if keys is not None:
            tty.setcbreak(sys.stdin)
        sys.stdout.write(_ENTER)
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        if keys is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, keys)
        signal.signal(signal.SIGTERM, previous)
