"""From a call's outcome to its scanned result: on the event loop where it is small, in threads
where it is not. Must never let an output be held by a call that is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import structlog

from fumehood.model.outcome import Outcome
from fumehood.model.request import Admitted
from fumehood.model.result import Result, Timing
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.search import Begun, NotYet
from fumehood.supervisor import invocation
from fumehood.supervisor.live import Live, Registry
from fumehood.supervisor.recording import FEW_CALLS
from fumehood.supervisor.rooms import Rooms

log = structlog.get_logger(__name__)

INLINE_BYTES: Final = 16 * 1024
INLINE_SECONDS: Final = 0.02
"""Less output is awaited on the event loop, for so long: a scanner answers in 0.2 ms, and waking
a thread to wait for it costs as much again."""
SCAN_THREADS: Final = 2
"""Threads of their own, so that large outputs do not keep large arguments waiting."""


class Scanning:
    """live: what runs; where it is little, scans begin ahead."""

    def __init__(self, rooms: Rooms, live: Registry) -> None:
        self._rooms = rooms
        self._live = live
        self._threads = ThreadPoolExecutor(SCAN_THREADS, "scan")

    def ahead(self, admitted: Admitted) -> contextlib.closing[Ahead]:
        """For a call that is about to run."""
        return contextlib.closing(Ahead(self._rooms.pipeline, admitted, self._live))

    def close(self) -> None:
        """Begin no scan any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def scanned(
        self,
        live: Live,
        admitted: Admitted,
        run: invocation.Run,
        launched: float,
        begun: Begun | None,
    ) -> Result:
        """A call's result, once no thread holds its output any more. launched: when its sandbox was
        asked for (time.monotonic()). begun: what `ahead` has begun.

        Raises asyncio.CancelledError when the call was cancelled while its output was scanned.
        """
        rooms, request = self._rooms, admitted.request
        outcome, steps = run.outcome, run.steps
        if outcome.error:
            log.error(
                "invocation failed", invocation=request.invocation, tool=request.tool,
                error=outcome.error,
            )  # fmt: skip
        if outcome.status == "cancelled":  # nobody reads its output: it is not worth a scan
            outcome = replace(outcome, stdout=b"", stderr=b"", artifacts=())
            admitted = replace(admitted, request=replace(admitted.request, arguments_json=b""))
        unusual = rooms.habits.notices(admitted.tool.digest, outcome, ahead=run.ahead > 0)
        if unusual:
            outcome = replace(outcome, notices=(*outcome.notices, *unusual))
        timing = Timing(
            queued_ms=_ms(launched - request.received),
            started_ms=_ms(steps.started - launched),
            ran_ms=_ms(steps.ended - steps.started),
            ahead_ms=_ms(run.ahead),
        )
        abandoned = threading.Event()
        finishing, name = rooms.finishing, admitted.tool.manifest.name

        def release(patience: float | None = None) -> Result:
            result = rooms.pipeline.release(
                admitted,
                run.plan,
                outcome,
                timing=timing,
                check_output=rooms.admission.output_check(admitted.tool),
                abandoned=abandoned.is_set,
                patience=patience,
                begun=begun,
            )
            return result if finishing.asks(name, result) else settle(result)

        def settle(result: Result) -> Result:
            result, live.kept = finishing.settle(admitted, outcome, result)
            return result

        result = None
        if bytes_of(outcome) + len(admitted.request.arguments_json) <= INLINE_BYTES:
            with contextlib.suppress(NotYet):
                result = release(INLINE_SECONDS)
        if result is None:
            rooms.pool.tend_soon()  # a large output takes a while
            result = await self._in_thread(release, abandoned)
        if finishing.asks(name, result):
            judged = await finishing.judge(name, result)
            result = await self._in_thread(lambda: settle(judged), abandoned)
        return result

    async def _in_thread(self, release: Callable[[], Result], abandoned: threading.Event) -> Result:
        """Returns, and raises, only when no thread holds the output any more. When the call is
        cancelled, a scan that waits is left out, and one that runs ends with its next chunk."""

        def scan() -> Result | None:
            return None if abandoned.is_set() else release()

        job = asyncio.get_running_loop().run_in_executor(self._threads, scan)
        while not job.done():
            try:
                await asyncio.wait([job])
            except asyncio.CancelledError:
                abandoned.set()
        result = None if job.cancelled() else job.result()
        if result is None or abandoned.is_set():
            raise asyncio.CancelledError
        return result


@dataclass(slots=True)
class Ahead:
    """Has the streams of a call looked at once they have ended, while its sandbox does: about as
    long. Only where little runs: else somebody waits for every scanner, and every CPU."""

    pipeline: Pipeline
    admitted: Admitted
    live: Registry
    begun: Begun | None = None

    def foresee(self, stdout: bytes, stderr: bytes) -> None:
        size = len(stdout) + len(stderr) + len(self.admitted.request.arguments_json)
        if size <= INLINE_BYTES and len(self.live) <= FEW_CALLS and self.begun is None:
            self.begun = self.pipeline.begin(self.admitted, stdout, stderr)

    def close(self) -> None:
        if self.begun is not None:
            self.begun.close()


def bytes_of(outcome: Outcome) -> int:
    """That a tool wrote."""
    return len(outcome.stdout) + len(outcome.stderr) + sum(len(a.data) for a in outcome.artifacts)


def _ms(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1000, 3)
