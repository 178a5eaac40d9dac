"""`fumehood doctor`: what this host and each of its engines can enforce, proven by trying, and
what fixes the rest.

After the host it asks a sandbox of every engine in use: a probe that attempts what must fail,
run the way every tool runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fumehood.cli import pack, private
from fumehood.cli.options import ConfigOption, JsonOption, chosen
from fumehood.cli.present import out, out_json, say, table
from fumehood.cli.serve import AcceptOption
from fumehood.errors import ExitStatus, FumehoodError

if TYPE_CHECKING:
    from fumehood.cli.checks import Check
    from fumehood.cli.engines import Report
    from fumehood.client import Client

_HELD = (
    "Namespaces and limits are read back from the kernel before every tool starts, where the "
    "engine can; the suites attack all of these (docs/engines.md)."
)
PROBE = Path(__file__).parent / "probe" / "tool.yaml"


def command(
    as_json: JsonOption = False,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Also attack a sandbox of each engine.")
    ] = True,
    config: ConfigOption = None,
    accept_unenforced: AcceptOption = None,
) -> None:
    """Check what this host can enforce, and try to escape from a sandbox of each engine.

    Exit status: 0 when everything needed is there and every attempt was made and refused, 1
    otherwise.
    """
    # The large imports of this command: the configuration's models.
    from fumehood.cli import checks, engines

    places = chosen(config=config)
    accept = _names(accept_unenforced or ())
    operators, _ = checks.configuration(places)
    found = list(checks.host(places, accept))
    reports = engines.survey(operators, accept)
    if not probe:
        pass
    elif any(check.state == "missing" for check in found):
        say("no sandbox was probed: something it needs is missing")
    else:
        named = places.config if places.config_named else None
        reports = list(attack(reports, named, accept_unenforced or ()))
    missing = [check for check in found if check.state == "missing"]
    sound = not missing and all(report.sound for report in reports)
    if as_json:
        out_json(
            {
                "ok": sound,
                "checks": [asdict(check) for check in found],
                "engines": [report.to_json() for report in reports],
                "not_attacked": list(engines.UNATTACKED),
            }
        )
    else:
        table(("CHECK", "STATE", "FOUND"), [(c.name, c.state, c.found) for c in found])
        out("\n")
        table(*engines.side_by_side(reports))
        if any(report.attempts for report in reports):
            out(f"\nnot attacked by this probe: {', '.join(engines.UNATTACKED)}. {_HELD}\n")
        _remedies(found, reports)
    raise typer.Exit(ExitStatus.OK if sound else ExitStatus.FAILED)


def _names(accept: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for item in accept for name in item.split(",") if name)


def _remedies(found: Sequence[Check], reports: Sequence[Report]) -> None:
    for check in found:
        if check.remedy:
            out(f"\n{check.name} is {check.state}. Remedy: {check.remedy}\n")
    for report in reports:
        if report.state != "available":
            out(f"\n{report.name} is {report.state}: {report.cause}. Remedy: {report.remedy}\n")
        elif not report.used:
            out(f"\n{report.name} is not configured. Remedy: name it in `engines`\n")
        if report.accepted:
            out(f"\n{report.name}: accepted as not enforced: {', '.join(report.accepted)}\n")
        for attempt in report.attempts:
            if attempt.verdict in ("missing", "broken"):
                out(f"\n{report.name}: {attempt.name}: {attempt.detail}. See SECURITY.md\n")


def attack(
    reports: Sequence[Report], config: Path | None, accept: Sequence[str]
) -> Iterator[Report]:
    """Run the probe as a tool of every engine in use, all in one private daemon; the reports with
    what came of it."""
    from fumehood.cli.engines import judged
    from fumehood.client import Client

    targets = [report for report in reports if report.used and report.state == "available"]
    if not targets:
        yield from reports
        return
    try:
        with private.daemon(config, accept) as socket, Client.connect(socket) as client:
            judgements = {
                report.name: judged(report, _attacked(client, report)) for report in targets
            }
    except FumehoodError as error:
        judgements = {
            report.name: replace(report, state="refused", cause=error.cause, remedy=error.remedy)
            for report in targets
        }
    for report in reports:
        yield judgements.get(report.name, report)


def _attacked(client: Client, report: Report) -> dict[str, Any]:
    """The result of the probe on one engine; an error of the call is one as well."""
    import yaml

    from fumehood.engines.promises import PLAIN_RUNTIMES

    package = pack.load(PROBE)
    manifest = yaml.safe_load(package.manifest)
    name = f"{package.name}-{report.runtime or report.engine}"
    manifest["name"] = name
    manifest["run"]["engine"] = report.engine
    if report.runtime:
        manifest["run"]["runtime"] = report.runtime
    if report.runtime not in PLAIN_RUNTIMES:
        # The limit counts its own threads too, and gVisor ends when it is denied one.
        manifest["limits"]["pids"] = 160
    try:
        client.add_tool(yaml.safe_dump(manifest), package.files)
        result: dict[str, Any] = client.call(name, {})
    except FumehoodError as error:
        return {"status": error.code, "message": error.cause}
    return result
