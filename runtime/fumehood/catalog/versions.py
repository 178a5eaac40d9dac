"""The versions of all tools, as the database had them last; looked up without any lock.

Must never change in place what a reader may be walking through: each mapping is replaced whole.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping

from fumehood.catalog.quarantines import same_program
from fumehood.catalog.rows import PENDING, QUARANTINED, SUPERSEDED, Unread
from fumehood.model.manifest import Manifest
from fumehood.model.request import RegisteredTool


class Versions:
    def __init__(self) -> None:
        self.tools: Mapping[str, RegisteredTool] = {}
        """The current version of each."""
        self.others: Mapping[str, Mapping[str, RegisteredTool]] = {}
        """By name and version, those that are not current, and were agreed to once."""
        self.pending: Mapping[str, tuple[RegisteredTool, ...]] = {}
        """By name, what nobody agreed to yet."""
        self.unread: Mapping[str, tuple[Unread, ...]] = {}
        """By name, what is quarantined and cannot be read."""

    def take(
        self, found: Iterable[RegisteredTool | Unread | str], only: str | None
    ) -> builtins.list[str]:
        """Take over what `Rows.read` found, of one tool or of all; what it could not read."""
        tools = {name: tool for name, tool in self.tools.items() if name != only}
        others = {name: dict(known) for name, known in self.others.items() if name != only}
        pending = {name: known for name, known in self.pending.items() if name != only}
        unread = {name: known for name, known in self.unread.items() if name != only}
        if only is None:
            tools, others, pending, unread = {}, {}, {}, {}
        problems = []
        for tool in found:
            if isinstance(tool, str):
                problems.append(tool)
                continue
            if isinstance(tool, Unread):
                problems.append(tool.why)
                if tool.bad:
                    unread[tool.name] = (*unread.get(tool.name, ()), tool)
                continue
            name = tool.manifest.name
            if tool.state == PENDING:
                pending[name] = (*pending.get(name, ()), tool)
            elif tool.state != SUPERSEDED and name not in tools:
                tools[name] = tool
            else:
                others.setdefault(name, {})[tool.manifest.version] = tool
        self.tools, self.others = tools, others
        self.pending, self.unread = pending, unread
        return problems

    def take_pending(self, tool: RegisteredTool) -> None:
        """Know a submission from now on, in place of what its submitter had there."""
        name, mine = tool.manifest.name, (tool.manifest.version, tool.added_by)
        others = [
            one
            for one in self.pending.get(name, ())
            if (one.manifest.version, one.added_by) != mine
        ]
        known = sorted((*others, tool), key=lambda one: one.added)
        self.pending = {**self.pending, name: tuple(known)}

    def set_aside(self, bad: RegisteredTool) -> None:
        """Know a version that was agreed to by its new state from now on."""
        name, version = bad.manifest.name, bad.manifest.version
        current = self.tools.get(name)
        if current is not None and current.manifest.version == version:
            self.tools = {**self.tools, name: bad}
        else:
            self.others = {**self.others, name: {**self.others.get(name, {}), version: bad}}

    def version(self, name: str, version: str, by: str | None = None) -> RegisteredTool | None:
        """One version of a tool, current or not: the one that was agreed to, or else what was
        submitted under it first. by: the submission of this principal, in any case."""
        if by is None and (agreed := self.agreed_version(name, version)) is not None:
            return agreed
        return next(iter(self.submitted(name, version, by)), None)

    def agreed_version(self, name: str, version: str) -> RegisteredTool | None:
        """A version that was agreed to, whatever became of it since."""
        current = self.tools.get(name)
        if current is not None and current.manifest.version == version:
            return current
        return self.others.get(name, {}).get(version)

    def submitted(
        self, name: str, version: str, by: str | None = None
    ) -> builtins.list[RegisteredTool]:
        """What is pending under a version, of one principal or of all, the oldest first."""
        return [
            tool
            for tool in self.pending.get(name, ())
            if tool.manifest.version == version and by in (None, tool.added_by)
        ]

    def agreed(self, name: str) -> RegisteredTool | None:
        """What an operator agreed to last: the current version, or the newest that was one."""
        before = self.others.get(name, {}).values()
        return self.tools.get(name) or max(before, key=lambda one: one.added, default=None)

    def tainted(self, manifest: Manifest, tree: str | None) -> RegisteredTool | None:
        """What is quarantined of a tool, where this new version could pass it off: what was agreed
        to last, or a version of the same program. A raised number is no review."""
        last = self.agreed(manifest.name)
        for one in (last, *self.others.get(manifest.name, {}).values()):
            if one is None or one.state != QUARANTINED:
                continue
            if one is last or same_program(one, manifest, tree):
                return one
        return None

    def quarantined(self) -> builtins.list[RegisteredTool]:
        others = (tool for versions in self.others.values() for tool in versions.values())
        return [t for t in (*self.tools.values(), *others) if t.state == QUARANTINED]

    def list(self) -> builtins.list[RegisteredTool]:
        """The current versions by name, quarantined ones too."""
        tools = self.tools
        return [tools[name] for name in sorted(tools)]

    def all_pending(self) -> builtins.list[RegisteredTool]:
        """Everything that nobody agreed to yet."""
        return [tool for submitted in self.pending.values() for tool in submitted]

    def all(self) -> builtins.list[RegisteredTool]:
        """Every version of every tool, by name and when it was added."""
        others = [tool for versions in self.others.values() for tool in versions.values()]
        every = [*self.tools.values(), *others, *self.all_pending()]
        return sorted(every, key=lambda tool: (tool.manifest.name, tool.added))
