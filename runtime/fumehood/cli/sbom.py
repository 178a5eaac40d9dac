"""`fumehood sbom`: what a registered tool is made of.

The daemon says what was registered; the image's own document comes from the store on disk, and the
text of run.requirements from the stored files, compared with its pin. Must never print a document
that silently lacks a part: what cannot be read is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fumehood.cli.complete import tool_names
from fumehood.cli.options import SocketOption, StateOption, chosen
from fumehood.cli.present import out_json
from fumehood.client import Client
from fumehood.errors import CatalogError, ImageError, UsageError

if TYPE_CHECKING:
    from fumehood.images.tool_sbom import Root


def command(
    name: Annotated[
        str, typer.Argument(metavar="TOOL", help="A tool's name.", autocompletion=tool_names)
    ],
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="VERSION", help="One version of it.", show_default=False),
    ] = None,
    socket: SocketOption = None,
    state: StateOption = None,
) -> None:
    """Print a tool's bill of materials (CycloneDX 1.5, JSON): image, requirements, files.

    For operators who own the image store, as for `fumehood image show`. Of a tool on the host's
    root the host's Debian packages are listed.
    """
    from fumehood.images.tool_sbom import Tool, make

    places = chosen(socket, state)
    with Client.connect(places.socket) as client:
        entry = client.show_tool(name, version)
        manifest = entry["manifest"]
        pinned = client.tool_files(name, manifest["version"])
    if pinned["digest"] != entry["digest"]:
        raise CatalogError("the tool was changed while it was read", "try again")
    run = manifest["run"]
    wanted = None
    if run.get("requirements"):
        wanted = _pinned_text(places.state, entry["files"], run["requirements"], pinned["files"])
    tool = Tool(manifest["name"], manifest["version"], entry["digest"], pinned["files"])
    out_json(make(tool, _root(places.state, run["image"]), wanted))


def _root(state: Path, image: str) -> Root:
    from fumehood.images import sbom
    from fumehood.images.store import ImageStore
    from fumehood.images.tool_sbom import HOST, Root

    if image == HOST:
        directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return Root(HOST, sbom.debian(directory), cut=True)
        finally:
            os.close(directory)
    store = ImageStore(state / "images")
    found = store.resolve(image.rpartition("@")[2])
    document: dict[str, Any] = json.loads(store.sbom(found))
    parts = document["components"]
    loose = sum(part["type"] == "file" for part in parts)
    return Root(found.digest, parts, cut=loose < sbom.summarise(store.sbom(found)).loose_files)


def _pinned_text(state: Path, tree: str, path: str, listing: dict[str, str]) -> str:
    """A stored file of a tool, if it is the one that was pinned; raises CatalogError."""
    from fumehood.images.beneath import read_beneath
    from fumehood.images.npm_lock import MAX_BYTES

    folder = state / "store" / tree.removeprefix("sha384:")
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}", "run this as root, or as whoever runs the daemon"
        ) from None
    try:
        data = read_beneath(directory, path, MAX_BYTES)
    finally:
        os.close(directory)
    if data is None:
        raise ImageError(f"run.requirements {path!r} cannot be read", "register the tool again")
    if hashlib.sha384(data).hexdigest() != listing.get(path, "-")[1:]:
        raise CatalogError(
            f"{path!r} is not what was registered", "`fumehood tool show` names what was changed"
        )
    return data.decode(errors="replace")
