"""`fumehood tool …`: the catalog, through the daemon's socket."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fumehood.cli import check, image, imports, pack, signing, vendor
from fumehood.cli.check import AcceptOption
from fumehood.cli.complete import tool_names
from fumehood.cli.options import ConfigOption, JsonOption, SocketOption, StateOption, chosen
from fumehood.cli.present import error_object, note, out, out_json, say, table
from fumehood.client import Client
from fumehood.errors import DaemonUnreachable, FumehoodError, UnknownTool, UsageError

app = typer.Typer(no_args_is_help=True, help="Register, list, show and remove tools.")
app.command("sign")(signing.sign)
app.command("verify")(signing.verify)
app.command("import")(imports.command)
app.command("check")(check.command)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A tool's name.", autocompletion=tool_names),
]
VersionOption = Annotated[
    str | None,
    typer.Option("--version", metavar="VERSION", help="One version of it.", show_default=False),
]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="PRINCIPAL",
        help="For operators: what this one submitted, as `tool list --all` names it.",
        show_default=False,
    ),
]
Entry = Mapping[str, Any]
SEALED: Final = {
    "fs-verity": "by fs-verity: not even root can change them, and the kernel checks what is read",
    "copy": "root's copy; neither who added it nor the supervisor can change it",
    "none": "not enforced (rootless): whoever runs the daemon can change the files",
    "missing": "nothing: its files are not where they were stored, so it does not run",
}
"""See `RegisteredTool.sealed`."""
SHOWN_FILES: Final = 40


@app.command("add")
def add(
    manifests: Annotated[
        list[Path],
        typer.Argument(
            metavar="MANIFEST…", help="Manifests, such as examples/word-count/tool.yaml."
        ),
    ],
    accept: AcceptOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Register tools from their manifests and the folders beside them.

    A new version becomes the current one and the one before is kept beside it; the same version
    with other content is refused. A version that changes what models read of the tool, or that may
    do more, and every tool that somebody who is no operator adds, is pending until an operator
    approves it: see `fumehood tool diff` and `fumehood tool approve`.

    Of several manifests each is registered or refused for itself, and the exit status is the
    first refusal's; a manifest that cannot be read keeps all of them from being registered.
    """
    packages = [(path, pack.load(path)) for path in manifests]
    for _, package in packages:
        image.ensure(package, chosen(socket, state, config))
    entries: list[Entry] = []
    refusals: list[tuple[Path, FumehoodError]] = []
    with Client.connect(chosen(socket).socket) as client:
        for number, (path, package) in enumerate(packages):
            try:
                entry = client.add_tool(
                    package.manifest,
                    package.files,
                    accept=accept or (),
                    signature=signing.found(path),
                )
                entries.append(entry)
            except FumehoodError as error:
                if len(packages) == 1:
                    raise
                refusals.append((path, error))
                if isinstance(error, DaemonUnreachable):
                    refusals += [(later, error) for later, _ in packages[number + 1 :]]
                    break
    _told(entries, refusals, as_json=as_json)
    if refusals:
        raise typer.Exit(refusals[0][1].exit_status)


def _told(
    entries: list[Entry], refusals: list[tuple[Path, FumehoodError]], *, as_json: bool
) -> None:
    """What became of each manifest."""
    if as_json:
        failed = [{"manifest": str(path), **error_object(error)} for path, error in refusals]
        out_json([*entries, *failed])
        return
    for entry in entries:
        manifest, pending = entry["manifest"], entry["state"] == "pending"
        word = "pending" if pending else "added"
        out(f"{word} {manifest['name']} {manifest['version']}  {entry['digest']}\n")
        for line in entry["notes"]:
            say(f"  {line}")
        if pending:
            name, version = manifest["name"], manifest["version"]
            say(
                f"  an operator looks at `fumehood tool show {name} --version {version}`, and at "
                f"`fumehood tool diff {name}` where there is another version, then "
                f"`fumehood tool approve {name} {version}`"
            )
    sys.stdout.flush()
    for path, error in refusals:
        note("error", f"{path}: {error.cause}", "1;31")
        if error.remedy:
            note("remedy", error.remedy, "1;32")


