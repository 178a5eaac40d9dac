"""Entries of a Docker MCP catalog: `registry:` with servers by name, or one of them alone.

Source: pkg/catalog/types.go of docker/mcp-gateway (Server, Tool, Parameters, ToolArgument). Its
`command` follows the image's own entry point, which stands in the image: there is no run.command.
"""

from __future__ import annotations

from typing import Any

from fumehood.errors import UsageError
from fumehood.model.document import shown
from fumehood.model.foreign.draft import (
    NO_HOST_FILES,
    NO_NETWORK,
    NO_SECRETS,
    SPEAKS_MCP,
    Draft,
    Part,
)

ENTRY_POINT = "belongs behind the image's own entry point, which is not written here"


def servers(part: Part) -> dict[str, Part]:
    """The entries of a catalog by name; of an entry alone, that one."""
    registry = part.part("registry")
    if registry is None:
        return {part.text("name") or "": part}
    found = {}
    for name in registry.value:
        inner = registry.part(name)
        if inner is not None:
            found[name] = inner
    return found


def read(entry: Part, name: str, tool: str | None) -> None:
    draft = entry.draft
    entry.skip("name")
    if name:
        draft.name(name, (*entry.path, "name"))
    kind = entry.text("type") or "server"
    for key in ("title", "description"):
        if (text := entry.text(key)) is not None:
            draft.set(key, text, (*entry.path, key))
    image = entry.text("image")
    tools = list(entry.parts("tools"))
    picked = pick(tools, tool, draft)
    if picked is not None:
        image = _tool(picked, draft) or image
    if kind == "remote":
        entry.leave("remote", "a server elsewhere: nothing of it would run here")
    elif image:
        draft.image(image, (*entry.path, "image"))
    if kind != "poci":  # a POCI tool is a container for each call, as a tool here is
        draft.leave((*entry.path, "type"), SPEAKS_MCP)
    _run(entry, draft)
    entry.rest()


def _run(entry: Part, draft: Draft) -> None:
    for variable in entry.parts("env"):
        name, value = variable.text("name"), variable.text("value")
        if name is None or value is None:
            draft.leave(variable.path, "its value is asked from a person")
        else:
            draft.variable(name, value, variable.path)
        variable.rest()
    if entry.flag("disableNetwork"):
        draft.set("network", "none", (*entry.path, "disableNetwork"))
    entry.leave("command", ENTRY_POINT)
    entry.leave("secrets", NO_SECRETS)
    entry.leave("oauth", NO_SECRETS)
    entry.leave("volumes", NO_HOST_FILES)
    entry.leave("allowHosts", NO_NETWORK)
    entry.leave("extraHosts", NO_NETWORK)
    entry.leave("user", "each tool has an account of its own")
    entry.leave("longLived", "a tool ends with its call")


def pick(tools: list[Part], wanted: str | None, draft: Draft) -> Part | None:
    """The tool that the draft is of: the one that is wanted, or the only one. Others are listed.

    Raises:
        UsageError: there is none of that name.
    """
    names = [tool.text("name") or "" for tool in tools]
    if wanted is not None and wanted not in names:
        known = ", ".join(shown(name) for name in names[:20]) or "none"
        raise UsageError(f"it has no tool {shown(wanted)}", f"it lists: {known}")
    chosen = wanted if wanted is not None or len(names) != 1 else names[0]
    found: Part | None = None
    for name, tool in zip(names, tools, strict=True):
        if name == chosen and found is None:
            found = tool
        else:
            draft.leave(tool.path, f"the tool {shown(name)}: a manifest is of one, see --tool")
    return found


def _tool(tool: Part, draft: Draft) -> str | None:
    """What a tool says of itself; the image of its own that it may have."""
    name, text = tool.text("name"), tool.text("description")
    if name:
        draft.name(name, (*tool.path, "name"))
    if text is not None:
        draft.set("description", text, (*tool.path, "description"))
    if (parameters := tool.mapping("parameters")) is not None:
        draft.schema("inputSchema", parameters, (*tool.path, "parameters"))
    elif "arguments" in tool.value:
        draft.schema("inputSchema", _arguments(tool), (*tool.path, "arguments"))
    if (hints := tool.mapping("annotations")) is not None:
        draft.annotations(hints, (*tool.path, "annotations"))
    image = None
    if (container := tool.part("container")) is not None:
        image = container.text("image")
        container.leave("command", ENTRY_POINT)
        container.leave("volumes", NO_HOST_FILES)
        container.rest()
    tool.rest()
    return image


def _arguments(tool: Part) -> dict[str, Any]:
    """ToolArgument: name, type, desc, optional, items."""
    properties: dict[str, Any] = {}
    required = []
    for argument in tool.parts("arguments"):
        name = argument.text("name") or ""
        known: dict[str, Any] = {
            "type": argument.text("type"),
            "description": argument.text("desc"),
            "items": argument.mapping("items"),
        }
        properties[name] = {key: value for key, value in known.items() if value is not None}
        if not argument.flag("optional"):
            required.append(name)
        argument.rest()
    return {"type": "object", "properties": properties, "required": required}
