"""`fumehood tool …`: the catalog, through the daemon's socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fumehood.cli import image, pack
from fumehood.cli.complete import tool_names
from fumehood.cli.options import JsonOption, SocketOption, StateOption, chosen
from fumehood.cli.present import out, out_json, say, size, table
from fumehood.client import Client

app = typer.Typer(no_args_is_help=True, help="Register, list, show and remove tools.")

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A tool's name.", autocompletion=tool_names),
]
Entry = Mapping[str, Any]


@app.command("add")
def add(
    manifests: Annotated[
        list[Path],
        typer.Argument(
            metavar="MANIFEST…", help="Manifests, such as examples/word-count/tool.yaml."
        ),
    ],
    as_json: JsonOption = False,
    socket: SocketOption = None,
    state: StateOption = None,
) -> None:
    """Register tools from their manifests and the folders beside them.

    A new version replaces the one before; the same version with other content is refused.
    Only operators may do this.
    """
    packages = [pack.load(path) for path in manifests]
    for package in packages:
        image.ensure(package, chosen(socket, state))
    with Client.connect(chosen(socket).socket) as client:
        entries = [client.add_tool(package.manifest, package.files) for package in packages]
    if as_json:
        out_json(entries)
        return
    for entry in entries:
        manifest = entry["manifest"]
        out(f"added {manifest['name']} {manifest['version']}  {entry['digest']}\n")


@app.command("list")
def list_(as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """List the tools that you may call."""
    with Client.connect(chosen(socket).socket) as client:
        tools = client.tools()
    if as_json:
        out_json(tools)
    elif tools:
        rows = [(tool["name"], tool.get("title") or _first_line(tool)) for tool in tools]
        table(("NAME", "TITLE"), rows)
    else:
        say("no tools yet; an operator registers one with `fumehood tool add MANIFEST`")


def _first_line(tool: Entry) -> str:
    return str(tool.get("description") or "").split("\n", 1)[0]


@app.command("show")
def show(name: NameArgument, as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Show a registered tool: what it is, how it runs, what it may use, its digests."""
    with Client.connect(chosen(socket).socket) as client:
        entry = client.show_tool(name)
    if as_json:
        out_json(entry)
        return
    table(("KEY", "VALUE"), _rows(entry))


def _rows(entry: Entry) -> list[tuple[str, str]]:
    manifest = entry["manifest"]
    run = manifest["run"]
    limits = ", ".join(f"{key} {value}" for key, value in manifest["limits"].items())
    rows = [
        ("name", manifest["name"]),
        ("version", manifest["version"]),
        ("title", manifest.get("title") or ""),
        ("description", manifest["description"]),
        ("arguments", _arguments(manifest["inputSchema"])),
        ("result", "JSON, checked" if manifest.get("outputSchema") else "text"),
        ("command", " ".join(run["command"])),
        ("image", run["image"]),
        ("limits", limits),
        ("seccomp", manifest["seccomp"]),
        ("network", manifest["network"]),
        ("state", entry["state"]),
        ("account", str(entry["account"])),
        ("added", str(entry["added"])),
        ("digest", entry["digest"]),
        ("files", entry["files"] or "none"),
        *(("note", note) for note in entry["notes"]),
    ]
    return [(key, value) for key, value in rows if value]


def _arguments(schema: Entry) -> str:
    required = set(schema.get("required", ()))
    properties = schema.get("properties") or {}
    return ", ".join(
        f"{name}{'' if name in required else '?'}: {_type(value)}"
        for name, value in properties.items()
    )


def _type(schema: object) -> str:
    declared = schema.get("type", "any") if isinstance(schema, dict) else "any"
    return "|".join(map(str, declared)) if isinstance(declared, list) else str(declared)


@app.command("remove")
def remove(name: NameArgument, socket: SocketOption = None) -> None:
    """Remove a tool from the catalog. Its service account is never given to another tool."""
    with Client.connect(chosen(socket).socket) as client:
        entry = client.remove_tool(name)
    manifest = entry["manifest"]
    out(f"removed {manifest['name']} {manifest['version']}\n")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a manifest, for editors and checkers."""
    # pydantic costs 75 ms: only this command and `add` pay for it.
    from fumehood.model.manifest import manifest_schema

    out_json(manifest_schema())


@app.command("check")
def check(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST…", help="Manifests to check.")
    ],
) -> None:
    """Check manifests and the folders beside them without registering anything."""
    for path in manifests:
        package = pack.load(path)
        total = sum(len(file.data) for file in package.files.values())
        out(f"{path}: {package.name} is fine, {len(package.files)} files, {size(total)}\n")
