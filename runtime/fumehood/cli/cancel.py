"""`fumehood cancel`: ends an invocation, one's own or, for an operator, anybody's."""

from __future__ import annotations

from typing import Annotated

import typer

from fumehood.cli.complete import invocations
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import out, out_json
from fumehood.client import Client
from fumehood.errors import ExitStatus

InvocationArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="An invocation; `fumehood ps` shows them.",
        autocompletion=invocations,
    ),
]


def command(
    invocation: InvocationArgument, as_json: JsonOption = False, socket: SocketOption = None
) -> None:
    """Cancel a running or waiting invocation; returns when nothing of it is alive.

    The tool gets SIGTERM, and is killed with everything in its sandbox when `limits.grace` is
    over. Exit status 1 when it ended by itself before.
    """
    with Client.connect(chosen(socket).socket) as client:
        stopped = client.cancel_invocation(invocation)
    if as_json:
        out_json(stopped)
    else:
        out(f"{stopped['invocation']}  {stopped['status']}\n")
    cancelled = stopped["status"] == "cancelled"
    raise typer.Exit(ExitStatus.OK if cancelled else ExitStatus.FAILED)
