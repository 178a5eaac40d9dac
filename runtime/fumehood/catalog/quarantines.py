"""Quarantined versions that were removed: what comes again of one, under its name, is looked at.

Must never forget one unless an operator approved what it was. In transactions of the catalog's;
looked up without any lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fumehood.catalog.pins import tool_digest
from fumehood.catalog.rows import NO_ACCOUNT, QUARANTINED, Unread, as_notes
from fumehood.errors import CatalogError, ManifestError
from fumehood.model.manifest import Manifest, canonical, load_manifest
from fumehood.model.request import RegisteredTool

REMOVED: Final = "removed"
MAX_EACH: Final = 64
"""Remembered versions of one tool."""
MAX_ALL: Final = 10_000
_KEEP: Final = """
INSERT OR REPLACE INTO removed
SELECT name, version, digest, files, added, added_by, notes, manifest, signer, ?1 FROM tools
WHERE name = ?2
"""
_NO_REASON: Final = "its notes do not say why"


@dataclass(frozen=True, slots=True)
class Kept:
    """One that is remembered. tool: all of it, in the state `removed`; None where its manifest
    cannot be read."""

    name: str
    version: str
    digest: str
    files: str | None
    why: str
    tool: RegisteredTool | None

    def is_of(self, manifest: Manifest, tree: str | None) -> bool:
        """Whether this is the same content, or the same program under whatever number."""
        if self.digest == tool_digest(canonical(manifest), tree):
            return True
        if self.tool is not None:
            return same_program(self.tool, manifest, tree)
        return self.files == tree  # of a tool without files, too: nobody knows its command


def reason(tool: RegisteredTool) -> str:
    return "; ".join(tool.notes) or _NO_REASON


def same_program(tool: RegisteredTool, manifest: Manifest, tree: str | None) -> bool:
    """Whether what runs is the same: the files, or, of a tool that has none, its command in its
    image. A raised number is no review, nor is another text about it."""
    if tree is not None or tool.files is not None:
        return tool.files == tree
    one, two = tool.manifest.run, manifest.run
    return (one.command, one.image) == (two.command, two.image)


class Quarantines:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._kept: Mapping[str, tuple[Kept, ...]] = {}

    def of(self, name: str) -> tuple[Kept, ...]:
        """What is remembered of a tool, what was removed last first."""
        return self._kept.get(name, ())

    def all(self) -> list[Kept]:
        return [one for name in sorted(self._kept) for one in self._kept[name]]

    def find(self, manifest: Manifest, tree: str | None) -> Sequence[Kept]:
        """What is remembered of this content or program, under its name."""
        return [one for one in self.of(manifest.name) if one.is_of(manifest, tree)]

    def keep(self, name: str, version: str | None, bad: Iterable[RegisteredTool]) -> None:
        """Remember what is quarantined of a tool, or of one version of it, which is about to be
        removed. bad: those that are, whatever their rows say.

        Raises:
            CatalogError: there is no room to remember more.
        """
        for one in bad:
            self._db.execute(f"{_KEEP} AND version = ?", (_now(), name, one.manifest.version))
        of = "state = ? AND (?4 IS NULL OR version = ?4)"  # also what could not be read
        self._db.execute(f"{_KEEP} AND {of}", (_now(), name, QUARANTINED, version))
        count = "SELECT count(*), count(*) FILTER (WHERE name = ?) FROM removed"
        every, each = self._db.execute(count, (name,)).fetchone()
        if each > MAX_EACH or every > MAX_ALL:
            known = f"{MAX_EACH} of {name}" if each > MAX_EACH else f"{MAX_ALL} of all tools"
            raise CatalogError(
                f"a quarantine outlives its version, and {known} are remembered: there is no room",
                "leave it where it is, nobody can call it; or review one that `fumehood tool list"
                " --all` shows as removed, register it again and approve it with --accept"
                " quarantined: that one is forgotten",
            )

    def part_with(self, unread: Iterable[Unread], tool: RegisteredTool) -> None:
        """Have no rows any more that cannot be read, beside what an operator approved of their
        tool: what that was is over, the others are remembered."""
        for one in unread:
            row = (one.name, one.version)
            if not one.could_be(tool):
                self._db.execute(f"{_KEEP} AND version = ?3", (_now(), *row))
            self._db.execute("DELETE FROM tools WHERE name = ? AND version = ?", row)

    def end(self, tool: RegisteredTool) -> None:
        """Forget what an operator approved, to be read again."""
        for one in self.find(tool.manifest, tool.files):
            row = (one.name, one.digest)
            self._db.execute("DELETE FROM removed WHERE name = ? AND digest = ?", row)

    def read(self, only: str | None = None) -> list[str]:
        """Know what the database has, of one tool or of all; which of it cannot be shown."""
        rows = self._db.execute(
            "SELECT name, version, digest, files, added, added_by, notes, declared, signer"
            " FROM removed WHERE ?1 IS NULL OR name = ?1 ORDER BY removed DESC, rowid DESC",
            (only,),
        ).fetchall()
        found = {} if only is None else {n: k for n, k in self._kept.items() if n != only}
        problems = []
        for row in rows:
            one = _kept(*row)
            found[one.name] = (*found.get(one.name, ()), one)
            if one.tool is None:
                problems.append(f"{one.name} {one.version}, quarantined and removed, is unreadable")
        self._kept = found
        return problems


def _kept(
    name: str, version: str, digest: str, files: str | None, added: str, by: str, notes: str,
    text: bytes, signer: str,
) -> Kept:  # fmt: skip
    told = as_notes(notes)
    if tool_digest(text, files) != digest:
        told = (*told, "differs from its digest")
    try:
        manifest = load_manifest(text.decode(), source=f"catalog, removed tool {name}")
    except (ManifestError, UnicodeDecodeError):
        return Kept(name, version, digest, files, "; ".join(told) or _NO_REASON, None)
    tool = RegisteredTool(manifest, digest, files, NO_ACCOUNT, REMOVED, added, told, by, signer)
    return Kept(name, version, digest, files, reason(tool), tool)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
