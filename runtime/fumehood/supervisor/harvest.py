"""What a sandbox writes, drained without blocking and without bound on its side: streams and
artifacts. Must never hold more than the cap, and never follow anything a tool named.

Streams are raw pipes on the event loop: no thread, no buffering beyond the cap.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from fumehood.launcher.client import End
from fumehood.model.outcome import Artifact

CHUNK = 64 * 1024
"""The default capacity of a pipe (pipe(7))."""
DRAIN_FACTOR = 16
"""Past its cap a stream is drained and counted up to this many caps; then the sandbox is
killed, so that a flood costs us a bounded amount too."""


class Drain:
    """Reads one stream to its end: keeps `cap` bytes, counts the rest."""

    def __init__(self, fd: int, cap: int, on_exceeded: Callable[[], None]) -> None:
        """Takes the descriptor over. on_exceeded: called once, when it is time to kill."""
        self._fd = fd
        self._cap = cap
        self._on_exceeded = on_exceeded
        self.on_data: Callable[[bytes], None] | None = None
        """Sees what is read, kept or not; must be quick."""
        self.on_end: Callable[[], None] | None = None
        """Called when there is no writer any more, and all is read."""
        self._loop = asyncio.get_running_loop()
        self._kept: bytes | bytearray = bytearray()
        self.count = 0
        """Bytes read so far."""
        self.done: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    @property
    def exceeded(self) -> bool:
        return self.count > self._cap

    @property
    def kept(self) -> bytes:
        """At the end the very bytes, and no copy: an output may be all that a limit allows."""
        return self._kept if isinstance(self._kept, bytes) else bytes(self._kept)

    def part(self, start: int, most: int) -> bytes:
        """At most `most` of the bytes kept so far, from `start`."""
        return bytes(self._kept[start : start + most])

    def last(self, most: int) -> bytes:
        """The last `most` of the bytes kept so far."""
        return bytes(self._kept[-most:])

    def _read(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            ended = self.on_end
            self.close()
            if ended is not None:
                ended()
            return
        before = self.count
        self.count += len(data)
        if before < self._cap:
            self._kept += data[: self._cap - before]
        if self.on_data is not None:
            self.on_data(data)
        most = self._cap * DRAIN_FACTOR
        if before <= most < self.count:
            self._on_exceeded()

    def close(self) -> None:
        """Stop reading; harmless twice."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._kept = bytes(self._kept)
        # Those who listen also hold us: a circle would keep the output until the collector comes.
        self.on_data, self.on_end, self._on_exceeded = None, None, _nothing
        if not self.done.done():
            self.done.set_result(None)


def _nothing() -> None:
    """Nobody listens any more."""


class Feed:
    """Writes the arguments to a tool's stdin as fast as it reads, then end of file."""

    def __init__(self, fd: int, data: bytes) -> None:
        """Takes the descriptor over."""
        self._fd = fd
        self._left = memoryview(data)
        self.count = 0
        """Bytes put into the pipe so far."""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._write()
        if self._fd >= 0:
            self._loop.add_writer(fd, self._write)

    def _write(self) -> None:
        try:
            while self._left:
                written = os.write(self._fd, self._left)
                self.count += written
                self._left = self._left[written:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass  # the tool closed its stdin, or is dead; both are its right
        self.close()

    def close(self) -> None:
        """Close the tool's stdin; harmless twice."""
        if self._fd >= 0:
            with contextlib.suppress(ValueError):
                self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1


def artifacts(end: End, most: int) -> tuple[Artifact, ...]:
    """Read the files that the launcher opened in /out: `most` bytes together, whatever the
    launcher said of their sizes. The sandbox is dead, so nothing changes under the reading."""
    found = []
    descriptors = iter(list(end.descriptors))
    for item in end.message.artifacts:
        if item.refused:
            found.append(Artifact(item.name, b"", item.refused))
            continue
        fd = next(descriptors, -1)
        data = _read(fd, most + 1) if fd >= 0 else b""
        if fd < 0 or len(data) > most:
            found.append(Artifact(item.name, b"", "too_large"))
            continue
        most -= len(data)
        found.append(Artifact(item.name, data))
    return tuple(found)


def _read(fd: int, most: int) -> bytes:
    parts = bytearray()
    while len(parts) < most and (data := os.read(fd, min(CHUNK * 16, most - len(parts)))):
        parts += data
    return bytes(parts)
