"""How tools come into the catalog, change and leave: linted, compared, approved, on record.

Must never let a tool be called that no operator agreed to, nor one that became something else
under its name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from fumehood.admission.admit import Admission
from fumehood.audit.record import Field
from fumehood.catalog import poisoning
from fumehood.catalog.changes import Change, compare, reasons
from fumehood.catalog.pins import signed_digests
from fumehood.catalog.store import Catalog, Taken, ToolFile, as_pending
from fumehood.crypto.trust import Subject
from fumehood.errors import CatalogError, FumehoodError, KeyringError, UnknownTool, UsageError
from fumehood.model.manifest import Manifest
from fumehood.model.principal import Principal
from fumehood.model.request import Caller, RegisteredTool
from fumehood.supervisor.attempts import Attempts
from fumehood.supervisor.fields import of_caller, of_tool

log = structlog.get_logger(__name__)

CHANGES: Final = "changes"
"""Accepts by name what would need approval again."""
QUARANTINED: Final = "quarantined"
"""Accepts by name, to `approve` only, that a version was quarantined."""


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


@dataclass(slots=True)
class Registration:
    """record: returns once it is on disk. operator_only: returns for an operator, and records and
    refuses others. changed: is told that the catalog has. find: looks for instructions."""

    catalog: Catalog
    admission: Admission
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    operator_only: Callable[[Caller, str], Awaitable[None]]
    attempts: Attempts
    changed: Callable[[], None]
    find: poisoning.Finder
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _working: set[asyncio.Task[RegisteredTool]] = field(default_factory=set)

    async def add(
        self,
        caller: Caller,
        manifest_text: str,
        files: Mapping[str, ToolFile],
        accept: Sequence[str] = (),
        signature: Mapping[str, Any] | None = None,
    ) -> RegisteredTool:
        """Register a version. It is pending when an operator has to look at it: because its adder
        is none, or because it changes what was agreed to. Who is no operator and may not know of
        a version of that name hears that theirs is pending, whatever is registered: another
        answer would tell what is.

        Args:
            accept: rules of the lint, or `changes`, that an operator accepts by name.
            signature: the envelope that `fumehood tool sign` made.

        Raises:
            UsageError: there is no such rule. CatalogError: the lint found something, or the tool
                is not signed by a publisher that is believed, where it should be.
            ManifestError, ImageError, OverQuota
        """
        principal = self.admission.authorizer.principal(caller)
        async with self._attempt(caller):
            self.admission.quota.arrive(principal.name)
            _check_accepted(accept)
            manifest = self.admission.prepare(manifest_text, files)
        signer = await self._signer(caller, manifest, manifest_text, files, signature)
        fields: dict[str, Field] = {"caller": of_caller(caller), "accepted": tuple(accept)}

        async def add() -> RegisteredTool:
            async with self._attempt(caller, manifest):
                findings = await asyncio.to_thread(self._examined, manifest)
            pending, notes = await self._looked_at(principal, manifest, findings, accept, fields)
            own = [str(one) for one in findings if one.rule not in poisoning.OF_OTHERS]
            own.append(_added_by(principal))
            told = as_pending(manifest, files, by=principal.name, notes=own, signer=signer)
            knows = principal.operates or self._knows(caller, principal, manifest)
            try:
                async with self._attempt(caller, manifest):
                    tool = await asyncio.to_thread(  # its files go to disk
                        self.catalog.add, manifest, files, by=principal.name, pending=pending,
                        notes=notes, signer=signer, operator=principal.operates,
                    )  # fmt: skip
            except Taken:
                if knows:
                    raise
                return told
            event = "tool.added" if tool.state == "active" else "tool.pending"
            await self.record(event, {**fields, **_tool(tool), "notes": tool.notes})
            log.info("tool added", tool=manifest.name, version=manifest.version, state=tool.state)
            if principal.operates:
                return tool
            return replace(tool, notes=told.notes) if knows else told

        return await self._whole(add())

    def _knows(self, caller: Caller, principal: Principal, manifest: Manifest) -> bool:
        """Whether who is no operator may hear what becomes of this version: it is their own, or
        one of a tool that they may call."""
        known = self.catalog.version(manifest.name, manifest.version)
        if known is not None and known.state == "pending":
            return known.added_by == principal.name
        current = self.catalog.get(manifest.name)
        return current is not None and self.admission.authorizer.may_call(caller, current)

    async def _looked_at(
        self,
        principal: Principal,
        manifest: Manifest,
        findings: Sequence[poisoning.Finding],
        accept: Sequence[str],
        fields: Mapping[str, Field],
    ) -> tuple[bool, list[str]]:
        """Whether an operator has to approve the version, and what is to be said of it.

        Raises:
            CatalogError: the lint found something that an operator did not accept.
        """
        notes = [str(finding) for finding in findings]
        if principal.operates:
            await self._refuse_unaccepted(manifest, findings, accept, fields)
            review = () if CHANGES in accept else self._review(manifest)
            review = (*review, *self._was_quarantined(manifest))
            return bool(review), [*notes, *review]
        return True, [*notes, _added_by(principal), *self._review(manifest)]

    async def _whole(self, work: Coroutine[Any, Any, RegisteredTool]) -> RegisteredTool:
        """To its end, also when who asked is gone: what was done is on record."""

        async def turn() -> RegisteredTool:
            # One after the other: what was looked at is what the catalog then changes.
            async with self._turn:
                try:
                    return await work
                finally:  # also when it could not be recorded
                    self.changed()

        task = asyncio.get_running_loop().create_task(turn())
        self._working.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[RegisteredTool]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def close(self) -> None:
        """Wait for what is being stored."""
        if self._working:
            await asyncio.wait(self._working)

    @contextlib.asynccontextmanager
    async def _attempt(
        self, caller: Caller, manifest: Manifest | None = None
    ) -> AsyncIterator[None]:
        """What is refused in here is on record before its caller hears of it."""
        try:
            yield
        except FumehoodError as error:
            named: dict[str, Field] = {}
            if manifest is not None:
                named = {"tool": manifest.name, "tool_version": manifest.version}
            if error.detail:
                log.warning("tool not added", cause=error.cause, detail=error.detail)
            await self.attempts.refused(caller, "tool.add_refused", error, named)
            raise

    async def approve(
        self, caller: Caller, name: str, version: str, accept: Sequence[str] = ()
    ) -> RegisteredTool:
        """Make a pending version, or one that was current before, the current one.

        Raises:
            Unauthorized: only operators may. CatalogError: there is none, or the lint found
                something that is not accepted.
        """
        await self.operator_only(caller, "tool.approve_refused")
        _check_accepted(accept)
        fields: dict[str, Field] = {"caller": of_caller(caller), "accepted": tuple(accept)}

        async def approve() -> RegisteredTool:
            known = self.catalog.version(name, version)
            if known is not None and known.state == "quarantined" and QUARANTINED not in accept:
                why = "; ".join(known.notes) or "its notes do not say why"
                raise CatalogError(
                    f"{name} {version} is quarantined: {why}",
                    f"review it (`fumehood tool show {name} --version {version}`, "
                    "`fumehood incident list`), then"
                    f" approve it with --accept {QUARANTINED}",
                )
            if known is not None and known.state == "pending":
                findings = await asyncio.to_thread(self._examined, known.manifest)
                await self._refuse_unaccepted(known.manifest, findings, accept, fields)
            tool = await asyncio.to_thread(self.catalog.approve, name, version)
            await self.record("tool.approved", {**fields, **_tool(tool), "added_by": tool.added_by})
            log.info("tool approved", tool=name, version=version)
            return tool

        return await self._whole(approve())

    async def remove(self, caller: Caller, name: str, version: str | None = None) -> RegisteredTool:
        """Forget a tool, or one version that is not current; raises Unauthorized, CatalogError."""
        await self.operator_only(caller, "tool.remove_refused")
        fields: dict[str, Field] = {"caller": of_caller(caller), "all": version is None}

        async def remove() -> RegisteredTool:
            tool = await asyncio.to_thread(self.catalog.remove, name, version)
            await self.record("tool.removed", {**fields, **_tool(tool)})
            log.info("tool removed", tool=name, version=version or "all")
            return tool

        return await self._whole(remove())

    async def known(self, caller: Caller, name: str, version: str | None = None) -> RegisteredTool:
        """A tool that `caller` may know of; raises UnknownTool, also for one of others."""
        authorizer, catalog = self.admission.authorizer, self.catalog
        tool = catalog.version(name, version) if version else catalog.get(name)
        if tool is None and version is None and authorizer.is_operator(caller):
            tool = next((one for one in catalog.all() if one.manifest.name == name), None)
        if tool is not None and (
            authorizer.is_operator(caller) or authorizer.may_call(caller, tool)
        ):
            return tool
        error = UnknownTool(f"no tool {name[:64]!r}", "`fumehood tool list` shows the tools")
        fields: dict[str, Field] = {"tool": name[:128], "exists": tool is not None}
        await self.attempts.refused(caller, "tool.show_refused", error, fields)
        raise error

    async def all(self, caller: Caller) -> Sequence[RegisteredTool]:
        """Every version of every tool, for operators; raises Unauthorized."""
        await self.operator_only(caller, "tool.list_refused")
        return self.catalog.all()

    async def diff(
        self, caller: Caller, name: str, old: str | None = None, new: str | None = None
    ) -> Diff:
        """What `new` (the newest that is not current) changes against `old` (the current one).

        Raises:
            Unauthorized: only operators may look. UnknownTool: there is no such version.
        """
        await self.operator_only(caller, "tool.diff_refused")
        versions = [tool for tool in self.catalog.all() if tool.manifest.name == name]
        current = self.catalog.get(name)
        others = [tool for tool in versions if tool != current]
        one = self.catalog.version(name, old) if old else current
        two = self.catalog.version(name, new) if new else (others[-1] if others else None)
        if one is None or two is None:
            raise UnknownTool(
                f"there are no two versions of {name[:64]!r} to compare",
                "`fumehood tool list --all` shows the versions there are",
            )
        listings = self.catalog.listing(one), self.catalog.listing(two)
        return Diff(one, two, compare(one.manifest, two.manifest, *listings))

    async def files(self, caller: Caller, name: str, version: str | None = None) -> Files:
        """What a version's files are; raises Unauthorized, UnknownTool, CatalogError."""
        await self.operator_only(caller, "tool.files_refused")
        tool = await self.known(caller, name, version)
        listing = self.catalog.listing(tool)
        if listing is None:  # stored by a version that kept no listing
            raise CatalogError(
                f"the files of {name[:64]!r} are not on record", "register the tool again"
            )
        return Files(tool, listing)

    async def _signer(
        self,
        caller: Caller,
        manifest: Manifest,
        text: str,
        files: Mapping[str, ToolFile],
        signature: Mapping[str, Any] | None,
    ) -> str:
        """Who signed it, as it is recorded; empty for nobody. Raises CatalogError."""
        authorizer = self.admission.authorizer
        try:
            if signature is not None:
                digests = signed_digests(text, files)
                subject = Subject(manifest.name, manifest.version, digests)
                return str(authorizer.roots.verify(signature, subject))
            if not authorizer.require_signature:
                return ""
            problem = KeyringError(
                "the tool is not signed, and the configuration requires it",
                "have a publisher sign it with `fumehood tool sign`",
            )
        except KeyringError as error:
            problem = error
        refusal = CatalogError(problem.cause, problem.remedy)
        named: dict[str, Field] = {"tool": manifest.name, "tool_version": manifest.version}
        await self.attempts.refused(caller, "tool.signature_refused", refusal, named)
        raise refusal

    def _examined(self, manifest: Manifest) -> list[poisoning.Finding]:
        others = {tool.manifest.name for tool in self.catalog.all()} - {manifest.name}
        return poisoning.examine(manifest, others, self.find)

    def _was_quarantined(self, manifest: Manifest) -> tuple[str, ...]:
        """Registering it again is no review: it stays so until somebody approves it."""
        known = self.catalog.version(manifest.name, manifest.version)
        if known is None or known.state != "quarantined":
            return ()
        return ("registered again, which is no review",)

    def _review(self, manifest: Manifest) -> tuple[str, ...]:
        """Why this version needs approval although another one of the tool was agreed to."""
        current = self.catalog.agreed(manifest.name)
        if current is None or current.manifest == manifest:
            return ()
        changes = compare(current.manifest, manifest, None, None)
        against = f"against {current.manifest.version}"
        return tuple(f"{reason} {against}" for reason in reasons(changes))

    async def _refuse_unaccepted(
        self,
        manifest: Manifest,
        findings: Sequence[poisoning.Finding],
        accept: Sequence[str],
        fields: Mapping[str, Field],
    ) -> None:
        error = poisoning.refusal(findings, accept)
        if error is None:
            return
        found = tuple(str(finding) for finding in findings if finding.severity == "high")
        named: dict[str, Field] = {"tool": manifest.name, "tool_version": manifest.version}
        await self.record("tool.lint_refused", {**fields, **named, "findings": found})
        raise error


def _check_accepted(accept: Sequence[str]) -> None:
    for name in accept:
        if name not in poisoning.RULES and name not in (CHANGES, QUARANTINED):
            known = ", ".join([CHANGES, QUARANTINED, *poisoning.RULES])
            raise UsageError(f"there is no rule {name[:40]!r} to accept", f"known here: {known}")


def _added_by(principal: Principal) -> str:
    return f"added by {principal.name}, who is no operator"


def _tool(tool: RegisteredTool) -> dict[str, Field]:
    return {**of_tool(tool), "signer": tool.signer}
