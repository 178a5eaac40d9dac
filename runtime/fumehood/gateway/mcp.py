"""Speaks MCP on the socket: `tools/list` and `tools/call`, both protocol eras.

Plain requests (`lean`) are answered here; for everything else the official SDK (`sdk`) is
imported when the first client needs it. The handlers are the same for both.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import structlog

from fumehood import __version__
from fumehood.errors import UsageError
from fumehood.gateway import extension, lean
from fumehood.gateway.bounds import Bounds, Shares
from fumehood.gateway.connection import Arrival, Connection, Route
from fumehood.gateway.corridor import Supervisor
from fumehood.gateway.jsonrpc import Message
from fumehood.gateway.listening import hearing
from fumehood.model import strict_json, tracing
from fumehood.model.ids import uuid7
from fumehood.model.request import Caller, RegisteredTool, Request
from fumehood.model.result import Result

if TYPE_CHECKING:
    from fumehood.gateway.sdk import Speaker

log = structlog.get_logger(__name__)

RESULT_META_KEY: Final = "fumehood/result"
MARKING_META_KEY: Final = "fumehood/marking"
SERVER_INFO: Final = {"name": "fumehood", "version": __version__}
_MCP_FIELDS: Final = {
    "name", "title", "description", "inputSchema", "outputSchema", "annotations",
}  # fmt: skip
_DISCOVERY: Final = {
    "supportedVersions": [lean.MODERN],
    "capabilities": {"tools": {"listChanged": False}},
    "resultType": "complete",
    "ttlMs": 0,
    "cacheScope": "private",
}

_ANSWERED_SECONDS = 0.01


class Gateway:
    """The MCP server of one supervisor, for any number of connections."""

    def __init__(self, supervisor: Supervisor, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._supervisor = supervisor
        self._extension = extension.routes(supervisor)
        self._plain: Mapping[str, Route] = {
            "tools/call": self._call_tool,
            "tools/list": self._list_tools,
            "server/discover": self._discover,
        }
        self.held = Shares(self.bounds.held_bytes, self.bounds.held_bytes_per_uid)
        self._speaker: Speaker | None = None
        self._loading = anyio.Lock()

    async def answered(self, seconds: float) -> None:
        """Wait until no request is without an answer, at most `seconds`."""
        with anyio.move_on_after(seconds):
            while self.held.taken:  # noqa: ASYNC110  (an event would cost every answer something)
                await anyio.sleep(_ANSWERED_SECONDS)

    async def serve(self, sock: socket.socket, caller: Caller) -> None:
        """Serve one accepted connection until it ends, and close it; raises nothing."""
        peer = lean.Peer()

        def route(message: Message) -> Route | None:
            if message.method in self._extension:
                return self._extension[message.method]
            if not peer.is_plain(message):
                if message.method == "initialize":
                    peer.opening = message.id
                fault = lean.fault(message)
                return None if fault is None else _refusing(fault)
            return self._plain[message.method] if peer.era == "modern" else self._call_plainly

        async def speak(connection: Connection) -> None:
            first = await connection.next()
            if first is not None:
                await (await self._sdk()).speak(connection, first, peer)

        connection = Connection(sock, caller, route=route, bounds=self.bounds, held=self.held)
        try:
            await connection.run(speak)
        except Exception:  # recorded: one connection must not end those of others
            log.exception("connection failed", uid=caller.uid)

    async def _sdk(self) -> Speaker:
        """The SDK, imported beside the event loop: others are served meanwhile."""
        async with self._loading:
            if self._speaker is None:
                module = await anyio.to_thread.run_sync(
                    importlib.import_module, "fumehood.gateway.sdk"
                )
                self._speaker = module.Speaker(self.call, self.list_tools)
            return self._speaker

    # --- the handlers, whoever has decoded the request

    async def call(
        self, arrival: Arrival, name: str, arguments: dict[str, object]
    ) -> dict[str, Any]:
        """`tools/call`; the modern era's form, without the server's stamp."""
        request = Request(
            invocation=uuid7(),
            tool=name,
            arguments=arguments,
            arguments_json=strict_json.dumps(arguments),
            caller=arrival.caller,
            received=arrival.received,
            session=_session(arrival.message.meta),
            trace=tracing.taken(arrival.message.meta),
        )
        listener = hearing(arrival.message, arrival.notify)
        answer = call_result(await self._supervisor.invoke(request, listener))
        if self._supervisor.traced or request.trace is not None:
            traced = self._supervisor.traced
            answer["_meta"] |= tracing.told(request.invocation, request.trace, traced=traced)
        return answer

    def list_tools(self, arrival: Arrival) -> dict[str, Any]:
        """`tools/list`; as `call` otherwise."""
        tools = self._supervisor.tools(arrival.caller)
        return {
            "tools": [describe(t) for t in sorted(tools, key=lambda tool: tool.manifest.name)],
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
        }

    # --- the routes of plain requests

    async def _call_tool(self, arrival: Arrival) -> dict[str, Any]:
        return lean.stamped(await self._called(arrival), SERVER_INFO)

    async def _call_plainly(self, arrival: Arrival) -> dict[str, Any]:
        return lean.unstamped(await self._called(arrival))

    async def _called(self, arrival: Arrival) -> dict[str, Any]:
        params = arrival.message.params or {}
        return await self.call(arrival, params["name"], params.get("arguments", {}))

    async def _list_tools(self, arrival: Arrival) -> dict[str, Any]:
        return lean.stamped(self.list_tools(arrival), SERVER_INFO)

    async def _discover(self, _arrival: Arrival) -> dict[str, Any]:
        return lean.stamped(_DISCOVERY, SERVER_INFO)


def _refusing(fault: UsageError) -> Route:
    async def refuse(_arrival: Arrival) -> dict[str, Any]:
        raise fault

    return refuse


def describe(tool: RegisteredTool) -> dict[str, Any]:
    """MCP's `Tool`: the manifest's own MCP fields, nothing of how the tool runs."""
    fields = tool.manifest.model_dump(mode="json", include=_MCP_FIELDS, exclude_none=True)
    return {name: value for name, value in fields.items() if value or name != "annotations"}


SESSION: Final = "fumehood/session"


def _session(meta: Mapping[str, Any]) -> str | None:
    """The session that a call says it belongs to. What is no string is no session's handle."""
    value = meta.get(SESSION)
    return value if value is None or isinstance(value, str) else "?"


def call_result(result: Result) -> dict[str, Any]:
    """MCP's `CallToolResult`. The whole result stands under `_meta["fumehood/result"]`,
    and under `_meta["fumehood/marking"]` how its text is marked, where it is.

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
    if result.marking is not None:
        answer["_meta"][MARKING_META_KEY] = whole["marking"]
    if isinstance(result.structured, dict):  # the handshake era allows nothing else
        answer["structuredContent"] = result.structured
    return answer
