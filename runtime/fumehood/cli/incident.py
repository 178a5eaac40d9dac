"""`fumehood incident …`: what somebody must look at, for operators."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fumehood.cli.options import ConfigOption, JsonOption, SocketOption, StateOption, chosen
from fumehood.cli.present import fact, note, out, out_json, table
from fumehood.client import Client

app = typer.Typer(no_args_is_help=True, help="List, show and close incidents.")

IncidentArgument = Annotated[str, typer.Argument(metavar="ID", help="An incident.")]


@app.callback()
def group() -> None:
    """List, show and close incidents."""


@app.command("list")
def list_incidents(
    closed: Annotated[bool, typer.Option("--closed", help="Closed ones, too.")] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """List incidents, the newest first. Exit status 1 when one is open or unreadable."""
    with Client.connect(chosen(socket).socket) as client:
        found = client.incidents(closed=closed)
    if as_json:
        out_json(found)
    elif not found:
        note("note", "no incident is open")
    else:
        rows = [
            (i["incident"], i["opened"], i["signal"], i["tool"], str(i["uid"]),
             _state(i), ", ".join(i["actions"]))
            for i in found
        ]  # fmt: skip
        table(("INCIDENT", "OPENED", "SIGNAL", "TOOL", "CALLER", "STATE", "ACTIONS"), rows)
    raise typer.Exit(1 if any(not incident["closed"] for incident in found) else 0)


def _state(incident: Mapping[str, Any]) -> str:
    if incident.get("unreadable"):
        return "unreadable"
    return "closed" if incident["closed"] else "open"


@app.command("show")
def show(
    incident: IncidentArgument,
    capture: Annotated[
        bool,
        typer.Option(
            "--capture", help="Also what was captured, decrypted here: arguments and output."
        ),
    ] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Show an incident and its timeline.

    With --capture, run as root or as whoever runs the daemon: what the call was given and wrote,
    its plan, what was read back of its sandbox, what it used and was denied.
    """
    places = chosen(socket, state, config)
    with Client.connect(places.socket) as client:
        shown = client.incident(incident)
    captured: dict[str, Any] | None = None
    if capture:
        from fumehood.audit.incident import opened_capture, read_incident
        from fumehood.cli.key import opened

        with opened(places) as place:
            whole = read_incident(place.state / "incidents", incident)
            captured = opened_capture(whole, place.ring)
    if as_json:
        out_json(shown if captured is None else {**shown, "capture": captured})
        return
    for key, value in shown.items():
        if key != "timeline" and value not in ("", [], False):
            fact(key, value if isinstance(value, str) else json.dumps(value))
    for when, what in shown["timeline"]:
        out(f"{when}  {what}\n")
    for key, value in (captured or {}).items():
        stream = key in ("stdout", "stderr")
        text = base64.b64decode(value).decode(errors="replace") if stream else json.dumps(value)
        fact(key, text)


@app.command("close")
def close(
    incident: IncidentArgument,
    reason: Annotated[str, typer.Option("--note", help="What was found and done.")],
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Close an incident. What it stopped stays stopped: `fumehood resume` lets it go on."""
    with Client.connect(chosen(socket).socket) as client:
        closed = client.close_incident(incident, reason)
    if as_json:
        out_json(closed)
    else:
        out(f"closed: {closed['incident']}\n")
