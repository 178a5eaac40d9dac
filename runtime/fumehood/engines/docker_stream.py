"""A container's three streams, moved between Docker's attached connection and the supervisor's
pipes: unread, unbuffered, as fast as the slower side.

Docker sends stdout and stderr as frames on one connection (header: stream, three zeros, length
as 32 bits, big endian). The kernel moves their bodies (splice), so nothing of a tool's output
is ever held here. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct

from fumehood.errors import EngineError

_HEADER = struct.Struct(">BxxxL")
_STDOUT, _STDERR = 1, 2
_CHUNK = 64 * 1024
SPLICE_F_MOVE, SPLICE_F_NONBLOCK = 1, 2
_SPLICE = SPLICE_F_MOVE | SPLICE_F_NONBLOCK


class Pump:
    """Moves bytes until Docker closes the connection, or `stop` is called from another thread."""

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
        self._target = -1
        """Where the rest of the frame goes; -1: nowhere, its reader is gone."""

    def run(self) -> None:
        """Pump to the end.

        Raises:
            EngineError: Docker broke the connection or its own framing.
        """
        try:
            while self._turn():
                pass
        except ConnectionError as error:
            raise EngineError(
                "Docker broke the connection to the container's streams",
                control="docker",
                detail=str(error),
            ) from error

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
            return self._move_body()
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
            self._target = self._stdout if stream == _STDOUT else self._stderr
        return True

    def _move_body(self) -> bool:
        """Discarded once its reader is gone, so that the container's end is not held up."""
        if self._target < 0:
            moved = len(self._connection.recv(min(self._left, _CHUNK)))
        else:
            try:
                moved = os.splice(
                    self._connection.fileno(), self._target, self._left, flags=_SPLICE
                )
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
