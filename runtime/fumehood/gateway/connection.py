"""One accepted connection: reads frames, refuses the bad ones, knows which requests are live.

It speaks no protocol itself: what it lets through goes to a route of its own or to the
protocol loop it is given. It never waits for a handler, or cancellation would stall behind
the very call it is meant to stop; and no frame above a cap reaches anything behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio
import anyio.abc
import structlog
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from fumehood.errors import Cancelled, FumehoodError, NotStrictJSON, OverQuota
from fumehood.gateway import jsonrpc
from fumehood.gateway.bounds import Bounds, Shares
from fumehood.gateway.frames import FrameReader
from fumehood.gateway.jsonrpc import InvalidFrame, Message, RequestId
from fumehood.gateway.outbox import Outbox
from fumehood.model.request import Caller

log = structlog.get_logger(__name__)
T = TypeVar("T")

ANSWER_CANCELLED: Final = "fumehood/answer_cancelled"
"""A request with this `_meta` key set to true is answered when it was cancelled (error -32800).
MCP has a cancelled request go unanswered; a client that must know when its sandbox is dead
asks for more."""

_RECEIVE_BYTES = 64 * 1024
_BYTES_PER_VALUE = 72
_PARSE_IN_THREAD_BYTES = 64 * 1024
_FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message with who sent it, and `received`, the time.monotonic() its frame was complete.

    notify: sends that peer a frame which answers nothing; see `Connection.notify`.
    """

    message: Message
    caller: Caller
    received: float
    notify: Callable[[bytes], Awaitable[None]]


Route = Callable[[Arrival], Awaitable[Mapping[str, Any]]]
"""Answers a request beside the protocol loop: returns the JSON-RPC result, or raises a
FumehoodError, which becomes the JSON-RPC error."""


@dataclass(slots=True)
class _Live:
    """A request without an answer yet. `scope` is set while one of our routes handles it."""

    request_id: RequestId
    held: int
    answer_cancelled: bool
    scope: anyio.CancelScope | None = None


