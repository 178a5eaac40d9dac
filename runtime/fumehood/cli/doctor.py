"""`fumehood doctor`: what this host can enforce, proven by trying, and what fixes the rest.

After the host it asks a sandbox: a probe that attempts what must fail, run the way every tool
runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fumehood.cli import outcome, pack, private
from fumehood.cli.options import ConfigOption, JsonOption, chosen
from fumehood.cli.present import out, out_json, say, table
from fumehood.cli.serve import AcceptOption
from fumehood.errors import ExitStatus, FumehoodError

PROBE = Path(__file__).parent / "probe" / "tool.yaml"


def command(
    as_json: JsonOption = False,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Also attack a sandbox from inside.")
    ] = True,
    config: ConfigOption = None,
    accept_unenforced: AcceptOption = None,
) -> None:
    """Check what this host can enforce, and try to escape from a sandbox.

    Exit status: 0 when everything needed is there and every attempt was refused, 1 otherwise.
    """
    # The large imports of this command: the configuration's models.
    from fumehood.cli import checks

    places = chosen(config=config)
    found = list(checks.host(places, _names(accept_unenforced or ())))
    if probe and all(check.state != "missing" for check in found):
        named = places.config if places.config_named else None
        found += attack(named, accept_unenforced or ())
    elif probe:
        say("the sandbox was not probed: something it needs is missing")
    missing = [check for check in found if check.state == "missing"]
    if as_json:
        out_json({"ok": not missing, "checks": [asdict(check) for check in found]})
    else:
        table(("CHECK", "STATE", "FOUND"), [(c.name, c.state, c.found) for c in found])
        _remedies(found)
    raise typer.Exit(ExitStatus.FAILED if missing else ExitStatus.OK)


def _names(accept: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for item in accept for name in item.split(",") if name)


def _remedies(found: Sequence[Any]) -> None:
    for check in found:
        if check.remedy:
            out(f"\n{check.name} is {check.state}. Remedy: {check.remedy}\n")


def attack(config: Path | None, accept: Sequence[str]) -> Iterator[Any]:
    """Run the probe as a tool in a private daemon; one check for each of its attempts."""
    from fumehood.cli.checks import Check
    from fumehood.client import Client

    package = pack.load(PROBE)
    try:
        with private.daemon(config, accept) as socket, Client.connect(socket) as client:
            client.add_tool(package.manifest, package.files)
            result = client.call(package.name, {})
    except FumehoodError as error:
        yield Check("sandbox", "missing", error.cause, error.remedy)
        return
    yield from verdicts(result)


def verdicts(result: outcome.Result) -> Iterator[Any]:
    """What the probe's result means, without running anything."""
    from fumehood.cli.checks import Check

    report = result.get("structured")
    if result.get("status") != "ok" or not isinstance(report, dict):
        said = str(result.get("message") or result.get("stderr") or "").strip()
        yield Check("sandbox", "missing", f"the probe ended with {result.get('status')}: {said}")
        return
    enforced = result.get("enforced") or {}
    if missing := enforced.get("not_enforced"):
        yield Check("sandbox", "degraded", f"accepted as not enforced: {', '.join(missing)}")
    yield _account(report["uid"], enforced.get("uid"))
    for attempt in report["attempts"]:
        name, detail = f"sandbox: {attempt['name']}", attempt["detail"]
        if attempt["escaped"]:
            yield Check(name, "missing", f"NOT refused: {detail}", "report this: see SECURITY.md")
        else:
            yield Check(name, "ok", f"refused: {detail}")


def _account(inside: int, promised: object) -> Any:
    from fumehood.cli.checks import Check

    name = "sandbox: service account"
    if inside == promised and inside != 0:
        whose = "the user's own" if inside == os.geteuid() else "a host account of its own"
        return Check(name, "ok", f"UID {inside}, {whose}")
    return Check(name, "missing", f"UID {inside} inside, {promised} promised", "see SECURITY.md")
