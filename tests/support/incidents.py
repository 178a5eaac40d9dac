"""What tests of incidents have in common: calls that are signals, and a book of incidents."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fumehood.audit.incident import Incident
from fumehood.crypto.ring import Ring
from fumehood.model.incident_rules import DEFAULT_RULES, IncidentRule
from fumehood.model.outcome import Status
from fumehood.model.request import Caller, Request
from fumehood.model.result import Finding, Result
from fumehood.supervisor import evidence
from fumehood.supervisor.incidents import Incidents
from fumehood.supervisor.signals import Case, signals
from support.scan import plan

CALLER = Caller(7, 7, 1, "ann")
CANARY = Finding("canary", "secret", "high", "stdout", "redact")
INJECTED = Finding("override", "injection", "medium", "stdout", "flag")


def live(tool: str = "echo", text: bytes = b"out") -> Any:
    request = Request("01a2002f-a269-716f-a068-95ee26d21dae", tool, {}, b'{"secret":1}', CALLER, 0)
    stream = SimpleNamespace(last=lambda most: text[-most:])
    return SimpleNamespace(
        request=request, stdout=stream, stderr=None, plan=plan(), proofs=(), tool=None, started=1.0,
        incidents={}, signalled=set(), result=None, runs=False, sandbox=None,
    )  # fmt: skip


def case(at: Any, given: Result) -> Case:
    """The one signal of a result."""
    (signal,) = signals(given)
    return Case(
        signal, signal, at.request.tool, uid=at.request.caller.uid,
        invocation=at.request.invocation, capture=lambda: evidence.ended(at, given),
    )  # fmt: skip


def result(status: Status = "ok", *findings: Finding) -> Result:
    return Result("01a2002f-a269-716f-a068-95ee26d21dae", "echo", "1", "d", status,
                  findings=findings)  # fmt: skip


def incidents(
    tmp_path: Path, ring: Ring, *rules: IncidentRule, append: Any = lambda *_: None
) -> Incidents:
    return Incidents(tmp_path / "incidents", rules or DEFAULT_RULES, ring, append)


def listed(book: Incidents, *, closed: bool) -> list[Incident]:
    """Also while a loop runs here."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, book.listed(closed=closed)).result(30)
    return [book.get(item["incident"]) for item in found]


def tripped(name: str, uid: int = 7) -> Case:
    return Case("tripwire", "killed", name, "1.0.0", "d", uid)
