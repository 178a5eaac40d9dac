"""Tab completion of tools and invocations; must never print, hang or fail: no daemon, no names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import typer

from fumehood.client import Client
from fumehood.errors import FumehoodError
from fumehood.places import places

SECONDS: Final = 1.0


T = TypeVar("T")


def tool_names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(name, title) of the tools that begin with what was typed."""
    tools = _asked(ctx, Client.tools) or ()
    names = ((str(tool.get("name", "")), str(tool.get("title") or "")) for tool in tools)
    return [(name, title) for name, title in names if name.startswith(incomplete)]


def invocations(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(id, tool and state) of what runs and begins with what was typed."""
    listed = (_asked(ctx, Client.invocations) or {}).get("invocations", ())
    found = ((str(i["invocation"]), f"{i['tool']} {i['state']}") for i in listed)
    return [(name, text) for name, text in found if name.startswith(incomplete)]


def withheld(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(id, bytes) of the invocations whose withheld output is kept."""
    listed = _asked(ctx, Client.withheld) or ()
    found = ((str(i["invocation"]), f"{i['bytes']} bytes") for i in listed)
    return [(name, text) for name, text in found if name.startswith(incomplete)]


def approvals(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(id, caller and tool) of the calls that wait for approval."""
    listed = _asked(ctx, Client.approvals) or ()
    found = ((str(i["approval"]), f"{i['caller']['name']} {i['tool']}") for i in listed)
    return [(name, text) for name, text in found if name.startswith(incomplete)]


def _asked(ctx: typer.Context, question: Callable[[Client], T]) -> T | None:
    option = ctx.params.get("socket")
    try:
        where = places(Path(option) if option else None, environ=os.environ, uid=os.geteuid())
        with Client.connect(where.socket, timeout=SECONDS) as client:
            return question(client)
    except FumehoodError:
        return None
