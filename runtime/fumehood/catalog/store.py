"""The catalog: registered tools, pinned by digest, and the service account of each.

Must never serve what differs from its pin or was not approved, and never give an account to a
second name. Versions stand side by side, one of them current. One process at a time holds it. A
tree is on disk, whole, before the database knows of it, and is deleted only when nothing can still
be running from it.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fumehood.catalog import trees
from fumehood.catalog.database import LOCK_SECONDS, open_database, translated
from fumehood.catalog.lint import lint_files, lint_schemas
from fumehood.catalog.pins import stored_files, tool_digest
from fumehood.catalog.profile_pins import ProfileDigest, ProfilePins
from fumehood.catalog.shelves import Sealer, Shelves
from fumehood.errors import CatalogError, ManifestError
from fumehood.model.manifest import Manifest, canonical, load_manifest
from fumehood.model.request import RegisteredTool
from fumehood.model.tree import UNSEALED, ToolFile, check_files, tree_digest

__all__ = ["Catalog", "ToolFile"]

MAX_TOOLS: Final = 10_000
MAX_VERSIONS: Final = 16
"""Of one tool; of superseded ones the oldest go."""
MAX_PENDING: Final = 64
MAX_PENDING_EACH: Final = 8
"""Of whoever added them."""
ACTIVE: Final = "active"
QUARANTINED: Final = "quarantined"
PENDING: Final = "pending"
SUPERSEDED: Final = "superseded"


class Taken(CatalogError):
    """A version that is known already, with other content or as quarantined; saying so tells that
    it exists."""


NO_ACCOUNT: Final = -1
"""Of a tool that was never active: accounts are given for ever, and not to whoever asks."""


class Catalog:
    """The registered tools below `directory` (see the state layout in docs/architecture.md).

    Args:
        directory: `catalog.sqlite3` is made in it, `store/` stands there.
        accounts: first UID and count of the service accounts; None when rootless.
        own_uid: the account of every tool when rootless.
        sealer: writes in `store/`, where this process cannot.
        profile: the digest of a seccomp profile as it is now, by its name.
        frozen: whether the kernel keeps an open file from ever being changed (fs-verity).
        wait: seconds that a predecessor, just ending, may still hold the catalog.

    `problems` says which rows could not be read at opening, for the log.

    Raises:
        CatalogError: another process holds it, it is damaged, or a newer Fumehood made it.
    """

    def __init__(
        self,
        directory: Path,
        accounts: tuple[int, int] | None,
        own_uid: int,
        *,
        sealer: Sealer,
        frozen: Callable[[int], bool] = lambda _: False,
        wait: float = LOCK_SECONDS,
        profile: ProfileDigest = lambda _: "",
    ) -> None:
        self._directory = directory
        self._shelves = Shelves(directory / "store", sealer, frozen)
        self._accounts = accounts
        self._own_uid = own_uid
        self._lock = threading.RLock()
        self.problems: tuple[str, ...] = ()
        self._tools: dict[str, RegisteredTool] = {}
        """The current version of each."""
        self._others: dict[str, dict[str, RegisteredTool]] = {}
        """By name and version, those that are pending or superseded."""
        with translated(directory):
            self._db = open_database(directory / "catalog.sqlite3", wait)
            try:
                self._profiles = ProfilePins(self._db, profile)
                with self._transaction():
                    self._load()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def get(self, name: str) -> RegisteredTool | None:
        """The current version of a tool, whatever its state; takes no lock."""
        return self._tools.get(name)

    def version(self, name: str, version: str) -> RegisteredTool | None:
        """One version of a tool, current or not."""
        current = self._tools.get(name)
        if current is not None and current.manifest.version == version:
            return current
        return self._others.get(name, {}).get(version)

    def list(self) -> builtins.list[RegisteredTool]:
        """The current versions by name, quarantined ones too."""
        tools = self._tools
        return [tools[name] for name in sorted(tools)]

    def agreed(self, name: str) -> RegisteredTool | None:
        """What an operator agreed to last: the current version, or the newest that was one."""
        current = self._tools.get(name)
        if current is not None:
            return current
        before = [one for one in self._others.get(name, {}).values() if one.state != PENDING]
        return max(before, key=lambda one: one.added, default=None)

    def all(self) -> builtins.list[RegisteredTool]:
        """Every version of every tool, by name and when it was added."""
        others = [tool for versions in self._others.values() for tool in versions.values()]
        return sorted(
            [*self._tools.values(), *others], key=lambda tool: (tool.manifest.name, tool.added)
        )

    def sealed(self, tool: RegisteredTool) -> RegisteredTool:
        """The same, with who can change its files."""
        return replace(tool, sealed=self._shelves.sealed(tool.files))

    def listing(self, tool: RegisteredTool) -> trees.Listing | None:
        """The files of a version as they were pinned; None when that is not known."""
        if tool.files is None:
            return {}
        with self._lock, translated(self._directory):
            row = self._db.execute(
                "SELECT listing FROM trees WHERE digest = ?", (tool.files,)
            ).fetchone()
        return None if row is None else trees.decoded(row[0])

    def add(
        self,
        manifest: Manifest,
        files: Mapping[str, ToolFile],
        *,
        by: str = "",
        pending: bool = False,
        notes: Sequence[str] = (),
        signer: str = "",
        operator: bool = False,
    ) -> RegisteredTool:
        """Register a version. It becomes the current one, and the one before is kept beside it;
        a pending one waits for `approve` instead. The same content again changes nothing, except
        that a quarantined version is stored anew; a pending one keeps its state and the reason
        until `approve`, and only an operator may bring it.

        Args:
            operator: may replace what somebody else has pending under the same version, so that
                nobody can occupy a name.

        Raises:
            ManifestError: the manifest's schemas, or files that do not fit it.
            Taken: other content under a known version, or a quarantined one, by no operator.
            CatalogError: no account left, a bad tree, too many that are pending.
        """
        lint_schemas(manifest)
        lint_files(manifest, files)
        check_files(files)
        text = canonical(manifest)
        tree = tree_digest(files) if files else None
        digest = tool_digest(text, tree)
        with self._lock, translated(self._directory):
            known = self.version(manifest.name, manifest.version)
            # Compared as read, not as digests: a newer Fumehood writes more defaults out.
            unchanged = known is not None and (known.manifest, known.files) == (manifest, tree)
            again = known is not None and (known.state, known.added_by) == (PENDING, by)
            if pending and not (unchanged and (operator or again)):
                self._check_pending(by)  # first: who has no place left learns nothing of a name
            barred = known is not None and known.state == QUARANTINED and pending
            if barred and unchanged and not operator:
                raise Taken(
                    f"{manifest.name} {manifest.version} cannot be registered again",
                    "ask an operator",
                )
            if not unchanged:
                squatted = known is not None and known.state == PENDING
                if not (squatted and (operator or not pending)):
                    self._check_conflict(manifest, digest)
            if tree is not None:
                self._shelves.keep(tree, files)
            kept = known is not None and (known.state == ACTIVE or pending)
            if known is not None and unchanged and kept and known.state != QUARANTINED:
                return self._signed(known, signer)
            tool = as_pending(manifest, files, by=by, notes=notes, signer=signer)
            if known is not None and barred:
                told = tuple(dict.fromkeys((*known.notes, *notes)))  # why it was, until it is not
                tool = replace(tool, state=QUARANTINED, notes=told)
            with self._transaction():
                if tree is not None:
                    listing = trees.encoded(trees.listing(files))
                    self._db.execute("INSERT OR REPLACE INTO trees VALUES (?, ?)", (tree, listing))
                self._db.execute(
                    "INSERT OR REPLACE INTO versions VALUES (?, ?, ?)",
                    (manifest.name, manifest.version, digest),
                )
                self._put(tool)
                if not pending:
                    self._make_current(tool)
            return self._remembered(tool)

    def approve(self, name: str, version: str) -> RegisteredTool:
        """Make a pending or superseded version the current one.

        Raises CatalogError when there is none, or its files are not what was registered.
        """
        with self._lock, translated(self._directory):
            tool = self.version(name, version)
            if tool is None:
                raise CatalogError(
                    f"there is no {name[:64]} {version[:64]}", "see `fumehood tool list --all`"
                )
            if tool.state == ACTIVE:
                return tool
            if not self._shelves.is_sound(tool.files):
                raise CatalogError(
                    "its files are not what was registered", "register the version again"
                )
            with self._transaction():
                self._make_current(tool)
            return self._remembered(tool)

    def remove(self, name: str, version: str | None = None) -> RegisteredTool:
        """Forget a tool and its versions, or one version that is not current. Its account stays
        its own, for when it comes back.

        Raises CatalogError when there is no such tool.
        """
        with self._lock, translated(self._directory):
            others = self._others.get(name, {})
            if version is not None and version in others:
                tool = others[version]
                with self._transaction():
                    self._forget(name, version)
                self._others = {
                    **self._others, name: {v: o for v, o in others.items() if v != version},
                }  # fmt: skip
                return tool
            current = self._tools.get(name) or next(iter(others.values()), None)
            if current is None or version not in (None, current.manifest.version):
                raise CatalogError(f"there is no tool {name[:64]!r}", "see `fumehood tool list`")
            with self._transaction():
                self._db.execute("DELETE FROM tools WHERE name = ?", (name,))
                self._db.execute("DELETE FROM versions WHERE name = ?", (name,))
            self._tools = {key: other for key, other in self._tools.items() if key != name}
            self._others = {key: other for key, other in self._others.items() if key != name}
            return current

    def verify(self) -> tuple[RegisteredTool, ...]:
        """Compare every stored tree and the profiles with their pins; to be called at start, before
        any call.

        Returns: the tools quarantined now, with what changed as their notes. Trees that no version
        refers to, and what a power cut left half made, are deleted.
        """
        with self._lock, translated(self._directory):
            bad = self._seal_old()
            bad += [
                self._quarantine(tool)
                for tool in self.all()
                if tool.state != QUARANTINED and not self._shelves.is_sound(tool.files)
            ]
            bad += [
                self._set_aside(tool, note)
                for tool in self.list()
                if tool.state == ACTIVE and (note := self._profiles.change(tool))
            ]
            self.collect(())
            return tuple(bad)

    def _seal_old(self) -> builtins.list[RegisteredTool]:
        """Have what is sound in a store of former times, which this process could write, stored
        where it cannot; what is not sound is quarantined."""
        old = self._directory / UNSEALED
        bad: builtins.list[RegisteredTool] = []
        if old.is_symlink() or not old.is_dir():
            return bad
        for tool in self.all():
            if tool.files is None or tool.state == QUARANTINED:
                continue
            tree = old / tool.files.removeprefix("sha384:")
            try:
                files = stored_files(tree)
            except (OSError, CatalogError):
                files = {}
            if tree_digest(files) == tool.files:
                self._shelves.keep(tool.files, files)  # or the start fails, with all still there
            elif not self._shelves.is_sound(tool.files):
                bad.append(self._quarantine(tool, tree))
        shutil.rmtree(old, ignore_errors=True)
        return bad

    def looks_sound(self, tool: RegisteredTool) -> bool:
        """Whether the files of a version were not touched since they were read last; cheap enough
        for every call, takes no lock; 3 µs for each of `entries`."""
        return self._shelves.looks_sound(tool.files)

    def entries(self, tool: RegisteredTool) -> int:
        """How many files and folders there are to look at."""
        return self._shelves.entries(tool.files)

    def recheck(self, tool: RegisteredTool) -> RegisteredTool | None:
        """Read a version's files that were touched; the quarantined tool when they differ."""
        with self._lock, translated(self._directory):
            return None if self._shelves.is_sound(tool.files) else self._quarantine(tool)

    def quarantine(
        self, name: str, version: str | None, note: str
    ) -> builtins.list[RegisteredTool]:
        """Take a version, or with None every version that was agreed to, out of use until `approve`
        brings one back; those that are so now.

        Raises CatalogError when the database cannot be written.
        """
        with self._lock, translated(self._directory):
            found = [
                tool
                for tool in self.all()
                if tool.manifest.name == name
                and version in (None, tool.manifest.version)
                and tool.state in (ACTIVE, SUPERSEDED)
            ]
            return [self._set_aside(tool, note) for tool in found]

    def collect(self, in_use: Collection[str]) -> int:
        """Delete the trees of versions that are gone. Returns how many.

        Args:
            in_use: tree digests (`RegisteredTool.files`) that sandboxes still have mounted.
        """
        with self._lock, translated(self._directory):
            kept = {tool.files for tool in self.all()} | set(in_use)
            for (digest,) in self._db.execute("SELECT digest FROM trees").fetchall():
                if digest not in kept:
                    self._db.execute("DELETE FROM trees WHERE digest = ?", (digest,))
            return self._shelves.collect(kept)

    # --- inside a transaction

    def _make_current(self, tool: RegisteredTool) -> None:
        name = tool.manifest.name
        current = self._tools.get(name)
        others = current is not None and current.manifest.version != tool.manifest.version
        if current is not None and others and current.state == ACTIVE:
            self._set_state(current, SUPERSEDED)
        self._drop_oldest(name)
        self._account(name)
        self._profiles.pin(tool)
        self._set_state(tool, ACTIVE)

    def _set_state(self, tool: RegisteredTool, state: str) -> None:
        self._db.execute(
            "UPDATE tools SET state = ? WHERE name = ? AND version = ?",
            (state, tool.manifest.name, tool.manifest.version),
        )

    def _put(self, tool: RegisteredTool) -> None:
        manifest = tool.manifest
        self._db.execute(
            "INSERT OR REPLACE INTO tools VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                manifest.name, manifest.version, tool.digest, tool.files, tool.state, tool.added,
                tool.added_by, json.dumps(tool.notes), canonical(manifest), tool.signer,
            ),
        )  # fmt: skip

    def _drop_oldest(self, name: str) -> None:
        kept = [t for t in self._others.get(name, {}).values() if t.state == SUPERSEDED]
        for tool in sorted(kept, key=lambda tool: tool.added)[: -(MAX_VERSIONS - 2)]:
            # What was once told under a version may not come back as something else.
            self._db.execute(
                "DELETE FROM tools WHERE name = ? AND version = ?", (name, tool.manifest.version)
            )

    def _forget(self, name: str, version: str) -> None:
        for table in ("tools", "versions"):
            self._db.execute(
                f"DELETE FROM {table} WHERE name = ? AND version = ?",  # noqa: S608  (ours)
                (name, version),
            )

    # --- after one

    def _remembered(self, tool: RegisteredTool) -> RegisteredTool:
        """Read again what the database knows of the tool's versions; returns this one."""
        name, problems = tool.manifest.name, self.problems
        with self._transaction():
            self._load(only=name)
        self.problems = problems
        return self.version(name, tool.manifest.version) or tool

    def _signed(self, tool: RegisteredTool, signer: str) -> RegisteredTool:
        """A version whose signature came later, or is another one's."""
        if not signer or signer == tool.signer:
            return tool
        with self._transaction():
            self._db.execute(
                "UPDATE tools SET signer = ? WHERE name = ? AND version = ?",
                (signer, tool.manifest.name, tool.manifest.version),
            )
        return self._remembered(tool)

    def _quarantine(self, tool: RegisteredTool, tree: Path | None = None) -> RegisteredTool:
        """tree: where its files are; None is the store."""
        changed = trees.what_changed(
            self.listing(tool), tree or self._shelves.tree(tool.files or "")
        )
        more = f" and {len(changed) - trees.SHOWN} more" if len(changed) > trees.SHOWN else ""
        return self._set_aside(
            tool, "its files changed: " + ", ".join(changed[: trees.SHOWN]) + more
        )

    def _set_aside(self, tool: RegisteredTool, note: str) -> RegisteredTool:
        bad = replace(tool, state=QUARANTINED, notes=(note,))
        with self._transaction():
            self._db.execute(
                "UPDATE tools SET state = ?, notes = ? WHERE name = ? AND version = ?",
                (QUARANTINED, json.dumps(bad.notes), tool.manifest.name, tool.manifest.version),
            )
        current = self._tools.get(tool.manifest.name)
        if current is not None and current.manifest.version == tool.manifest.version:
            self._tools = {**self._tools, tool.manifest.name: bad}
        else:
            name, version = tool.manifest.name, tool.manifest.version
            self._others = {**self._others, name: {**self._others.get(name, {}), version: bad}}
        return bad

    def _load(self, only: str | None = None) -> None:
        tools = {name: tool for name, tool in self._tools.items() if name != only}
        others = {name: found for name, found in self._others.items() if name != only}
        problems = []
        rows = self._db.execute(
            "SELECT name, version, digest, files, state, added, added_by, notes, manifest,"
            " signer FROM tools WHERE ?1 IS NULL OR name = ?1"
            " ORDER BY name, state != 'active', added",  # what is called, before what is not
            (only,),
        ).fetchall()
        superseded = {PENDING, SUPERSEDED}
        for name, version, digest, files, state, added, by, notes, text, signer in rows:
            try:
                manifest = load_manifest(text.decode(), source=f"catalog, tool {name}")
            except (ManifestError, UnicodeDecodeError) as error:
                problems.append(f"the tool {name} is left out, register it again: {error}")
                continue
            current = state not in superseded
            if manifest.name != name or tool_digest(text, files) != digest:
                problems.append(f"the tool {name} differs from its digest: quarantined")
                state = QUARANTINED
            account = self._account(name) if current else NO_ACCOUNT
            told = tuple(json.loads(notes))
            tool = RegisteredTool(manifest, digest, files, account, state, added, told, by, signer)
            if current and name not in tools:
                tools[name] = tool
            else:
                others.setdefault(name, {})[version] = tool
        self._tools, self._others = tools, others
        self.problems = tuple(problems)

    def _check_conflict(self, manifest: Manifest, digest: str) -> None:
        row = self._db.execute(
            "SELECT digest FROM versions WHERE name = ? AND version = ?",
            (manifest.name, manifest.version),
        ).fetchone()
        if row is not None and row[0] != digest:
            raise Taken(
                f"{manifest.name} {manifest.version} is registered with other content",
                "raise its version, or remove the tool first",
            )
        names = self._tools.keys() | self._others.keys()
        if manifest.name not in names and len(names) >= MAX_TOOLS:
            raise CatalogError(f"the catalog is full: {MAX_TOOLS} tools", "remove some")

    def _check_pending(self, by: str) -> None:
        pending = [tool for tool in self.all() if tool.state == PENDING]
        own = sum(tool.added_by == by for tool in pending)
        if len(pending) >= MAX_PENDING or own >= MAX_PENDING_EACH:
            raise CatalogError(
                f"{own} tools of yours are pending" if own else "too many tools are pending",
                "have an operator look at them first",
            )

    def _account(self, name: str) -> int:
        """The account of `name`, a new one if it has none in the range. Rows are never deleted,
        so no second name ever gets files or processes of the first."""
        if self._accounts is None:
            return self._own_uid
        first, count = self._accounts
        row = self._db.execute(
            "SELECT min(uid) FROM accounts WHERE name = ? AND uid >= ? AND uid < ?",
            (name, first, first + count),
        ).fetchone()
        uid: int | None = row[0]
        if uid is None:
            uid = self._free_account(first, count)
            self._db.execute("INSERT INTO accounts VALUES (?, ?)", (uid, name))
        return uid

    def _free_account(self, first: int, count: int) -> int:
        """The lowest account of the range that never had a name."""
        taken = {
            row[0]
            for row in self._db.execute(
                "SELECT uid FROM accounts WHERE uid >= ? AND uid < ?", (first, first + count)
            )
        }
        for uid in range(first, first + count):
            if uid not in taken:
                return uid
        raise CatalogError(
            f"all {count} service accounts are taken",
            "raise accounts.count in the configuration",
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def as_pending(
    manifest: Manifest,
    files: Mapping[str, ToolFile],
    *,
    by: str,
    notes: Sequence[str],
    signer: str,
) -> RegisteredTool:
    """A version as it is before anybody agreed to it; says nothing of what else there is."""
    tree = tree_digest(files) if files else None
    digest = tool_digest(canonical(manifest), tree)
    return RegisteredTool(
        manifest, digest, tree, NO_ACCOUNT, PENDING, _now(), tuple(notes), by, signer
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
