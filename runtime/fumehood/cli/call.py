"""`fumehood call`: one call of a registered tool, through the daemon's socket.

Starts fast: must never import mcp, pydantic or anyio (a test measures it).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fumehood.cli import arguments, artifacts, elapsed, outcome
from fumehood.cli.complete import tool_names
from fumehood.cli.follow import Followed
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import is_terminal
from fumehood.client import Client
from fumehood.errors import UnknownTool, UsageError

ArgumentsArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="ARGUMENTS",
        help="The arguments as a JSON object, `-` to read it from stdin, or `@FILE`.",
        show_default=False,
    ),
]
ArgOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="NAME=VALUE",
        help="One argument, read by the type that the tool's schema gives it; repeatable.",
        show_default=False,
    ),
]
ArgFileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arg-file",
        metavar="NAME=FILE",
        help="One argument from a file: its text, or base64 where the schema asks for it.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Save artifacts there.", show_default=False),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Let --out overwrite files.")]
FollowOption = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Show the answer while the tool writes it, scanned."),
]
SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session",
        metavar="HANDLE",
        envvar="FUMEHOOD_SESSION",
        help="A session of yours that the call belongs to; `fumehood session open` prints one.",
        show_default=False,
        show_envvar=False,
    ),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show usage, what was enforced, and timing.")
]


def command(
    tool: Annotated[
        str,
        typer.Argument(
            metavar="TOOL",
            help="A tool's name; `fumehood tool list` shows them.",
            autocompletion=tool_names,
        ),
    ],
    document: ArgumentsArgument = None,
    arg: ArgOption = None,
    arg_file: ArgFileOption = None,
    as_json: JsonOption = False,
    follow: FollowOption = False,
    verbose: VerboseOption = False,
    out: OutOption = None,
    force: ForceOption = False,
    session: SessionOption = None,
    socket: SocketOption = None,
) -> None:
    """Call a tool in a fresh sandbox and print its answer.

    The answer goes to stdout and everything about it to stderr. Ctrl-C cancels the call and
    kills its sandbox.

    Exit status: 0 ok, 1 the tool failed, 2 usage, 3 rejected, 4 a limit fired, 5 output
    withheld, 6 engine error, 130 cancelled.
    """
    given = arguments.parse(document, arg or (), arg_file or ())
    if out is not None:
        artifacts.check(out)
    with Client.connect(chosen(socket).socket) as client:
        values = given.typed(lambda: input_schema(client, tool))
        result = invoke(client, tool, values, follow=follow, as_json=as_json, session=session)
    raise typer.Exit(
        outcome.show(result, as_json=as_json, verbose=verbose, directory=out, force=force)
    )


def invoke(
    client: Client,
    tool: str,
    values: dict[str, object],
    *,
    follow: bool = False,
    as_json: bool = False,
    session: str | None = None,
) -> dict[str, Any]:
    """Call with a live line on a terminal; SIGTERM cancels as Ctrl-C does.

    follow: show stdout as it comes; the result returned has the rest of it.
    """
    if follow and as_json:
        raise UsageError("--follow and --json cannot be used together", "leave one of them away")
    followed = Followed()
    on_output = followed.show if follow else None
    previous = signal.signal(signal.SIGTERM, lambda _number, _frame: client.cancel())
    try:
        with elapsed.shown(tool, hidden=follow and is_terminal(sys.stdout)) as line:
            on_progress = line.progress if is_terminal(sys.stderr) else None
            result = client.call(
                tool, values, on_progress=on_progress, on_output=on_output,
                on_note=followed.explain, session=session,
            )  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, previous)
    return followed.rest_of(result)


def input_schema(client: Client, tool: str) -> arguments.Schema:
    """The tool's inputSchema as the daemon lists it; raises UnknownTool."""
    for listed in client.tools():
        if listed.get("name") == tool:
            schema = listed.get("inputSchema")
            return schema if isinstance(schema, dict) else {}
    raise UnknownTool(f"there is no tool {tool!r}", "`fumehood tool list` shows those you may call")
