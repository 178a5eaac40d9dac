"""`fumehood tool import`: a draft of a manifest from somebody else's description.

Reads one file and writes one; must never run, download or register anything.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fumehood.cli.options import JsonOption
from fumehood.cli.present import note, out, out_json, say
from fumehood.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from fumehood.model.foreign.draft import Draft
    from fumehood.model.foreign.read import Verdict


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An MCP server.json, a Docker MCP catalog or one entry of it, a ToolHive "
            "permission profile, or the manifest.json of an MCPB bundle.",
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="NAME", help="Which server of a catalog with several."),
    ] = None,
    tool: Annotated[
        str | None,
        typer.Option("--tool", metavar="NAME", help="Which tool of a server with several."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file, instead of stdout."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read what others describe their tools with into a draft of a manifest.

    What could not be mapped is listed on stderr, each with its reason, and whether
    `fumehood tool check` would take the draft as it is. Nothing is downloaded, run or registered.
    """
    from fumehood.model.foreign.read import read, verdict, written

    draft = read(_text(source), source=str(source), server=server, tool=tool)
    judged = verdict(draft)
    if output is not None:
        _write(output, written(draft.manifest))
    if as_json:
        found = {
            "format": draft.form,
            "manifest": draft.manifest,
            "not_mapped": [asdict(left) for left in draft.left],
            "more_not_mapped": draft.more,
            "check": {"ok": not judged.cause, **asdict(judged)},
        }
        out_json(found)
        return
    if output is None:
        out(written(draft.manifest))
    _tell(draft, judged)


def _tell(draft: Draft, judged: Verdict) -> None:
    for left in draft.left:
        note("not mapped", f"{left.key}: {left.why}", "1;33")
    if draft.more:
        note("not mapped", f"{draft.more} more", "1;33")
    if judged.cause:
        note("incomplete", judged.cause, "1;33")
        say(f"  {judged.remedy}")
    if judged.missing:
        note("to fill in", ", ".join(judged.missing), "1;33")


def _text(path: Path) -> str:
    from fumehood.model.foreign.read import MAX_BYTES

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file that you may read") from None
    if data.startswith(b"PK"):
        raise UsageError(f"{path} is an archive", "unpack it, and name its manifest.json")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 at byte {error.start}", "save as UTF-8") from None


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a new file") from None
