"""`fumehood approvals`, `approve` and `deny`: calls that a rule holds until an operator agrees."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fumehood.cli.complete import approvals as waiting
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import age, out, out_json, printable, say
from fumehood.client import Client
from fumehood.errors import UnknownApproval, UsageError

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A call that waits; `fumehood approvals` shows them.",
        autocompletion=waiting,
    ),
]


def list_(
    id_: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="One of them.", autocompletion=waiting),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="With ID: all of its arguments, and their digest.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE",
            help="With ID: its arguments, byte for byte, into a new file; prints their digest.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:  # fmt: skip
    """List the calls that wait for approval, with exactly what would run.

    An operator sees all of them, others their own. Arguments of more than 64 KiB are listed in
    part; `fumehood approve` then wants the digest that `--full` and `--output` print.
    """
    if id_ is None and (full or output is not None):
        raise UsageError("--full and --output are about one call", "give its ID")
    with Client.connect(chosen(socket).socket) as client:
        found = client.approvals()
        if id_ is not None:
            found = [item for item in found if item["approval"] == id_]
            if not found:
                raise UnknownApproval(
                    "no such call waits for approval", "`fumehood approvals` lists them"
                )
        whole = client.asked_arguments(id_)[0] if id_ is not None and (full or output) else None
    if output is not None and whole is not None:
        _write_new(output, whole)
    if whole is not None and full:
        found = [{**found[0], "arguments": whole.decode()}]
    if as_json:
        out_json(found)
    elif found:
        out("\n".join(map(described, found)))
    else:
        say("no call waits for approval")


def _write_new(path: Path, data: bytes) -> None:
    """Raises UsageError: there is something already, or it cannot be written."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "choose another file") from None


def approve(
    id_: IdArgument,
    digest: Annotated[
        str | None,
        typer.Option(
            "--digest", metavar="DIGEST",
            help="Of the arguments you saw; the call runs with no others.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:  # fmt: skip
    """Let a call run that waits for approval.

    Only an operator may, and not for a call of their own. Of more than 64 KiB of arguments
    `--digest` says that you saw them: `fumehood approvals ID --full` or `--output FILE` prints it.
    """
    _answer(id_, grant=True, digest=digest, as_json=as_json, socket=socket)


def deny(id_: IdArgument, as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Refuse a call that waits for approval."""
    _answer(id_, grant=False, digest=None, as_json=as_json, socket=socket)


def _answer(
    id_: str, *, grant: bool, digest: str | None, as_json: bool, socket: SocketOption
) -> None:
    with Client.connect(chosen(socket).socket) as client:
        answered = client.answer_approval(id_, grant=grant, digest=digest)
    if as_json:
        out_json(answered)
    else:
        out(("approved " if grant else "denied ") + described(answered))


def described(item: Mapping[str, Any]) -> str:
    """One call that waits: nobody should approve what they have not seen."""
    shown, count = item["arguments"], item["arguments_bytes"]
    if len(shown.encode()) < count:
        ways = f"`fumehood approvals {item['approval']} --full` or `--output FILE`"
        shown += f" … ({count} bytes in all; to see them: {ways})"
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
        f"  digest     {item['arguments_digest']} of the arguments",
    ]
    if "rule" in item:  # told to operators
        lines.append(f"  because    {item['rule']}: {item['reason']}")
    return "\n".join(map(printable, lines)) + "\n"
