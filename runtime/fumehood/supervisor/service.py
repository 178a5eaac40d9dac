"""The supervisor: everything the gateway may ask for, each step in the order of the design.

    Request → admission → Admitted → planner → Plan → corridor → Outcome → scan → Result → audit

It holds no privilege. Whatever happens, an invocation that was accepted ends with exactly one
terminal status, and no answer leaves before its record is in the audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from fumehood.admission.budgets import Amounts
from fumehood.audit.record import Field, Position
from fumehood.catalog.store import ToolFile
from fumehood.errors import (
    AuditError,
    Cancelled,
    CatalogError,
    Rejected,
    Unavailable,
    UnknownTool,
)
from fumehood.model.codec import encode
from fumehood.model.live import Listener
from fumehood.model.outcome import Proof, Status
from fumehood.model.plan import Plan
from fumehood.model.principal import Principal
from fumehood.model.request import Admitted, Asking, Caller, RegisteredTool, Request
from fumehood.model.result import Recorded, Result
from fumehood.supervisor import evidence, invocation
from fumehood.supervisor.approvals import Approvals
from fumehood.supervisor.attempts import Attempts
from fumehood.supervisor.callers import Callers
from fumehood.supervisor.control import Control
from fumehood.supervisor.fields import of_call, of_tool
from fumehood.supervisor.finishing import Releasing
from fumehood.supervisor.governing import Governing
from fumehood.supervisor.live import BY_A_RULE, BY_ITS_CALLER, SHUTDOWN, Live, Registry
from fumehood.supervisor.lookout import Lookout
from fumehood.supervisor.pacing import Pacing
from fumehood.supervisor.recording import Recorder
from fumehood.supervisor.registration import Registration
from fumehood.supervisor.reloading import Reloading
from fumehood.supervisor.reporting import Reporting
from fumehood.supervisor.response import Response
from fumehood.supervisor.rooms import Rooms
from fumehood.supervisor.scanning import Scanning, bytes_of
from fumehood.supervisor.showing import Showing
from fumehood.supervisor.telling import telling
from fumehood.supervisor.tidying import Tidying
from fumehood.supervisor.tracemeta import told_the_trace

if TYPE_CHECKING:  # what only some daemons need costs the others nothing
    from fumehood.supervisor.metrics import Metrics
    from fumehood.supervisor.telemetry import Telemetry

log = structlog.get_logger(__name__)


ADMIT_INLINE_BYTES = 64 * 1024
LOOK_INLINE = 256
"""Files and folders of a tool that are looked at on the event loop, in a millisecond."""
WORKER_THREADS = 2
EAR_THREADS = 2
"""Threads of their own, so that what is shown early does not keep large arguments waiting."""


class Supervisor:
    """See `gateway.corridor.Supervisor` for the contract of each method."""

    def __init__(self, rooms: Rooms, version: str) -> None:
        self._rooms = rooms
        self._live = Registry()
        self._partial = rooms.finishing.showing(rooms.pipeline.partial)
        self.recorder = Recorder(rooms.audit, lambda: len(self._live))
        self._control = Control(
            self._live,
            rooms.admission.authorizer.is_operator,
            self._partial,
            rooms.records,
        )
        self._attempts = Attempts(
            rooms.admission.authorizer.principal, self._record, rooms.audit.append, time.monotonic
        )
        self.attempted = self._attempts.refused
        operator_only = self._attempts.operator_only
        self._pacing = Pacing(time.monotonic)
        self._approvals = Approvals(
            rooms.admission, rooms.config.approvals, self._record, rooms.digest, self._attempts
        )
        self._callers = Callers(
            rooms.admission, rooms.audit.append, self._record, operator_only, self._attempts
        )
        self.show_caller = self._callers.show
        self.open_session = self._callers.open_session
        self.close_session = self._callers.close_session
        self.approvals = self._approvals.pending
        self.answer_approval = self._approvals.answer
        self.asked_arguments = self._approvals.arguments
        self._workers = ThreadPoolExecutor(WORKER_THREADS, "worker")
        self._tidying = Tidying(rooms.catalog, self._mounted)
        self._registration = Registration(
            rooms.catalog, rooms.admission, self._record, operator_only, self._attempts,
            self._catalog_changed, rooms.find,
        )  # fmt: skip
        self.remove_tool = self._registration.remove
        self.approve_tool = self._registration.approve
        self._showing = Showing(rooms.catalog, rooms.admission, operator_only, self._attempts)
        self.all_tools = self._showing.all
        self.removed_tools = self._showing.removed
        self.diff_tool = self._showing.diff
        self.tool_files = self._showing.files
        self.reloading = Reloading(
            rooms.config, rooms.admission, self._record, operator_only, rooms.digest,
            approvals=self._approvals, applied=rooms.pool.drop_all,
        )  # fmt: skip
        self.reload = self.reloading.reload
        self._governing = Governing(
            rooms.catalog, rooms.admission, lambda: self.reloading.config, operator_only
        )
        self.explain_policy = self._governing.explain
        self.review_policy = self._governing.review
        self.invocations = self._control.invocations
        noting = self._attempts.noting
        owned = self._control.owned
        self.cancel = noting("invocation.cancel_refused", self._control.cancel, owned)
        self.logs = noting("invocation.logs_refused", self._control.logs, owned)
        self.receipt = noting("invocation.receipt_refused", rooms.receipts.receipt, owned)
        self.metrics: Metrics | None = None
        self.telemetry: Telemetry | None = None
        self.reporting = Reporting(rooms, version, self._approvals, self.reloading, self._live)
        self.status = self.reporting.status
        self.response = Response(
            rooms.stops,
            rooms.incidents,
            self._live,
            rooms.pool,
            rooms.audit.append,
            self._record,
            operator_only,
            rooms.catalog.quarantine,
            self._drop_retired,
            lambda name: any(tool.manifest.name == name for tool in rooms.catalog.all()),
            acknowledged=lambda seconds: rooms.launchers.acknowledged(seconds),
        )
        self._scanning = Scanning(rooms, self._live)
        self._ears = ThreadPoolExecutor(EAR_THREADS, "partial-scan")
        self.releasing = Releasing(
            rooms.finishing.withheld, self._record, operator_only, self._workers
        )
        self._lookout = Lookout(rooms.config.behaviour, lambda: self._live)
        self._lookout.told = self.response.running
        rooms.pool.tell = self._told_ahead

    async def invoke(self, request: Request, listener: Listener | None = None) -> Result:
        """Run one invocation to its single terminal status, which is on disk when this returns."""
        live = Live(request, self._partial, self._ears)
        task = asyncio.get_running_loop().create_task(self._invoke(live, listener))
        live.task = task
        live.alarm = self.response.tripped
        self._live.add(live)
        self._lookout.wake()
        task.add_done_callback(lambda _: self._over(live))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            others = live.cancelled_by
            live.cancel(BY_ITS_CALLER)
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                log.exception("a cancelled invocation failed", exc_info=error)
            if others.startswith(("uid ", BY_A_RULE)) and not _is_cancelled():
                who = others if others == BY_A_RULE else "an operator"
                who = "you" if others == f"uid {request.caller.uid}" else who
                raise Cancelled(f"{who} cancelled the invocation") from None
            raise

    def _over(self, live: Live) -> None:
        """It has ended, and its record was written."""
        self._live.remove(live)
        if live.sandbox is not None:
            self._rooms.pool.tend_soon()

    def _told_ahead(self, event: str, digest: str, fields: Mapping[str, Field]) -> None:
        """What a tool's program did ahead of any call: nobody's call is answered for it, so it
        stands on record by itself."""
        tool = next((it for it in self._rooms.catalog.all() if it.digest == digest), None)
        named = of_tool(tool) if tool is not None else {"tool_digest": digest}
        with contextlib.suppress(AuditError):  # the gate is closed then, and the local log says so
            self._rooms.audit.append(f"tool.{event}", {**named, **fields})
        if event == "tripped_ahead" and tool is not None:
            self.response.tripped_ahead(tool)

    def state_moved(self) -> None:
        """The folder of the state is not at its path any more: what is written goes on in it, and
        no verifier and no restart will look there."""
        self._rooms.audit.lose("the state directory was moved away or exchanged")

    def may_connect(self, caller: Caller) -> bool:
        """Whether `caller` may use the socket at all."""
        return self._rooms.admission.authorizer.may_connect(caller)

    async def stop(self, grace: float) -> None:
        """Take no more calls and refuse those that wait; what runs may end within `grace` seconds,
        then it is cancelled. Returns when everything is dead and recorded."""
        self._rooms.gate.stop()
        self._rooms.slots.close()
        self._rooms.pool.close()
        if tasks := self._live.tasks():
            await asyncio.wait(tasks, timeout=grace)
        for live in self._live:
            live.cancel(SHUTDOWN)
        if late := self._live.tasks():
            await asyncio.wait(late)
        await self._registration.close()
        self._control.close()
        self._lookout.close()
        self._rooms.habits.close()
        self._callers.close()
        self._rooms.receipts.close()
        self._rooms.finishing.close()
        try:
            self._rooms.admission.budgets.flush()
        except CatalogError as error:  # the last calls count in full then
            log.exception("budgets cannot be stored", error=error.detail)
        self.response.close()
        self._tidying.close()
        self._attempts.close()
        self._scanning.close()
        for threads in (self._workers, self._ears):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _invoke(self, live: Live, listener: Listener | None) -> Result:
        rooms, request = self._rooms, live.request
        try:
            rooms.gate.check()
        except Unavailable as error:
            refused = rooms.pipeline.refuse(request, error, None)
            self._count(live, refused, time.monotonic())
            return refused
        tool: RegisteredTool | None = None
        principal = rooms.admission.authorizer.principal(request.caller)
        try:
            admitted = await self._admit(request)
            live.tool = tool = admitted.tool
            rooms.stops.check(request.tool, request.caller.uid)
            with rooms.admission.quota.hold(principal.name, admitted.session):
                if isinstance(admitted, Asking):
                    live.enter("asking")
                    admitted = await self._approvals.wait(admitted)
                live.plan = plan = rooms.plan(admitted)
                with self._spending(live, principal, plan) as spent:
                    result, spent.output = await self._run(live, listener, admitted, plan)
                    live.result = spent.result = result
        except Rejected as error:
            self._callers.refused(principal, error)
            await self._paced(request, principal)
            return await self._refused(live, error, tool)
        except asyncio.CancelledError:
            fields = {**of_call(request), "status": "cancelled", "cancelled_by": live.cancelled_by}
            began = time.monotonic()
            await self._record("invocation.cancelled", fields)
            self._count(live, _ended_as(live, "cancelled"), began)
            raise
        except Exception as error:
            began = time.monotonic()
            await self._failed(request, error)
            self._count(live, _ended_as(live, "engine_error"), began)
            raise
        self._callers.ended(principal, result)
        self.response.ended(live, result)
        ended = time.monotonic()
        account = {**self._account(admitted, plan, result, live.proofs), **live.kept}
        if live.cancelled_by:
            account["cancelled_by"] = live.cancelled_by
        position = await self._record("invocation.ended", account)
        self._count(live, result, ended)
        if result.status == "cancelled":
            raise asyncio.CancelledError
        return _on_record(result, position)

    async def _check_pin(self, tool: RegisteredTool) -> None:
        """Right before each launch, however long it waited: the version is not out of use, and its
        files are those that were registered, or nothing runs.

        Raises:
            UnknownTool: somebody took it out of use; or they are not, and it is quarantined.
        """
        catalog = self._rooms.catalog
        if not catalog.holds(tool):
            raise _unknown(tool)
        loop = asyncio.get_running_loop()
        if catalog.entries(tool) <= LOOK_INLINE:
            sound = catalog.looks_sound(tool)
        else:
            sound = await loop.run_in_executor(self._workers, catalog.looks_sound, tool)
        if sound:
            return
        bad = await loop.run_in_executor(self._workers, catalog.recheck, tool)
        if bad is None:
            return
        self._drop_retired()
        fields: dict[str, Field] = {**of_tool(bad), "changed": bad.notes}
        await self._record("tool.quarantined", fields)
        log.error("tool quarantined", tool=bad.manifest.name, changed=bad.notes)
        self.response.broken(bad, "; ".join(bad.notes))
        raise _unknown(bad)

    def _catalog_changed(self) -> None:
        self._drop_retired()
        self._tidying.later()

    def _drop_retired(self) -> None:
        """What was started ahead runs a tool's program already: not of one that nobody can call."""
        tools = self._rooms.catalog.list()
        self._rooms.pool.keep_only(tool.digest for tool in tools if tool.state == "active")

    async def _admit(self, request: Request) -> Admitted | Asking:
        """On the event loop where that takes microseconds; large arguments take up to 1.5 s."""
        admit = self._rooms.admission.admit
        if len(request.arguments_json) <= ADMIT_INLINE_BYTES:
            return admit(request)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, admit, request)

    async def _run(
        self, live: Live, listener: Listener | None, admitted: Admitted, plan: Plan
    ) -> tuple[Result, int]:
        """From a plan to a scanned result, and the bytes that its tool wrote. The sandbox's slot is
        held until its output is scanned or dropped: what waits for a scan is never more than all
        sandboxes may write."""
        rooms, request = self._rooms, admitted.request
        memory = plan.limits.memory_bytes
        live.enter("waiting")
        live.queued = time.monotonic()
        async with rooms.slots.slot(request.caller.uid, admitted.tool.manifest.name, memory):
            await self._check_pin(admitted.tool)
            launched = time.monotonic()
            journal = self.recorder.begin(
                "invocation.launched",
                {**of_call(request), "tool_digest": admitted.tool.digest, "plan": plan.digest()},
            )
            with self._scanning.ahead(admitted) as ahead:
                given = told_the_trace(admitted, traced=self.traced)
                with telling(live, listener, self._partial, self._ears):
                    run = await invocation.run(
                        rooms.pool, given, plan, journal, live, ahead.foresee
                    )
                rooms.receipts.uses(run.plan)
                live.proofs = run.outcome.proofs
                live.enter("scanning")
                result = await self._scanning.scanned(live, admitted, run, launched, ahead.begun)
            return result, bytes_of(run.outcome)

    def _mounted(self) -> set[str]:
        """Digests of the trees that sandboxes have mounted."""
        running = {live.tool.files for live in self._live if live.tool and live.tool.files}
        return running | self._rooms.pool.trees

    @contextlib.contextmanager
    def _spending(self, live: Live, principal: Principal, plan: Plan) -> Iterator[_Spent]:
        """Hold what the call may use of its budgets, and give back what it did not."""
        budgets = self._rooms.admission.budgets
        held = budgets.reserve(principal, live.request.tool, plan.limits)
        spent = _Spent()
        try:
            yield spent
        finally:
            held.settle(spent.of(live, held.most))

    async def _paced(self, request: Request, principal: Principal) -> None:
        """A refusal waits where its caller has had very many; one who hangs up meanwhile is
        counted, and not recorded one by one."""
        try:
            await self._pacing.refusal(principal.name)
        except asyncio.CancelledError:
            self._attempts.count(request.caller, "invocation.rejected")
            raise

    async def _refused(self, live: Live, error: Rejected, tool: RegisteredTool | None) -> Result:
        request = live.request
        fields: dict[str, Field] = {
            **of_call(request),
            "status": "rejected",
            "code": error.code,
            "cause": error.recorded,
        }
        if error.detail:
            fields["detail"] = error.detail[:400]
        began = time.monotonic()
        position = await self._record("invocation.rejected", fields)
        if isinstance(error, UnknownTool):
            self._count(live, self._rooms.pipeline.refuse(request, error, None), began)
            raise error
        if tool is None:
            with contextlib.suppress(UnknownTool):  # only what this caller may know of
                tool = self._rooms.admission.tool(request.caller, request.tool)
        result = self._rooms.pipeline.refuse(request, error, tool)
        self._count(live, result, began)
        return _on_record(result, position)

    @property
    def traced(self) -> bool:
        """Whether each invocation has a span of its own."""
        return self.telemetry is not None

    def _count(self, live: Live, result: Result, ended: float) -> None:
        """ended: when its record was begun."""
        if self.metrics is not None:
            self.metrics.ended(result, time.monotonic() - ended, live.cancelled_by)
        if self.telemetry is not None:
            self.telemetry.ended(live, result, ended)

    async def _failed(self, request: Request, error: Exception) -> None:
        """A fault of ours is an end like any other, and has its record."""
        with contextlib.suppress(AuditError):  # `error` tells of that; the log keeps the record
            await self._record(
                "invocation.ended",
                {**of_call(request), "status": "engine_error", "reason": type(error).__name__},
            )

    async def _record(self, event: str, fields: Mapping[str, Field]) -> Position:
        return await self.recorder.record(event, fields)

    def _account(
        self, admitted: Admitted, plan: Plan, result: Result, proofs: Sequence[Proof]
    ) -> dict[str, Field]:
        request = admitted.request
        digests = self._rooms.receipts.digests
        return {
            **of_call(request),
            "tool_version": result.tool_version,
            "tool_digest": result.tool_digest,
            "rule": admitted.rule,
            "session": admitted.session,
            "status": result.status,
            "exit_code": result.exit_code,
            "signal": result.signal,
            "breach": encode(result.breach) if result.breach else None,
            "usage": encode(result.usage),
            **evidence.denied(result.syscalls),
            **({"ahead_ms": result.timing.ahead_ms} if result.timing.ahead_ms else {}),
            "findings": [f"{f.kind}:{f.rule}:{f.action}" for f in result.findings],
            "plan": result.enforced.plan if result.enforced else plan.digest(),
            "uid": result.enforced.uid if result.enforced else plan.uid,
            "seccomp": plan.seccomp_digest,
            "arguments": digests(request.invocation, request.arguments_json)[0],
            "result": result.digest,
            "proofs": {proof.control: proof.value for proof in proofs},
            **({"trace": request.trace.trace} if request.trace is not None else {}),
        }

    # --- the catalog, for operators

    def tools(self, caller: Caller) -> Sequence[RegisteredTool]:
        may = self._rooms.admission.authorizer.may_call
        return [tool for tool in self._rooms.catalog.list() if may(caller, tool)]

    async def show_tool(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> RegisteredTool:
        tool = await self._showing.known(caller, name, version, by)
        unfit = self._rooms.pool.unfit(tool.digest)
        notes: tuple[str, ...] = (f"not started ahead of calls: {unfit}",) if unfit else ()
        if self._rooms.admission.authorizer.is_operator(
            caller
        ):  # what a reviewer needs; numbers of others' calls
            notes = (*tool.notes, *notes, *self._rooms.habits.told(tool.digest))
        return replace(self._rooms.catalog.sealed(tool), notes=notes)

    async def add_tool(
        self,
        caller: Caller,
        manifest_text: str,
        files: Mapping[str, ToolFile],
        accept: Sequence[str] = (),
        signature: Mapping[str, Any] | None = None,
    ) -> RegisteredTool:
        self._rooms.gate.check()
        return await self._registration.add(caller, manifest_text, files, accept, signature)


@dataclass(slots=True)
class _Spent:
    """What a call used. result: None when it ended without one."""

    result: Result | None = None
    output: int = 0

    def of(self, live: Live, most: Amounts) -> Amounts:
        """Without a result, all of it once the tool ran, and nothing before."""
        if self.result is None:
            return most if live.started is not None else (0, 0, 0)
        cpu = self.result.usage.cpu_seconds
        return 1, most[1] if cpu is None else round(cpu * 1000), self.output


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _unknown(tool: RegisteredTool) -> UnknownTool:
    return UnknownTool(
        f"there is no tool {tool.manifest.name!r}", "`fumehood tool list` shows the tools"
    )


def _ended_as(live: Live, status: Status) -> Result:
    """What is counted of a call that has no result."""
    tool = live.tool
    named = (tool.manifest.name, tool.manifest.version, tool.digest) if tool else ("", "", "")
    return Result(live.request.invocation, *named, status)


def _on_record(result: Result, position: Position) -> Result:
    return replace(result, record=Recorded(position.seq, f"sha384:{position.digest}"))
