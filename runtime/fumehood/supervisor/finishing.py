"""What is done with a scanned result before it is on record: a classifier outside is asked, what
is withheld is kept for an operator, text is marked, and the digests are made of what leaves.

It builds no result of its own; each step is a function of the scan room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from fumehood.audit.content import Content
from fumehood.audit.receipt import released
from fumehood.audit.record import Field
from fumehood.model.outcome import Outcome
from fumehood.model.request import Admitted, Caller, RegisteredTool
from fumehood.model.result import Result
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.marking import marked
from fumehood.scan.partial import Partial
from fumehood.supervisor.classifier import Classifier
from fumehood.supervisor.receipts import Receipts
from fumehood.supervisor.response import Told
from fumehood.supervisor.withheld import SWEEP_SECONDS, Kept, Withheld

JUDGED_WHOLE: Final = (
    "nothing is shown before the end: a classifier judges the output as a whole, and may withhold"
    " it"
)


@dataclass(frozen=True, slots=True)
class Finishing:
    """classifier: None where the operator named none."""

    spec: ScanSpec
    receipts: Receipts
    content: Content
    withheld: Withheld
    classifier: Classifier | None = None

    def asks(self, tool: str, result: Result) -> bool:
        """Whether `judge` is to be awaited before `settle`."""
        return self.classifier is not None and self.classifier.wants(tool, result)

    def showing(
        self, partial: Callable[[RegisteredTool], Partial]
    ) -> Callable[[RegisteredTool], Partial]:
        """`partial`, whose scanners show nothing of what `judge` may yet withhold: what was shown
        cannot be taken back."""

        def made(tool: RegisteredTool) -> Partial:
            scanner = partial(tool)
            if self.classifier is not None and self.classifier.may_withhold(tool.manifest.name):
                scanner.show_nothing(JUDGED_WHOLE)
            return scanner

        return made

    async def judge(self, tool: str, result: Result) -> Result:
        if self.classifier is None:
            return result
        began = time.monotonic()
        judged = await self.classifier.judge(tool, result)
        spent = result.timing.scanned_ms + (time.monotonic() - began) * 1000
        return replace(judged, timing=replace(result.timing, scanned_ms=round(spent, 3)))

    def settle(
        self, admitted: Admitted, outcome: Outcome, result: Result
    ) -> tuple[Result, dict[str, Field]]:
        """The result as it leaves, and what its record keeps. Blocks for as long as its size takes.

        Raises KeyringError: there is no key for the digests; then there is no record.
        """
        held = any(f.action == "withhold" and f.kind != "artifact" for f in result.findings)
        kept = held and self.withheld.keep(admitted, outcome, result)
        tool, request = admitted.tool.manifest.name, admitted.request
        mark = self.spec.mark_of(tool)
        if mark != "none":
            result = marked(result, mark)
        data = released(result.content, result.structured)
        digest = self.receipts.digests(result.invocation, data)[0]
        fields = self.content.kept(tool, request.invocation, request.arguments_json, data)
        if kept:
            fields["kept_for_release"] = True
        if kept and result.status == "withheld":
            message = f"{result.message} An operator can `fumehood release {result.invocation}`."
            result = replace(result, message=message)
        return replace(result, digest=digest), fields

    def close(self) -> None:
        if self.classifier is not None:
            self.classifier.close()


@dataclass(frozen=True, slots=True)
class Releasing:
    """Gives withheld output to operators, whoever made the call; nobody else learns of any.

    record: returns once a record is on disk. operator_only: returns for an operator, and records
    and refuses others. workers: where files are read.
    """

    withheld: Withheld
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    operator_only: Callable[[Caller, str], Awaitable[object]]
    workers: Executor

    async def release(self, caller: Caller, invocation: str) -> Kept:
        """What was withheld of an invocation; on record before it is given.

        Raises:
            Unauthorized: not an operator, whether there is such an invocation or not.
            UnknownInvocation: nothing of it is kept.
        """
        await self.operator_only(caller, "release.refused")
        loop = asyncio.get_running_loop()
        kept = await loop.run_in_executor(self.workers, self.withheld.open, invocation)
        await self.record(
            "output.released",
            {
                "invocation": invocation,
                "tool": kept.about["tool"],
                "tool_digest": kept.about["tool_digest"],
                "caller": {"uid": caller.uid, "gid": caller.gid, "pid": caller.pid},
                "of_uid": kept.about["uid"],
                "bytes": kept.size,
                "findings": kept.about["findings"],
            },
        )
        return kept

    async def listed(self, caller: Caller) -> Told:
        """What is kept. Raises Unauthorized."""
        await self.operator_only(caller, "release.refused")
        loop = asyncio.get_running_loop()
        return Told({"kept": await loop.run_in_executor(self.workers, self.withheld.listed)})

    async def watch(self) -> None:
        """Delete what was kept long enough, also when nobody asks; for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await loop.run_in_executor(self.workers, self.withheld.sweep)
            await asyncio.sleep(SWEEP_SECONDS)
