"""The methods of `fumehood/*`: the catalog, what runs, and the supervisor's state.

They share the socket, its bounds and its caller with MCP and are answered beside it, in
either protocol era and before any handshake. Nothing is decided here: the supervisor is asked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from fumehood.catalog.store import ToolFile
from fumehood.errors import FumehoodError, UsageError
from fumehood.gateway import response
from fumehood.gateway.connection import Arrival, Route
from fumehood.gateway.corridor import Supervisor
from fumehood.model.manifest import canonical
from fumehood.model.request import RegisteredTool

MANIFEST_CHARACTERS: Final = 256 * 1024
FILES: Final = 10_000
_FILES_REMEDY: Final = "send {path: {data: base64, executable: true or false}}"
NAMES: Final = 32
KEYS: Final = 256
"""Keys of a configuration."""


def routes(supervisor: Supervisor) -> Mapping[str, Route]:
    """The methods by name; each raises UsageError for params it cannot take."""

    async def status(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        return {"status": supervisor.status(arrival.caller).to_json(), "resultType": "complete"}

    async def invocations(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        return {**supervisor.invocations(arrival.caller).to_json(), "resultType": "complete"}

    async def cancel(arrival: Arrival) -> dict[str, Any]:
        name = _text(_params(arrival, "invocation"), "invocation", 64)
        stopped = await supervisor.cancel(arrival.caller, name)
        return {"stopped": stopped.to_json(), "resultType": "complete"}

    async def logs(arrival: Arrival) -> dict[str, Any]:
        name = _text(_params(arrival, "invocation"), "invocation", 64)
        found = await supervisor.logs(arrival.caller, name)
        return {"logs": found.to_json(), "resultType": "complete"}

    async def receipt(arrival: Arrival) -> dict[str, Any]:
        name = _text(_params(arrival, "invocation"), "invocation", 64)
        signed = await supervisor.receipt(arrival.caller, name)
        return {"receipt": signed.to_json(), "resultType": "complete"}

    return {
        **_catalog(supervisor),
        **_governing(supervisor),
        **response.routes(supervisor),
        "fumehood/invocations/list": invocations,
        "fumehood/invocations/cancel": cancel,
        "fumehood/invocations/logs": logs,
        "fumehood/invocations/receipt": receipt,
        "fumehood/status": status,
    }


def _catalog(supervisor: Supervisor) -> Mapping[str, Route]:
    """The methods about registered tools."""

    async def add(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "manifest", "files", "accept", "signature")
        try:
            manifest = _text(params, "manifest", MANIFEST_CHARACTERS)
            files, accept = _files(params.get("files", {})), _names(params, "accept")
            signature = params.get("signature")
            if signature is not None and not isinstance(signature, dict):
                raise UsageError("'signature' must be an object", "send the envelope as it is")
        except FumehoodError as error:
            await supervisor.attempted(arrival.caller, "tool.add_refused", error)
            raise
        added = await supervisor.add_tool(arrival.caller, manifest, files, accept, signature)
        return _tool(added)

    async def approve(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "name", "version", "accept", "by", "digest")
        name, version = _text(params, "name", 64), _text(params, "version", 64)
        accept = _names(params, "accept")
        by, digest = _optional(params, "by"), _optional(params, "digest", 128)
        approved = supervisor.approve_tool(arrival.caller, name, version, accept, by, digest)
        return _tool(await approved)

    async def show(arrival: Arrival) -> dict[str, Any]:
        return _tool(await supervisor.show_tool(arrival.caller, *_version(arrival)))

    async def remove(arrival: Arrival) -> dict[str, Any]:
        gone = await supervisor.remove_tool(arrival.caller, *_version(arrival))
        kept = {"quarantine_kept": list(gone.quarantine_kept)}
        return {"tool": {**registered(gone.tool), **kept}, "resultType": "complete"}

    async def every(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        tools = await supervisor.all_tools(arrival.caller)
        return {"tools": [registered(tool) for tool in tools], "resultType": "complete"}

    async def removed(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        tools = await supervisor.removed_tools(arrival.caller)
        return {"tools": [registered(tool) for tool in tools], "resultType": "complete"}

    async def diff(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "name", "old", "new", "by")
        name = _text(params, "name", 64)
        old, new = _optional(params, "old"), _optional(params, "new")
        found = await supervisor.diff_tool(arrival.caller, name, old, new, _optional(params, "by"))
        return {"diff": found.to_json(), "resultType": "complete"}

    async def pinned(arrival: Arrival) -> dict[str, Any]:
        found = await supervisor.tool_files(arrival.caller, *_version(arrival))
        return {"pinned": found.to_json(), "resultType": "complete"}

    return {
        "fumehood/tools/files": pinned,
        "fumehood/tools/add": add,
        "fumehood/tools/approve": approve,
        "fumehood/tools/show": show,
        "fumehood/tools/remove": remove,
        "fumehood/tools/all": every,
        "fumehood/tools/removed": removed,
        "fumehood/tools/diff": diff,
    }


def _governing(supervisor: Supervisor) -> Mapping[str, Route]:
    """The methods about who may call what."""

    async def approvals(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        return {**supervisor.approvals(arrival.caller).to_json(), "resultType": "complete"}

    async def answer(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "approval", "grant", "digest")
        approval, grant = _text(params, "approval", 64), params.get("grant")
        digest = _optional(params, "digest", 128)
        if not isinstance(grant, bool):
            raise UsageError("'grant' must be true or false", "say which")
        answered = await supervisor.answer_approval(
            arrival.caller, approval, grant=grant, digest=digest
        )
        return {"answered": answered.to_json(), "resultType": "complete"}

    async def asked(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "approval", "offset")
        approval, offset = _text(params, "approval", 64), params.get("offset", 0)
        if type(offset) is not int or not 0 <= offset < 1 << 40:
            raise UsageError("'offset' must be a number of bytes, not below 0", "give one")
        piece = await supervisor.asked_arguments(arrival.caller, approval, offset)
        return {"piece": piece.to_json(), "resultType": "complete"}

    async def explain(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "who", "tool", "arguments")
        who, tool = _text(params, "who", 64), _text(params, "tool", 64)
        arguments = params.get("arguments", {})
        if not isinstance(arguments, dict):
            raise UsageError("'arguments' must be an object", "name each of them")
        explained = await supervisor.explain_policy(arrival.caller, who, tool, arguments)
        return {"explained": explained.to_json(), "resultType": "complete"}

    async def review(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "named")
        named = _names(params, "named", KEYS) if "named" in params else None
        reviewed = await supervisor.review_policy(arrival.caller, named)
        return {**reviewed.to_json(), "resultType": "complete"}

    async def caller(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "who")
        who = _text(params, "who", 64) if "who" in params else None
        shown = await supervisor.show_caller(arrival.caller, who)
        return {"caller": shown.to_json(), "resultType": "complete"}

    async def open_session(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        opened = await supervisor.open_session(arrival.caller)
        return {"opened": opened.to_json(), "resultType": "complete"}

    async def close_session(arrival: Arrival) -> dict[str, Any]:
        handle = _text(_params(arrival, "session"), "session", 64)
        closed = await supervisor.close_session(arrival.caller, handle)
        return {"closed": closed.to_json(), "resultType": "complete"}

    async def reload(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        report = await supervisor.reload(arrival.caller)
        return {"reloaded": report.to_json(), "resultType": "complete"}

    return {
        "fumehood/reload": reload,
        "fumehood/callers/show": caller,
        "fumehood/sessions/open": open_session,
        "fumehood/sessions/close": close_session,
        "fumehood/approvals/list": approvals,
        "fumehood/approvals/answer": answer,
        "fumehood/approvals/arguments": asked,
        "fumehood/policy/explain": explain,
        "fumehood/policy/review": review,
    }


def registered(tool: RegisteredTool) -> dict[str, Any]:
    """A catalog entry as JSON: the manifest as registered, and what the catalog adds."""
    return {
        "manifest": json.loads(canonical(tool.manifest)),
        "digest": tool.digest,
        "files": tool.files,
        "account": tool.account,
        "state": tool.state,
        "added": tool.added,
        "added_by": tool.added_by,
        "signer": tool.signer,
        "sealed": tool.sealed,
        "notes": list(tool.notes),
    }


def _tool(tool: RegisteredTool) -> dict[str, Any]:
    return {"tool": registered(tool), "resultType": "complete"}


def _params(arrival: Arrival, *known: str) -> dict[str, Any]:
    params = arrival.message.params or {}
    if unknown := set(params) - set(known) - {"_meta"}:
        names = ", ".join(known) or "none"
        raise UsageError(f"unknown parameter {sorted(unknown)[0][:40]!r}", f"known here: {names}")
    return params


def _text(params: Mapping[str, Any], name: str, longest: int) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise UsageError(f"{name!r} must be a string of 1 to {longest} characters", "give one")
    return value


def _optional(params: Mapping[str, Any], name: str, longest: int = 64) -> str | None:
    return _text(params, name, longest) if name in params else None


def _version(arrival: Arrival) -> tuple[str, str | None, str | None]:
    """A tool's name, a version, and by whom it was submitted."""
    params = _params(arrival, "name", "version", "by")
    return _text(params, "name", 64), _optional(params, "version"), _optional(params, "by")


