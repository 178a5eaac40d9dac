"""What a version could pass off: what is quarantined of its tool, or was when it was removed.

Must never take a raised number, or a registration, for a review. Takes no lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fumehood.catalog.quarantines import Quarantines, reason
from fumehood.catalog.rows import PENDING, QUARANTINED
from fumehood.catalog.versions import Versions
from fumehood.errors import CatalogError
from fumehood.model.manifest import Manifest
from fumehood.model.request import RegisteredTool

UNREADABLE: Final = "its manifest cannot be read, so nobody can say what was quarantined"


@dataclass(frozen=True, slots=True)
class Taint:
    """What is quarantined that a new version could pass off. removed: it is only remembered."""

    version: str
    why: str
    removed: bool

    @property
    def said(self) -> str:
        if self.removed:
            return f"{self.version} was quarantined and removed: {self.why}"
        return f"{self.version} is quarantined"


class Taints:
    def __init__(self, versions: Versions, quarantines: Quarantines) -> None:
        self._versions = versions
        self._quarantines = quarantines

    def tainted(self, manifest: Manifest, tree: str | None) -> Taint | None:
        """What is quarantined, or was when it was removed, that this new version of a tool could
        pass off."""
        bad = self._versions.tainted(manifest, tree)
        if bad is not None:
            return Taint(bad.manifest.version, reason(bad), removed=False)
        if unread := self._versions.unread.get(manifest.name):
            return Taint(unread[0].version, UNREADABLE, removed=False)
        kept = self._quarantines.find(manifest, tree)
        return Taint(kept[0].version, kept[0].why, removed=True) if kept else None

    def elsewhere(self, name: str, tree: str | None) -> str | None:
        """A version of another tool with these files that is quarantined, or was when it was
        removed: its name and number."""
        if tree is None:
            return None
        there = (*self._versions.quarantined(), *self.removed())
        known = [(one.manifest.name, one.manifest.version) for one in there if one.files == tree]
        unread = (one for some in self._versions.unread.values() for one in some)
        known += [(one.name, one.version) for one in unread if one.files == tree]
        return next((f"{one} {version}" for one, version in known if one != name), None)

    def refuse_tainted(self, tool: RegisteredTool) -> None:
        """Raises CatalogError: a version is quarantined, or nobody agreed to it yet and what it
        could pass off is, or was when it was removed; to be accepted by name."""
        bad = None
        if tool.state == QUARANTINED:
            bad = Taint(tool.manifest.version, reason(tool), removed=False)
        elif tool.state == PENDING:  # going back to what was agreed to before is what helps then
            bad = self.tainted(tool.manifest, tool.files)
        if bad is not None:
            raise refusal(tool, bad)

    def ending(self, tool: RegisteredTool) -> tuple[str, ...]:
        """The versions, removed or unreadable, whose quarantine ends when this one is approved."""
        if tool.state not in (PENDING, QUARANTINED):
            return ()
        kept = self._quarantines.find(tool.manifest, tool.files)
        unread = self._versions.unread.get(tool.manifest.name, ()) if tool.state == PENDING else ()
        over = (one.version for one in unread if one.could_be(tool))
        return (*(one.version for one in kept), *over)

    def removed(self, name: str | None = None) -> list[RegisteredTool]:
        """The quarantined versions that were removed and are remembered, of one tool or of all,
        what was removed last first."""
        kept = self._quarantines.all() if name is None else self._quarantines.of(name)
        return [one.tool for one in kept if one.tool is not None]

    def removed_before(
        self, tool: RegisteredTool, version: str | None = None
    ) -> RegisteredTool | None:
        """The removed version of this number, or of this tool's content or program."""
        if version is None:
            kept = self._quarantines.find(tool.manifest, tool.files)
        else:
            known = self._quarantines.of(tool.manifest.name)
            kept = [one for one in known if one.version == version]
        return next((one.tool for one in kept if one.tool is not None), None)


def refusal(tool: RegisteredTool, bad: Taint) -> CatalogError:
    """Why a version is not approved as it is; `bad` may be itself."""
    name, version = tool.manifest.name, tool.manifest.version
    itself = tool.state == QUARANTINED
    cause = bad.said if bad.removed else f"{bad.said}: {bad.why}"
    against = f"`fumehood tool diff {name} {bad.version} {version}`, " if bad.removed else ""
    return CatalogError(
        f"{name} {cause}",
        f"review it (`fumehood tool show {name} --version {version}`, {against}"
        f"`fumehood incident list`), then approve {'it' if itself else version}"
        " with --accept quarantined",
    )
