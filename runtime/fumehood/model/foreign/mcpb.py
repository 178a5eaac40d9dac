"""MCPB's (earlier DXT's) `manifest.json`, versions 0.1 to 0.4.

Source: MANIFEST.md of modelcontextprotocol/mcpb. The draft is for the unpacked bundle: `run.files`
is the folder with the manifest, which `${__dirname}` stands for.
"""

from __future__ import annotations

import re
from typing import Any, Final

from fumehood.model.foreign.docker_catalog import pick
from fumehood.model.foreign.draft import SPEAKS_MCP, Draft, Part

HERE: Final = "${__dirname}"
IMAGES: Final = {"python": "python", "node": "node"}
"""The image of `make images` with the runtime that a bundle of this type brings none of."""
ASKED: Final = "is filled in by its client, from what a person chose"
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")


def read(part: Part, tool: str | None) -> None:
    draft = part.draft
    part.skip("manifest_version", "dxt_version")
    if (name := part.text("name")) is not None:
        draft.name(name, ("name",))
    for key, ours in (("version", "version"), ("display_name", "title")):
        if (text := part.text(key)) is not None:
            draft.set(ours, text, (key,))
    brief, long = part.text("description"), part.text("long_description")
    if (text := long or brief) is not None:
        draft.set("description", text, ("long_description" if long else "description",))
    picked = pick(list(part.parts("tools")), tool, draft)
    if picked is not None:
        _tool(picked, part, draft)
    if (server := part.part("server")) is not None:
        _server(server, draft)
    draft.leave(("server",), SPEAKS_MCP)
    part.leave("user_config", ASKED)
    part.rest()


def _tool(tool: Part, bundle: Part, draft: Draft) -> None:
    name, text = tool.text("name") or "", tool.text("description")
    draft.name(name, (*tool.path, "name"))
    if text is not None:
        draft.set("description", text, (*tool.path, "description"))
    tool.rest()
    listed, path = _static(bundle, name)
    for key in ("inputSchema", "outputSchema"):
        if isinstance(schema := listed.get(key), dict):
            draft.schema(key, schema, (*path, key))
    if isinstance(hints := listed.get("annotations"), dict):
        draft.annotations(hints, (*path, "annotations"))


def _static(bundle: Part, name: str) -> tuple[dict[str, Any], tuple[str | int, ...]]:
    """A tool as `_meta` has the server's answer to `tools/list`, which is MCP's own form; only
    there the schemas stand. Empty where it is not said."""
    path: tuple[str, ...] = ("_meta", "com.microsoft.windows", "static_responses", "tools/list")
    value: Any = bundle.value
    for key in (*path, "tools"):
        value = value.get(key) if isinstance(value, dict) else None
    for number, tool in enumerate(value if isinstance(value, list) else ()):
        if isinstance(tool, dict) and tool.get("name") == name:
            return tool, (*path, "tools", number)
    return {}, path


def _server(server: Part, draft: Draft) -> None:
    kind, entry = server.text("type"), server.text("entry_point")
    draft.set_run("files", ".", server.path)
    if kind in IMAGES:
        draft.set_run("image", IMAGES[kind], (*server.path, "type"))
    else:
        draft.leave((*server.path, "type"), "says of no image: unset, the host's root is used")
    config = server.part("mcp_config")
    if config is None:
        why = "it has no mcp_config: its client decides what is run"
        draft.leave((*server.path, "entry_point"), why)
    else:
        _config(config, entry, draft)
    server.rest()


def _config(config: Part, entry: str | None, draft: Draft) -> None:
    command, arguments = config.text("command"), config.texts("args")
    variables, path = config.mapping("env") or {}, config.path
    if (overrides := config.part("platform_overrides")) is not None:
        if (linux := overrides.part("linux")) is not None:
            command = linux.text("command") or command
            arguments = linux.texts("args") if "args" in linux.value else arguments
            variables = {**variables, **(linux.mapping("env") or {})}
            linux.rest()
        overrides.rest("of another platform")
    if command is not None:
        words = [_placed(word, entry) for word in (command, *arguments)]
        if "/" in words[0] and not words[0].startswith("/"):
            words[0] = f"/tool/{words[0].removeprefix('./')}"
        # A command with a word missing is another command.
        if any(_VARIABLE.search(word) for word in words):
            draft.leave((*path, "args"), ASKED)
        else:
            draft.set_run("command", words, (*path, "command"))
    for name, value in variables.items():
        if isinstance(value, str):
            draft.variable(name, _placed(value, None), (*path, "env", name))
        else:
            draft.leave((*path, "env", name), "is no text")
    config.rest()


def _placed(word: str, entry: str | None) -> str:
    return f"/tool/{word.removeprefix('./')}" if word == entry else word.replace(HERE, "/tool")
