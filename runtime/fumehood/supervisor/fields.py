"""How a call, a caller and a tool stand in audit records: the same wherever they are named."""

from __future__ import annotations

from fumehood.audit.record import Field
from fumehood.model.request import Caller, RegisteredTool, Request

MOST_NAME = 128
"""Characters of a tool's name as somebody wrote it, which may be no tool's."""


def of_call(request: Request) -> dict[str, Field]:
    return {
        "invocation": request.invocation,
        "tool": request.tool[:MOST_NAME],
        "caller": of_caller(request.caller),
    }


def of_caller(caller: Caller) -> dict[str, Field]:
    return {"uid": caller.uid, "gid": caller.gid, "pid": caller.pid}


def of_tool(tool: RegisteredTool) -> dict[str, Field]:
    return {
        "tool": tool.manifest.name,
        "tool_version": tool.manifest.version,
        "tool_digest": tool.digest,
        "account": tool.account,
    }
