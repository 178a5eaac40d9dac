"""Tab completion of tool names; must never print, hang or fail: no daemon means no names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import typer

from fumehood.client import Client
from fumehood.errors import FumehoodError
from fumehood.places import places

SECONDS: Final = 1.0


def tool_names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(name, title) of the tools that begin with what was typed."""
    option = ctx.params.get("socket")
    try:
        where = places(Path(option) if option else None, environ=os.environ, uid=os.geteuid())
        with Client.connect(where.socket, timeout=SECONDS) as client:
            tools = client.tools()
    except FumehoodError:
        return []
    names = ((str(tool.get("name", "")), str(tool.get("title") or "")) for tool in tools)
    return [(name, title) for name, title in names if name.startswith(incomplete)]
