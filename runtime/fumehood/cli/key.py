"""`fumehood key …`: the key ring on disk, also while no daemon runs; must never show a secret.

Works as the account that the state belongs to: root follows no link that this account could
have put there.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fumehood.cli.options import ConfigOption, JsonOption, StateOption, chosen
from fumehood.cli.present import note, out, out_json, table
from fumehood.errors import ConfigError, KeyringError, UsageError
from fumehood.places import Places

if TYPE_CHECKING:
    from fumehood.config import Config, Keys
    from fumehood.crypto.master import Master
    from fumehood.crypto.ring import Entry, Ring

app = typer.Typer(no_args_is_help=True, help="List, rotate, revoke and export keys.")

MASTER = "master"
PURPOSES = ("audit", "receipt", "tool", "digest", "fingerprint", "chain", "content")


@app.callback()
def group() -> None:
    """List, rotate, revoke and export keys."""


@contextlib.contextmanager
def owned(state: Path) -> Iterator[Path]:
    """Act as the owner of `state`; gives its path. Raises ConfigError when there is none yet."""
    try:
        found = state.stat()
    except OSError as error:
        raise ConfigError(
            f"the state {state} cannot be used: {error.strerror}",
            "name the daemon's with --state, or start the daemon once",
        ) from None
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 or found.st_uid == 0:
        yield state
        return
    back = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(state)  # the owner need not get past the folders above
    os.setegid(found.st_gid)
    os.seteuid(found.st_uid)
    try:
        yield state if _reachable(state) else Path()
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.fchdir(back)
        os.close(back)


def _reachable(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Opened:
    """A key ring, and the path of the state it is of, for whom this process acts as; and the
    configuration that it was opened by."""

    ring: Ring
    state: Path
    config: Config


def master_of(keys: Keys) -> Master | None:
    """The master key that the configuration names; None for the one in the state."""
    from fumehood.crypto import master

    if keys.master_file is not None:
        return master.from_file(Path(keys.master_file))
    if keys.master_credential is not None:
        return master.from_credential(
            keys.master_credential, os.environ.get("CREDENTIALS_DIRECTORY")
        )
    if keys.master_command is not None:
        return master.from_command(keys.master_command)
    return None


@contextlib.contextmanager
def opened(places: Places, *, create: bool = False) -> Iterator[Opened]:
    """The ring of a state directory, as its owner."""
    from fumehood.config import load
    from fumehood.crypto.keyring import open_ring
    from fumehood.crypto.ring import Periods

    config = load(places.config, trusted_uid=os.geteuid(), required=places.config_named)
    keys = config.keys
    master = master_of(keys)
    passed = base64.b64encode(master.bytes).decode() if master else ""
    periods = Periods(keys.active_days, keys.verify_days, keys.warn_days)
    with owned(places.state) as state:
        source = master.source if master else ""
        ring = open_ring(state, periods, passed, source, create=create)
        yield Opened(ring, state, config)


@contextlib.contextmanager
def _on_record(place: Opened) -> Iterator[None]:
    """Record what is done to the ring where no daemon runs that would: from then on a ring from
    before it, put back, keeps the daemon from starting. What is done stands also without."""
    before = {entry.id: entry for entry in place.ring.entries()}
    yield

    from fumehood.audit.chain import AuditLog
    from fumehood.audit.custody import RingCustody
    from fumehood.audit.keys import changes, fields_of
    from fumehood.audit.opening import is_there
    from fumehood.audit.segments import Busy
    from fumehood.errors import AuditError

    directory, storage = place.state / "audit", place.config.storage
    try:
        if not directory.exists() or not is_there(directory):
            return
        with AuditLog.open(
            directory,
            RingCustody(place.ring),
            keep_bytes=storage.audit,
            keep_days=storage.audit_days,
        ) as log:
            if log.torn:  # the next start has no torn record to tell of any more
                note("warning", f"a torn last record of {log.torn} bytes was set aside", "1;33")
            standing = place.ring.standing
            after = {entry.id: entry for entry in place.ring.entries()}
            for event, entry in changes(before, after):
                log.append(event, fields_of(entry, standing)).result()
    except Busy:
        return
    except (AuditError, KeyringError) as error:
        note("warning", f"done, and not on record: {error.cause}", "1;33")


@app.command("list")
def list_keys(
    as_json: JsonOption = False, state: StateOption = None, config: ConfigOption = None
) -> None:
    """List the keys: what for, how long, in which state. Exit status 1 when one expires soon."""
    from fumehood.crypto.ring import now

    with opened(chosen(state=state, config=config)) as place:
        ring = place.ring
        entries, soon, missing = ring.entries(), ring.expiring(), ring.missing()
        master = ring.master
    moment = now()
    if as_json:
        out_json(
            {
                "master": {"id": master.id, "source": master.source, "created": master.created},
                "keys": [asdict(e) | {"state": e.state(moment)} for e in entries],
                "expiring": [e.id for e in soon],
                "missing": missing,
            }
        )
    else:
        note("master", f"{master.id}  {master.source}")
        rows = [
            (e.id[:16], e.purpose, e.algorithm, str(e.size), e.state(moment), e.created[:10],
             e.active_until[:10], e.verify_until[:10])
            for e in entries
        ]  # fmt: skip
        headers = ("KEY", "PURPOSE", "ALGORITHM", "BITS", "STATE", "CREATED", "ACTIVE", "VERIFIES")
        table(headers, rows)
        for entry in soon:
            note("warning", f"{entry.purpose} ends {entry.active_until}: rotate it", "1;33")
        for purpose in missing:
            note("bad", f"{purpose} has no active key: `fumehood key rotate {purpose}`", "1;31")
    raise typer.Exit(1 if soon or missing else 0)


PurposeArgument = Annotated[
    str,
    typer.Argument(
        metavar="PURPOSE",
        help=f"One of {', '.join(PURPOSES)}; or master.",
        autocompletion=lambda incomplete: [
            p for p in (*PURPOSES, MASTER) if p.startswith(incomplete)
        ],
    ),
]


@app.command("rotate")
def rotate(
    purpose: PurposeArgument,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="The new master key; made where there is none."),
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a new key for a purpose. The old one still verifies and decrypts what it made.

    A running daemon takes the new key by itself and records the change; where none runs this
    command does. `master` encrypts the
    whole ring under another master key, and is refused while the daemon runs: that holds the old
    one in memory, and would not open the ring any more. Stop the daemon, rotate, start it.
    """
    if purpose == MASTER:
        _rotate_master(to, as_json=as_json, state=state, config=config)
        return
    if to is not None:
        raise UsageError("--to is for the master key", "leave it out")
    with opened(chosen(state=state, config=config)) as place, _on_record(place):
        made = place.ring.rotate(purpose)
    _show([made], as_json=as_json)


