"""How tools come into the catalog, change and leave: linted, compared, approved, on record.

Must never let a tool be called that no operator agreed to, nor one that became something else
under its name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import structlog

from fumehood.admission.admit import Admission
from fumehood.audit.record import Field
from fumehood.catalog import poisoning
from fumehood.catalog.changes import compare, reasons
from fumehood.catalog.incoming import as_pending
from fumehood.catalog.pins import signed_digests
from fumehood.catalog.store import Catalog, ToolFile
from fumehood.crypto.trust import UNBELIEVED, Subject, UnknownKey
from fumehood.errors import CatalogError, FumehoodError, KeyringError, UsageError
from fumehood.model.manifest import Manifest
from fumehood.model.principal import Principal
from fumehood.model.request import Caller, RegisteredTool, Removed
from fumehood.supervisor.attempts import Attempts
from fumehood.supervisor.fields import of_caller, of_tool
from fumehood.supervisor.seals import Seals

log = structlog.get_logger(__name__)

T = TypeVar("T")
CHANGES: Final = "changes"
"""Accepts by name what would need approval again."""
QUARANTINED: Final = "quarantined"
"""Accepts by name, to `approve` only, that a version was quarantined."""


@dataclass(frozen=True, slots=True)
class _Adding:
    """A version on its way in. fields: for records of it."""

    caller: Caller
    principal: Principal
    manifest: Manifest
    files: Mapping[str, ToolFile]
    accept: Sequence[str]
    signer: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was seen of it. notes: all that is to be said; own: what tells nothing of others."""

    pending: bool
    notes: Sequence[str]
    own: Sequence[str]


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
    seals: Seals = field(default_factory=Seals)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _working: set[asyncio.Task[Any]] = field(default_factory=set)

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
        a tool of that name hears that theirs is pending, whatever is registered, and it takes the
        same place and the same time: anything else would tell what is.

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
        adding = _Adding(caller, principal, manifest, files, tuple(accept), signer, fields)
        return await self._whole(self._add(adding))

    async def _add(self, one: _Adding) -> RegisteredTool:
        """First the files, which takes the disk seconds and holds nobody up; then, one after the
        other, the version: what was looked at is what the catalog then changes."""
        manifest, principal = one.manifest, one.principal
        async with self._attempt(one.caller, manifest):
            tree = self.catalog.check(manifest, one.files)
            if not principal.operates and self._knows(one.caller, manifest):
                known = self._told_openly(manifest, tree)
                if known is not None:
                    return replace(known, notes=())
        looked = await self._looked_at(one, tree)  # before anything is written
        try:
            async with contextlib.AsyncExitStack() as held:
                async with self._attempt(one.caller, manifest):
                    if looked.pending:
                        self.catalog.check_place(manifest, principal.name)
                    await held.enter_async_context(self.seals.turn(principal.name))
                    held.enter_context(self.catalog.holding(tree))
                    await self._store(one, tree)
                async with self._turn:
                    looked = await self._looked_at(one, tree)
                    async with self._attempt(one.caller, manifest):
                        tool = await asyncio.to_thread(self._kept, one, tree, looked)
                    event = "tool.added" if tool.state == "active" else "tool.pending"
                    await self.record(event, {**one.fields, **_tool(tool), "notes": tool.notes})
        finally:  # also when it could not be recorded: what was stored in vain has to go
            self.changed()
        log.info("tool added", tool=manifest.name, version=manifest.version, state=tool.state)
        if principal.operates:
            return tool
        # What they brought, and nothing of what there is beside it.
        return as_pending(
            manifest, one.files, by=principal.name, notes=looked.own, signer=one.signer
        )

    async def _store(self, one: _Adding, tree: str | None) -> None:
        """Have the files on disk. Whoever is no operator hears nothing of what else is there, and
        theirs are written whether they are or not.

        Raises:
            CatalogError
        """
        afresh = not one.principal.operates
        try:
            await asyncio.to_thread(self.catalog.store, tree, one.files, afresh=afresh)
        except CatalogError as error:
            if one.principal.operates:
                raise
            detail = "; ".join(filter(None, (error.cause, error.detail)))
            raise CatalogError(
                "there is no room for the tool's files, or they cannot be stored just now",
                "try again later, or ask an operator, whose log tells why",
                detail=detail,
            ) from error

    def _kept(self, one: _Adding, tree: str | None, looked: _Looked) -> RegisteredTool:
        """The version in the catalog; raises CatalogError."""
        manifest, files, by = one.manifest, one.files, one.principal.name
        notes = looked.notes
        if not looked.pending:
            return self.catalog.add(manifest, tree, files, by=by, notes=notes, signer=one.signer)
        if one.principal.operates:
            known = self.catalog.agreed_version(manifest.name, manifest.version)
            if known is not None and (known.manifest, known.files) == (manifest, tree):
                return self.catalog.add_again(known, notes)
            if (taken := self.catalog.conflict(manifest, tree)) is not None:
                raise taken
        return self.catalog.submit(
            manifest, tree, files, by=by, notes=notes, signer=one.signer,
            replacing=one.principal.operates,
        )  # fmt: skip

    def _told_openly(self, manifest: Manifest, tree: str | None) -> RegisteredTool | None:
        """To somebody who may call the tool: the version, where it is exactly this one.

        Raises CatalogError: it is another one.
        """
        if (taken := self.catalog.conflict(manifest, tree)) is not None:
            raise taken
        current = self.catalog.get(manifest.name)
        same = current is not None and (current.manifest, current.files) == (manifest, tree)
        return current if same else None

    def _knows(self, caller: Caller, manifest: Manifest) -> bool:
        """Whether who is no operator may call this very version, and so knows what it is. Of other
        versions of a tool that they may call they know nothing."""
        current = self.catalog.get(manifest.name)
        if current is None or current.manifest.version != manifest.version:
            return False
        return self.admission.authorizer.may_call(caller, current)

    async def _looked_at(self, one: _Adding, tree: str | None) -> _Looked:
        """Whether an operator has to approve the version, and what is to be said of it.

        Raises:
            CatalogError: the lint found something that an operator did not accept.
        """
        manifest, principal = one.manifest, one.principal
        async with self._attempt(one.caller, manifest):
            findings = await asyncio.to_thread(self._examined, manifest)
        found = [str(finding) for finding in findings]
        unbelieved = _unbelieved(one.signer)
        found += [*unbelieved, *self._elsewhere(manifest, tree)]
        if principal.operates:
            await self._refuse_unaccepted(manifest, findings, one.accept, one.fields)
            review = () if CHANGES in one.accept else self._review(manifest, one.signer)
            review = (*review, *self._was_quarantined(manifest, tree))
            return _Looked(bool(review), [*found, *review], ())
        own = [str(finding) for finding in findings if finding.rule not in poisoning.OF_OTHERS]
        added = f"added by {principal.name}, who is no operator"
        said = [*found, added, *self._review(manifest, one.signer)]
        said += (*self._was_quarantined(manifest, tree), *self._in_the_way(manifest, tree))
        return _Looked(True, said, [*own, *unbelieved, added])

    def _in_the_way(self, manifest: Manifest, tree: str | None) -> tuple[str, ...]:
        """Why a submission cannot be approved as it is."""
        if (taken := self.catalog.conflict(manifest, tree)) is not None:
            return (f"cannot be approved: {taken.cause}",)
        if self.catalog.agreed_version(manifest.name, manifest.version) is not None:
            return ("is registered with this content already",)
        return ()

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, also when who asked is gone: what was done is on record."""
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _in_turn(self, work: Coroutine[Any, Any, T]) -> T:
        """One after the other: what was looked at is what the catalog then changes."""
        async with self._turn:
            try:
                return await work
            finally:  # also when it could not be recorded
                self.changed()

    def _ended(self, task: asyncio.Task[Any]) -> None:
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
        self,
        caller: Caller,
        name: str,
        version: str,
        accept: Sequence[str] = (),
        by: str | None = None,
        digest: str | None = None,
    ) -> RegisteredTool:
        """Make a pending version, or one that was current before, the current one.

        Args:
            by: who submitted what is meant, where several did. digest: of what was looked at.

        Raises:
            Unauthorized: only operators may. CatalogError: there is none, it is not what was looked
                at, no publisher signed it where one has to, or the lint found something that is not
                accepted. ManifestError: its image is gone.
        """
        await self.operator_only(caller, "tool.approve_refused")
        _check_accepted(accept)
        fields: dict[str, Field] = {"caller": of_caller(caller), "accepted": tuple(accept)}

        async def approve() -> RegisteredTool:
            known = self.catalog.one_of(name, version, by)
            if digest not in (None, known.digest):
                raise CatalogError(
                    f"{name} {version} is not what was looked at: its digest is {known.digest}",
                    f"look at it again: `fumehood tool show {name} --version {version}`",
                )
            await self._refuse_unsigned(known, fields)
            if QUARANTINED not in accept:
                self.catalog.refuse_tainted(known)
            if known.state == "pending":
                findings = await asyncio.to_thread(self._examined, known.manifest)
                await self._refuse_unaccepted(known.manifest, findings, accept, fields)
            await asyncio.to_thread(self.admission.check_image, known.manifest)
            ending = self.catalog.ending(known)
            tool = await asyncio.to_thread(
                self.catalog.approve, name, version, by, tainted=QUARANTINED in accept
            )
            more: dict[str, Field] = {"added_by": tool.added_by}
            if ending:  # of versions that were removed: nothing else tells of them any more
                more["quarantine_ended"] = ending
            await self.record("tool.approved", {**fields, **_tool(tool), **more})
            log.info("tool approved", tool=name, version=version)
            return tool

        return await self._whole(self._in_turn(approve()))

    async def remove(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> Removed:
        """Forget a tool, or one version that is not current, or what `by` submitted under one, but
        for what is quarantined of it; raises Unauthorized, CatalogError."""
        await self.operator_only(caller, "tool.remove_refused")
        fields: dict[str, Field] = {"caller": of_caller(caller), "all": version is None}

        async def remove() -> Removed:
            gone = await asyncio.to_thread(self.catalog.remove, name, version, by)
            tool = gone.tool
            more: dict[str, Field] = {"state": tool.state, "added_by": tool.added_by}
            if gone.quarantine_kept:
                more["quarantine_kept"] = gone.quarantine_kept
            await self.record("tool.removed", {**fields, **_tool(tool), **more})
            log.info("tool removed", tool=name, version=version or "all")
            return gone

        return await self._whole(self._in_turn(remove()))

    async def _signer(
        self,
        caller: Caller,
        manifest: Manifest,
        text: str,
        files: Mapping[str, ToolFile],
        signature: Mapping[str, Any] | None,
    ) -> str:
        """Who signed it, as it is recorded; empty for nobody. A key of nobody who is known is as
        good as none, and is recorded as what it is.

        Raises CatalogError: it is of another tool, of a key that is revoked or not in use, or none
        of a publisher although it has to be one.
        """
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
        except UnknownKey as error:
            if not authorizer.require_signature:
                return f"{UNBELIEVED}{error.key_id}"
            problem = error
        except KeyringError as error:
            problem = error
        refusal = CatalogError(problem.cause, problem.remedy)
        named: dict[str, Field] = {"tool": manifest.name, "tool_version": manifest.version}
        await self.attempts.refused(caller, "tool.signature_refused", refusal, named)
        raise refusal

    async def _refuse_unsigned(self, known: RegisteredTool, fields: Mapping[str, Field]) -> None:
        """What no publisher signed who is believed now is not made current where it has to be: it
        may have come in before that was required, or before its key was revoked.

        Raises CatalogError.
        """
        authorizer = self.admission.authorizer
        if not authorizer.require_signature or authorizer.roots.publisher_of(known.signer):
            return
        what = f"{known.manifest.name} {known.manifest.version}"
        cause = f"{what} is not signed, and the configuration requires it"
        if known.signer:
            key = known.signer.rpartition(":")[2]
            cause = f"{what} is signed with the key {key}, of no publisher that is believed here"
        await self.record("tool.signature_refused", {**fields, **_tool(known), "cause": cause})
        raise CatalogError(
            cause, "have a publisher sign it with `fumehood tool sign`, and add it again"
        )

    def _examined(self, manifest: Manifest) -> list[poisoning.Finding]:
        others = {tool.manifest.name for tool in self.catalog.all()} - {manifest.name}
        return poisoning.examine(manifest, others, self.find)

    def _was_quarantined(self, manifest: Manifest, tree: str | None) -> tuple[str, ...]:
        """Registering it again is no review, nor is raising its version: it stays so until
        somebody approves it."""
        known = self.catalog.agreed_version(manifest.name, manifest.version)
        if known is not None and known.state == "quarantined":
            return ("registered again, which is no review",)
        bad = self.catalog.tainted(manifest, tree)
        return () if bad is None else (bad.said,)

    def _elsewhere(self, manifest: Manifest, tree: str | None) -> tuple[str, ...]:
        """A quarantine is of a name, and tools may share their files: said, and no more."""
        bad = self.catalog.quarantined_elsewhere(manifest.name, tree)
        return () if bad is None else (f"has the files of {bad}, which is quarantined",)

    def _review(self, manifest: Manifest, signer: str) -> tuple[str, ...]:
        """Why this version needs approval although another one of the tool was agreed to."""
        current = self.catalog.agreed(manifest.name)
        if current is None or current.manifest == manifest:
            return ()
        changes = list(reasons(compare(current.manifest, manifest, None, None)))
        before = current.signer.partition(":")[0]  # also of a key that is revoked since
        if before and signer.partition(":")[0] != before:
            changes.append(f"not signed by {before} any more")
        against = f"against {current.manifest.version}"
        return tuple(f"{reason} {against}" for reason in changes)

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


def _unbelieved(signer: str) -> list[str]:
    if not signer.startswith(UNBELIEVED):
        return []
    key = signer.removeprefix(UNBELIEVED)
    return [f"its signature names the key {key}, of no publisher here: taken as not signed"]


def _tool(tool: RegisteredTool) -> dict[str, Field]:
    return {**of_tool(tool), "signer": tool.signer}
