"""The corridor: one invocation from its plan to its outcome, in the order it happens.

Whatever happens on the way, the sandbox is dead and every descriptor closed when this returns
or raises. Nothing here decides what a caller may do, or looks into what a tool wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import structlog

from fumehood.errors import AuditError, EngineError, FumehoodError, PlanRefused
from fumehood.launcher.client import SILENT_SECONDS, End
from fumehood.model.live import Sign
from fumehood.model.outcome import Counters, Outcome, Proof, Usage
from fumehood.model.plan import Plan
from fumehood.model.request import Admitted
from fumehood.supervisor import attribution, harvest
from fumehood.supervisor.live import Live
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.ready import Ready
from fumehood.supervisor.watch import NO_SIGNS, Reason, Watch, conclude

log = structlog.get_logger(__name__)

TRIES = 2
"""Sandboxes that a call may take when one ends before anything of the call reached it: one that
waited ready may have been killed by whoever is short of memory, or with its engine."""
OPEN_SECONDS = 20.0
"""The launcher answers within 10 seconds, or something holds it up."""
LOAD_SECONDS = 360.0
"""The same where Docker may have to load an image of the store first (1.6 GiB: 40 s); the launcher
bounds each step of that."""
DEATH_SECONDS = 15.0
"""How long a killed sandbox may take to be dead; large memories take some time to free."""
REPLACE_SECONDS = SILENT_SECONDS + 10.0
"""How long a sandbox given up may take to be dead: a launcher that hangs is found out, killed, and
its sandboxes with it. The call keeps its slot so long."""
DRAIN_SECONDS = 2.0
"""After death only what the pipes still hold is left to read."""


Journal = Callable[[], Awaitable[object]]
Foresee = Callable[[bytes, bytes], None]
"""Told all of stdout and stderr when both have ended and the sandbox has not."""


@dataclass(frozen=True, slots=True)
class Steps:
    """When (time.monotonic) each step was over: opened and started, ended."""

    began: float
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Run:
    """An outcome, its steps, and the plan of its sandbox: the caller's, but for the account.

    ahead: seconds that its tool had been running before the call; 0: it was started for it.
    """

    outcome: Outcome
    steps: Steps
    plan: Plan
    ahead: float = 0.0


async def run(
    pool: Pool, admitted: Admitted, plan: Plan, journal: Journal, live: Live, foresee: Foresee
) -> Run:
    """Run one invocation in a sandbox of its own.

    journal: returns when the launch is on record. A sandbox is opened meanwhile; nothing of the
    tool runs for this call before that, so that no crash leaves a run that nobody knows of.
    live: is told how it goes on. foresee: what of the outcome can be told before it is one.

    Cancelling the task once cancels the invocation: the sandbox is killed, and the outcome
    (status `cancelled`) is returned all the same, so that it can be recorded; the caller
    re-raises. Errors of the engine become an outcome too: there is exactly one for each.
    """
    began = time.monotonic()
    tool, warm = admitted.tool.digest, admitted.tool.manifest.run.warm
    once, tries, found = _Once(journal), 0, None
    while True:
        tries += 1
        try:
            ready = pool.take(plan, tool=tool, warm=warm)
        except FumehoodError as error:
            outcome = _failed(error, Usage(), (), b"")
            return found or Run(outcome, Steps(began, began, time.monotonic()), plan)
        attempt = _Invocation(ready, began, once, live, foresee)
        found = await attempt.run(admitted.request.arguments_json)
        if tries == TRIES or not attempt.may_be_repeated:
            return found
        log.warning(
            "a sandbox ended before its call; another one takes it",
            invocation=admitted.request.invocation, error=found.outcome.error,
        )  # fmt: skip


class _Once:
    """A journal that writes one record, however many sandboxes a call takes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._written = False

    async def __call__(self) -> None:
        if not self._written:
            await self._journal()
            self._written = True