def _rotate_master(
    to: Path | None, *, as_json: bool, state: Path | None, config: Path | None
) -> None:
    from fumehood.audit.segments import Busy, claim
    from fumehood.crypto import keyring, master

    made = None
    if to is not None:  # as whoever runs this: it need not be the state's owner
        made = master.load_or_create(to.absolute())
    with opened(chosen(state=state, config=config)) as place:
        folder = place.state / "keys"
        inside = place.ring.master.source.endswith("root.json")
        if made is None and not inside:
            raise UsageError(
                f"the master key is the {place.ring.master.source}: Fumehood cannot replace it",
                "make a new one with --to FILE, and put it there",
            )
        try:
            lock = claim(place.state / "audit") if (place.state / "audit").is_dir() else -1
        except Busy:
            raise KeyringError(
                "a daemon runs with this key ring, and its master key is in that one's memory",
                "stop it (`systemctl stop fumehood`), do this again, and start it; every other "
                "purpose is rotated while it runs",
            ) from None
        try:
            if made is None:
                made = keyring.rotate_master(place.ring, folder)
            else:
                place.ring.rewrap(made)
        finally:
            if lock >= 0:
                os.close(lock)
    if as_json:
        out_json({"master": {"id": made.id, "source": made.source, "created": made.created}})
        return
    out(f"{made.id}  master\n")
    if to is not None:
        note("note", f"the ring opens with {to} only: have `keys.master_…` give that key", "1;33")


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's id, or how it begins.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Erase a key's secret and stop trusting what it signed; what it encrypted is lost for good.

    An active key gets a successor. There is no way back.
    """
    from fumehood.crypto.keyring import named

    with opened(chosen(state=state, config=config)) as place:
        ring = place.ring
        entry = named(ring.entries(), key)
        if not yes:
            typer.confirm(f"Revoke {entry.id} ({entry.purpose}) for good?", abort=True, err=True)
        with _on_record(place):
            revoked, successor = ring.revoke(entry.id)
    _show([revoked, *([successor] if successor else [])], as_json=as_json)


@app.command("export-public")
def export_public(
    purpose: Annotated[
        str | None, typer.Argument(metavar="PURPOSE", help="audit, receipt or tool; all if none.")
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also expired and revoked ones, marked: nothing trusts these."),
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Print public keys in PEM, for whoever verifies receipts and the audit log elsewhere.

    Those that are trusted: active ones, and rotated ones that still verify.
    """
    from fumehood.crypto.ring import TRUSTED, now

    with opened(chosen(state=state, config=config)) as place:
        public = [e for e in place.ring.entries() if e.public and purpose in (None, e.purpose)]
    if not public:
        raise KeyringError(
            f"no public key is for {purpose!r}", "audit, receipt and tool have public keys"
        )
    moment = now()
    entries = [entry for entry in public if every or entry.state(moment) in TRUSTED]
    if not entries:
        raise KeyringError(
            f"every key for {purpose or 'a signature'} is expired or revoked",
            "make a new one with `fumehood key rotate`, or show them with --all",
        )
    if as_json:
        _show(entries, as_json=True)
        return
    for entry in entries:
        about = f"{entry.purpose} {entry.state(moment)}, created {entry.created}"
        out(f"# {entry.id} {about}\n{entry.public}")


@app.command("new")
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the key is to be.")],
) -> None:
    """Make a master key in a file, for `keys.master_file` of a new installation."""
    from fumehood.crypto import master

    made = master.create(file.absolute())
    out(f"{made.id}  {file}\n")


def _show(entries: list[Entry], *, as_json: bool) -> None:
    from fumehood.crypto.ring import now

    moment = now()
    if as_json:
        out_json({"keys": [asdict(entry) | {"state": entry.state(moment)} for entry in entries]})
        return
    for entry in entries:
        out(f"{entry.id}  {entry.purpose}  {entry.state(moment)}\n")
