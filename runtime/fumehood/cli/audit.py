"""`fumehood audit …`: reads the audit log on disk; must never change a record."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fumehood.cli.exporting import Form, exported
from fumehood.cli.given import given, public_keys
from fumehood.cli.key import opened, owned
from fumehood.cli.moment import moment
from fumehood.cli.options import ConfigOption, JsonOption, StateOption, chosen
from fumehood.cli.present import fact, note, out, out_json, table
from fumehood.errors import AuditError, ExitStatus, UsageError
from fumehood.places import Places

if TYPE_CHECKING:
    from fumehood.audit.query import Hit
    from fumehood.audit.report import Report

app = typer.Typer(
    no_args_is_help=True, help="Check and search the audit log; check what Fumehood is made of."
)


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
    While it lies here, it protects nobody: it is erased once it was shown, and stays when stdout
    does not take it.
    """
    from fumehood.audit.custody import RingCustody
    from fumehood.audit.first_key import take_first_key
    from fumehood.audit.known import Known, known_path

    places = chosen(state=state, config=config)
    _state_for(places)
    with opened(places, create=True) as place:
        custody, known = RingCustody(place.ring), Known(known_path(place.state), place.ring)

        def show(key: str) -> None:
            if as_json:
                out_json({"first_key": key})
            else:
                out(key + "\n")
            sys.stdout.flush()  # a full disk tells now, or never

        take_first_key(place.state / "audit", custody, known, show=show)
    if not as_json:
        note("note", "keep it away from this host; it is not shown again")


def _state_for(places: Places) -> None:
    """Make the state where there is none yet, as `serve` would, and give it to the supervisor where
    somebody made the folder as root: what root put into it no supervisor could read."""
    with contextlib.suppress(OSError):  # told by what makes it
        if places.state.stat().st_uid != os.geteuid():
            return

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
    at_least: Annotated[
        int,
        typer.Option(
            "--at-least",
            metavar="N",
            min=0,
            help="The number of a record that the log had, from a receipt or a copy elsewhere: an "
            "end that was cut off together with the log's own note of it is found by this alone.",
        ),
    ] = 0,
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
    from fumehood.audit.report import Trust
    from fumehood.audit.verify import verify as verify_log

    first = parse_first_key(_text(key)) if key else None
    places = chosen(state=state, config=config)
    if directory is not None and public is None:
        raise UsageError("a copy of the log has no keys beside it", "name them with --public")
    where = directory or places.state / "audit"
    if public is not None:
        report = verify_log(where, Trust(first, public_keys(public)), processes=cores())
        _show(report.reaching(at_least), where, as_json=as_json)
    if not where.exists():
        raise AuditError(
            f"there is no audit log in {places.state}", "name the daemon's state with --state"
        )
    with opened(places) as place:
        ring, log = place.ring, place.state / "audit"
        trust = Trust(first, ring.public_keys("audit"), RingCustody(ring))
        report = verify_log(log, trust, processes=cores())
    _show(report.reaching(at_least), where, as_json=as_json)


def cores() -> int:
    """How many processes may share the work of this command."""
    return len(os.sched_getaffinity(0))


CallerOption = Annotated[int | None, typer.Option("--caller", metavar="UID", help="Whose calls.")]
ToolOption = Annotated[str, typer.Option("--tool", metavar="NAME", help="Of which tool.")]
StatusOption = Annotated[str, typer.Option("--status", help="How the call ended.")]
EventOption = Annotated[str, typer.Option("--event", help="Such as tool.added.")]
SinceOption = Annotated[
    str,
    typer.Option("--since", metavar="TIME", help="RFC 3339, or how it begins; UTC if not said."),
]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Before this.")]
FindingOption = Annotated[
    str, typer.Option("--finding", help="Part of a finding, as secret or redact.")
]
TextOption = Annotated[str, typer.Option("--text", help="Part of the record, as it stands.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most.")]


