"""Speaks MCP through the official SDK, for what `lean` leaves to it: both eras' whole protocol.

The only module that imports `mcp` (1.3 CPU seconds, 63 MiB), and imported only when a first
client needs it. The SDK gets frames that `connection` has bounded and checked; what handlers
raise never reaches it, because in the handshake era it sends an exception's text to the peer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import anyio
import structlog
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    CallToolRequestParams,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    PaginatedRequestParams,
)

from fumehood import __version__
from fumehood.errors import UsageError
from fumehood.gateway import jsonrpc, lean
from fumehood.gateway.connection import Arrival, Connection, logged, outlived
from fumehood.model import strict_json

log = structlog.get_logger(__name__)

Call = Callable[[Arrival, str, dict[str, object]], Awaitable[dict[str, Any]]]
ListTools = Callable[[Arrival], dict[str, Any]]
Context = ServerRequestContext[None, Arrival]

_OPENING: Final = "opening" * 20
"""Longer than an id of a peer's may be (`jsonrpc.ID_CHARACTERS`), so it is never one."""


class Speaker:
    """The SDK's server, for any number of connections; `call` and `list_tools` answer."""

    def __init__(self, call: Call, list_tools: ListTools) -> None:
        self._call = call
        self._list = list_tools
        self._server: Server[None] = Server("fumehood", version=__version__)
        # The SDK's tracing reads trace ids that the caller chose; ours starts in the supervisor.
        self._server.middleware.clear()
        self._server.add_request_handler("tools/list", PaginatedRequestParams, self._list_tools)
        self._server.add_request_handler("tools/call", CallToolRequestParams, self._call_tool)

    async def speak(self, connection: Connection, first: Arrival, peer: lean.Peer) -> None:
        """Serve a connection from `first` on, which is the first message that `lean` left."""
        opening: list[SessionMessage] = []
        if peer.era == "modern":
            # The SDK takes the era from the first request it sees, and that has been answered.
            opening.append(SessionMessage(_opening()))
        opening.append(_received(connection, first))
        inbox, outlet = _Inbox(connection, opening), _Outlet(connection, peer)
        await serve_dual_era_loop(self._server, inbox, outlet, lifespan_state=None)

    async def _list_tools(self, ctx: Context, params: PaginatedRequestParams) -> dict[str, Any]:
        with _Translated("tools/list"):
            if params.cursor is not None:
                raise UsageError("no cursor was given out", "leave it away: the list is whole")
            return self._list(_arrival(ctx))

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
        with _Translated("tools/call"):
            call = self._call(_arrival(ctx), params.name, params.arguments or {})
            return await outlived(call)


def _opening() -> JSONRPCRequest:
    meta = {lean.VERSION_KEY: lean.MODERN, lean.CAPABILITIES_KEY: {}}
    return JSONRPCRequest.model_construct(
        jsonrpc="2.0", id=_OPENING, method="server/discover", params={"_meta": meta}
    )


def _arrival(ctx: Context) -> Arrival:
    if ctx.request is None:
        raise MCPError(**jsonrpc.internal())
    return ctx.request


class _Translated:
    """Turns what leaves its body into the MCPError a caller may see; the rest goes to the log."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            raise MCPError(**logged(error, self._method)) from error


def _received(connection: Connection, arrival: Arrival) -> SessionMessage:
    message = arrival.message
    if message.id is None:
        notification = JSONRPCNotification.model_construct(
            jsonrpc="2.0", method=message.method, params=message.params
        )
        return SessionMessage(notification)
    request = JSONRPCRequest.model_construct(
        jsonrpc="2.0", id=message.id, method=message.method, params=message.params
    )
    metadata = ServerMessageMetadata(
        request_context=arrival,
        on_request_unanswered=partial(connection.unanswered, message.id),
        can_send_request=False,
    )
    return SessionMessage(request, metadata)


class _Inbox:
    """The SDK's read stream: pulls from the connection, without a queue or a task between."""

    def __init__(self, connection: Connection, opening: list[SessionMessage]) -> None:
        self._connection = connection
        self._opening = opening
        self._closed = False

    async def receive(self) -> SessionMessage | Exception:
        if self._opening:
            return self._opening.pop(0)
        arrival = None if self._closed else await self._connection.next()
        if arrival is None:
            self._closed = True
            raise anyio.EndOfStream
        return _received(self._connection, arrival)

    async def aclose(self) -> None:
        self._closed = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Outlet:
    """The SDK's write stream: encodes, and hands to the connection."""

    def __init__(self, connection: Connection, peer: lean.Peer) -> None:
        self._connection = connection
        self._peer = peer

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        await self._connection.ready()
        if isinstance(message, JSONRPCResponse):
            if message.id == _OPENING:
                return
            # Nothing else that the SDK answers tells a protocol version.
            self._peer.handshaken = self._peer.handshaken or "protocolVersion" in message.result
            await self._connection.answer(message.id, _encoded(message.id, message.result))
        elif isinstance(message, JSONRPCError):
            error = message.error.model_dump(mode="json", exclude_none=True)
            if message.error.code == 0:  # the handshake era's spelling of str(exception)
                error = jsonrpc.internal()
            waits = self._peer.awaits_handshake and message.id != self._peer.opening
            error = jsonrpc.explained(error, handshaken=not waits)
            frame = jsonrpc.error_frame(message.id, error)
            if message.id is None:
                await self._connection.notify(frame)
            else:
                await self._connection.answer(message.id, frame)
        else:
            body = message.model_dump(mode="json", by_alias=True, exclude_unset=True)
            await self._connection.notify(strict_json.dumps(body) + b"\n")

    async def aclose(self) -> None:
        """The connection outlives the SDK's loop: it flushes and closes itself."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _encoded(request_id: str | int, result: Mapping[str, Any]) -> bytes:
    try:
        return jsonrpc.result_frame(request_id, result)
    except ValueError:
        log.exception("an answer is no JSON")
        return jsonrpc.error_frame(request_id, jsonrpc.internal())
