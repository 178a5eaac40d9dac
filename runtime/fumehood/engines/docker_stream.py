"""A container's three streams, moved between Docker's attached connection and the supervisor's
pipes: unread, unbuffered, as fast as the slower side.

Docker sends stdout and stderr as frames on one connection (header: stream, three zeros, length
as 32 bits, big endian). The kernel moves their bodies (splice), so nothing of a tool's output
is ever held here.

When everything in a container is dead, nobody but the launcher can write into its outputs any more.
It writes a mark into each, the last thing that ever comes: who has seen both has all output, long
before dockerd has handled the container's exit and closes the connection. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import struct

from fumehood.errors import EngineError

_HEADER = struct.Struct(">BxxxL")
_STDOUT, _STDERR = 1, 2
_CHUNK = 64 * 1024
SPLICE_F_MOVE, SPLICE_F_NONBLOCK = 1, 2
_SPLICE = SPLICE_F_MOVE | SPLICE_F_NONBLOCK


def new_mark() -> bytes:
    """33 bytes that no tool can have known; a pipe takes so few whole (PIPE_BUF). The first comes
    only once, so that no mark can begin inside what looked like another."""
    return b"\0" + secrets.token_hex(16).encode()


class Pump:
    """Moves bytes until both outputs have brought the mark, Docker closes the connection, or `stop`
    is called from another thread."""

    def __init__(self, connection: socket.socket, stdio: tuple[int, int, int]) -> None:
        """Takes everything over."""
        self._connection = connection
        connection.setblocking(False)
        self._stdin, self._stdout, self._stderr = stdio
        for fd in stdio:
            os.set_blocking(fd, False)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._header = b""
        self._left = 0
        self._stream = _STDOUT
        """Whose frame it is."""
        self._target = -1
        """Where the rest of the frame goes; -1: nowhere, its reader is gone."""
        self._mark = b""
        self._matched = {_STDOUT: 0, _STDERR: 0}
        """How much of the mark has come last on each output, and was not passed on."""

    def run(self) -> None:
        """Pump to the end.

        Raises:
            EngineError: Docker broke the connection or its own framing.
        """
        try:
            while self._turn():
                pass
            self._pass_on_held()
        except ConnectionError as error:
            raise EngineError(
                "Docker broke the connection to the container's streams",
                control="docker",
                detail=str(error),
            ) from error

    def expect(self, mark: bytes) -> None:
        """Both outputs end with this, which is not passed on. From any thread, before it is
        written: a frame of which the header is here already holds none of it."""
        self._mark = mark

    @property
    def complete(self) -> bool:
        """Whether both outputs have brought the mark."""
        return bool(self._mark) and set(self._matched.values()) == {len(self._mark)}

    def stop(self) -> None:
        """Make `run` return soon; harmless twice and from any thread."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Close everything; the supervisor's pipes end with this."""
        self._connection.close()
        for fd in (self._stdin, self._stdout, self._stderr, self._stop):
            if fd >= 0:
                os.close(fd)
        self._stdin = self._stdout = self._stderr = self._stop = -1

    def _turn(self) -> bool:
        """Wait for what can move, and move it; False at the end."""
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        blocked = self._left and self._target >= 0 and not _writable(self._target)
        interest = 0 if blocked else select.POLLIN
        if blocked:
            poller.register(self._target, select.POLLOUT)
        if self._stdin >= 0:
            if _readable(self._stdin):
                interest |= select.POLLOUT
            else:
                poller.register(self._stdin, select.POLLIN)
        if interest:  # a connection that broke would wake us for ever while a pipe is full
            poller.register(self._connection.fileno(), interest)
        ready = dict(poller.poll())
        if self._stop in ready:
            return False
        events = ready.get(self._connection.fileno(), 0)
        if self._stdin >= 0 and events & select.POLLOUT:
            self._feed()
        if not blocked and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            return self._receive()
        return True

    def _feed(self) -> None:
        try:
            moved = os.splice(self._stdin, self._connection.fileno(), _CHUNK, flags=_SPLICE)
        except BlockingIOError:
            return
        except OSError:  # Docker takes no more input: the container's end follows
            moved = 0
        if moved == 0:
            os.close(self._stdin)
            self._stdin = -1
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def _receive(self) -> bool:
        try:
            if not self._left:
                return self._read_header()
            return self._move_marked() if self._mark else self._move(self._left)
        except BlockingIOError:
            return True

    def _read_header(self) -> bool:
        data = self._connection.recv(_HEADER.size - len(self._header))
        if not data:
            if self._header:
                raise ConnectionError("the connection ended inside a frame")
            return False
        self._header += data
        if len(self._header) == _HEADER.size:
            stream, self._left = _HEADER.unpack(self._header)
            self._header = b""
            if stream not in (_STDOUT, _STDERR):
                raise ConnectionError(f"a frame of stream {stream}")
            self._stream = stream
            self._target = self._stdout if stream == _STDOUT else self._stderr
        return True

    def _move_marked(self) -> bool:
        """The frame's body, of which the mark, or what may become it, is taken out. False when both
        outputs have brought it."""
        mark, matched = self._mark, self._matched[self._stream]
        data = self._connection.recv(min(self._left, _CHUNK), socket.MSG_PEEK)
        if not data:
            raise ConnectionError("the connection ended inside a frame")
        if matched == len(mark):
            raise ConnectionError("output after the container's end")
        count = min(len(mark) - matched, len(data))
        if data[:count] == mark[matched : matched + count]:
            self._left -= len(self._connection.recv(count))
            self._matched[self._stream] += count
            return not self.complete
        if matched:  # so it was the tool's own
            self._write(mark[:matched])
            self._matched[self._stream] = 0
            return True
        return self._move(_before(data, mark))

    def _pass_on_held(self) -> None:
        """Docker closed the connection, and what looked like a mark was none."""
        for stream, matched in self._matched.items():
            if 0 < matched < len(self._mark):
                self._target = self._stdout if stream == _STDOUT else self._stderr
                self._write(self._mark[:matched])

    def _write(self, data: bytes) -> None:
        """A few bytes into the frame's pipe. Waits for room, or until it is stopped."""
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        if self._target >= 0:
            poller.register(self._target, select.POLLOUT)
            if self._stop not in dict(poller.poll()):
                try:
                    os.write(self._target, data)  # a writable pipe has a page for it (pipe(7))
                except BrokenPipeError:
                    self._discard()

    def _move(self, most: int) -> bool:
        """So much of the frame's body. Discarded once its reader is gone, so that the container's
        end is not held up."""
        if self._target < 0:
            moved = len(self._connection.recv(min(most, _CHUNK)))
        else:
            try:
                moved = os.splice(self._connection.fileno(), self._target, most, flags=_SPLICE)
            except BrokenPipeError:
                self._discard()
                return True
        if not moved:
            raise ConnectionError("the connection ended inside a frame")
        self._left -= moved
        return True

    def _discard(self) -> None:
        gone, self._target = self._target, -1
        os.close(gone)
        if gone == self._stdout:
            self._stdout = -1
        else:
            self._stderr = -1


def _before(data: bytes, mark: bytes) -> int:
    """How many bytes come before the mark, or before what may be its beginning."""
    start = data.find(mark[:1])
    while start >= 0 and data[start : start + len(mark)] != mark[: len(data) - start]:
        start = data.find(mark[:1], start + 1)
    return start if start >= 0 else len(data)


def _writable(fd: int) -> bool:
    """Or broken, which the next write tells."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(0))


def _readable(fd: int) -> bool:
    """Or at its end, which the next read tells."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))
