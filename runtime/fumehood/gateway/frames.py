"""Cuts a byte stream into newline-delimited frames; never looks into one, never holds too much.

A frame that is too long, too slow or cut short leaves the stream out of step, so each of
these ends the connection after one error reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from fumehood.errors import BadFrame, OverQuota
from fumehood.gateway.bounds import Bounds, Shares


class FrameReader:
    """Reads frames from `receive`, which gives at least one byte, or b"" at the end."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[bytes]],
        *,
        uid: int,
        bounds: Bounds,
        held: Shares,
    ) -> None:
        self._receive = receive
        self._uid = uid
        self._bounds = bounds
        self._held = held
        self._buffer = bytearray()
        self._searched = 0
        self._deadline = 0.0

    async def next(self) -> bytearray | None:
        """The next frame without its newline, or None at the end of the stream.

        Raises:
            BadFrame: the frame is too long, not complete in time, or cut short.
            OverQuota: the caller's frames already hold as much memory as they may.
        """
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > self._bounds.frame_bytes:
                raise self._too_long()
            chunk = await self._more()
            if not chunk:
                if self._buffer:
                    raise BadFrame("the stream ended inside a frame", "end it with a newline")
                return None
            self._append(chunk)
        if end > self._bounds.frame_bytes:
            raise self._too_long()
        frame = self._buffer[:end]
        del self._buffer[: end + 1]
        self._held.give(self._uid, end + 1)
        self._searched = 0
        self._start_clock()
        return frame

    def close(self) -> None:
        """Give back what a partial frame held."""
        self._held.give(self._uid, len(self._buffer))
        self._buffer.clear()

    async def _more(self) -> bytes:
        if not self._buffer:
            return await self._receive()
        with anyio.CancelScope(deadline=self._deadline):
            return await self._receive()
        raise BadFrame(
            f"a frame was not complete within {self._bounds.frame_seconds:g} s",
            "send it at once, and end it with a newline",
        )

    def _append(self, chunk: bytes) -> None:
        if not self._held.take(self._uid, len(chunk)):
            raise OverQuota("too many bytes of requests are held at once", "wait for answers")
        if not self._buffer:
            self._start_clock()
        self._buffer += chunk

    def _start_clock(self) -> None:
        self._deadline = anyio.current_time() + self._bounds.frame_seconds

    def _too_long(self) -> BadFrame:
        return BadFrame(
            f"a frame is longer than {self._bounds.frame_bytes} bytes", "send less in one request"
        )