def _names(params: Mapping[str, Any], name: str, most: int = NAMES) -> tuple[str, ...]:
    value = params.get(name, [])
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(item, str) for item in value)
    ):
        raise UsageError(f"{name!r} must be a list of at most {most} names", "list them")
    return tuple(value)


def _files(value: object) -> dict[str, ToolFile]:
    if not isinstance(value, dict) or len(value) > FILES:
        raise UsageError(f"'files' must be an object of at most {FILES} files", _FILES_REMEDY)
    return {path: _file(path, entry) for path, entry in value.items()}


def _file(path: str, entry: object) -> ToolFile:
    if not isinstance(entry, dict) or set(entry) - {"data", "executable"}:
        raise UsageError(
            f"the file {path[:80]!r} must have 'data' and 'executable', nothing else", _FILES_REMEDY
        )
    executable = entry.get("executable", False)
    data = entry.get("data")
    if not isinstance(executable, bool) or not isinstance(data, str):
        raise UsageError(
            f"the file {path[:80]!r}: 'data' is a string, 'executable' true or false", _FILES_REMEDY
        )
    try:
        return ToolFile(base64.b64decode(data, validate=True), executable)
    except (binascii.Error, ValueError):
        raise UsageError(f"the file {path[:80]!r}: 'data' is not base64", _FILES_REMEDY) from None
