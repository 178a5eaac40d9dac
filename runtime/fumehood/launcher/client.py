"""The supervisor's side of the launcher: open, start, kill, and what came of it.

Runs on the supervisor's event loop. Every wait ends: with the launcher's answer, or, when the
launcher dies, with EngineError for every sandbox it held.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fumehood.errors import EngineError, FumehoodError, PlanRefused, ProtocolError
from fumehood.launcher import messages as m
from fumehood.model.outcome import Proof, Syscalls
from fumehood.model.plan import Plan

SILENT_SECONDS = 5.0
"""A launcher never blocks: one that has said nothing for so long after a kill hangs."""
STOP_ALL_SECONDS = 0.5
"""The same while everything is stopped. A launcher acts on an order within milliseconds, and what
takes long is the dying, which it does not wait for; one that is only slow costs nothing by its
end, since all that it holds is to die."""
STOP_SECONDS = 2.0
"""The same while one tool or caller is stopped: calls of others die with a launcher. It forks
and mounts for some milliseconds at a time and says something after each, so that two seconds
without a word are no load."""
MAX_CAPTURED = 1024 * 1024 + 4096
T = TypeVar("T")
_OF_A_SANDBOX = (
    m.OpenedMessage
    | m.StartedMessage
    | m.BegunMessage
    | m.DeniedMessage
    | m.CapturedMessage
    | m.EndedMessage
    | m.Refused
)


@dataclass(slots=True)
class End:
    """The launcher's account of a sandbox's end, with the descriptors of its artifacts.

    Whoever takes it closes them: `close` does, and is harmless twice.
    """

    message: m.EndedMessage
    descriptors: list[int]

    def close(self) -> None:
        m.close_all(self.descriptors)
        self.descriptors.clear()


@dataclass(frozen=True, slots=True)
class Captured:
    """What the launcher found when it looked. reason: why nothing, else empty. data: lines of
    JSON, see `kernel.forensics`; cut where the time was over."""

    reason: str
    data: bytes = b""
    syscalls: Syscalls = field(default_factory=Syscalls)


@dataclass(slots=True)
class Sandbox:
    """A sandbox as the supervisor sees it. Each future is set exactly once."""

    name: str
    plan: Plan
    opened: asyncio.Future[tuple[Proof, ...]]
    started: asyncio.Future[tuple[Proof, ...]]
    begun: asyncio.Future[None]
    ended: asyncio.Future[End]
    _send: Callable[[m.ToLauncher], None] = field(repr=False)
    _doubt: Callable[[], None] = field(repr=False, default=lambda: None)
    denied: int = 0
    """System calls that its processes were killed for, as far as was told."""
    unused: bool = False
    """It failed before its tool was executed, whatever it was told since."""
    on_killed: Callable[[], None] | None = field(repr=False, default=None)
    """Is told when processes of it were killed for some of them."""
    on_killed_ahead: Callable[[], None] | None = field(repr=False, default=None)
    """The same, for what its tool did when it was started ahead and had no call yet."""
    _captured: asyncio.Future[Captured] | None = field(repr=False, default=None)

    def start(self, *, begin: bool = True) -> None:
        """Execute the tool in the opened sandbox; without `begin` ahead of any call."""
        self._send(m.Start(self.name, begin))

    def begin(self) -> None:
        """A sandbox that was started ahead gets its call now; feed it when it has `begun`."""
        self._send(m.Begin(self.name))

    def stop(self) -> None:
        """Ask the tool to end, and kill everything in it when its grace is over."""
        if not self.ended.done():
            self._send(m.Stop(self.name))

    def kill(self) -> None:
        """Kill everything in it; `ended` follows."""
        if not self.ended.done():
            self._send(m.Kill(self.name))

    def capture(self, *, kill: bool) -> asyncio.Future[Captured]:
        """Look at it while it stands still, then kill it, or let it go on. What comes of that is
        told within a second, an end of the sandbox included."""
        if self._captured is None:
            self._captured = self.ended.get_loop().create_future()
            if self.ended.done():
                self._captured.set_result(Captured("it had ended"))
            else:
                self._send(m.Capture(self.name, kill))
        elif kill:
            self.kill()
        return self._captured

    def tell_captured(self, found: Captured) -> None:
        if self._captured is not None and not self._captured.done():
            self._captured.set_result(found)

    def abandon(self) -> None:
        """Kill what should have ended or opened long ago, and have its launcher replaced if that
        does not answer: then it dies with it, and `ended` follows all the same."""
        if not self.ended.done():
            self.kill()
            self._doubt()

    def fail(self, error: FumehoodError) -> None:
        """Nothing of the sandbox is left, and it did not end as a sandbox should."""
        self.tell_captured(Captured("it ended meanwhile"))
        _fail(self.opened, error)
        _fail(self.started, error)
        _fail(self.begun, error)
        _fail(self.ended, error)


class LauncherClient:
    """One launcher at a time; `replace` takes the channel of the next one."""

    def __init__(self, channel: socket.socket, on_hello: Callable[[m.Hello], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_hello = on_hello
        self._sandboxes: dict[str, Sandbox] = {}
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._writing = False
        self._heard = 0
        """How many messages have come."""
        self._asked = 0
        """The number of the last Ping."""
        self._unanswered: dict[int, asyncio.Future[None]] = {}
        self._reported = False
        self.on_hung: Callable[[], None] | None = None
        """Called once for a launcher that does not answer any more; has it killed."""
        self.hello: asyncio.Future[m.Hello] = self._loop.create_future()
        self._channel: socket.socket | None = None
        self.replace(channel)

    @property
    def alive(self) -> bool:
        return self._channel is not None

    def replace(self, channel: socket.socket) -> None:
        """Use a new launcher; whatever the old one held is over."""
        self.close()
        channel.setblocking(False)
        self._channel = channel
        self._reported = False
        if self.hello.done():
            self.hello = self._loop.create_future()
        self._loop.add_reader(channel, self._receive)

    def close(self) -> None:
        """Let go of the launcher, which kills all its sandboxes and ends."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        self._loop.remove_reader(channel)
        self._loop.remove_writer(channel)
        self._writing = False
        channel.close()
        for _, descriptors in self._queue:
            m.close_all(descriptors)
        self._queue.clear()
        error = EngineError(
            "the launcher ended while the sandbox existed",
            "call again; a new launcher starts by itself",
            control="launcher",
        )
        for sandbox in list(self._sandboxes.values()):
            sandbox.fail(error)
        self._sandboxes.clear()

    def open(self, name: str, plan: Plan, stdio: tuple[int, int, int]) -> Sandbox:
        """Ask for a sandbox. The descriptors are duplicated; the caller closes its own.

        Raises:
            EngineError: there is no launcher just now.
            ProtocolError: the plan is too large to send.
        """
        new = self._loop.create_future
        send, doubt = self._send_control, self._doubt
        sandbox = Sandbox(name, plan, new(), new(), new(), new(), send, doubt)
        self._send(m.Open(name, plan), [os.dup(fd) for fd in stdio])
        self._sandboxes[name] = sandbox
        return sandbox

    def acknowledged(self, seconds: float) -> asyncio.Future[None]:
        """Done once the launcher has acted on all it was told so far, or once the next one is
        there, which begins by killing what the last one left.

        One that says nothing at all for `seconds` meanwhile hangs and is replaced; one that is
        busy says something."""
        self._asked += 1
        number, done = self._asked, self._loop.create_future()
        self._unanswered[number] = done
        self._send_control(m.Ping(number))
        self._await_pong(seconds, number)
        return done

    def _await_pong(self, seconds: float, number: int) -> None:
        self._loop.call_later(
            seconds, self._judge_pong, seconds, number, self._channel, self._heard
        )

    def _judge_pong(
        self, seconds: float, number: int, channel: socket.socket | None, heard: int
    ) -> None:
        if number not in self._unanswered or channel is None or channel is not self._channel:
            return
        if heard == self._heard:
            self._judge(channel, heard)
        else:
            self._await_pong(seconds, number)

    def _answered(self, most: int) -> None:
        for number in [number for number in self._unanswered if number <= most]:
            done = self._unanswered.pop(number)
            if not done.done():
                done.set_result(None)

    def _doubt(self) -> None:
        """Something was asked that is answered at once: see whether anything comes. A timer, which
        no cancelled call takes with it."""
        self._loop.call_later(SILENT_SECONDS, self._judge, self._channel, self._heard)

    def _judge(self, channel: socket.socket | None, heard: int) -> None:
        silent = channel is not None and channel is self._channel and heard == self._heard
        if silent and not self._reported and self.on_hung is not None:
            self._reported = True  # once: a second word would meet the next launcher
            self.on_hung()

    # --- sending

    def _send_control(self, message: m.ToLauncher) -> None:
        if self._channel is not None:
            self._send(message, [])

    def _send(self, message: m.ToLauncher, descriptors: list[int]) -> None:
        try:
            if self._channel is None:
                raise EngineError(
                    "no launcher is running", "call again in a moment", control="launcher"
                )
            self._queue.append((m.pack(message), descriptors))
        except FumehoodError:
            m.close_all(descriptors)
            raise
        self._flush()

    def _flush(self) -> None:
        while self._queue and self._channel is not None:
            data, descriptors = self._queue[0]
            try:
                socket.send_fds(self._channel, [data], descriptors)
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._channel, self._flush)
                return
            except OSError:
                self.close()
                return
            self._queue.popleft()
            m.close_all(descriptors)
        if self._writing and self._channel is not None:
            self._writing = False
            self._loop.remove_writer(self._channel)

    # --- receiving

    def _receive(self) -> None:
        while self._channel is not None:
            try:
                data, descriptors = m.receive(self._channel)
            except BlockingIOError:
                return
            except (OSError, ProtocolError):
                self.close()
                return
            if not data:
                self.close()
                return
            self._heard += 1
            try:
                self._dispatch(data, descriptors)
            except ProtocolError:
                m.close_all(descriptors)
                self.close()

    def _dispatch(self, data: bytes, descriptors: list[int]) -> None:
        message = m.unpack(data, m.FROM_LAUNCHER)
        if isinstance(message, m.Hello):
            if not self.hello.done():
                self.hello.set_result(message)
            self._answered(self._asked)
            self._on_hello(message)
            return
        if isinstance(message, m.Pong):
            self._answered(message.number)
            return
        if not isinstance(message, _OF_A_SANDBOX):
            raise ProtocolError("not a message for a supervisor")
        sandbox = self._sandboxes.get(message.sandbox)
        if sandbox is None:
            m.close_all(descriptors)
            return
        match message:
            case m.OpenedMessage(_, proofs):
                _settle(sandbox.opened, proofs)
            case m.StartedMessage(_, proofs):
                _settle(sandbox.started, proofs)
            case m.BegunMessage():
                if not sandbox.begun.done():
                    sandbox.begun.set_result(None)
            case m.DeniedMessage(_, _, _, ahead=True):
                if sandbox.on_killed_ahead is not None:
                    sandbox.on_killed_ahead()
            case m.DeniedMessage(_, count, kills):
                sandbox.denied = count
                if kills and sandbox.on_killed is not None:
                    sandbox.on_killed()
            case m.CapturedMessage(_, reason, syscalls):
                data = _file(descriptors)
                sandbox.tell_captured(Captured(reason, data, syscalls))
            case m.EndedMessage():
                self._ended(sandbox, message, descriptors)
            case m.Refused():
                del self._sandboxes[sandbox.name]
                sandbox.unused = message.code == m.UNUSED
                kind = PlanRefused if message.code == "plan_refused" else EngineError
                sandbox.fail(kind(message.cause, control=message.control, detail=message.detail))

    def _ended(self, sandbox: Sandbox, message: m.EndedMessage, descriptors: list[int]) -> None:
        del self._sandboxes[sandbox.name]
        if sandbox.ended.done():
            m.close_all(descriptors)
            return
        sandbox.ended.set_result(End(message, descriptors))
        sandbox.fail(EngineError("the sandbox ended early", control="sandbox"))


def _settle(future: asyncio.Future[tuple[Proof, ...]], proofs: tuple[Proof, ...]) -> None:
    if not future.done():
        future.set_result(proofs)


def _file(descriptors: list[int]) -> bytes:
    """The memory file beside a message, which is written whole and bounded; closed here."""
    try:
        return os.pread(descriptors[0], MAX_CAPTURED, 0) if descriptors else b""
    except OSError:
        return b""
    finally:
        m.close_all(descriptors)


def _fail(future: asyncio.Future[T], error: FumehoodError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: not every waiter waits for every stage
