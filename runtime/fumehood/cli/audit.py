"""`fumehood audit …`: reads the audit log on disk; must never change it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from fumehood.cli.options import ConfigOption, JsonOption, StateOption, chosen
from fumehood.cli.present import note, out, out_json
from fumehood.errors import AuditError, ExitStatus

app = typer.Typer(no_args_is_help=True, help="Check the audit log.")


@app.callback()
def group() -> None:
    """Check the audit log."""


@app.command("verify")
def verify(
    as_json: JsonOption = False, state: StateOption = None, config: ConfigOption = None
) -> None:
    """Check that no record of the audit log was edited, deleted, reordered or cut off.

    Reads the log and its key in the state directory, also while the daemon writes it; run it
    as root, or as whoever runs the daemon. Exit status 1 names the first bad record.
    """
    # cryptography costs 30 ms: only this command pays for it.
    from fumehood.audit.verify import verify as verify_log
    from fumehood.cli.key import opened
    from fumehood.crypto.derive import derive

    places = chosen(state=state, config=config)
    directory = places.state / "audit"
    if not directory.exists():
        raise AuditError(
            f"there is no audit log in {places.state}", "name the daemon's state with --state"
        )
    with opened(places) as ring:
        key = derive(ring.master.bytes, "audit", 384)
    report = verify_log(directory, key)
    if as_json:
        out_json(asdict(report) | {"ok": report.ok, "directory": str(directory)})
    elif report.ok:
        files = "file" if report.segments == 1 else "files"
        out(f"ok: {report.records} records in {report.segments} {files}, unbroken\n")
    else:
        note("bad", f"{directory}/{report.first_bad}", "1;31")
    raise typer.Exit(ExitStatus.OK if report.ok else ExitStatus.FAILED)
