"""`fumehood receipt …`: gets a signed receipt of an invocation, or verifies one offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fumehood.cli.cancel import InvocationArgument
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import note, out, out_json
from fumehood.client import Client
from fumehood.errors import UsageError


class _OrId(TyperGroup):
    """`receipt ID` is `receipt get ID`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["get", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_OrId, no_args_is_help=True, help="Get or verify a signed receipt of an invocation."
)


@app.callback()
def group() -> None:
    """Get a signed receipt (`fumehood receipt ID`), or verify one offline."""


@app.command("get")
def get(
    invocation: InvocationArgument,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it; stdout otherwise."),
    ] = None,
    socket: SocketOption = None,
) -> None:
    """Get the receipt of an invocation that ended: your own, or any for an operator.

    A DSSE envelope with an in-toto statement: what the audit log holds of it, the plan that was
    enforced, what was read back from the kernel, and the place in the chain.
    """
    with Client.connect(chosen(socket).socket) as client:
        receipt = client.receipt(invocation)
    text = json.dumps(receipt, separators=(",", ":")) + "\n"
    if to is None:
        out(text)
        return
    try:
        with to.open("x") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{to} cannot be written: {error.strerror}", "name a new file") from None
    note("receipt", str(to))


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt.")],
    trust: Annotated[
        Path,
        typer.Option(
            "--trust", metavar="FILE", help="Public keys, from `key export-public receipt`."
        ),
    ],
    digest: Annotated[
        str, typer.Option("--digest", help="What the MCP result said: `record.digest`.")
    ] = "",
    result: Annotated[
        Path | None,
        typer.Option("--result", metavar="FILE", help="The result, from `call --json`."),
    ] = None,
    arguments: Annotated[
        Path | None, typer.Option("--arguments", metavar="FILE", help="The arguments, as JSON.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a receipt offline, on any machine. Exit status 1 says what does not hold."""
    from fumehood.cli.audit import public_keys
    from fumehood.verify import verify_receipt

    receipt = verify_receipt(_bytes(file), public_keys(trust), digest=digest)
    receipt.is_of(
        arguments=_document(arguments) if arguments else None,
        result=_document(result) if result else None,
    )
    record = receipt.record
    if as_json:
        whole = {"signer": receipt.signer, "digest": receipt.digest, "plan": receipt.plan}
        out_json({"ok": True, "record": dict(record), **whole})
        return
    out(f"ok: {receipt.invocation}\n")
    for label, text in _about(record, receipt.plan):
        note(label, text)
    note("signed", f"by key {receipt.signer}")


def _about(record: Mapping[str, Any], plan: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    caller, usage = record.get("caller") or {}, record.get("usage") or {}
    about = [
        ("tool", f"{record['tool']} {record.get('tool_version', '')}".rstrip()),
        ("status", str(record["status"])),
        ("caller", f"uid {caller.get('uid', '?')}"),
        ("record", f"{record['seq']}, {record['time']}"),
    ]
    if plan is not None:
        about.append(("image", str(plan["image"])))
        about.append(("seccomp", f"{plan['seccomp']} {plan['seccomp_digest'][:23]}…"))
        limits = ", ".join(f"{name}={value}" for name, value in plan["limits"].items())
        about.append(("limits", limits))
    if usage:
        shown = {k: v for k, v in usage.items() if v is not None}
        about.append(("usage", ", ".join(f"{name}={value}" for name, value in shown.items())))
    if record.get("proofs"):
        about.append(("read back", ", ".join(f"{k}={v}" for k, v in record["proofs"].items())))
    if record.get("findings"):
        about.append(("findings", ", ".join(record["findings"])))
    return about


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name another file") from None


def _document(path: Path) -> Any:
    try:
        return json.loads(_bytes(path))
    except ValueError:
        raise UsageError(f"{path} is no JSON", "name what `fumehood receipt` wrote") from None
