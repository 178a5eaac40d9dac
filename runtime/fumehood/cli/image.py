"""`fumehood image …`: root file systems for tools, in the store on disk; no daemon is needed.

The store belongs to root, or to whoever runs the daemon rootless: these commands run as its
owner. They read archives of strangers, so they must never do more with them than `images` does.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fumehood.cli import elapsed
from fumehood.cli.options import ConfigOption, JsonOption, SocketOption, StateOption, chosen
from fumehood.cli.present import note, out, out_json, say, size, table
from fumehood.client import Client
from fumehood.errors import (
    DaemonUnreachable,
    ExitStatus,
    ImageError,
    Unauthorized,
    UsageError,
)

if TYPE_CHECKING:
    from fumehood.cli.pack import Package
    from fumehood.images.store import Image, ImageStore
    from fumehood.places import Places

app = typer.Typer(no_args_is_help=True, help="Build, import, list, show and remove images.")

ReferenceArgument = Annotated[
    str, typer.Argument(metavar="IMAGE", help="NAME, NAME:TAG, NAME@sha256:… or sha256:….")
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME[:TAG]", help="The image's name.", show_default=False),
]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")
_SUFFIX = re.compile(r"\.(tar|tgz|txz|oci|docker)(\.(gz|xz|bz2|zst))?\Z")


@app.callback()
def group() -> None:
    """Build, import, list, show and remove images."""


def _store(state: Path | None) -> ImageStore:
    from fumehood.images.store import ImageStore

    return ImageStore(chosen(state=state).state / "images")


def _bounded_store(places: Places) -> ImageStore:
    """For what adds to it: no larger than the operator's configuration allows."""
    from fumehood.cli.serve import configuration
    from fumehood.images.bounds import DEFAULT
    from fumehood.images.store import ImageStore

    most = configuration(places).storage.images
    return ImageStore(places.state / "images", replace(DEFAULT, store_bytes=most))


@app.command("build")
def build(
    recipes: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="Folders with an image.yaml, such as images/base."),
    ],
    name: NameOption = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Build images from Debian packages, with mmdebstrap; no container registry is asked.

    Equal versions of the packages give equal digests (SOURCE_DATE_EPOCH is honoured).
    """
    from fumehood.images.build import build as build_tree
    from fumehood.images.recipe import load

    loaded = [load(path) for path in recipes]
    if name is not None and len(loaded) > 1:
        raise UsageError("--name is for one image", "build them one after the other")
    store = _bounded_store(chosen(state=state, config=config))
    images = []
    for recipe in loaded:
        called = name or recipe.name
        say(f"{called}: {recipe.summary}")
        image = store.add(
            lambda place, recipe=recipe, called=called: build_tree(  # type: ignore[misc]  # bound now
                recipe, place, lambda stage: say(f"{called}: {stage}")
            ),
            called,
            source=f"built from {recipe.suite}",
        )
        images.append(image)
        if not as_json:
            _tell("built", image)
    if as_json:
        out_json([asdict(image) for image in images])


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder or tar with a root file system, an OCI layout, what `docker save` "
            "wrote, docker:NAME in the local Docker Engine, or docker://… in a registry.",
        ),
    ],
    name: NameOption = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Read a root file system into the store. Nothing in it is executed.

    Archives are unpacked into a tree of our own making: names that lead out, devices and
    anything not understood are refused; setuid bits and the image's own user, entry point and
    volumes are dropped.
    """
    with elapsed.shown(f"importing {source}"):
        store = _bounded_store(chosen(state=state, config=config))
        image = store.import_(source, name or _default_name(source))
    if as_json:
        out_json(asdict(image))
    else:
        _tell("imported", image)


def _default_name(source: str) -> str:
    """`docker:python:3.11-slim` is python:3.11-slim, `/tmp/Alpine.tar.gz` is alpine."""
    text = source.removeprefix("docker:").rstrip("/").rpartition("/")[2]
    name, _, tag = text.partition("@")[0].partition(":") if "docker:" in source else (text, "", "")
    name = _NOT_IN_NAMES.sub("-", _SUFFIX.sub("", name.lower())).strip("-._")[:63]
    if not name:
        raise UsageError(f"{source!r} suggests no name for the image", "give one with --name")
    return f"{name}:{tag}" if tag else name


