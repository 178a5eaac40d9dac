"""`fumehood stop` and `resume`: end a tool, a caller or everything at once, and let it go on."""

from __future__ import annotations

from typing import Annotated

import typer

from fumehood.cli.complete import tool_names
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import note, out, out_json, table
from fumehood.client import Client
from fumehood.errors import ExitStatus, UsageError

NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="A tool.", autocompletion=tool_names)
]
AllOption = Annotated[bool, typer.Option("--all", help="Everything: no call is taken.")]
CallerOption = Annotated[
    int | None,
    typer.Option("--caller", metavar="UID", min=0, max=2**32 - 2, help="All calls of a caller."),
]


def stop(
    name: NameArgument = None,
    everything: AllOption = False,
    caller: CallerOption = None,
    reason: Annotated[str, typer.Option("--reason", help="For the record.")] = "",
    capture: Annotated[
        bool,
        typer.Option(
            "--capture", help="Look at what runs before it is killed, and open an incident of each."
        ),
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show what is stopped.")] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Stop a tool, a caller or everything, also what runs now; no restart forgets it.

    What runs is killed without its grace, with --capture after a look of half a second at most in
    all. Exit status 1 when something of it does not die, or there is no such tool: its name is
    stopped all the same, for when it comes. For operators; `fumehood resume` lets it go on.
    """
    with Client.connect(chosen(socket).socket) as client:
        if listed:
            _list(client.stops(), as_json=as_json)
            return
        kind, what = _wanted(name, everything, caller)
        stopped = client.stop(kind, what, reason, capture=capture)
    if as_json:
        out_json(stopped)
    else:
        out(f"stopped: {kind} {what}".rstrip() + f"; {stopped['killed']} calls ended\n")
        if stopped["left"]:
            note("bad", f"{stopped['left']} calls do not end: see the daemon's log", "1;31")
        if stopped["unlooked"]:
            note("note", f"{stopped['unlooked']} of them were killed without a look")
        if not stopped["known"]:
            note("bad", f"there is no tool {what!r}; the name is stopped all the same", "1;31")
            note("remedy", "see `fumehood tool list`; `fumehood resume` takes it back", "1;32")
    done = stopped["known"] and not stopped["left"]
    raise typer.Exit(ExitStatus.OK if done else ExitStatus.FAILED)


def resume(
    name: NameArgument = None,
    everything: AllOption = False,
    caller: CallerOption = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Let go on what `fumehood stop`, or a rule for incidents, stopped."""
    kind, what = _wanted(name, everything, caller)
    with Client.connect(chosen(socket).socket) as client:
        resumed = client.resume(kind, what)
    if as_json:
        out_json(resumed)
    else:
        out(f"resumed: {kind} {what}".rstrip() + f"; stopped since {resumed['since']}\n")


def _wanted(name: str | None, everything: bool, caller: int | None) -> tuple[str, str]:
    if (name is not None) + everything + (caller is not None) != 1:
        raise UsageError("name one tool, or --caller, or --all", "see `fumehood stop --help`")
    if everything:
        return "all", ""
    return ("tool", name) if name is not None else ("caller", str(caller))


def _list(stops: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        out_json(stops)
    elif not stops:
        note("note", "nothing is stopped")
    else:
        rows = [(s["kind"], s["name"], s["since"], s["by"], s["reason"]) for s in stops]
        table(("WHAT", "NAME", "SINCE", "BY", "REASON"), rows)