@app.command("list")
def list_(
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="For operators: every version, whatever its state, also those that were"
            " quarantined when they were removed.",
        ),
    ] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """List the tools that you may call."""
    with Client.connect(chosen(socket).socket) as client:
        tools = [*client.all_tools(), *client.removed_tools()] if every else client.tools()
    if every and not as_json:
        columns = ("NAME", "VERSION", "STATE", "ADDED", "BY", "SIGNER")
        table(columns, list(map(_version_row, tools)))
    elif as_json:
        out_json(tools)
    elif tools:
        rows = [(tool["name"], tool.get("title") or _first_line(tool)) for tool in tools]
        table(("NAME", "TITLE"), rows)
    else:
        say(
            "no tool that you may call; an operator registers one with `fumehood tool add "
            "MANIFEST`, and sees those that wait or are quarantined with `fumehood tool list --all`"
        )


def _version_row(entry: Entry) -> tuple[str, ...]:
    manifest = entry["manifest"]
    added = str(entry["added"])[:19].replace("T", " ")
    by, signer = entry["added_by"] or "-", _signer(entry)
    return manifest["name"], manifest["version"], entry["state"], added, by, signer


def _signer(entry: Entry) -> str:
    """Who signed a tool, and whether that is anybody."""
    publisher, _, key = str(entry["signer"]).partition(":")
    return entry["signer"] if publisher else f"nobody (unknown key {key})" if key else "nobody"


def _first_line(tool: Entry) -> str:
    return str(tool.get("description") or "").split("\n", 1)[0]


