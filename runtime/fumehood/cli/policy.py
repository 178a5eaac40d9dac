"""`fumehood policy …`: looks over the rules of who may call what, and explains a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from fumehood.cli.arguments import parse
from fumehood.cli.complete import tool_names
from fumehood.cli.options import ConfigOption, JsonOption, SocketOption, chosen
from fumehood.cli.present import out, out_json, say, table
from fumehood.client import Client
from fumehood.errors import DaemonUnreachable, ExitStatus, Unauthorized

app = typer.Typer(no_args_is_help=True, help="Check and explain the rules of who may call what.")

Remark = Mapping[str, Any]


@app.command("check")
def check(
    config: ConfigOption = None, as_json: JsonOption = False, socket: SocketOption = None
) -> None:
    """Check the configuration's rules.

    It looks for rules that never decide or add nothing, roles that nobody has, and conditions that
    hold of more calls than they seem to. Where a daemon runs and you are an operator of it, it also
    tells which tools nobody or everybody may call by the rules that hold, and what a reload would
    lose. Exit status 1 when there is a warning, 2 when the file is refused.
    """
    (remarks, named), note = _looked_over(config), ""
    try:
        with Client.connect(chosen(socket).socket) as client:
            remarks = _merged(remarks, client.review_policy(named))
    except (DaemonUnreachable, Unauthorized) as error:
        note = f"the tools were not looked at: {error.cause}"
    if as_json:
        out_json({"remarks": remarks, "tools_checked": not note})
    else:
        if remarks:
            table(("SEVERITY", "RULE", "CHECK", "TEXT"), [_row(remark) for remark in remarks])
        else:
            out("the rules are fine\n")
        if note:
            say(note)
    if any(remark["severity"] == "warning" for remark in remarks):
        raise typer.Exit(ExitStatus.FAILED)


def file_remarks(config: ConfigOption) -> list[Remark]:
    """What can be said of the file; raises ConfigError with its line for what is refused."""
    return _looked_over(config)[0]


def _looked_over(config: ConfigOption) -> tuple[list[Remark], list[str]]:
    """The same, and which keys it names."""
    import os

    from fumehood.admission.review import review
    from fumehood.config import load

    where = chosen(config=config)
    found = load(where.config, trusted_uid=os.geteuid(), required=where.config_named)
    named = [key for key in found.model_fields_set if getattr(found, key) is not None]
    return [remark.to_json() for remark in review(found)], sorted(named)


def _merged(first: Sequence[Remark], more: Sequence[Remark]) -> list[Remark]:
    return [*first, *(remark for remark in more if remark not in first)]


def _row(remark: Remark) -> tuple[str, str, str, str]:
    number = str(remark["rule"] or "-")
    return remark["severity"], number, remark["check"], remark["text"]


@app.command("explain")
def explain(
    caller: Annotated[
        str, typer.Argument(metavar="CALLER", help="A user's name, or a UID.", show_default=False)
    ],
    tool: Annotated[
        str, typer.Argument(metavar="TOOL", help="A tool's name.", autocompletion=tool_names)
    ],
    document: Annotated[
        str, typer.Argument(metavar="ARGS", help="JSON, `-` for stdin, or `@FILE`.")
    ] = "{}",
    every: Annotated[
        bool, typer.Option("--all", help="Show also the rules that do not match.")
    ] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
) -> None:
    """Show which rule decides about a call, and why the others do not. Only operators may ask.

    Exit status 0 when the call would be allowed, 1 when it would wait for approval, 3 when it
    would be refused.
    """
    arguments = parse(document, (), ()).document
    with Client.connect(chosen(socket).socket) as client:
        found = client.explain_policy(caller, tool, arguments)
    if as_json:
        out_json(found)
    else:
        by = f"rule {found['rule']}" if found["rule"] else "no rule"
        roles = ", ".join(found["roles"]) or "none"
        out(f"{found['effect']}  by {by}: {found['why']}\n")
        out(f"{found['principal']} has the roles {roles}\n")
        if found["fault"]:
            out(f"the arguments do not fit the tool: {found['fault']}\n")
        rules = [rule for rule in found["rules"] if every or rule["matches"]]
        if rules:
            rows = [(str(r["rule"]), r["effect"], _yes(r["matches"]), r["why"]) for r in rules]
            table(("RULE", "EFFECT", "MATCHES", "WHY"), rows)
    raise typer.Exit(_STATUS["deny" if found["fault"] else found["effect"]])


_STATUS = {"allow": ExitStatus.OK, "ask": ExitStatus.FAILED, "deny": ExitStatus.REJECTED}


def _yes(value: object) -> str:
    return "yes" if value else "no"