class Connection:
    """The peer's end is `caller`; `route` says which requests are answered here, and by what."""

    def __init__(
        self,
        sock: socket.socket,
        caller: Caller,
        *,
        route: Callable[[Message], Route | None],
        bounds: Bounds,
        held: Shares,
    ) -> None:
        sock.setblocking(False)
        self.caller = caller
        self._sock = sock
        self._route = route
        self._bounds = bounds
        self._held = held
        self._live: dict[RequestId, _Live] = {}
        self._refusals = 0
        self._tasks: anyio.abc.TaskGroup | None = None
        self._reader = FrameReader(self._receive, uid=caller.uid, bounds=bounds, held=held)
        self._outbox = Outbox(sock, limit=bounds.unsent_bytes, stall_seconds=bounds.unsent_seconds)

    async def run(self, protocol: Callable[[Connection], Awaitable[None]]) -> None:
        """Serve until the peer leaves (also when it only stops sending), breaks the stream or is
        given up. Closes the socket.

        Everything that is live then is cancelled, and over, before this returns.
        """
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._write, group.cancel_scope)
                async with anyio.create_task_group() as self._tasks:
                    try:
                        await protocol(self)
                    finally:
                        self._tasks.cancel_scope.cancel()
                group.cancel_scope.cancel()
        finally:
            await self._outbox.flush(_FLUSH_SECONDS)
            self._sock.close()
            self._reader.close()
            for key in tuple(self._live):
                self._retire(key)
            if self._refusals > 1:
                log.info("frames refused in all", count=self._refusals, uid=self.caller.uid)

    async def next(self) -> Arrival | None:
        """The next message for the protocol loop; None when no more will come."""
        try:
            while (frame := await self._reader.next()) is not None:
                arrival = await self._arrival(frame)
                if arrival is not None and self._passes(arrival, len(frame), frame.count(b",")):
                    return arrival
                # 64 KiB hold 32,000 bad frames; others are served between any two.
                await checkpoint()
        except FumehoodError as error:
            with contextlib.suppress(anyio.BrokenResourceError):
                self._refuse(error, None)
        except anyio.BrokenResourceError:
            log.debug("refusal dropped: the peer is gone", uid=self.caller.uid)
        return None

    async def ready(self) -> None:
        """Wait while the peer is behind; an answer is best made after this, not before.

        Raises:
            anyio.BrokenResourceError: the peer is gone or given up.
        """
        await self._outbox.room()

    async def answer(self, request_id: RequestId, frame: bytes) -> None:
        """Send the answer to a live request. Waits while the peer is behind.

        Raises:
            anyio.BrokenResourceError: the peer is gone or given up.
        """
        try:
            await self._outbox.room()
            self._outbox.put(frame)
        finally:
            self._retire(jsonrpc.correlation(request_id))

    async def notify(self, frame: bytes) -> None:
        """Send a frame that answers nothing; as `answer` otherwise."""
        await self._outbox.room()
        self._outbox.put(frame)

    async def unanswered(self, request_id: RequestId) -> None:
        """A cancelled request has come to its end: nothing of it runs any more."""
        key = jsonrpc.correlation(request_id)
        live = self._live.get(key)
        if live is not None and live.answer_cancelled:
            error = jsonrpc.public(Cancelled("the request was cancelled"))
            await self.answer(request_id, jsonrpc.error_frame(live.request_id, error))
        self._retire(key)

    async def _arrival(self, frame: bytearray) -> Arrival | None:
        received = time.monotonic()
        try:
            if len(frame) > _PARSE_IN_THREAD_BYTES:
                # 16 MiB of dense JSON takes 0.2 s: other connections are served meanwhile.
                message = await anyio.to_thread.run_sync(jsonrpc.parse, frame, self._bounds)
            else:
                message = jsonrpc.parse(frame, self._bounds)
        except InvalidFrame as error:
            self._refuse(error, error.request_id)
            return None
        except NotStrictJSON as error:
            self._refuse(error, None)
            return None
        return Arrival(message, self.caller, received, self.notify)

    def _passes(self, arrival: Arrival, size: int, commas: int) -> bool:
        """Whether the protocol loop gets this message; if not, it has been dealt with."""
        message = arrival.message
        if message.id is None:
            return self._notice(message)
        held = size + _BYTES_PER_VALUE * min(commas, self._bounds.values)
        if not self._accept(message.id, held, message):
            return False
        route = self._route(message)
        if route is None or self._tasks is None:
            return True
        live = self._live[jsonrpc.correlation(message.id)]
        live.scope = anyio.CancelScope()
        self._tasks.start_soon(self._run_route, route, arrival, live.scope)
        return False

    def _notice(self, message: Message) -> bool:
        """Notifications have no answer. Those that mean nothing here go no further, so that
        a flood of them costs its sender's own frames and nothing else."""
        if message.method == "notifications/initialized":
            return True
        if message.method != "notifications/cancelled":
            return False
        target = (message.params or {}).get("requestId")
        if not isinstance(target, str | int) or isinstance(target, bool):
            return False
        live = self._live.get(jsonrpc.correlation(target))
        if live is None:
            return False
        if live.scope is not None:
            live.scope.cancel()
            return False
        return True

    def _accept(self, request_id: RequestId, held: int, message: Message) -> bool:
        key = jsonrpc.correlation(request_id)
        if key in self._live:
            # Answered with id null: an answer under this id would end the request that has it.
            self._refuse(
                InvalidFrame("a request with this id has no answer yet", "use a new id"), None
            )
            return False
        if len(self._live) >= self._bounds.in_flight:
            cause = f"{self._bounds.in_flight} requests of this connection have no answer yet"
            self._refuse(OverQuota(cause, "wait for answers"), request_id)
            return False
        if not self._held.take(self.caller.uid, held):
            cause = "too many bytes of requests are held at once"
            self._refuse(OverQuota(cause, "wait for answers"), request_id)
            return False
        wanted = message.meta.get(ANSWER_CANCELLED) is True
        self._live[key] = _Live(request_id, held, wanted)
        return True

    async def _run_route(self, route: Route, arrival: Arrival, scope: anyio.CancelScope) -> None:
        request_id = arrival.message.id
        if request_id is None:
            return
        try:
            with scope:
                frame = await self._routed(route, arrival, request_id)
            if scope.cancelled_caught:
                await self.unanswered(request_id)
            else:
                await self.answer(request_id, frame)
        except anyio.BrokenResourceError:
            log.debug("answer dropped: the peer is gone", uid=self.caller.uid)
        except anyio.get_cancelled_exc_class():
            # The connection ends, and a peer that only stopped sending still reads.
            with contextlib.suppress(anyio.BrokenResourceError):
                self._outbox.put(jsonrpc.error_frame(request_id, jsonrpc.CONNECTION_CLOSED))
            raise

    async def _routed(self, route: Route, arrival: Arrival, request_id: RequestId) -> bytes:
        try:
            return jsonrpc.result_frame(request_id, await outlived(route(arrival)))
        except Exception as error:  # noqa: BLE001  (recorded)
            return jsonrpc.error_frame(request_id, logged(error, arrival.message.method))

    def _refuse(self, error: FumehoodError, request_id: RequestId | None) -> None:
        """Answer a refused frame at once. Never waits: the reader calls this.

        The log tells of the first one and, at the end, of how many: a peer cannot fill it.

        Raises:
            anyio.BrokenResourceError: the peer is gone, or takes no refusals.
        """
        self._refusals += 1
        if self._refusals == 1:
            log.info("frame refused", error=str(error), code=error.code, uid=self.caller.uid)
        self._outbox.put(jsonrpc.error_frame(request_id, jsonrpc.public(error)))

    def _retire(self, key: RequestId) -> None:
        live = self._live.pop(key, None)
        if live is not None:
            self._held.give(self.caller.uid, live.held)

    async def _write(self, everything: anyio.CancelScope) -> None:
        await self._outbox.run()
        log.info("peer given up or gone", uid=self.caller.uid)
        everything.cancel()

    async def _receive(self) -> bytes:
        """At least one byte; b"" at the end, however it came about."""
        waited = False
        while True:
            await checkpoint_if_cancelled()
            try:
                data = self._sock.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
                waited = True
            except OSError as error:
                log.debug("connection lost", error=str(error), uid=self.caller.uid)
                return b""
            else:
                if not waited:
                    # A peer that always has more to say must not keep the loop to itself.
                    await cancel_shielded_checkpoint()
                return data


async def outlived(work: Awaitable[T]) -> T:
    """Await what the supervisor does; when *it* cancels that, raise Cancelled.

    A CancelledError that nobody aimed at this task would end its whole task group, and with it
    every other request of the connection.
    """
    try:
        return await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Cancelled("the supervisor cancelled the request", "retry later") from None


def logged(error: Exception, method: str) -> dict[str, Any]:
    """The JSON-RPC error for a failed request; the local log gets what the caller may not see."""
    if not isinstance(error, FumehoodError):
        log.error("request failed", method=method, exc_info=error)
        return jsonrpc.internal()
    if jsonrpc.is_own_fault(error):
        log.debug("request refused", method=method, error=str(error), detail=error.detail)
    else:
        log.error("request failed", method=method, error=str(error), detail=error.detail)
    return jsonrpc.public(error)
