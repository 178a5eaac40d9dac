"""`fumehood audit …`: reads the audit log on disk; must never change a record."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fumehood.cli.key import opened
from fumehood.cli.options import ConfigOption, JsonOption, StateOption, chosen
from fumehood.cli.present import note, out, out_json
from fumehood.errors import AuditError, ExitStatus, UsageError
from fumehood.places import Places

if TYPE_CHECKING:
    from fumehood.audit.verify import Report
    from fumehood.crypto.signing import PublicKey

app = typer.Typer(no_args_is_help=True, help="Check and search the audit log.")


@app.callback()
def group() -> None:
    """Check and search the audit log."""


@app.command("init")
def init(
    as_json: JsonOption = False, state: StateOption = None, config: ConfigOption = None
) -> None:
    """Show the log's first sealing key, once, for keeping elsewhere.

    Begins the log where no daemon ran yet. With this key, on any machine, `audit verify --key`
    finds what was changed even by somebody who has taken over this host and all its keys since.
    While it lies here, it protects nobody: it is erased once it was shown.
    """
    from fumehood.audit.chain import take_first_key
    from fumehood.audit.custody import RingCustody

    places = chosen(state=state, config=config)
    _state_for(places)
    with opened(places, create=True) as ring:
        key = take_first_key(places.state / "audit", RingCustody(ring))
    if as_json:
        out_json({"first_key": key})
        return
    out(key + "\n")
    note("note", "keep it away from this host; it is not shown again")


def _state_for(places: Places) -> None:
    """Make the state where there is none yet, as `serve` would."""
    if places.state.exists():
        return
    import os

    from fumehood.cli.serve import configuration, make_state, supervisor_account

    root = os.geteuid() == 0
    uid, gid, _ = supervisor_account(configuration(places)) if root else (-1, -1, ())
    make_state(places.state, uid, gid)


@app.command("verify")
def verify(
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="The first sealing key, as `audit init` showed it."
        ),
    ] = None,
    public: Annotated[
        Path | None,
        typer.Option(
            "--public",
            metavar="FILE",
            help="Keys that may have signed, from `key export-public audit`; with it nothing of "
            "this host is needed.",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help="A copy of the log, with --public."),
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Check that no record of the audit log was edited, deleted, reordered or cut off.

    Reads the log and the keys in the state directory, also while the daemon writes it; run it
    as root, or as whoever runs the daemon. Exit status 1 names the first bad record. Without the
    first key, only who had none of this host's keys is found out.
    """
    from fumehood.audit.custody import RingCustody
    from fumehood.audit.head import parse_first_key
    from fumehood.audit.verify import Trust
    from fumehood.audit.verify import verify as verify_log

    first = parse_first_key(_text(key)) if key else None
    places = chosen(state=state, config=config)
    if directory is not None and public is None:
        raise UsageError("a copy of the log has no keys beside it", "name them with --public")
    where = directory or places.state / "audit"
    if public is not None:
        report = verify_log(where, Trust(first, public_keys(public)))
        _show(report, where, as_json=as_json)
    if not where.exists():
        raise AuditError(
            f"there is no audit log in {places.state}", "name the daemon's state with --state"
        )
    with opened(places) as ring:
        report = verify_log(where, Trust(first, ring.public_keys("audit"), RingCustody(ring)))
    _show(report, where, as_json=as_json)


def public_keys(path: Path) -> list[PublicKey]:
    """The public keys of a PEM file. Raises UsageError, KeyringError."""
    from fumehood.crypto.signing import PublicKey

    end = "-----END PUBLIC KEY-----"
    parts = _text(path).split(end)[:-1]
    keys = [PublicKey.from_pem(part[part.find("-----BEGIN") :] + end + "\n") for part in parts]
    if not keys:
        raise UsageError(f"{path} holds no public key", "see `fumehood key export-public`")
    return keys


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _show(report: Report, directory: Path, *, as_json: bool) -> None:
    if as_json:
        value: dict[str, Any] = asdict(report) | {"ok": report.ok, "directory": str(directory)}
        out_json(value)
    elif report.ok:
        files = "file" if report.segments == 1 else "files"
        out(f"ok: {report.records} records in {report.segments} {files}, unbroken\n")
        for line in _notes(report):
            note("note", line)
    else:
        note("bad", f"{directory}/{report.first_bad}", "1;31")
    raise typer.Exit(ExitStatus.OK if report.ok else ExitStatus.FAILED)


def _notes(report: Report) -> list[str]:
    notes = []
    if not report.sealed:
        notes.append("seals were not checked: that takes the first key (--key)")
    if report.removed:
        notes.append(f"records 1 to {report.removed} were removed by retention, as was signed")
    if report.clock_steps:
        notes.append(f"the clock went backwards {report.clock_steps} times:")
        notes += [f"record {step}" for step in report.steps]
    if report.torn_bytes:
        notes.append(f"the last line is unfinished ({report.torn_bytes} bytes)")
    return notes