@app.command("search")
def search(
    caller: CallerOption = None,
    tool: ToolOption = "",
    status: StatusOption = "",
    event: EventOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    finding: FindingOption = "",
    text: TextOption = "",
    limit: LimitOption = 100,
    no_index: Annotated[
        bool, typer.Option("--no-index", help="Read the whole log, as show and export do.")
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Find records, the newest first. Uses an index that is made, and made again, from the log.

    Nobody vouches for that index: where nothing may be missed, read the log itself (`--no-index`).
    Exit status 1 when nothing was found. When more was found than `--limit`, that is told.
    """
    from fumehood.audit.index import Index
    from fumehood.audit.query import Query
    from fumehood.audit.whole import Whole

    since, until = since and moment(since), until and moment(until)
    more = limit + 1
    query = Query(caller, tool, status, event, "", since, until, finding, text, more, newest=True)
    with _state_with_log(chosen(state=state, config=config)) as place:
        if no_index:
            whole = Whole(place / "audit")
            found = list(collections.deque(whole.search(query), more))[::-1]
            _tell_unread(whole.unread)
        else:
            with Index(place / "audit-index.sqlite3", place / "audit") as index:
                index.update()
                _tell_unread(index.unread)
                found = list(index.search(query))
    hits = found[:limit]
    if as_json:
        out_json([hit.record | {"sound": hit.sound} for hit in hits])
    else:
        table(("RECORD", "TIME", "EVENT", "TOOL", "CALLER", "STATUS"), [_cells(h) for h in hits])
    if len(found) > limit:
        note("note", f"there are more: these are the newest {limit}, see --limit")
    raise typer.Exit(ExitStatus.OK if hits else ExitStatus.FAILED)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="An invocation, or a record's number.")],
    content: Annotated[
        bool,
        typer.Option("--content", help="Also arguments and output, where kept."),
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the records of an invocation, or one record by its number, whole. Reads the whole log.

    Arguments and output are kept only of tools under `audit.content`, encrypted. Exit status 1
    when a record was changed since it was written.
    """
    from fumehood.audit.query import Query
    from fumehood.audit.whole import Whole

    places = chosen(state=state, config=config)
    query = Query(invocation=name) if not name.isdecimal() else Query(seq=int(name[:18]))
    with _state_with_log(places) as place:
        log = Whole(place / "audit")
        hits = list(log.search(query))
    _tell_unread(log.unread)
    if not hits:
        raise AuditError(f"no record is of {name[:64]!r}", "see `fumehood audit search`")
    records = [hit.record | {"sound": hit.sound} for hit in hits]
    if content:
        records = _with_content(places, records)
    sound = all(hit.sound for hit in hits)
    if as_json:
        out_json(records)
        raise typer.Exit(ExitStatus.OK if sound else ExitStatus.FAILED)
    for record in records:
        for key, value in record.items():
            if key != "sound":
                fact(key, value if isinstance(value, str) else json.dumps(value))
        if not record["sound"]:
            note("bad", "the chain does not go on from this record as it stands", "1;31")
        out("\n")
    raise typer.Exit(ExitStatus.OK if sound else ExitStatus.FAILED)


def _with_content(places: Places, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from fumehood.audit.content import opened as opened_content

    with opened(places) as place:
        found = [(record, opened_content(record, place.ring)) for record in records]
    return [{**r, "content": kept} if kept is not None else r for r, kept in found]


@app.command("tail")
def tail(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=10_000, help="How many at first.")
    ] = 10,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Print the last records, and with -f those that follow until interrupted."""
    from fumehood.audit.follow import follow as follow_lines
    from fumehood.audit.follow import last_lines

    with opened(chosen(state=state, config=config)) as place:
        log = place.state / "audit"
        shown, position = last_lines(log, lines)
        for line in shown:
            _print(line, as_json=as_json)
        if follow:
            for line in follow_lines(log, position):
                _print(line, as_json=as_json)
                sys.stdout.flush()


def _print(line: bytes, *, as_json: bool) -> None:
    try:
        record, text = json.loads(line), line.decode()
        parts = [record["seq"], record["time"], record["event"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        note("bad", "a line that is no record; see `fumehood audit verify`", "1;31")
        return
    if as_json:
        out(text + "\n")
        return
    caller = record.get("caller")
    who = f"uid {caller.get('uid')}" if isinstance(caller, dict) else ""
    parts += [record.get("tool"), who, record.get("status")]
    out("  ".join(str(part) for part in parts if part) + "\n")


@app.command("export")
def export(
    form: Annotated[
        Form, typer.Option("--format", help="How each record is written, one on a line.")
    ] = Form.ocsf,
    caller: CallerOption = None,
    tool: ToolOption = "",
    status: StatusOption = "",
    event: EventOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    finding: FindingOption = "",
    text: TextOption = "",
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Write records to stdout, the oldest first: OCSF, CEF, ECS, or as they stand in the log.

    All of them, however many, read from the log itself without an index. Exit status 1 when one
    was changed since it was written, or is none any more.
    """
    from fumehood.audit.query import Query
    from fumehood.audit.whole import Whole

    places = chosen(state=state, config=config)
    since, until = since and moment(since), until and moment(until)
    query = Query(caller, tool, status, event, "", since, until, finding, text)
    host = socket.gethostname()
    with _state_with_log(places) as place:
        log = Whole(place / "audit")
        changed = sum(not exported(form, hit, host) for hit in log.search(query))
    _tell_unread(log.unread)
    raise typer.Exit(ExitStatus.FAILED if log.unread or changed else ExitStatus.OK)


@app.command("prune")
def prune(
    before: Annotated[
        str, typer.Option("--before", metavar="TIME", help="Remove segments that end before this.")
    ],
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove whole old segments, by their age. What went is signed for, and recorded.

    Also those that make the log larger than `storage.audit`. The daemon must be stopped; while it
    runs, `storage.audit` and `storage.audit_days` do this.
    """
    from fumehood.audit.chain import AuditLog
    from fumehood.audit.custody import RingCustody

    edge = moment(before)
    with opened(chosen(state=state, config=config)) as place:
        keep = place.config.storage.audit
        log = AuditLog.open(place.state / "audit", RingCustody(place.ring), keep_bytes=keep)
        with log:
            removed = log.prune(before=edge)
    if as_json:
        out_json({"segments": removed})
    else:
        out(f"{removed} segments removed\n")


@app.command("deps")
def deps(
    lock: Annotated[
        Path | None,
        typer.Option(
            "--lock",
            metavar="FILE",
            help="The lock file; requirements.lock of the source tree that runs.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also show what is as it should be.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare what Fumehood is made of with its lock file and the known faults of old versions.

    Installed distributions: missing, another version, not in the lock file, or locked without a
    hash. bubblewrap and libseccomp: older than a fix that matters. Exit status 1 says that there
    is a difference. Asks no index: faults of libraries are told by their own advisories.
    """
    from fumehood.cli import deps

    path = lock or deps.lock_file()
    parts = [*deps.compare(deps.pins(path), deps.installed()), *deps.system()]
    wrong = [part for part in parts if part.state not in deps.FINE]
    if as_json:
        shown = [asdict(part) for part in parts]
        out_json({"ok": not wrong, "lock": str(path), "parts": shown})
    else:
        rows = [
            (part.name, part.installed or "-", part.wanted or "-", part.state, part.note)
            for part in (parts if every else wrong)
        ]
        if rows:
            table(("NAME", "INSTALLED", "WANTED", "STATE", "NOTE"), rows)
        if not wrong:
            out(f"ok: {len(parts)} parts are as {path.name} and the version gates have them\n")
    raise typer.Exit(ExitStatus.FAILED if wrong else ExitStatus.OK)


@contextlib.contextmanager
def _state_with_log(places: Places) -> Iterator[Path]:
    """A state in which there is an audit log. Acts as its owner."""
    if not (places.state / "audit").exists():
        raise AuditError(
            f"there is no audit log in {places.state}", "name the daemon's state with --state"
        )
    with owned(places.state) as state:
        yield state


def _tell_unread(count: int) -> None:
    """What the log cannot show of itself."""
    if count:
        what = "1 record" if count == 1 else f"{count} records"
        text = f"{what} cannot be found in the log, or cannot be read"
        note("bad", f"{text}; see `fumehood audit verify`", "1;31")


def _cells(hit: Hit) -> tuple[str, ...]:
    record = hit.record
    caller = record.get("caller")
    who = str(caller.get("uid", "")) if isinstance(caller, dict) else ""
    sound = "" if hit.sound else " (changed!)"
    return (
        f"{record['seq']}{sound}", str(record["time"]), str(record["event"]),
        str(record.get("tool") or record.get("purpose") or ""), who,
        str(record.get("status") or ""),
    )  # fmt: skip


def _text(path: Path) -> str:
    return given(path).decode(errors="replace")


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
        for stray in report.strays:
            if stray != report.first_bad:
                note("bad", f"{directory}/{stray}", "1;31")
        if (more := report.stray_files - len(report.strays)) > 0:
            note("bad", f"{more} more files that are no part of the log", "1;31")
    raise typer.Exit(ExitStatus.OK if report.ok else ExitStatus.FAILED)


def _notes(report: Report) -> list[str]:
    notes = []
    if not report.sealed:
        notes.append("seals were not checked: that takes the first key (--key)")
    if report.signers:
        notes.append(f"{report.signed} segment ends are signed, by {', '.join(report.signers)}")
    if report.removed:
        notes.append(f"records 1 to {report.removed} were removed by retention, as was signed")
    if report.clock_steps:
        notes.append(f"the clock went backwards {report.clock_steps} times:")
        notes += [f"record {step}" for step in report.steps]
    if report.behind_head:
        notes.append(
            f"the last {report.behind_head} records stand behind the head: written meanwhile, left "
            "so by a power cut, or it is an earlier one"
        )
    if report.torn_bytes:
        notes.append(f"the last line is unfinished ({report.torn_bytes} bytes)")
    return notes
