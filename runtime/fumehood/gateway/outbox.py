"""Sends frames to one peer without ever waiting on it: bounded, and given up when it stalls."""

from __future__ import annotations

import socket
from collections import deque

import anyio


class Outbox:
    """Unsent frames of one connection.

    `put` never waits. Who makes an answer waits for `room` first, so a slow peer holds back
    its own answers; a peer that takes nothing for `stall_seconds`, or lets refusals (which do
    not wait) pile up, is given up: `run` returns, everything else raises BrokenResourceError.
    """

    def __init__(self, sock: socket.socket, *, limit: int, stall_seconds: float) -> None:
        self._sock = sock
        self._limit = limit
        self._stall_seconds = stall_seconds
        self._queue: deque[memoryview] = deque()
        self._unsent = 0
        self._broken = False
        self._wake = anyio.Event()
        self._room = anyio.Event()

    @property
    def unsent(self) -> int:
        """Bytes put and not yet taken by the kernel."""
        return self._unsent

    async def room(self) -> None:
        """Wait until less than the limit is unsent."""
        while self._unsent >= self._limit and not self._broken:
            await self._room.wait()
        if self._broken:
            raise anyio.BrokenResourceError

    def put(self, frame: bytes) -> None:
        """Send now what the kernel takes, queue the rest."""
        if self._unsent >= self._limit:
            self._give_up()
        if self._broken:
            raise anyio.BrokenResourceError
        self._queue.append(memoryview(frame))
        self._unsent += len(frame)
        if len(self._queue) == 1:
            self._push()
        if self._queue:
            self._wake.set()

    async def run(self) -> None:
        """Send queued frames; returns when the peer is gone or given up."""
        while not self._broken:
            if not self._queue:
                self._wake = anyio.Event()
                await self._wake.wait()
                continue
            with anyio.move_on_after(self._stall_seconds) as scope:
                await anyio.wait_writable(self._sock)
            if scope.cancelled_caught:
                self._give_up()
            self._push()

    async def flush(self, seconds: float) -> None:
        """Send what is left, at most `seconds` long; only after `run` has ended."""
        with anyio.move_on_after(seconds, shield=True):
            while self._queue and not self._broken:
                await anyio.wait_writable(self._sock)
                self._push()

    def _push(self) -> None:
        try:
            while self._queue:
                sent = self._sock.send(self._queue[0])
                self._unsent -= sent
                if sent == len(self._queue[0]):
                    self._queue.popleft()
                else:
                    self._queue[0] = self._queue[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            self._give_up()
        if self._unsent < self._limit:
            self._room.set()
            self._room = anyio.Event()

    def _give_up(self) -> None:
        self._broken = True
        self._queue.clear()
        self._unsent = 0
        self._wake.set()
        self._room.set()
