"""`fumehood receipt …`: gets a signed receipt of an invocation, or verifies one offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fumehood.cli.cancel import InvocationArgument
from fumehood.cli.given import given, public_keys
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import fact, note, out, out_json
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
    from fumehood.verify import verify_receipt

    receipt = verify_receipt(given(file), public_keys(trust), digest=digest)
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
        fact(label, text)
    fact("signed", f"by key {receipt.signer}")


def _about(record: Mapping[str, Any], plan: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Whatever a trusted signer put there: a field that is missing or odd shows as it stands."""
    about = [
        ("tool", f"{record.get('tool')} {record.get('tool_version', '')}".rstrip()),
        ("status", str(record.get("status"))),
        ("caller", f"uid {_fields(record.get('caller')).get('uid', '?')}"),
        ("record", f"{record.get('seq')}, {record.get('time')}"),
    ]
    if plan is not None:
        about.append(("image", str(plan.get("image"))))
        filters = str(plan.get("seccomp_digest"))
        about.append(("seccomp", f"{plan.get('seccomp')} {filters[:23]}…"))
        about.append(("limits", _pairs(_fields(plan.get("limits")))))
    usage = {k: v for k, v in _fields(record.get("usage")).items() if v is not None}
    if usage:
        about.append(("usage", _pairs(usage)))
    if seen := _fields(_fields(record.get("syscalls")).get("seen")):
        about.append(("denied", _pairs(seen)))
    if proofs := _fields(record.get("proofs")):
        about.append(("read back", _pairs(proofs)))
    findings = record.get("findings")
    if isinstance(findings, list) and findings:
        about.append(("findings", ", ".join(map(str, findings))))
    return about


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in fields.items())


def _document(path: Path) -> Any:
    try:
        return json.loads(given(path))
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no JSON", "name what `fumehood receipt` wrote") from None
