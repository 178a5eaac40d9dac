"""`fumehood release`: shows an operator what a tool wrote and no caller got.

What it prints was withheld for a reason: a terminal gets its control characters made visible, and
files are written only where `--out` says.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fumehood.cli import artifacts
from fumehood.cli.complete import withheld
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import age, is_terminal, note, out, out_json, size, table
from fumehood.client import Client
from fumehood.errors import UsageError


def command(
    invocation: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The invocation whose output was withheld.",
            autocompletion=withheld,
        ),
    ] = "",
    listing: Annotated[bool, typer.Option("--list", help="List what is kept, instead.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Save the tool's files there."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files in DIR.")] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Release output that was withheld: for operators, and on record before it is shown.

    Prints what the tool wrote to stdout as it wrote it, and everything about it to stderr. It is
    kept, encrypted, as long as `scan.keep_withheld_days` says. Exit status 3: nothing is kept of
    such an invocation, or you are no operator.
    """
    if bool(invocation) == listing:
        raise UsageError("name one invocation, or --list", "see `fumehood release --help`")
    if directory is not None:
        artifacts.check(directory)
    with Client.connect(chosen(socket).socket) as client:
        if listing:
            _list(client.withheld(), as_json=as_json)
            return
        released = client.release(invocation)
    files = [
        artifacts.Block(item["name"], base64.b64decode(item["data"]))
        for item in released["artifacts"]
    ]
    if as_json:
        out_json(released)
    else:
        _show(released, len(files), saved=directory is not None)
    if directory is not None:
        for path in artifacts.save(files, directory, force=force):
            if not as_json:
                note("saved", str(path))


def _list(kept: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        out_json(kept)
    elif not kept:
        note("note", "no withheld output is kept")
    else:
        rows = [(i["invocation"], size(i["bytes"]), age(i["seconds_left"])) for i in kept]
        table(("INVOCATION", "ON DISK", "KEPT FOR"), rows)


def _show(released: dict[str, Any], files: int, *, saved: bool) -> None:
    note("tool", f"{released['tool']}, called by uid {released['uid']}")
    note("withheld", f"{released['message']} {' '.join(released['findings'])}".strip())
    stdout = base64.b64decode(released["stdout"])
    if is_terminal(sys.stdout):
        out(stdout.decode("utf-8", "backslashreplace"))
    else:
        sys.stdout.buffer.write(stdout)
        sys.stdout.buffer.flush()
    if stderr := base64.b64decode(released["stderr"]).decode("utf-8", "backslashreplace"):
        note("stderr", stderr.rstrip("\n"))
    if files and not saved:
        note("files", f"{files}; --out DIR saves them")
