"""A gateway on a real Unix socket with a supervisor made of memory behind it, and peers of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from fumehood.catalog.store import ToolFile
from fumehood.errors import (
    CatalogError,
    ConfigError,
    FumehoodError,
    UnknownApproval,
    UnknownIncident,
    UnknownInvocation,
    UnknownSession,
    UnknownTool,
    UsageError,
)
from fumehood.gateway import socket as front
from fumehood.gateway.bounds import Bounds
from fumehood.gateway.mcp import Gateway
from fumehood.model.live import Listener
from fumehood.model.manifest import load_manifest
from fumehood.model.request import Caller, RegisteredTool, Removed, Request
from fumehood.model.result import Result

Behaviour = Callable[[Request], Awaitable[Result]]

DIGEST = "sha384:" + "0" * 96
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def result(request: Request, status: Any = "ok", **fields: Any) -> Result:
    return Result(request.invocation, request.tool, "1.0.0", DIGEST, status, **fields)


def registered(name: str, **fields: Any) -> RegisteredTool:
    manifest = {
        "name": name,
        "version": "1.0.0",
        "description": f"The tool {name}.",
        "inputSchema": {"type": "object"},
        "run": {"command": ["cat"]},
        **fields,
    }
    return RegisteredTool(
        load_manifest(json.dumps(manifest), source="test"),
        DIGEST,
        None,
        1_900_000_000,
        "active",
        "2026-11-21T00:00:00Z",
    )


@dataclass(frozen=True)
class Status:
    running: int

    def to_json(self) -> dict[str, Any]:
        return {"running": self.running}


@dataclass(frozen=True)
class Said:
    value: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.value


class FakeReleasing:
    """Withheld output by invocation, as `to_json` of `supervisor.withheld.Kept` has it."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    async def release(self, caller: Caller, invocation: str) -> Said:
        if invocation not in self.kept:
            raise UnknownInvocation("no output of such an invocation is kept", "see what is")
        return Said(self.kept[invocation])

    async def listed(self, caller: Caller) -> Said:
        sizes = [
            {"invocation": name, "bytes": 1000, "seconds_left": 7200} for name in sorted(self.kept)
        ]
        return Said({"kept": sizes})


class FakeResponse:
    """Stops and incidents as they were asked for."""

    def __init__(self) -> None:
        self.stops: list[dict[str, Any]] = []
        self.open: dict[str, dict[str, Any]] = {}

    async def stop(
        self, caller: Caller, kind: str, name: str, reason: str, *, capture: bool = False
    ) -> Said:
        stop = {"kind": kind, "name": name, "reason": reason, "since": "2026", "by": "uid 0"}
        self.stops.append(stop)
        known = name != "nosuch"
        return Said({**stop, "killed": 2, "left": 0, "unlooked": 0, "known": known})

    async def resume(self, caller: Caller, kind: str, name: str) -> Said:
        for stop in self.stops:
            if (stop["kind"], stop["name"]) == (kind, name):
                self.stops.remove(stop)
                return Said(stop)
        raise UsageError("it is not stopped", "see what is")

    async def stopped(self, caller: Caller) -> Said:
        return Said({"stops": self.stops})

    async def list_incidents(self, caller: Caller, *, closed: bool) -> Said:
        found = [i for i in self.open.values() if closed or not i["closed"]]
        return Said({"incidents": found})

    async def show_incident(self, caller: Caller, name: str) -> Said:
        if name not in self.open:
            raise UnknownIncident("no such incident", "list them")
        return Said(self.open[name])

    async def close_incident(self, caller: Caller, name: str, note: str) -> Said:
        await self.show_incident(caller, name)
        self.open[name].update(closed="2026", note=note)
        return Said(self.open[name])