@app.command("show")
def show(
    name: NameArgument,
    version: VersionOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Show a registered tool: what it is, how it runs, what it may use, its digests."""
    with Client.connect(chosen(socket).socket) as client:
        entry = client.show_tool(name, version, by)
    if as_json:
        out_json(entry)
        return
    table(("KEY", "VALUE"), _rows(entry))


def _rows(entry: Entry) -> list[tuple[str, str]]:
    manifest = entry["manifest"]
    run = manifest["run"]
    limits = ", ".join(
        f"{key} {value}" for key, value in manifest["limits"].items() if value is not None
    )
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
        ("added", " by ".join(filter(None, (str(entry["added"]), entry["added_by"])))),
        ("digest", entry["digest"]),
        ("files", entry["files"] or "none"),
        ("sealed", SEALED.get(entry["sealed"], entry["sealed"])),
        ("signer", _signer(entry)),
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


@app.command("diff")
def diff(
    name: NameArgument,
    old: Annotated[
        str | None, typer.Argument(metavar="[OLD]", help="A version; the current one.")
    ] = None,
    new: Annotated[
        str | None, typer.Argument(metavar="[NEW]", help="A version; the newest other one.")
    ] = None,
    by: ByOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Show what one version of a tool changes against another, for operators.

    First what needs approval again: what models read, and what the tool may do.
    """
    with Client.connect(chosen(socket).socket) as client:
        found = client.diff_tool(name, old, new, by)
    if as_json:
        out_json(found)
        return
    removed = " (removed)" if found["old_state"] == "removed" else ""
    out(f"{found['name']} {found['old']}{removed} to {found['new']}\n")
    for change in found["changes"]:
        mark = "! " if change["review"] else "  "
        if change["kind"] == "files":
            out(f"{mark}{change['new']} file {change['key']}\n")
        else:
            out(f"{mark}{change['key']}\n    - {change['old']}\n    + {change['new']}\n")
    if not found["changes"]:
        out("  nothing but the version\n")


@app.command("approve")
def approve(
    name: NameArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version to be called.")],
    accept: AcceptOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Make a pending version of a tool, or an earlier one, the one that is called.

    Shows what it changes against the one that is called now, or of a quarantined one against the
    newest that was agreed to before, and approves exactly that. A quarantined version is approved
    with `--accept quarantined` only, after a review. Where several submitted the same version,
    `--by` says whose is meant. Only operators may do this.
    """
    with Client.connect(chosen(socket).socket) as client:
        digest = _show_changes(client, name, version, by)
        entry = client.approve_tool(name, version, accept=accept or (), by=by, digest=digest)
    if as_json:
        out_json(entry)
    else:
        out(f"approved {name} {version}  {entry['digest']}\n")


def _show_changes(client: Client, name: str, version: str, by: str | None) -> str | None:
    """On stderr, before anything is approved: why it waits or was quarantined, and what it changes;
    unless that is against a version which is called or was superseded, also the whole of it. The
    digest of what is shown."""
    try:
        entry = client.show_tool(name, version, by)
    except UnknownTool:  # `approve` says more
        return None
    try:
        found = client.diff_tool(name, None, version, by)
    except UnknownTool:
        found = None
    if found is None or found["old_state"] not in ("active", "superseded"):
        _show_whole(client, entry, by)
    else:
        for why in entry["notes"]:
            note("note", why)
    note("changes", _against(entry, found))
    for change in found["changes"] if found is not None else ():
        note("change", " ".join(str(value) for value in change.values() if value))
    return str(entry["digest"])


def _against(entry: Entry, found: Entry | None) -> str:
    """What a version was compared with, and in how much it differs."""
    version, nothing = entry["manifest"]["version"], "no other version was agreed to"
    if found is None:
        return f"nothing to compare with: {nothing}"
    old, state, count = found["old"], found["old_state"], len(found["changes"])
    if old == version and state == entry["state"] == "active":
        return "none: this is the version that is called"
    if old == version and state == entry["state"]:
        files = f"its files against those that were registered: {count}"
        return f"{files} ({nothing})" if count else f"nothing to compare with: {nothing}"
    what = {"quarantined": ", quarantined", "removed": ", quarantined and removed"}.get(state, "")
    return f"{version} against {old}{what}: {count}"


def _show_whole(client: Client, entry: Entry, by: str | None) -> None:
    """What it is: what it says of itself, what it asks for, and its files."""
    manifest = entry["manifest"]
    for key, value in _rows(entry):
        note(key, value)
    run = manifest["run"]
    asked = ("environment", "requirements", "engine", "runtime", "warm", "trace")
    for key in asked:
        if run.get(key):
            note(key, str(run[key]))
    if entry["files"] is None:
        return
    try:
        listing = client.tool_files(manifest["name"], manifest["version"], by)["files"]
    except FumehoodError as error:
        note("file", f"not shown: {error.cause}")
        return
    for path, pinned in sorted(listing.items())[:SHOWN_FILES]:
        note("file", f"{path} sha384:{pinned[1:17]}…" + (" executable" if pinned[0] == "x" else ""))
    if len(listing) > SHOWN_FILES:
        note("file", f"… and {len(listing) - SHOWN_FILES} more")


@app.command("remove")
def remove(
    name: NameArgument,
    version: VersionOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Remove a tool from the catalog, or one version of it that is not called.

    Its service account is never given to another tool, and what is quarantined of it stays so: it
    is remembered until it is registered again and approved.
    """
    if by is not None and version is None:
        raise UsageError("--by says whose of one version is meant", "give --version, too")
    with Client.connect(chosen(socket).socket) as client:
        entry = client.remove_tool(name, version, by)
    if as_json:
        out_json(entry)
        return
    manifest = entry["manifest"]
    out(f"removed {manifest['name']} {manifest['version']}\n")
    if kept := entry["quarantine_kept"]:
        say(
            f"  the quarantine of {', '.join(kept)} is kept: the same registered again is pending,"
            " and is approved with `--accept quarantined` only"
        )


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a manifest, for editors and checkers."""
    # pydantic costs 75 ms: only this command and `add` pay for it.
    from fumehood.model.manifest import manifest_schema

    out_json(manifest_schema())


@app.command("helper")
def helper(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of a tool written in Python.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that differs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put `fumehood/tool.py` beside a tool in Python: read arguments, return a result, be gone.

    One file of the standard library, registered and pinned with the tool's own; needs no daemon.
    """
    target, written = vendor.helper(folder, force=force)
    if as_json:
        out_json({"path": str(target), "written": written})
    else:
        out(f"{'wrote' if written else 'unchanged'} {target}\n")
