"""The catalog: registered tools, pinned by digest, and the service account of each.

Must never serve what differs from its pin or was not approved, and never give an account to a
second name. Versions stand side by side, one of them current; what is pending stands apart from
them, under who brought it, so that nobody learns by a submission what else there is. One process
at a time holds it. A tree is on disk, whole, before the database knows of it, and is deleted only
when nothing can still be running from it. Nothing waits for the disk of trees while it holds the
lock.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.catalog import changes, former, trees
from fumehood.catalog.changes import Change
from fumehood.catalog.database import LOCK_SECONDS, open_database, translated
from fumehood.catalog.incoming import as_pending, better
from fumehood.catalog.lint import lint_files, lint_schemas
from fumehood.catalog.listings import Listings
from fumehood.catalog.pins import tool_digest
from fumehood.catalog.profile_pins import ProfileDigest, ProfilePins
from fumehood.catalog.quarantines import REMOVED, Quarantines, reason
from fumehood.catalog.rows import ACTIVE, PENDING, QUARANTINED, SUPERSEDED, Rows
from fumehood.catalog.service_accounts import ServiceAccounts
from fumehood.catalog.shelves import Sealer, Shelves
from fumehood.catalog.taints import Taint, Taints
from fumehood.catalog.versions import Versions
from fumehood.errors import CatalogError
from fumehood.model.manifest import Manifest, canonical
from fumehood.model.request import RegisteredTool, Removed
from fumehood.model.tree import ToolFile, check_files, tree_digest

__all__ = ["Catalog", "ToolFile"]

MAX_TOOLS: Final = 10_000
MAX_VERSIONS: Final = 16
"""Of one tool; of superseded ones the oldest go."""
MAX_PENDING: Final = 64
MAX_PENDING_EACH: Final = 8
"""Of whoever added them."""


class Taken(CatalogError):
    """A version that was agreed to with other content; saying so tells that it exists."""


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
        self._lock = threading.RLock()
        self.problems: tuple[str, ...] = ()
        self._versions = known = Versions()
        self.version, self.agreed_version = known.version, known.agreed_version
        self.submitted, self.agreed = known.submitted, known.agreed
        self.list, self.all = known.list, known.all
        with translated(directory):
            self._db = open_database(directory / "catalog.sqlite3", wait)
            try:
                self._profiles = ProfilePins(self._db, profile)
                self._accounts = ServiceAccounts(self._db, accounts, own_uid)
                self._rows = Rows(self._db, self._accounts)
                self._listings = Listings(self._db)
                self._quarantines = Quarantines(self._db)
                taints = Taints(known, self._quarantines)
                self.tainted, self.refuse_tainted = taints.tainted, taints.refuse_tainted
                self.ending, self.quarantined_elsewhere = taints.ending, taints.elsewhere
                self.removed, self.removed_before = taints.removed, taints.removed_before
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
        return self._versions.tools.get(name)

    def sealed(self, tool: RegisteredTool) -> RegisteredTool:
        """The same, with who can change its files; of what was removed there are none."""
        if tool.state == REMOVED:
            return tool
        return replace(tool, sealed=self._shelves.sealed(tool.files))

    def listing(self, tool: RegisteredTool) -> trees.Listing | None:
        """The files of a version as they were pinned; None when that is not known."""
        with self._lock, translated(self._directory):
            return self._listings.of(tool)

    def changed_files(self, tool: RegisteredTool) -> builtins.list[Change]:
        """How the stored files of a version differ from its pin; reads all of them."""
        if tool.files is None or self._shelves.is_sound(tool.files):
            return []
        tree = self._shelves.tree(tool.files)
        return changes.of_files(trees.what_changed(self.listing(tool), tree))

    # --- what comes in: its files first, then the version

    def check(self, manifest: Manifest, files: Mapping[str, ToolFile]) -> str | None:
        """The digest of the tree that `add` will want; raises ManifestError, CatalogError where
        these can be no version of a tool, whatever is registered."""
        lint_schemas(manifest)
        lint_files(manifest, files)
        check_files(files)
        return tree_digest(files) if files else None

    @contextlib.contextmanager
    def holding(self, tree: str | None) -> Iterator[None]:
        """Keep a tree from being collected until the block ends: nobody refers to it yet."""
        with self._shelves.holding(tree):
            yield

    def store(
        self, tree: str | None, files: Mapping[str, ToolFile], *, afresh: bool = False
    ) -> None:
        """Have a tree that is being held on disk, whole, under its digest; takes no lock, and
        seconds. What stands there and is sound stays.

        Args:
            afresh: write it whether or not it is there, so that the time tells nothing of it.

        Raises:
            CatalogError: it could not be stored.
        """
        if tree is not None:
            with translated(self._directory):
                self._shelves.keep(tree, files, afresh=afresh)

    def conflict(self, manifest: Manifest, tree: str | None) -> Taken | None:
        """Why this could not be agreed to: its version was, with other content."""
        with self._lock, translated(self._directory):
            agreed = self._rows.agreed(manifest.name, manifest.version)
        known = self.agreed_version(manifest.name, manifest.version)
        # Compared as read, not as digests: a newer Fumehood writes more defaults out.
        unchanged = known is not None and (known.manifest, known.files) == (manifest, tree)
        if agreed in (None, tool_digest(canonical(manifest), tree)) or unchanged:
            return None
        return Taken(
            f"{manifest.name} {manifest.version} is registered with other content",
            "raise its version, or remove the tool first",
        )

    def check_place(self, manifest: Manifest, by: str) -> None:
        """Refuse one more pending version where there are enough; what `by` has pending under the
        same name and number has its place. Goes by nothing that others registered under a name.

        Raises CatalogError.
        """
        if self.submitted(manifest.name, manifest.version, by):
            return
        pending = self._versions.all_pending()
        own = sum(tool.added_by == by for tool in pending)
        if len(pending) >= MAX_PENDING or own >= MAX_PENDING_EACH:
            raise CatalogError(
                f"{own} tools of yours are pending" if own else "too many tools are pending",
                "have an operator look at them first",
            )

    def submit(
        self,
        manifest: Manifest,
        tree: str | None,
        files: Mapping[str, ToolFile],
        *,
        by: str,
        notes: Sequence[str] = (),
        signer: str = "",
        replacing: bool = False,
    ) -> RegisteredTool:
        """Put a version before the operators, whose tree is stored and held. The same again
        changes nothing but its signature. What others have registered or submitted under its name
        is not looked at, until `approve`.

        Args:
            replacing: other content may take the place of what `by` has pending under the version.

        Raises:
            CatalogError: too many are pending, or other content is under this version, which
                somebody may be reading just now.
        """
        tool = as_pending(manifest, files, by=by, notes=notes, signer=signer)
        with self._lock, translated(self._directory):
            self._check_stored(tree)
            self.check_place(manifest, by)
            mine = next(iter(self.submitted(manifest.name, manifest.version, by)), None)
            if mine is not None and (mine.manifest, mine.files) == (manifest, tree):
                tool = replace(mine, signer=better(mine.signer, signer))
            elif mine is not None and not replacing:
                raise CatalogError(
                    f"other content of yours is pending as {manifest.name} {manifest.version}",
                    "raise its version, or have an operator remove what is pending",
                )
            with self._transaction():
                self._listings.keep(tool, files)
                self._rows.put(tool)
            # Reading the name's other versions again would take a time that tells of them.
            self._versions.take_pending(tool)
            return self.version(manifest.name, manifest.version, by) or tool

    def add(
        self,
        manifest: Manifest,
        tree: str | None,
        files: Mapping[str, ToolFile],
        *,
        by: str = "",
        notes: Sequence[str] = (),
        signer: str = "",
    ) -> RegisteredTool:
        """Register a version that an operator agrees to, whose tree is stored and held. It becomes
        the current one, and the one before is kept beside it. The same content again changes
        nothing; what others submitted with the same content is taken as agreed to, too.

        Raises:
            Taken: other content under a known version.
            CatalogError: no account left, too many tools; or it, or what it could pass off, is
                quarantined, which may have happened since it was looked at.
        """
        with self._lock, translated(self._directory):
            self._check_stored(tree)
            known = self.agreed_version(manifest.name, manifest.version)
            unchanged = known is not None and (known.manifest, known.files) == (manifest, tree)
            if known is not None and unchanged and known.state == ACTIVE:
                return self._signed(known, signer)
            tool = as_pending(manifest, files, by=by, notes=notes, signer=signer)
            if (taken := self.conflict(manifest, tree)) is not None:
                raise taken
            bad = self.tainted(manifest, tree)
            if known is not None and known.state == QUARANTINED:
                bad = Taint(known.manifest.version, reason(known), removed=False)
            if bad is not None:
                raise CatalogError(
                    f"{manifest.name} {bad.said}",
                    "register the version again: it is then for `fumehood tool approve`",
                )
            self._agree(replace(tool, state=SUPERSEDED), files)
            return self._remembered(tool)

    def add_again(self, tool: RegisteredTool, notes: Sequence[str]) -> RegisteredTool:
        """A version that was agreed to, whose content came again and is stored anew: it stays what
        it is, and says why. Whether it is good is for `approve` to say."""
        with self._lock, translated(self._directory):
            self._check_stored(tool.files)
            if tool.state == QUARANTINED:
                told = tuple(dict.fromkeys((*tool.notes, *notes)))  # why it was, until it is not
                with self._transaction():
                    self._rows.set(tool, notes=json.dumps(told))
            return self._remembered(tool)

    def approve(
        self, name: str, version: str, by: str | None = None, *, tainted: bool = False
    ) -> RegisteredTool:
        """Make a pending or superseded version the current one.

        Args:
            by: the submission of this principal; None is what was agreed to once, or else the only
                submission.
            tainted: also one that `refuse_tainted` refuses, up to this moment.

        Raises CatalogError when there is none, its version was agreed to with other content, it is
        quarantined, or its files are not what was registered.
        """
        tool = self.one_of(name, version, by)
        if tool.state == ACTIVE:
            if submitted := [one.added_by for one in self.submitted(name, version)]:
                raise CatalogError(
                    f"{name} {version} is the version that is called; "
                    f"{', '.join(submitted)} submitted it, too",
                    "say with --by whose submission is meant",
                )
            return tool
        sound = self._shelves.is_sound(tool.files)  # reads all of it: not under the lock
        with self._lock, translated(self._directory):
            if tool != self.version(name, version, by):
                raise CatalogError(f"{name} {version} was changed just now", "look at it again")
            if not sound or not self._shelves.looks_sound(tool.files):
                raise CatalogError(
                    "its files are not what was registered", "register the version again"
                )
            if tool.state != PENDING:
                if not tainted:
                    self.refuse_tainted(tool)
                with self._transaction():
                    if tool.state == QUARANTINED:
                        self._quarantines.end(tool)
                    self._make_current(tool)
                return self._remembered(tool)
            if (taken := self.conflict(tool.manifest, tool.files)) is not None:
                raise taken
            if self.agreed_version(name, version) is not None:
                raise CatalogError(
                    f"{name} {version} is registered with this content already",
                    f"approve that, or `fumehood tool remove {name} --version {version}"
                    f" --by {tool.added_by}`",
                )
            if not tainted:
                self.refuse_tainted(tool)
            self._agree(replace(tool, state=SUPERSEDED), None)
            return self._remembered(tool)

    def one_of(self, name: str, version: str, by: str | None = None) -> RegisteredTool:
        """The version that is meant; raises CatalogError when there is none, or more than one."""
        tool = self.version(name, version, by)
        if (
            tool is None
            and by is None
            and any(one.version == version for one in self._quarantines.of(name))
        ):
            raise CatalogError(
                f"{name} {version} was quarantined and removed",
                "register it again: it is then for `fumehood tool approve`",
            )
        if tool is None:
            raise CatalogError(
                f"there is no {name[:64]} {version[:64]}"
                + (f" submitted by {by[:64]}" if by is not None else ""),
                "see `fumehood tool list --all`",
            )
        if tool.state == PENDING and len(found := self.submitted(name, version, by)) > 1:
            raise CatalogError(
                f"{name} {version} was submitted by {', '.join(one.added_by for one in found)}",
                "say whose is meant with --by",
            )
        return tool

    def remove(self, name: str, version: str | None = None, by: str | None = None) -> Removed:
        """Forget a tool and its versions, or one version that is not current, or what was
        submitted. Its account stays its own, for when it comes back, and what is quarantined of it
        stays so.

        Raises CatalogError when there is no such tool, or no room to remember a quarantine.
        """
        with self._lock, translated(self._directory):
            if version is None:
                if by is not None:
                    raise CatalogError("it is not said which version", "give --version, too")
                versions = [tool for tool in self.all() if tool.manifest.name == name]
                if not versions:
                    raise CatalogError(
                        f"there is no tool {name[:64]!r}", "see `fumehood tool list`"
                    )
                return self._forget(self.get(name) or versions[0], None, versions)
            tool = self.one_of(name, version, by)
            if tool is self.get(name):
                raise CatalogError(
                    f"{name[:64]} {version[:64]} is the version that is called",
                    "approve another one first, or remove the tool without --version",
                )
            if tool.state != PENDING:
                return self._forget(tool, version, [tool])
            with self._transaction():
                self._rows.withdraw(tool)
            self._read_again(name)
            return Removed(tool)

    def verify(self) -> tuple[RegisteredTool, ...]:
        """Compare every stored tree and the profiles with their pins; to be called at start, before
        any call.

        Returns: the tools quarantined now, with what changed as their notes. Trees that no version
        refers to, and what a power cut left half made, are deleted.
        """
        with self._lock, translated(self._directory):
            old = former.unsound(self._directory, self.all(), self._shelves)
            bad = [self._quarantine(tool, tree) for tool, tree in old]
            bad += [
                self._quarantine(tool)
                for tool in self.all()  # of what is pending `approve` looks at the files
                if tool.state not in (QUARANTINED, PENDING)
                and not self._shelves.is_sound(tool.files)
            ]
            bad += [
                self._set_aside(tool, note)
                for tool in self.list()
                if tool.state == ACTIVE and (note := self._profiles.change(tool))
            ]
            self.collect(())
            return tuple(bad)

    def holds(self, tool: RegisteredTool) -> bool:
        """Whether a version that was looked up a while ago is still one that may be called, or was
        called until another became current; takes no lock."""
        manifest = tool.manifest
        now = self._versions.agreed_version(manifest.name, manifest.version)
        return now is not None and now.digest == tool.digest and now.state != QUARANTINED

    def looks_sound(self, tool: RegisteredTool) -> bool:
        """Whether the files of a version were not touched since they were read last; cheap enough
        for every call, takes no lock; 3 µs for each of `entries`."""
        return self._shelves.looks_sound(tool.files)

    def entries(self, tool: RegisteredTool) -> int:
        """How many files and folders there are to look at."""
        return self._shelves.entries(tool.files)

    def recheck(self, tool: RegisteredTool) -> RegisteredTool | None:
        """Read a version's files that were touched; the quarantined tool when they differ."""
        if self._shelves.is_sound(tool.files):  # reads all of it: not under the lock
            return None
        with self._lock, translated(self._directory):
            return self._quarantine(tool)

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
        there = self._shelves.listed()
        with self._lock, translated(self._directory):
            kept = {tool.files for tool in self.all()} | set(in_use)
            gone = self._shelves.leaving(there, kept)
            remembered = {one.files for one in self._quarantines.all()}
            self._listings.drop_except(kept | remembered)
        with translated(self._directory):
            self._shelves.drop(gone)
        return len(gone)

    # --- under the lock

    def _check_stored(self, tree: str | None) -> None:
        """A digest in the database promises a tree on disk."""
        if not self._shelves.looks_sound(tree):
            raise CatalogError("its files are not where they were stored", "register it again")

    def _agree(self, tool: RegisteredTool, files: Mapping[str, ToolFile] | None) -> None:
        """Make the current one of a version that was not agreed to before, or is not kept.

        files: None where they are on record already. Raises CatalogError."""
        name, version = tool.manifest.name, tool.manifest.version
        tools, others = self._versions.tools, self._versions.others
        if name not in {*tools, *others} and len(tools) >= MAX_TOOLS:
            raise CatalogError(f"the catalog is full: {MAX_TOOLS} tools", "remove some")
        with self._transaction():
            if files is not None:
                self._listings.keep(tool, files)
            self._quarantines.part_with(self._versions.unread.get(name, ()), tool)
            self._quarantines.end(tool)  # of what is remembered, `tainted` was accepted
            self._rows.agree(name, version, tool.digest)
            self._rows.put(tool)
            self._make_current(tool)

    def _forget(
        self, tool: RegisteredTool, version: str | None, gone: Sequence[RegisteredTool]
    ) -> Removed:
        name = tool.manifest.name
        bad = [one for one in gone if one.state == QUARANTINED]
        with self._transaction():
            self._quarantines.keep(name, version, bad)
            self._rows.forget(name, version)
        self._read_again(name)
        return Removed(tool, tuple(one.manifest.version for one in bad))

    def _make_current(self, tool: RegisteredTool) -> None:
        name = tool.manifest.name
        current = self.get(name)
        others = current is not None and current.manifest.version != tool.manifest.version
        if current is not None and others and current.state == ACTIVE:
            self._rows.set(current, state=SUPERSEDED)
        kept = [t for t in self._versions.others.get(name, {}).values() if t.state == SUPERSEDED]
        for old in sorted(kept, key=lambda tool: tool.added)[: -(MAX_VERSIONS - 2)]:
            self._rows.drop(name, old.manifest.version)
        for one in self.submitted(name, tool.manifest.version):
            if one.digest == tool.digest:  # what was asked for with it
                self._rows.withdraw(one)
        self._accounts.of(name)
        self._profiles.pin(tool)
        self._rows.make_current(tool)

    def _remembered(self, tool: RegisteredTool) -> RegisteredTool:
        """Read again what the database knows of the tool's versions; returns this one."""
        self._read_again(tool.manifest.name)
        return self.agreed_version(tool.manifest.name, tool.manifest.version) or tool

    def _read_again(self, name: str) -> None:
        problems = self.problems
        with self._transaction():
            self._load(only=name)
        self.problems = problems

    def _signed(self, tool: RegisteredTool, signer: str) -> RegisteredTool:
        """A version whose signature came later, or is another one's."""
        if better(tool.signer, signer) == tool.signer:
            return tool
        with self._transaction():
            self._rows.set(tool, signer=signer)
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
            self._rows.set(tool, state=QUARANTINED, notes=json.dumps(bad.notes))
        self._versions.set_aside(bad)
        return bad

    def _load(self, only: str | None = None) -> None:
        unreadable = self._quarantines.read(only)
        self.problems = (*self._versions.take(self._rows.read(only), only), *unreadable)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