class FakeSupervisor:
    """Runs behaviours instead of sandboxes: `echo` and `wait` exist, tests add their own."""

    portal: anyio.from_thread.BlockingPortal
    """Set when it runs in a thread of its own."""

    def __init__(self) -> None:
        self.response = FakeResponse()
        self.traced = False
        self.releasing = FakeReleasing()
        self.requests: list[Request] = []
        self.listeners: dict[str, Listener | None] = {}
        self.running: set[str] = set()
        self.most_running = 0
        self.cancelled: list[str] = []
        self.changed = anyio.Event()
        self.release = anyio.Event()
        self.behaviours: dict[str, Behaviour] = {"echo": self._echo, "wait": self._wait}
        self.catalog = {name: registered(name) for name in ("wait", "echo")}
        self.attempts: list[tuple[str, str]] = []
        self.removed: dict[str, RegisteredTool] = {}
        self.listings: dict[str, dict[str, str]] = {}
        self.compared: dict[str, Any] | None = None
        """What `diff_tool` answers, in place of what it makes up."""
        self.files: Mapping[str, ToolFile] = {}
        self.receipts: dict[str, Mapping[str, Any]] = {}

    async def invoke(self, request: Request, listener: Listener | None = None) -> Result:
        self.listeners[request.invocation] = listener
        if request.tool not in self.behaviours:
            raise UnknownTool("no such tool", "see the list of tools")
        self.requests.append(request)
        self.running.add(request.invocation)
        self.most_running = max(self.most_running, len(self.running))
        self._notify()
        try:
            return await self.behaviours[request.tool](request)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()  # killing and recording take their time
            self.cancelled.append(request.invocation)
            raise
        finally:
            self.running.discard(request.invocation)
            self._notify()

    def tools(self, caller: Caller) -> list[RegisteredTool]:
        return list(self.catalog.values())

    async def add_tool(
        self,
        caller: Caller,
        manifest_text: str,
        files: Mapping[str, ToolFile],
        accept: Sequence[str] = (),
        signature: Mapping[str, Any] | None = None,
    ) -> RegisteredTool:
        self.accepted, self.signature = tuple(accept), signature
        manifest = load_manifest(manifest_text, source="manifest")
        if manifest.name in self.catalog:
            raise CatalogError("the version 1.0.0 is registered with other content", "raise it")
        self.files = dict(files)
        tool = registered(manifest.name)
        self.catalog[manifest.name] = tool
        return tool

    accepted: tuple[str, ...] = ()
    meant: str | None = None
    signature: Mapping[str, Any] | None = None

    async def approve_tool(
        self,
        caller: Caller,
        name: str,
        version: str,
        accept: Sequence[str] = (),
        by: str | None = None,
        digest: str | None = None,
    ) -> RegisteredTool:
        assert digest in (None, self._entry(name).digest)
        self.accepted, self.meant = tuple(accept), by
        self.catalog[name] = replace(self._entry(name), state="active")
        return self.catalog[name]

    async def attempted(self, caller: Caller, event: str, error: FumehoodError) -> None:
        self.attempts.append((event, error.cause))

    async def all_tools(self, caller: Caller) -> list[RegisteredTool]:
        return list(self.catalog.values())

    async def removed_tools(self, caller: Caller) -> list[RegisteredTool]:
        return list(self.removed.values())

    async def diff_tool(
        self,
        caller: Caller,
        name: str,
        old: str | None = None,
        new: str | None = None,
        by: str | None = None,
    ) -> Said:
        self.meant = by
        if self.compared is not None:
            return Said({"name": name, **self.compared})
        kept = self.removed.get(name)
        changes = [
            {"kind": "told", "key": "description", "old": "a", "new": "b", "review": "changed"},
            {"kind": "files", "key": "main.py", "old": "", "new": "changed", "review": ""},
        ]
        return Said(
            {
                "name": name,
                "old": old or "1.0.0",
                "old_state": kept.state if kept is not None else "active",
                "new": new or "2.0.0",
                "changes": changes if new is None else [],
            }
        )

    async def tool_files(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> Said:
        entry = self._entry(name)
        listing = {"main.py": "-" + "ab" * 48, "run.sh": "x" + "cd" * 48}
        told = {"name": name, "version": entry.manifest.version, "digest": entry.digest}
        return Said({**told, "files": self.listings.get(name, listing)})

    async def remove_tool(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> Removed:
        self.meant = by
        gone = self.catalog.pop(self._entry(name).manifest.name)
        if gone.state != "quarantined":
            return Removed(gone)
        self.removed[name] = replace(gone, state="removed")
        return Removed(gone, (gone.manifest.version,))

    async def show_tool(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> RegisteredTool:
        self.meant = by
        return self._entry(name)

    def _entry(self, name: str) -> RegisteredTool:
        if name not in self.catalog:
            raise UnknownTool("no such tool", "see the list of tools")
        return self.catalog[name]

    def status(self, caller: Caller) -> Status:
        return Status(len(self.running))

    def invocations(self, caller: Caller) -> Said:
        return Said({"invocations": [{"invocation": name} for name in sorted(self.running)]})

    async def cancel(self, caller: Caller, invocation: str) -> Said:
        return Said({"invocation": self._known(invocation), "status": "cancelled"})

    async def logs(self, caller: Caller, invocation: str) -> Said:
        return Said({"stderr": "", "invocation": {"invocation": self._known(invocation)}})

    async def receipt(self, caller: Caller, invocation: str) -> Said:
        if invocation not in self.receipts:
            raise UnknownInvocation("no such invocation has ended")
        return Said(dict(self.receipts[invocation]))

    asking: Mapping[str, Any] | None = None
    arguments = b""
    digest: str | None = None
    """A call that waits for approval."""
    answered: tuple[str, bool] | None = None
    remarks: Sequence[Mapping[str, Any]] = ()

    def approvals(self, caller: Caller) -> Said:
        return Said({"approvals": [dict(self.asking)] if self.asking else []})

    async def asked_arguments(self, caller: Caller, approval: str, offset: int) -> Said:
        digest = "sha384:" + hashlib.sha384(self.arguments).hexdigest()
        data = base64.b64encode(self.arguments[offset : offset + 1_000]).decode()
        total = {"arguments_bytes": len(self.arguments), "arguments_digest": digest}
        return Said({"offset": offset, "data": data, **total})

    async def answer_approval(
        self, caller: Caller, approval: str, *, grant: bool, digest: str | None = None
    ) -> Said:
        self.digest = digest
        if self.asking is None or approval != self.asking["approval"]:
            raise UnknownApproval("no such call waits for approval", "list them")
        self.answered = (approval, grant)
        return Said({**self.asking, "granted": grant})

    async def explain_policy(
        self, caller: Caller, who: str, name: str, arguments: dict[str, object]
    ) -> Said:
        effect = str(arguments.get("effect", "allow"))
        rules = [
            {"rule": 2, "effect": effect, "matches": True, "why": "it matches"},
            {"rule": 1, "effect": "deny", "matches": False, "why": "tools: it is for x"},
        ]
        return Said(
            {
                "principal": who,
                "roles": ["*", "team"],
                "effect": effect,
                "rule": 2,
                "why": "because",
                "fault": arguments.get("fault", ""),
                "rules": rules,
            }
        )

    reloaded: Mapping[str, Any] | None = None

    async def reload(self, caller: Caller) -> Said:
        if self.reloaded is None:
            raise ConfigError("/etc/x:3: rules: no", "mend it")
        return Said(dict(self.reloaded))

    async def show_caller(self, caller: Caller, who: str | None) -> Said:
        budget = {
            "per": "caller", "window": "hour", "tools": ["*"], "ends_in_seconds": 60,
            "invocations": {"used": 3, "of": 9}, "cpu_seconds": {"used": 1.5, "of": 60.0},
            "output_bytes": {"used": 0, "of": None},
        }  # fmt: skip
        return Said(
            {
                "principal": f"uid:{who or caller.uid}",
                "roles": ["*", "callers"],
                "at_once": {"used": 1, "of": 80},
                "rates": [{"limit": "rates.caller", "of": 10, "seconds": 60.0, "left": 4}],
                "conduct": {
                    "level": 1,
                    "factor": 0.5,
                    "points": 21.0,
                    "tighten_at": 20,
                    "signs": {"rejected": 3, "guessed": 2},
                },
                "budgets": [budget],
                "sessions": [{"session": "ab", "expires_seconds": 5.0}],
            }
        )

    sessions: tuple[str, ...] = ()

    async def open_session(self, caller: Caller) -> Said:
        self.sessions = (*self.sessions, "handle")
        return Said({"session": "handle", "id": "ab", "expires_seconds": 60.0})

    async def close_session(self, caller: Caller, handle: str) -> Said:
        if handle not in self.sessions:
            raise UnknownSession("there is no such session", "open one")
        self.sessions = ()
        return Said({"id": "ab"})

    async def review_policy(self, caller: Caller, named: Sequence[str] | None = None) -> Said:
        self.named = named
        return Said({"remarks": list(self.remarks)})

    def _known(self, invocation: str) -> str:
        if invocation not in self.running:
            raise UnknownInvocation("no such invocation")
        return invocation

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something here has changed so that `condition` holds; 10 s at most."""
        with anyio.fail_after(10):
            while not condition():
                await self.changed.wait()

    def until_from_thread(self, condition: Callable[[], bool]) -> None:
        self.portal.call(self.until, condition)

    def _notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def _echo(self, request: Request) -> Result:
        text = request.arguments_json.decode()
        return result(
            request, content=({"type": "text", "text": text},), structured=request.arguments
        )

    async def _wait(self, request: Request) -> Result:
        await self.release.wait()
        return result(request)


def raising(error: BaseException) -> Behaviour:
    async def behave(*_: object) -> Result:
        raise error

    return behave


@contextlib.asynccontextmanager
async def serving(
    supervisor: FakeSupervisor,
    path: Path,
    *,
    bounds: Bounds | None = None,
    may_connect: Callable[[Caller], bool] = lambda caller: True,
) -> AsyncIterator[Gateway]:
    """A gateway that listens on `path` while the body runs."""
    gateway = Gateway(supervisor, bounds)
    listener = front.listen(path, None)
    try:
        async with anyio.create_task_group() as group:

            async def accept() -> None:
                await front.serve(
                    listener,
                    gateway.serve,
                    bounds=gateway.bounds,
                    may_connect=may_connect,
                    refused=supervisor.attempted,
                )

            group.start_soon(accept)
            yield gateway
            group.cancel_scope.cancel()
    finally:
        front.close(listener, path)


@contextlib.contextmanager
def serving_in_thread(
    path: Path, prepare: Callable[[FakeSupervisor], None] = lambda supervisor: None
) -> Iterator[FakeSupervisor]:
    """The same for synchronous tests: the gateway has an event loop of its own."""
    ready, made = threading.Event(), []

    async def main() -> None:
        supervisor = FakeSupervisor()
        prepare(supervisor)
        done = anyio.Event()
        async with serving(supervisor, path):
            made.append((supervisor, done))
            ready.set()
            await done.wait()

    with anyio.from_thread.start_blocking_portal() as portal:
        future = portal.start_task_soon(main)
        assert ready.wait(10), future.exception(0)
        supervisor, done = made[0]
        supervisor.portal = portal
        try:
            yield supervisor
        finally:
            portal.call(done.set)
            future.result(10)


class Peer:
    """A peer that writes any bytes it likes."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, data: bytes | Mapping[str, Any]) -> None:
        if not isinstance(data, bytes):
            data = json.dumps({"jsonrpc": "2.0", **data}).encode() + b"\n"
        await self.stream.send(data)

    async def call(self, request_id: int | str, tool: str, **arguments: Any) -> None:
        await self.request(request_id, "tools/call", name=tool, arguments=arguments)

    async def request(
        self, request_id: int | str, method: str, *, meta: Mapping[str, Any] = {}, **params: Any
    ) -> None:
        params["_meta"] = {**MODERN, **meta}
        await self.send({"id": request_id, "method": method, "params": params})

    async def cancel(self, request_id: int | str) -> None:
        await self.send({"method": "notifications/cancelled", "params": {"requestId": request_id}})

    async def next(self) -> dict[str, Any]:
        """The next message; fails after 10 s."""
        with anyio.fail_after(10):
            while b"\n" not in self._buffer:
                self._buffer += await self.stream.receive()
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    async def ended(self) -> bool:
        """Whether the other side closes, within 10 s, without another message."""
        with anyio.fail_after(10):
            try:
                return not self._buffer and not await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return True


@contextlib.asynccontextmanager
async def peer(path: Path) -> AsyncIterator[Peer]:
    async with await anyio.connect_unix(path) as stream:
        yield Peer(stream)


@contextlib.asynccontextmanager
async def mcp_transport(path: Path) -> AsyncIterator[Any]:
    """The official client's transport over the Unix socket: one JSON message a line."""
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)

    async def receive(stream: anyio.abc.SocketStream) -> None:
        buffer = b""
        async with incoming:
            async for chunk in stream:
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await incoming.send(SessionMessage(message))

    async def send(stream: anyio.abc.SocketStream) -> None:
        async with outgoing:
            async for item in outgoing:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send(text.encode() + b"\n")

    async with await anyio.connect_unix(path) as stream, anyio.create_task_group() as group:
        group.start_soon(receive, stream)
        group.start_soon(send, stream)
        async with read, write:
            yield read, write
            group.cancel_scope.cancel()


__all__ = [
    "MODERN", "Behaviour", "FakeSupervisor", "FumehoodError", "Peer", "mcp_transport", "peer",
    "raising", "registered", "result", "serving", "serving_in_thread",
]  # fmt: skip
