"""Detectors that fail in every way there is, for scanner processes that tests start."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.detector import Match
from fumehood.scan.search import Searcher


def _crash() -> None:
    ctypes.string_at(8)


def _stall() -> None:
    # Native code that never returns: no deadline of Python's is seen.
    ctypes.CDLL(None).poll(None, 0, -1)


def _spin() -> None:
    while True:
        pass


def _eat() -> None:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def _leave() -> None:
    os._exit(0)


def _reach() -> None:
    """What a scanner that was taken over would try: each attempt must fail."""
    attempts: tuple[Callable[[], object], ...] = (
        lambda: Path("/etc/passwd").read_bytes(),
        lambda: Path("/tmp/fumehood-scan-was-here").write_bytes(b"x"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        lambda: os.execv("/bin/true", ["true"]),
        os.fork,
        lambda: os.kill(os.getppid(), 0),
    )
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except OSError:
            continue
        raise ValueError(f"attempt {number} succeeded")


WORDS: dict[bytes, Callable[[], None]] = {
    b"crash": _crash, b"stall": _stall, b"spin": _spin, b"eat": _eat, b"leave": _leave,
    b"reach": _reach, b"sleep": lambda: ctypes.CDLL(None).poll(None, 0, 300),
}  # fmt: skip


class Faulty:
    """Does what the text says; finds `secret`."""

    name = "faulty"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        for word, act in WORDS.items():
            if word in data:
                act()
        at = data.find(b"secret")
        return [Match("found", "secret", "high", at, at + 6)] if at >= 0 else []


def searcher(_cache: Path | None, _spec: ScanSpec) -> Searcher:
    return Searcher([Faulty()], [])


def never(_cache: Path | None, _spec: ScanSpec) -> Searcher:
    """Rules that take for ever to load."""
    while True:
        signal.pause()
