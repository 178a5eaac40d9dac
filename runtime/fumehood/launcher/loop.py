"""The launcher's loop between one supervisor and one engine, whichever that is.

Standard library only, and never blocking. It parses nothing but the supervisor's typed messages
and believes none of them: each plan is checked against root-owned ceilings first. When the
supervisor is gone (end of file) it kills every sandbox and ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import fumehood
from fumehood.engines.protocol import (
    NEVER,
    NOW,
    Ended,
    Engine,
    Event,
    Failed,
    Opened,
    Sandbox,
    Started,
)
from fumehood.errors import EngineError, FumehoodError, PlanRefused, ProtocolError
from fumehood.launcher import ceilings as ceiling
from fumehood.launcher import messages as m
from fumehood.launcher.budget import CpuBudget
from fumehood.launcher.denials import SETTLE_SECONDS, Denials
from fumehood.launcher.look import Looks
from fumehood.launcher.running import Running
from fumehood.model.plan import Ceilings, Plan

DEADLINE_GRACE_SECONDS = 5.0
"""The supervisor holds the deadline; this much later the launcher does it for a stalled one."""
AHEAD_CHECK_SECONDS = 1.0
AHEAD_CPU_SECONDS = 10.0
"""CPU time that a tool started ahead of its call may take until the call comes: imports."""
IDLE_SECONDS = 900.0
"""An opened sandbox that is never started is killed after this time."""
MAX_QUEUED = 4096
"""Messages waiting for a supervisor that does not read; one more, and it counts as dead."""
MAX_SPENT = 16
"""Ended sandboxes whose remains wait until there is nothing more urgent."""
REST_SECONDS = 0.008
"""Nothing came for so long: an unmount waits for an RCU grace period (0.3 ms on an idle host, 3 ms
on a busy one), which the next of several calls in a row would wait for."""
_POLL_SECONDS = 0.001


class Launcher:
    """The loop between one supervisor and one engine."""

    def __init__(
        self,
        channel: socket.socket,
        engine: Engine,
        limits: Ceilings,
        profiles: dict[str, str],
        trees: Callable[[str], bool],
        denials: Denials,
    ) -> None:
        """profiles: digest by name. trees: whether the image store has a tree."""
        self._denials = denials
        self._channel = channel
        self._engine = engine
        self._ceilings = limits
        self._profiles = profiles
        self._trees = trees
        self._unenforceable = engine.unenforceable()
        self._running: dict[str, Running] = {}
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._hears_denials = False
        self._settling: dict[str, tuple[Ended, float]] = {}
        """Dead sandboxes, told of when the kernel has sent all it recorded of them, or at that
        time (time.monotonic()) in any case."""
        self._owners: dict[int, str] = {}
        self._spent: deque[Sandbox] = deque()
        self._looks = Looks(self._epoll, self._looked)
        self._blocked = False
        """The supervisor does not read just now."""
        self._ending = False
        channel.setblocking(False)

    def hello(self, *, cgroup_mode: str, swept: int) -> None:
        """Introduce ourselves; the supervisor waits for it."""
        self._send(
            m.Hello(
                engine=self._engine.name,
                pid=os.getpid(),
                version=fumehood.__version__,
                cgroup_mode=cgroup_mode,
                unenforceable=tuple(sorted(self._unenforceable.items())),
                swept=swept,
            )
        )

    def run(self) -> None:
        """Serve until the supervisor is gone and everything is dead."""
        while not (self._ending and not self._running):
            self._hear_denials()
            ready = self._epoll.poll(self._wait_seconds())
            for fd, events in ready:
                if fd == self._channel.fileno():
                    self._on_channel(events)
                elif fd == self._denials.fd:
                    self._denials.receive()
                    self._tell_denials()
                else:
                    self._looks.hear(fd)
            names = {self._owners[fd] for fd, _ in ready if fd in self._owners}
            now = time.monotonic()
            names |= {name for name, item in self._running.items() if item.sandbox.due <= now}
            for name in names:
                self._step(name)
            self._hold_back()
            self._let_go()
            self._hold_deadlines()
            self._looks.hold()
            self._settle()
            if self._spent and (not ready or len(self._spent) > MAX_SPENT):
                self._spent.popleft().release()
        while self._spent:
            self._spent.popleft().release()
        self._engine.close()

    def _hear_denials(self) -> None:
        """Wake up for denied calls, but only while some sandbox may have made them, and within
        the bound that a flood of them has."""
        wanted = (
            self._denials.fd >= 0
            and bool(self._running)
            and time.monotonic() >= self._denials.paused_until
        )
        if wanted and not self._hears_denials:
            self._epoll.register(self._denials.fd, select.EPOLLIN)
        elif self._hears_denials and not wanted:
            self._epoll.unregister(self._denials.fd)
        self._hears_denials = wanted

    def _tell_denials(self) -> None:
        for name, count, kills in self._denials.news():
            running = self._running.get(name)
            if running is not None and (running.begun or kills):
                self._send(m.DeniedMessage(name, count, kills, ahead=not running.begun))

    def _hold_back(self) -> None:
        """Whoever makes the kernel record too much pays for it with its own time; who was asked to
        end, and could not hear of it standing still, with its life."""
        for name in self._denials.over():
            running = self._running.get(name)
            if running is None or running.frozen_until or name in self._settling:
                continue
            if not running.asked:
                running.freeze(until=self._denials.second_over)
            elif self._denials.unforgivable(name):
                self._stop(running, name, "")

    def _let_go(self) -> None:
        now = time.monotonic()
        for name, running in self._running.items():
            if not running.frozen_until or now < running.frozen_until:
                continue
            if not self._looks.kill_after(name, kill=False):  # a look lets it go on itself
                running.thaw()

    def _wait_seconds(self) -> float:
        due = min((item.sandbox.due for item in self._running.values()), default=NEVER)
        if self._settling or due == NOW:
            return _POLL_SECONDS
        deadlines = [item.deadline for item in self._running.values()]
        if due < NEVER:
            deadlines.append(due)
        if self._spent:
            deadlines.append(time.monotonic() + REST_SECONDS)
        deadlines += [item.budget.check for item in self._running.values() if item.budget]
        deadlines += [item.frozen_until for item in self._running.values() if item.frozen_until]
        deadlines += self._looks.deadlines
        if self._denials.fd >= 0 and not self._hears_denials and deadlines:
            deadlines.append(self._denials.paused_until)
        return max(min(deadlines) - time.monotonic(), 0.0) if deadlines else -1

    # --- the supervisor's side

    def _on_channel(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._receive()

    def _receive(self) -> None:
        while not self._ending:
            try:
                data, descriptors = m.receive(self._channel)
            except BlockingIOError:
                return
            except ProtocolError as error:
                self._refuse("", error)
                continue
            except ConnectionError:
                self._end()
                return
            if not data and not descriptors:
                self._end()
                return
            try:
                self._handle(data, descriptors)
            finally:
                m.close_all(descriptors)

    def _end(self) -> None:
        """The supervisor is gone: nothing may outlive it."""
        self._ending = True
        self._looks.close()
        self._queue.clear()
        self._epoll.unregister(self._channel.fileno())
        for name in list(self._running):
            self._running[name].sandbox.kill()
            self._step(name)

    def _handle(self, data: bytes, descriptors: list[int]) -> None:
        sandbox = ""
        try:
            message = m.unpack(data, m.TO_LAUNCHER)
            if isinstance(message, m.Open):
                sandbox = message.sandbox
                self._open(message, descriptors)
                return
            if descriptors:
                raise ProtocolError("descriptors are allowed beside Open only")
            if isinstance(message, m.Ping):
                self._send(m.Pong(message.number))
                return
            if not isinstance(message, m.Start | m.Begin | m.Stop | m.Kill | m.Capture):
                raise ProtocolError("not a message for a launcher")
            running = self._running.get(message.sandbox)
            if running is None or message.sandbox in self._settling:
                return  # it ended while the message was on its way
            sandbox = message.sandbox
            if isinstance(message, m.Start | m.Begin):
                self._step(sandbox)  # one that died meanwhile gets no call: another one may
                if self._running.get(sandbox) is not running or sandbox in self._settling:
                    return
            if isinstance(message, m.Kill | m.Stop) and self._looks.kill_after(sandbox):
                return  # a SIGTERM would kill at once, too: what stands still handles none
            if isinstance(message, m.Kill):
                running.sandbox.kill()
            if isinstance(message, m.Capture):
                self._look(message, running)
            if isinstance(message, m.Stop):
                self._ask(running, sandbox)
            if isinstance(message, m.Begin):
                self._denials.receive()  # what it did until now is its tool's, not the call's
                self._tell_denials()
            if isinstance(message, m.Begin) or (isinstance(message, m.Start) and message.begin):
                self._begin(running)
            if isinstance(message, m.Begin):
                running.sandbox.begin(ahead=True)
                self._denials.began(sandbox)
                self._send(m.BegunMessage(message.sandbox))
                return  # it waits as before
            if isinstance(message, m.Start) and not message.begin:
                running.ahead_until = time.monotonic() + IDLE_SECONDS
                running.deadline = time.monotonic() + AHEAD_CHECK_SECONDS
            if isinstance(message, m.Start):
                running.started = True
                of = running.sandbox
                self._denials.started(sandbox, running.uid, logged=of.logs, hidden=of.hidden)
                running.sandbox.start()
            self._step(sandbox)
        except FumehoodError as error:
            self._refuse(sandbox if sandbox not in self._running else "", error)
        except (ValueError, OSError) as error:  # whatever the message did, we go on
            self._refuse(
                sandbox if sandbox not in self._running else "",
                ProtocolError("the message cannot be acted on", detail=repr(error)),
            )

    def _begin(self, running: Running) -> None:
        """The call's deadline and budget count from here, once: a second call is none."""
        if running.begun:
            raise ProtocolError("a sandbox is used for one call")
        running.begun = True
        running.thaw()
        running.held_seconds = 0.0
        running.ahead_until = 0.0
        running.deadline = time.monotonic() + running.timeout
        if running.budget is not None:
            running.budget.begin(time.monotonic())

    def _open(self, message: m.Open, descriptors: list[int]) -> None:
        ceiling.check_sandbox_name(message.sandbox)
        if message.sandbox in self._running:
            raise ProtocolError("this sandbox exists already")
        if len(self._running) >= self._ceilings.sandboxes:
            raise PlanRefused(
                f"{self._ceilings.sandboxes} sandboxes exist already", control="sandboxes"
            )
        if len(descriptors) != 3 or not all(
            # Nothing but pipes: a socket or a directory would be a way out of the sandbox.
            stat.S_ISFIFO(os.fstat(fd).st_mode)
            for fd in descriptors
        ):
            raise ProtocolError("exactly three pipes must come with Open")
        self._check_engine(message.plan)
        ceiling.check(
            message.plan, self._ceilings, self._profiles, self._unenforceable, self._trees
        )
        if self._ceilings.uid_own < 0:
            for fd in descriptors:  # so that the tool may open its own /dev/stdout
                os.fchown(fd, message.plan.uid, message.plan.gid)
        stdin, stdout, stderr = descriptors
        sandbox = self._engine.open(message.sandbox, message.plan, (stdin, stdout, stderr))
        grace = message.plan.limits.grace_ms / 1000
        timeout = message.plan.limits.timeout_ms / 1000 + grace + DEADLINE_GRACE_SECONDS
        budget = CpuBudget.of(message.plan.limits, enforced="cpu" not in self._unenforceable)
        self._running[message.sandbox] = Running(
            sandbox,
            message.plan.uid,
            timeout,
            time.monotonic() + IDLE_SECONDS,
            grace,
            budget=budget,
        )
        self._step(message.sandbox)

    def _check_engine(self, plan: Plan) -> None:
        if plan.engine != self._engine.name:
            raise PlanRefused(f"this is the launcher of {self._engine.name}", control="engine")
        if plan.runtime and plan.runtime not in self._engine.runtimes:
            raise PlanRefused(
                f"the runtime {plan.runtime!r} is not allowed here",
                "name it in docker.runtimes",
                control="runtime",
            )

    def _look(self, message: m.Capture, running: Running) -> None:
        """The look comes before the kill; what cannot be looked at is killed all the same."""
        name = message.sandbox
        reason = self._looks.begin(name, running.sandbox.evidence(), kill=message.kill)
        if reason:
            self._send(m.CapturedMessage(name, reason, self._denials.so_far(name)))
            if message.kill:
                running.sandbox.kill()

    def _looked(self, name: str, found: int, *, kill: bool) -> None:
        self._send(m.CapturedMessage(name, "", self._denials.so_far(name)), [found])
        running = self._running.get(name)
        if running is None:
            return
        if kill:
            running.sandbox.kill()
            self._step(name)
        elif running.frozen_until:  # the look let it go on
            running.sandbox.freeze(frozen=True)

    def _refuse(self, sandbox: str, error: FumehoodError) -> None:
        control = error.control if isinstance(error, EngineError) else "protocol"
        code = error.code if isinstance(error, EngineError) else "plan_refused"
        self._send(m.Refused(sandbox, code, control[:64], error.cause[:512], error.detail[:1024]))

    # --- the sandboxes' side

    def _step(self, name: str) -> None:
        """One sandbox's trouble, whatever it is, must not become the others'."""
        try:
            self._step_through(name)
        except Exception as error:  # noqa: BLE001  (told to the supervisor, and the sandbox killed)
            self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        running = self._running[name]
        if not running.failed:
            running.failed = True
            self._refuse(
                name, EngineError("the launcher failed", control="launcher", detail=repr(error))
            )
        running.sandbox.kill()
        if not running.sandbox.descriptors and running.sandbox.due == NEVER:
            self._settling.pop(name, None)
            self._forget(name)

    def _forget(self, name: str) -> None:
        """A sandbox is over, and its end told."""
        running = self._running[name]
        self._watch(running, name, {})
        del self._running[name]
        self._spent.append(running.sandbox)

    def _step_through(self, name: str) -> None:
        running = self._running[name]
        over = False
        for event in running.sandbox.step():
            over = self._report(name, event) or over
        if over:
            self._forget(name)
        else:
            wanted = dict.fromkeys(running.sandbox.descriptors, select.EPOLLIN)
            wanted |= dict.fromkeys(running.sandbox.writable, select.EPOLLOUT)
            self._watch(running, name, wanted)

    def _watch(self, running: Running, name: str, wanted: dict[int, int]) -> None:
        """wanted: the event of each descriptor, which is the same for as long as it is open."""
        if running.watched == wanted:
            return
        for fd in running.watched.keys() - wanted.keys():
            self._owners.pop(fd, None)
            with contextlib.suppress(OSError):  # closing it has already removed it
                self._epoll.unregister(fd)
        for fd in wanted.keys() - running.watched.keys():
            self._epoll.register(fd, wanted[fd])
            self._owners[fd] = name
        running.watched = wanted

    def _report(self, name: str, event: Event) -> bool:
        """Tell the supervisor; True when the sandbox is over."""
        if self._running[name].failed:
            return self._drop(name, event)
        match event:
            case Opened(proofs):
                self._running[name].sandbox.begin(ahead=False)
                self._send(m.OpenedMessage(name, proofs))
                return False
            case Started(proofs):
                self._send(m.StartedMessage(name, proofs))
                return False
            case Failed(control, cause, detail):
                self._denials.ended(name, killed=False)
                code = "engine_error" if self._running[name].started else m.UNUSED
                self._send(m.Refused(name, code, control, cause, detail[:1024]))
                return True
            case Ended() if self._denials.settled(name):
                self._send_ended(name, event)
                return True
            case Ended():
                self._settling[name] = event, time.monotonic() + SETTLE_SECONDS
                return False

    def _drop(self, name: str, event: Event) -> bool:
        """An event of a sandbox that was given up; nobody waits for it."""
        if isinstance(event, Ended):
            m.close_all([item.fd for item in event.artifacts if item.fd >= 0])
        if isinstance(event, Ended | Failed):
            self._denials.ended(name, killed=False)
            return True
        return False

    def _settle(self) -> None:
        for name, (event, until) in list(self._settling.items()):
            late = time.monotonic() >= until
            if late or self._denials.settled(name):
                del self._settling[name]
                try:
                    self._send_ended(name, event, late=late)
                except FumehoodError as error:
                    self._refuse(name, EngineError(error.cause, control="launcher"))
                self._forget(name)

    def _send_ended(self, name: str, event: Ended, *, late: bool = False) -> None:
        descriptors = [item.fd for item in event.artifacts if item.fd >= 0]
        self._send(
            m.EndedMessage(
                sandbox=name,
                exit_code=event.exit_code,
                signal=event.signal,
                executed=event.executed,
                cpu_seconds=event.cpu_seconds,
                memory_peak_bytes=event.memory_peak_bytes,
                pids_peak=event.pids_peak,
                oom_kills=event.oom_kills,
                artifacts=tuple(
                    m.ArtifactMessage(item.name, item.size, item.refused)
                    for item in event.artifacts
                ),
                counters=event.counters,
                held_seconds=round(self._running[name].held, 6),
                stopped=self._running[name].stopped,
                syscalls=self._denials.ended(name, killed=event.signal == signal.SIGSYS, late=late),
            ),
            descriptors,
        )

    def _hold_deadlines(self) -> None:
        now = time.monotonic()
        for name, running in list(self._running.items()):
            if name in self._settling:
                continue
            if now >= running.deadline and now < running.ahead_until:
                self._hold_ahead(running, name, now)
            elif now >= running.deadline:
                running.deadline = now + DEADLINE_GRACE_SECONDS
                self._stop(running, name, "" if running.asked else "timeout")
            elif self._has_burnt_its_budget(running, now):
                self._stop(running, name, "cpu_time")

    def _hold_ahead(self, running: Running, name: str, now: float) -> None:
        """A tool that was started ahead waits for its call; one that computes meanwhile, for more
        CPU time than a call may take, is not waiting."""
        running.deadline = now + AHEAD_CHECK_SECONDS
        if (running.sandbox.cpu_seconds() or 0.0) > AHEAD_CPU_SECONDS:
            self._stop(running, name, "cpu_time")

    def _has_burnt_its_budget(self, running: Running, now: float) -> bool:
        budget = running.budget
        if budget is None or now < budget.check:
            return False
        return budget.spent(running.sandbox.cpu_seconds() or 0.0, now)

    def _ask(self, running: Running, name: str) -> None:
        """SIGTERM, and the kill when the grace is over; at once where nobody can be asked. Asking
        again changes nothing."""
        if running.asked:
            return
        running.thaw()  # or it would not hear of it
        self._denials.forgive(name)
        running.asked = running.sandbox.terminate()
        if running.asked:
            running.deadline = min(running.deadline, time.monotonic() + running.grace)
        else:
            running.sandbox.kill()

    def _stop(
        self, running: Running, name: str, reason: Literal["", "cpu_time", "timeout"]
    ) -> None:
        running.stopped = running.stopped or reason
        running.sandbox.kill()
        self._step(name)

    # --- sending, never blocking

    def _send(self, message: m.FromLauncher, descriptors: list[int] | None = None) -> None:
        owned = descriptors or []
        if self._ending or len(self._queue) >= MAX_QUEUED:
            m.close_all(owned)
            if not self._ending:
                self._end()
            return
        self._queue.append((m.pack(message), owned))
        self._flush()

    def _flush(self) -> None:
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                socket.send_fds(self._channel, [data], descriptors)
            except BlockingIOError:
                self._block(blocked=True)
                return
            except (BrokenPipeError, ConnectionError):
                self._end()
                return
            self._queue.popleft()
            m.close_all(descriptors)
        self._block(blocked=False)

    def _block(self, *, blocked: bool) -> None:
        if blocked != self._blocked:
            self._blocked = blocked
            events = select.EPOLLIN | (select.EPOLLOUT if blocked else 0)
            self._epoll.modify(self._channel.fileno(), events)
