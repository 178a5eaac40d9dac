"""How the supervisor is: for `fumehood status`, and in numbers for metrics. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from fumehood.model.request import Caller
from fumehood.supervisor.approvals import Approvals
from fumehood.supervisor.reloading import Reloading
from fumehood.supervisor.rooms import Rooms

if TYPE_CHECKING:  # what only some daemons need costs the others nothing
    from fumehood.supervisor.forward import Status
    from fumehood.supervisor.metrics import State


BESIDE: Final = "beside the log, which can be rewritten: take it away with `fumehood audit init`"
ELSEWHERE: Final = "kept elsewhere"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """How the supervisor is. `not_enforced` maps a control to the reason it is missing here;
    `engines` an engine to its launcher's PID, 0 when there is none just now; `refusing` says why
    no call is taken just now, empty when calls are; `asking` calls wait for approval;
    `configuration` tells what became of the last reload; `first_key` where the first sealing key of
    the audit log is."""

    version: str
    engine: str
    cgroup_mode: str
    launcher_pid: int
    running: int
    waiting: int
    ready: int
    tools: int
    not_enforced: Mapping[str, str]
    audit_seq: int
    refusing: str = ""
    asking: int = 0
    configuration: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, int] = field(default_factory=dict)
    first_key: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "engine": self.engine,
            "cgroup_mode": self.cgroup_mode,
            "launcher_pid": self.launcher_pid,
            "running": self.running,
            "waiting": self.waiting,
            "ready": self.ready,
            "tools": self.tools,
            "not_enforced": dict(self.not_enforced),
            "audit_seq": self.audit_seq,
            "asking": self.asking,
            "configuration": dict(self.configuration),
            "refusing": self.refusing,
            "engines": dict(self.engines),
            "first_key": self.first_key,
        }


@dataclass(slots=True)
class Reporting:
    """forwarded: how forwarding is; None when nothing is forwarded."""

    rooms: Rooms
    version: str
    approvals: Approvals
    reloading: Reloading
    forwarded: Callable[[], Status] | None = None

    def now(self) -> State:
        """For metrics."""
        from fumehood.supervisor.metrics import State

        rooms = self.rooms
        forwarded = self.forwarded() if self.forwarded is not None else None
        return State(
            forward_behind=forwarded.behind if forwarded else 0,
            forward_failing=bool(forwarded and forwarded.failing),
            running=rooms.slots.taken,
            waiting=rooms.slots.waiting,
            ready=rooms.pool.ready,
            tools=len(rooms.catalog.list()),
            audit_seq=rooms.audit.last.seq,
            audit_broken=rooms.audit.broken is not None,
            refusing=bool(rooms.gate.look()),
            stops=len(rooms.stops.listed()),
            first_key_here=rooms.audit.keeps_first_key,
        )

    def status(self, caller: Caller) -> StatusReport:
        rooms, report = self.rooms, self.reloading.report
        if not rooms.admission.authorizer.is_operator(caller):
            # The text may hold what the operator wrote.
            report = replace(report, problem="refused" if report.problem else "", remedy="")
        hellos = rooms.launchers.hellos()
        hello = hellos[rooms.launchers.engines[0]]
        return StatusReport(
            version=self.version,
            engine=hello.engine if hello else "none",
            cgroup_mode=hello.cgroup_mode if hello else "none",
            launcher_pid=hello.pid if hello else 0,
            running=rooms.slots.taken,
            waiting=rooms.slots.waiting,
            ready=rooms.pool.ready,
            tools=len(rooms.catalog.list()),
            not_enforced=dict(hello.unenforceable) if hello else {},
            audit_seq=rooms.audit.last.seq,
            refusing=rooms.gate.look(),
            asking=self.approvals.count,
            configuration=report.to_json(),
            engines={name: said.pid if said else 0 for name, said in hellos.items()},
            first_key=BESIDE if rooms.audit.keeps_first_key else ELSEWHERE,
        )
