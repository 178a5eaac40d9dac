"""`fumehood caller show` and `fumehood session …`: what a caller may do now, and its sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import age, out, out_json, size, table
from fumehood.client import Client

app = typer.Typer(no_args_is_help=True, help="Show what callers may do now.")
sessions = typer.Typer(no_args_is_help=True, help="Open and close sessions of your own.")


@app.command("show")
def show(
    caller: Annotated[
        str | None,
        typer.Argument(metavar="[CALLER]", help="A user's name or UID; yourself when left out."),
    ] = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Show a caller's roles, what is left of its rates and budgets, and how it has behaved.

    A caller whose calls are often refused, attempt forbidden system calls or bring injected
    instructions is tightened for a while; the level says how far. Others than yourself are for
    operators.
    """
    with Client.connect(chosen(socket).socket) as client:
        found = client.show_caller(caller)
    if as_json:
        out_json(found)
    else:
        table(("KEY", "VALUE"), list(_rows(found)))


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "principal", found["principal"]
    yield "roles", ", ".join(found["roles"]) or "none"
    yield "at once", f"{found['at_once']['used']} of {found['at_once']['of']}"
    for rate in found["rates"]:
        yield rate["limit"], f"{rate['left']} of {rate['of']} left, full in {rate['seconds']:g} s"
    conduct = found["conduct"]
    signs = ", ".join(f"{count} {sign}" for sign, count in conduct["signs"].items())
    level = f"level {conduct['level']}: limits times {conduct['factor']:g}"
    points = f"{conduct['points']:g} points, tightened at {conduct['tighten_at']}"
    told = "; ".join(filter(None, (points, signs)))
    yield "conduct", f"{level if conduct['level'] else 'fine'} ({told})"
    for budget in found["budgets"]:
        yield f"budget per {budget['window']}", _budget(budget)
    for session in found["sessions"]:
        yield "session", f"{session['session']}, ends in {age(session['expires_seconds'])}"


def _budget(budget: Mapping[str, Any]) -> str:
    calls, cpu, output = budget["invocations"], budget["cpu_seconds"], budget["output_bytes"]
    parts = []
    if calls["of"] is not None:
        parts.append(f"{calls['used']} of {calls['of']} invocations")
    if cpu["of"] is not None:
        parts.append(f"{cpu['used']:g} of {cpu['of']:g} s of CPU time")
    if output["of"] is not None:
        parts.append(f"{size(output['used'])} of {size(output['of'])} of output")
    tools = "" if budget["tools"] == ["*"] else f" for {', '.join(budget['tools'])}"
    return f"{', '.join(parts)}{tools}, new in {age(budget['ends_in_seconds'])}"


@sessions.command("open")
def open_(as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Open a session and print its handle, for `fumehood call --session`.

    It separates rates and records of your own agents. It is no secret that gives rights: nobody
    but you can use it, and it ends.
    """
    with Client.connect(chosen(socket).socket) as client:
        opened = client.open_session()
    if as_json:
        out_json(opened)
    else:
        out(opened["session"] + "\n")


@sessions.command("close")
def close(
    handle: Annotated[str, typer.Argument(metavar="HANDLE", help="What `session open` printed.")],
    socket: SocketOption = None,
) -> None:
    """End a session of yours."""
    with Client.connect(chosen(socket).socket) as client:
        client.close_session(handle)
