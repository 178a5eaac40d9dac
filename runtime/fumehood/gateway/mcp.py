"""Speaks MCP through the official SDK: `tools/list` and `tools/call`, both protocol eras.

The only module that imports `mcp` (1.3 CPU seconds, 63 MiB). The SDK gets frames that
`connection` has bounded and checked; what handlers raise never reaches it, because in the
handshake era it sends an exception's text to the peer.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
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
from fumehood.gateway import extension, jsonrpc
from fumehood.gateway.bounds import Bounds, Shares
from fumehood.gateway.connection import Arrival, Connection, logged, outlived
from fumehood.gateway.corridor import Supervisor
from fumehood.gateway.listening import hearing
from fumehood.model import strict_json
from fumehood.model.ids import uuid7
from fumehood.model.request import Caller, RegisteredTool, Request
from fumehood.model.result import Result

log = structlog.get_logger(__name__)

RESULT_META_KEY: Final = "fumehood/result"
_MCP_FIELDS: Final = {
    "name", "title", "description", "inputSchema", "outputSchema", "annotations",
}  # fmt: skip

_ANSWERED_SECONDS = 0.01

Context = ServerRequestContext[None, Arrival]


class Gateway:
    """The MCP server of one supervisor, for any number of connections."""

    def __init__(self, supervisor: Supervisor, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._supervisor = supervisor
        self._routes = extension.routes(supervisor)
        self.held = Shares(self.bounds.held_bytes, self.bounds.held_bytes_per_uid)
        self._server: Server[None] = Server("fumehood", version=__version__)
        # The SDK's tracing reads trace ids that the caller chose; ours starts in the supervisor.
        self._server.middleware.clear()
        self._server.add_request_handler("tools/list", PaginatedRequestParams, self._list_tools)
        self._server.add_request_handler("tools/call", CallToolRequestParams, self._call_tool)

    async def answered(self, seconds: float) -> None:
        """Wait until no request is without an answer, at most `seconds`."""
        with anyio.move_on_after(seconds):
            while self.held.taken:  # noqa: ASYNC110  (an event would cost every answer something)
                await anyio.sleep(_ANSWERED_SECONDS)

    async def serve(self, sock: socket.socket, caller: Caller) -> None:
        """Serve one accepted connection until it ends, and close it; raises nothing."""
        connection = Connection(
            sock, caller, routes=self._routes, bounds=self.bounds, held=self.held
        )
        try:
            await connection.run(self._speak)
        except Exception:
            log.exception("connection failed", uid=caller.uid)

    async def _speak(self, connection: Connection) -> None:
        await serve_dual_era_loop(
            self._server, _Inbox(connection), _Outlet(connection), lifespan_state=None
        )

    async def _list_tools(self, ctx: Context, params: PaginatedRequestParams) -> dict[str, Any]:
        with _Translated("tools/list"):
            if params.cursor is not None:
                raise UsageError("no cursor was given out", "leave it away: the list is whole")
            tools = self._supervisor.tools(_arrival(ctx).caller)
        return {
            "tools": [describe(t) for t in sorted(tools, key=lambda tool: tool.manifest.name)],
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
        }

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
        arrival = _arrival(ctx)
        with _Translated("tools/call"):
            arguments: dict[str, object] = params.arguments or {}
            request = Request(
                invocation=uuid7(),
                tool=params.name,
                arguments=arguments,
                arguments_json=strict_json.dumps(arguments),
                caller=arrival.caller,
                received=arrival.received,
            )
            listener = hearing(arrival.message, arrival.notify)
            return call_result(await outlived(self._supervisor.invoke(request, listener)))


def describe(tool: RegisteredTool) -> dict[str, Any]:
    """MCP's `Tool`: the manifest's own MCP fields, nothing of how the tool runs."""
    fields = tool.manifest.model_dump(mode="json", include=_MCP_FIELDS, exclude_none=True)
    return {name: value for name, value in fields.items() if value or name != "annotations"}


def call_result(result: Result) -> dict[str, Any]:
    """MCP's `CallToolResult`. The whole result stands under `_meta["fumehood/result"]`.

    A refused or failed call without content says why in a text block, for the model to read.
    """
    whole = result.to_json()
    content = whole["content"]
    if not content and result.message:
        content = [{"type": "text", "text": result.message}]
    answer: dict[str, Any] = {
        "content": content,
        "isError": result.is_error,
        "resultType": "complete",
        "_meta": {RESULT_META_KEY: whole},
    }
    if isinstance(result.structured, dict):  # the handshake era allows nothing else
        answer["structuredContent"] = result.structured
    return answer


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


class _Inbox:
    """The SDK's read stream: pulls from the connection, without a queue or a task between."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = False

    async def receive(self) -> SessionMessage | Exception:
        arrival = None if self._closed else await self._connection.next()
        if arrival is None:
            self._closed = True
            raise anyio.EndOfStream
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
            on_request_unanswered=partial(self._connection.unanswered, message.id),
            can_send_request=False,
        )
        return SessionMessage(request, metadata)

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

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        await self._connection.ready()
        if isinstance(message, JSONRPCResponse):
            await self._connection.answer(message.id, _encoded(message.id, message.result))
        elif isinstance(message, JSONRPCError):
            error = message.error.model_dump(mode="json", exclude_none=True)
            if message.error.code == 0:  # the handshake era's spelling of str(exception)
                error = jsonrpc.internal()
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