class _Invocation:
    """The state of `run` between its steps."""

    def __init__(
        self, ready: Ready, began: float, journal: Journal, live: Live, foresee: Foresee
    ) -> None:
        pipes = ready.pipes
        self._foresee = foresee
        self._journal = journal
        self._live = live
        self._sandbox = ready.sandbox
        self._launched = ready.launched
        self._ahead = ready.ran
        self._plan = ready.sandbox.plan
        self._watch = Watch()
        self._began = began
        self._started: float | None = None
        self._ended = began
        self._stdin = pipes.stdin
        self._feed: harvest.Feed | None = None
        cap = self._plan.limits.output_bytes
        self._stdout = harvest.Drain(pipes.stdout, cap, self._flooded)
        self._stderr = harvest.Drain(pipes.stderr, cap, self._flooded)
        self._stdout.on_end = self._stderr.on_end = self._stream_ended
        live.streams(self._sandbox, self._stdout, self._stderr)
        live.end = self._end_for
        self._proofs: tuple[Proof, ...] = ()
        self._committed = False
        """From here on the tool may have done something for this call."""
        self._final = False
        """What went wrong would go wrong again."""

    @property
    def may_be_repeated(self) -> bool:
        """The sandbox ended before anything of the call reached it, by nobody's wish."""
        wanted = self._live.cancelled_by or self._watch.reason
        if wanted or self._final or not self._sandbox.ended.done():
            return False
        return self._sandbox.unused or not self._committed

    async def run(self, arguments: bytes) -> Run:
        try:
            end = await self._to_the_end(arguments)
            self._ended = time.monotonic()
            await self._drain()
        except EngineError as error:
            await self._give_up()
            self._ended = time.monotonic()
            await self._drain()
            # Of a program that may have run it is the tool's output: that goes into no log.
            stderr = b"" if self._committed or self._launched else self._stderr.kept
            outcome = _failed(error, self._usage(None), self._proofs, stderr)
            return Run(outcome, self._steps(), self._plan)
        finally:
            self._close()
        try:
            return Run(self._outcome(end), self._steps(), self._plan, self._ahead)
        finally:
            end.close()

    async def _to_the_end(self, arguments: bytes) -> End:
        """Open, prove, start, feed, watch; returns when everything in the sandbox is dead.

        Raises:
            EngineError: the sandbox was not made, not proven, or the launcher died.
        """
        try:
            await self._start(arguments)
            with self._deadline() as seconds:
                await asyncio.wait([self._sandbox.ended], timeout=seconds + self._death_seconds)
        except asyncio.CancelledError:
            self._stop("cancelled")
            await self._death()
        if not self._sandbox.ended.done():
            raise EngineError("the sandbox did not die in time", control="kill")
        return self._sandbox.ended.result()

    async def _start(self, arguments: bytes) -> None:
        try:
            async with asyncio.timeout(_open_seconds(self._plan)):
                # The disk is at work while the launcher is, which opens or begins to count.
                opening = not self._sandbox.opened.done()
                if opening:
                    await self._journal()
                self._proofs = await asyncio.shield(self._sandbox.opened)
                self._live.opened(self._proofs)
                if self._launched:
                    self._sandbox.begin()
                if not opening:
                    await self._journal()
                if self._launched:
                    await self._sandbox.begun  # nobody else waits for it: a turn of the loop less
                else:
                    self._committed = True  # an opened tool runs from here, fed or not
                    self._sandbox.start()
                self._proofs += await asyncio.shield(self._sandbox.started)
        except TimeoutError:
            self._final = True
            raise EngineError("the sandbox did not open in time", control="sandbox") from None
        except AuditError as error:
            self._final = True
            raise EngineError(
                "the launch could not be recorded", control="audit", detail=error.detail
            ) from error
        except EngineError as error:
            self._final = isinstance(error, PlanRefused)
            if self._sandbox.ended.done() and self._sandbox.ended.exception() is None:
                return  # it ended between two messages; its end is the better account
            raise
        self._committed = True
        self._started = time.monotonic()
        self._live.begin(ahead=self._launched)
        self._feed = harvest.Feed(self._stdin, arguments)
        self._stdin = -1

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[float]:
        seconds = self._plan.limits.timeout_ms / 1000
        timer = asyncio.get_running_loop().call_later(seconds, self._stop, "timeout")
        try:
            yield seconds
        finally:
            timer.cancel()

    def _flooded(self) -> None:
        """Also a tool that floods in its grace is killed at once. One that is dead already was
        not ended by what its pipes still held."""
        if self._sandbox.ended.done():
            return
        self._watch.note("output")
        self._sandbox.kill()

    def _stream_ended(self) -> None:
        """The death of what wrote them takes as long to be proven as their scan does."""
        unfed = self._started is None or self._watch.reason is not None
        if unfed or not (self._stdout.done.done() and self._stderr.done.done()):
            return
        if not (self._sandbox.ended.done() or self._stdout.exceeded or self._stderr.exceeded):
            self._foresee(self._stdout.kept, self._stderr.kept)

    def _end_for(self, sign: Sign) -> None:
        """Its behaviour is not to be borne: killed at once."""
        if self._watch.note(sign):
            self._live.enter("ending")
            self._sandbox.kill()

    def _stop(self, reason: Reason) -> None:
        """SIGTERM, then the kill when the grace is over: the launcher holds that time."""
        if self._watch.note(reason):
            self._live.enter("ending")
            self._sandbox.stop()

    @property
    def _death_seconds(self) -> float:
        return self._plan.limits.grace_ms / 1000 + DEATH_SECONDS

    async def _death(self) -> None:
        """Wait for the end of a sandbox that was stopped; cancelled again, kill it at once."""
        try:
            await asyncio.wait([self._sandbox.ended], timeout=self._death_seconds)
        except asyncio.CancelledError:
            self._sandbox.kill()
            await asyncio.wait([self._sandbox.ended], timeout=DEATH_SECONDS)

    async def _give_up(self) -> None:
        """Nothing of it may run once the call is answered, also where its launcher hangs."""
        self._sandbox.abandon()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([self._sandbox.ended], timeout=REPLACE_SECONDS)

    async def _drain(self) -> None:
        """Read what the pipes still hold; every writer is dead, so it ends."""
        streams = [one.done for one in (self._stdout, self._stderr) if not one.done.done()]
        if not streams:
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(streams, timeout=DRAIN_SECONDS)

    def _outcome(self, end: End) -> Outcome:
        message = end.message
        usage = self._usage(end)
        files = harvest.artifacts(end, self._plan.limits.output_bytes)
        exceeded = (
            self._stdout.exceeded
            or self._stderr.exceeded
            or any(file.refused == "too_large" for file in files)
        )
        signs = self._live.conduct.signs if self._live.conduct else NO_SIGNS
        conclusion = conclude(
            self._plan, message, usage, self._watch.reason, exceeded=exceeded, signs=signs
        )
        error = conclusion.error
        if error:
            error += f" [{_tail(self._stderr.kept)}]"
        return Outcome(
            status=conclusion.status,
            exit_code=message.exit_code,
            signal=message.signal,
            breach=conclusion.breach,
            usage=usage,
            stdout=self._stdout.kept,
            stderr=self._stderr.kept,
            truncated=exceeded,
            artifacts=files,
            proofs=self._proofs,
            error=error,
            syscalls=message.syscalls,
            notices=attribution.notices(
                self._plan.limits, message, usage, conclusion.breach, signs.values()
            ),
        )

    def _usage(self, end: End | None) -> Usage:
        message = end.message if end else None
        counters = message.counters if message else Counters()
        started = self._ended if self._started is None else self._started
        return Usage(
            wall_seconds=round(self._ended - started, 6),
            cpu_seconds=message.cpu_seconds if message else None,
            memory_peak_bytes=message.memory_peak_bytes if message else None,
            pids_peak=message.pids_peak if message else None,
            stdout_bytes=self._stdout.count,
            stderr_bytes=self._stderr.count,
            user_seconds=counters.user_seconds,
            system_seconds=counters.system_seconds,
            throttled_seconds=counters.throttled_seconds,
            oom_kills=message.oom_kills if message else 0,
            stdin_bytes=self._feed.count if self._feed else 0,
            scratch_bytes=_more(counters.scratch_bytes, counters.scratch_bytes_before),
            scratch_inodes=_more(counters.scratch_inodes, counters.scratch_inodes_before),
            context_switches=counters.context_switches,
            held_seconds=message.held_seconds if message else 0.0,
        )

    def _steps(self) -> Steps:
        started = self._ended if self._started is None else self._started
        return Steps(self._began, started, self._ended)

    def _close(self) -> None:
        self._live.end = None  # no circle that would keep the output
        self._stdout.close()
        self._stderr.close()
        if self._feed is not None:
            self._feed.close()
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1


def _more(found: int | None, before: int) -> int | None:
    """What a call added to what was there before it."""
    return None if found is None else max(found - before, 0)


def _open_seconds(plan: Plan) -> float:
    return LOAD_SECONDS if plan.engine == "docker" and plan.image != "host" else OPEN_SECONDS


def _tail(stderr: bytes) -> str:
    return stderr[-400:].decode(errors="replace").strip()


def _failed(
    error: FumehoodError, usage: Usage, proofs: tuple[Proof, ...], stderr: bytes
) -> Outcome:
    control = error.control if isinstance(error, EngineError) else error.code
    details = " ".join(filter(None, (error.detail, _tail(stderr))))
    return Outcome(
        status="engine_error",
        exit_code=None,
        signal=None,
        breach=None,
        usage=usage,
        stdout=b"",
        stderr=b"",
        truncated=False,
        proofs=proofs,
        error=f"{control}: {error.cause}" + (f" [{details}]" if details else ""),
    )