@app.command("list")
def list_(as_json: JsonOption = False, state: StateOption = None) -> None:
    """List the images of the store; `-` is one whose name moved, which tools may be pinned to."""
    images = _store(state).list()
    if as_json:
        out_json([asdict(image) for image in images])
    elif images:
        rows = [(i.name or "-", i.digest[:19], size(i.size), i.imported, i.source) for i in images]
        table(("NAME", "DIGEST", "SIZE", "IMPORTED", "SOURCE"), rows)
    else:
        say("no images yet; `make images` builds base, python and node")


@app.command("show")
def show(
    reference: ReferenceArgument,
    as_json: JsonOption = False,
    as_sbom: Annotated[
        bool, typer.Option("--sbom", help="Print the bill of materials (CycloneDX 1.5, JSON).")
    ] = False,
    state: StateOption = None,
) -> None:
    """Show an image: its digests, and the packages in it."""
    from fumehood.images.sbom import summarise

    store = _store(state)
    image = store.resolve(reference)
    document = store.sbom(image)
    if as_sbom:
        out_json(json.loads(document))
        return
    summary = summarise(document)
    if as_json:
        packages = [
            {"type": p.kind, "name": p.name, "version": p.version} for p in summary.packages
        ]
        more = {"files": summary.files, "files_outside_packages": summary.loose_files}
        out_json({**asdict(image), **more, "packages": packages})
        return
    rows = [
        ("name", image.name),
        ("digest", image.digest),
        ("docker image ID", image.config),
        ("size", size(image.size)),
        ("files", f"{summary.files}, {summary.loose_files} of them in no package"),
        ("imported", f"{image.imported}, {image.source}"),
        ("base", image.base),
        ("tree", str(store.path(image.digest))),
    ]
    table(("KEY", "VALUE"), [(key, value) for key, value in rows if value])
    out("\n")
    table(("PACKAGE", "VERSION", "TYPE"), [(p.name, p.version, p.kind) for p in summary.packages])


@app.command("remove")
def remove(
    references: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Names, or digests for all names of an image."),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Also images that registered tools use.")
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    socket: SocketOption = None,
) -> None:
    """Remove names, or images by digest; an image goes with its last name."""
    store, where = _store(state), chosen(socket, state)
    used = frozenset[str]() if force else in_use(where.state, where.socket)
    removed = []
    for reference in references:
        for image in store.remove(reference, in_use=used, force=force):
            removed.append(image)
            if not as_json:
                _tell_removed(image)
    if as_json:
        out_json([asdict(image) for image in removed])


@app.command("prune")
def prune(
    as_json: JsonOption = False, state: StateOption = None, socket: SocketOption = None
) -> None:
    """Remove the images whose names moved to others, except those that registered tools use."""
    store, where = _store(state), chosen(socket, state)
    removed = store.prune(in_use(where.state, where.socket))
    if as_json:
        out_json([asdict(image) for image in removed])
    elif not removed:
        say("nothing to remove: every image has a name, or a registered tool uses it")
    for image in () if as_json else removed:
        _tell_removed(image)


def in_use(state: Path, socket: Path) -> frozenset[str]:
    """The digests that the manifests of registered tools name, of every version whatever its
    state: asked from the daemon, or read from its catalog while none runs.

    Raises:
        ImageError: neither can be done.
    """
    try:
        with Client.connect(socket) as client:
            texts = [json.dumps(tool["manifest"]) for tool in client.all_tools()]
    except DaemonUnreachable:
        texts = _manifests(state / "catalog.sqlite3")
    except Unauthorized:
        raise ImageError(
            "only an operator of the daemon may ask which tools use the image",
            "have an operator remove it, or remove with --force",
        ) from None
    return frozenset(digest for text in texts for digest in _DIGEST.findall(text))


def _manifests(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)) as catalog:
            # Of every table that has them, whichever version made the catalog.
            tables = catalog.execute(
                "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c"
                " WHERE m.type = 'table' AND c.name = 'manifest'"
            ).fetchall()
            rows = [
                row
                for (table_name,) in tables
                for row in catalog.execute(f'SELECT manifest FROM "{table_name}"')  # noqa: S608
            ]
    except sqlite3.Error as error:
        raise ImageError(
            "the catalog cannot be read, so nobody knows which tools use the image",
            "start the daemon, or remove with --force",
            detail=str(error),
        ) from None
    return [bytes(row[0]).decode(errors="replace") for row in rows]


