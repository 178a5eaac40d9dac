"""What operators, and callers of what they may call, are shown of the catalog.

Must never tell anybody else of a tool, nor whether there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fumehood.admission.admit import Admission
from fumehood.audit.record import Field
from fumehood.catalog.changes import Change, compare
from fumehood.catalog.rows import QUARANTINED, SUPERSEDED
from fumehood.catalog.store import Catalog
from fumehood.errors import CatalogError, UnknownTool
from fumehood.model.request import Caller, RegisteredTool
from fumehood.supervisor.attempts import Attempts


@dataclass(frozen=True, slots=True)
class Diff:
    """What one version changes against another."""

    old: RegisteredTool
    new: RegisteredTool
    changes: Sequence[Change]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.new.manifest.name,
            "old": self.old.manifest.version,
            "old_state": self.old.state,
            "new": self.new.manifest.version,
            "changes": [change.to_json() for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a version as they were pinned: by path, `x` or `-` and the SHA-384, hex."""

    tool: RegisteredTool
    listing: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.tool.manifest.name,
            "version": self.tool.manifest.version,
            "digest": self.tool.digest,
            "files": dict(self.listing),
        }


@dataclass(frozen=True, slots=True)
class Showing:
    """operator_only: returns for an operator, and records and refuses others."""

    catalog: Catalog
    admission: Admission
    operator_only: Callable[[Caller, str], Awaitable[None]]
    attempts: Attempts

    async def known(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> RegisteredTool:
        """A tool that `caller` may know of; raises UnknownTool, also for one of others.

        by: for operators, whose submission under the version. Raises CatalogError when several
        submitted it, and none is named.
        """
        authorizer, catalog = self.admission.authorizer, self.catalog
        operator = authorizer.is_operator(caller)
        tool = catalog.version(name, version, by) if version else catalog.get(name)
        if tool is None and version is None and operator:
            tool = next((one for one in catalog.all() if one.manifest.name == name), None)
        if tool is None and operator and by is None:
            kept = catalog.removed(name)
            tool = next((one for one in kept if version in (None, one.manifest.version)), None)
            if tool is not None:
                return tool
        if tool is not None and operator:
            return catalog.one_of(name, version, by) if version else tool
        if tool is not None and authorizer.may_call(caller, tool):
            return tool
        error = UnknownTool(f"no tool {name[:64]!r}", "`fumehood tool list` shows the tools")
        fields: dict[str, Field] = {"tool": name[:128], "exists": tool is not None}
        await self.attempts.refused(caller, "tool.show_refused", error, fields)
        raise error

    async def all(self, caller: Caller) -> Sequence[RegisteredTool]:
        """Every version of every tool, for operators; raises Unauthorized."""
        await self.operator_only(caller, "tool.list_refused")
        return self.catalog.all()

    async def removed(self, caller: Caller) -> Sequence[RegisteredTool]:
        """The removed versions whose quarantine is kept, for operators; raises Unauthorized."""
        await self.operator_only(caller, "tool.list_refused")
        return self.catalog.removed()

    async def diff(
        self,
        caller: Caller,
        name: str,
        old: str | None = None,
        new: str | None = None,
        by: str | None = None,
    ) -> Diff:
        """What `new` (the newest that is not current) changes against `old` (see `_before`), or,
        of a quarantined version with none before it, its files against what was registered.

        by: who submitted `new`, where several did.

        Raises:
            Unauthorized: only operators may look. UnknownTool: there is no such version.
        """
        await self.operator_only(caller, "tool.diff_refused")
        versions = [tool for tool in self.catalog.all() if tool.manifest.name == name]
        current = self.catalog.get(name)
        others = [tool for tool in versions if tool != current and by in (None, tool.added_by)]
        two = self.catalog.version(name, new, by) if new else (others[-1] if others else None)
        one = self.catalog.version(name, old) if old else self._before(two, current, versions)
        if one is None and old and two is not None:
            one = self.catalog.removed_before(two, old)
        if one is None or two is None:
            raise UnknownTool(
                f"there are no two versions of {name[:64]!r} to compare",
                "`fumehood tool list --all` shows the versions there are",
            )
        if new and two.state == "pending":
            two = self.catalog.one_of(name, new, by)
        if one == two and two.state == QUARANTINED:
            changed = await asyncio.to_thread(self.catalog.changed_files, two)  # reads all of them
            return Diff(one, two, changed)
        listings = self.catalog.listing(one), self.catalog.listing(two)
        return Diff(one, two, compare(one.manifest, two.manifest, *listings))

    def _before(
        self,
        new: RegisteredTool | None,
        current: RegisteredTool | None,
        versions: Sequence[RegisteredTool],
    ) -> RegisteredTool | None:
        """What a version is compared with: the current one; where there is none, the removed
        version whose quarantine it would end; where none is left but itself, and it is
        quarantined, what was agreed to before it: a superseded version sooner than a quarantined
        one, the newest. Else itself."""
        if new is None or (current is not None and (current != new or new.state != QUARANTINED)):
            return current
        if current is None and (removed := self.catalog.removed_before(new)) is not None:
            return removed
        agreed = [one for one in versions if one.state in (SUPERSEDED, QUARANTINED) and one != new]
        return max(agreed, key=lambda one: (one.state == SUPERSEDED, one.added), default=current)

    async def files(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> Files:
        """What a version's files are; raises Unauthorized, UnknownTool, CatalogError."""
        await self.operator_only(caller, "tool.files_refused")
        tool = await self.known(caller, name, version, by)
        listing = self.catalog.listing(tool)
        if listing is None:  # stored by a version that kept no listing
            raise CatalogError(
                f"the files of {name[:64]!r} are not on record", "register the tool again"
            )
        return Files(tool, listing)
