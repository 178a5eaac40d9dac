"""`fumehood approvals`, `approve` and `deny`: calls that a rule holds until an operator agrees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fumehood.cli.complete import approvals as waiting
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import age, out, out_json, printable, say
from fumehood.client import Client

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A call that waits; `fumehood approvals` shows them.",
        autocompletion=waiting,
    ),
]


def list_(as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """List the calls that wait for approval, with exactly what would run.

    An operator sees all of them, others their own.
    """
    with Client.connect(chosen(socket).socket) as client:
        found = client.approvals()
    if as_json:
        out_json(found)
    elif found:
        out("\n".join(map(described, found)))
    else:
        say("no call waits for approval")


def approve(id_: IdArgument, as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Let a call run that waits for approval.

    Only an operator may, and not for a call of their own.
    """
    _answer(id_, grant=True, as_json=as_json, socket=socket)


def deny(id_: IdArgument, as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Refuse a call that waits for approval."""
    _answer(id_, grant=False, as_json=as_json, socket=socket)


def _answer(id_: str, *, grant: bool, as_json: bool, socket: SocketOption) -> None:
    with Client.connect(chosen(socket).socket) as client:
        answered = client.answer_approval(id_, grant=grant)
    if as_json:
        out_json(answered)
    else:
        out(("approved " if grant else "denied ") + described(answered))


def described(item: Mapping[str, Any]) -> str:
    """One call that waits, in full: nobody should approve what they have not seen."""
    shown = item["arguments"]
    if len(shown.encode()) < item["arguments_bytes"]:
        shown += f" … ({item['arguments_bytes']} bytes in all)"
    limits = ", ".join(f"{key} {value}" for key, value in item["limits"].items() if value)
    who = item["caller"]
    lines = [
        f"{item['approval']}  expires in {age(item['expires_seconds'])}",
        f"  caller     {who['principal']} ({who['name']})",
        f"  tool       {item['tool']} {item['version']}  {item['digest']}",
        f"  command    {json.dumps(item['command'])}",
        f"  image      {item['image']}, network {item['network']}",
        f"  limits     {limits}",
        f"  arguments  {shown}",
    ]
    if "rule" in item:  # told to operators
        lines.append(f"  because    {item['rule']}: {item['reason']}")
    return "\n".join(map(printable, lines)) + "\n"