@app.command("verify")
def verify(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE…", help="Images; all when none is named.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
) -> None:
    """Read images again, every byte, and compare them with their digests.

    Exit status 1 says that an image is no longer what was imported.
    """
    store = _store(state)
    with elapsed.shown("verifying"):
        wanted: list[str | None] = [*references] if references else [None]
        problems = [problem for item in wanted for problem in store.verify(item)]
    if as_json:
        out_json({"ok": not problems, "problems": [asdict(problem) for problem in problems]})
    elif not problems:
        out(f"ok: {', '.join(references) if references else 'all images'}\n")
    for problem in () if as_json else problems:
        where = f" /{problem.path}" if problem.path else ""
        line = f"{problem.digest[:19]}{where} {problem.what}".replace("\n", "\\n")
        note("bad", line, "1;31")
    raise typer.Exit(ExitStatus.FAILED if problems else ExitStatus.OK)


@app.command("derive")
def derive(
    requirements: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A requirements.txt with versions and hashes, a package-lock.json, or a manifest "
            "with run.requirements.",
        ),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="IMAGE",
            help="The image to add them to; the manifest's, or python, or node.",
            show_default=False,
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            "--wheels",
            metavar="DIR",
            help="A folder with wheels, or npm's .tgz, for hosts without a network.",
        ),
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Add Python or Node libraries to an image, once; tools with the same requirements share it.

    pip or npm downloads what the hashes name, in a sandbox and without credentials; it is unpacked
    without running anything of it. A second time needs no network.
    """
    from fumehood.images.npm_lock import is_lock

    text, named = read_requirements(requirements), "python"
    if is_lock(text):
        named = "node"
    elif requirements.suffix in (".yaml", ".yml", ".json"):
        text, named = _requirements_of(requirements)
    image = prepare(chosen(state=state, config=config), base or named, text, wheels)
    if as_json:
        out_json(asdict(image))
    else:
        _tell("derived", image)


def _requirements_of(manifest: Path) -> tuple[str, str]:
    """A manifest's requirements, and its image."""
    from fumehood.cli import pack

    package = pack.load(manifest)
    if package.requirements is None:
        raise UsageError(f"{manifest} has no run.requirements", "name a requirements.txt")
    file = package.files.get(package.requirements)
    if file is None:
        raise UsageError(f"run.files has no {package.requirements!r}", "put it beside the program")
    return file.data.decode(errors="replace"), package.image


def read_requirements(path: Path) -> str:
    """The text of a requirements file; raises UsageError."""
    from fumehood.images.npm_lock import MAX_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a requirements.txt") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None


def ensure(package: Package, places: Places) -> None:
    """Make the image of a tool with `run.requirements`, as far as we own the store; otherwise the
    daemon refuses the tool and says what to do."""
    if package.requirements is None or package.image == "host":
        return
    try:
        mine = (places.state / "images").stat().st_uid == os.geteuid()
        text = package.files[package.requirements].data.decode()
    except (OSError, KeyError, UnicodeDecodeError):
        return
    if mine:
        prepare(places, package.image, text)


def prepare(places: Places, base: str, text: str, wheels: Path | None = None) -> Image:
    """The image of a tool with `run.requirements`, made where it is missing."""
    from fumehood.cli.bytecode import compiler
    from fumehood.cli.fetching import fetcher
    from fumehood.cli.serve import configuration
    from fumehood.images.derive import derive as derive_image

    config = configuration(places)
    return derive_image(
        _bounded_store(places),
        base,
        text,
        fetcher=fetcher(config),
        wheels=wheels,
        compiler=compiler(places, config),
        progress=say,
    )


@app.command("export")
def export(
    reference: ReferenceArgument,
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")
    ],
    for_docker: Annotated[
        bool, typer.Option("--docker", help="As `docker load` takes it, instead of a plain tar.")
    ] = False,
    state: StateOption = None,
) -> None:
    """Write an image's root file system as a tar archive, the same bytes every time."""
    store = _store(state)
    image = store.resolve(reference)
    if str(target) == "-":
        if sys.stdout.isatty():
            raise UsageError("an archive is not for a terminal", "redirect it, or name a file")
        _export(store, image, sys.stdout.buffer, for_docker=for_docker)
        return
    try:
        with target.open("xb") as file:
            _export(store, image, file, for_docker=for_docker)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}", "name a new file") from None


def _export(store: ImageStore, image: Image, sink: BinaryIO, *, for_docker: bool) -> None:
    if for_docker:
        store.export_docker(image.digest, sink, tag=image.name)
    else:
        store.export_tar(image.digest, sink)


def _tell_removed(image: Image) -> None:
    out(f"removed {image.name or '-'}  {image.digest}\n")


def _tell(what: str, image: Image) -> None:
    out(f"{what} {image.name}  {size(image.size)}  {image.digest}\n")
