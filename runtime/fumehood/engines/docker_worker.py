"""One thread for each container's conversation with Docker, so that the launcher never waits.

It makes the container, moves its streams and removes it; it decides nothing, and it is never
needed for a kill. What happened is told to the launcher's loop by messages, in order.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fumehood.engines import docker_create
from fumehood.engines.docker_api import Api, Ending
from fumehood.engines.docker_stream import Pump
from fumehood.errors import EngineError

_EXIT_SECONDS: Final = 5.0
_EXIT_POLL_SECONDS: Final = 0.02
_WATCH_SECONDS: Final = 0.5
_GROUP_SECONDS: Final = 2.0
"""How long our cgroups may stay busy after the last process is gone; the launcher's end, or the
next sweep, removes what does."""
_GROUP_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Created:
    """The container exists, and nothing of it runs. binds: targets beside the plan's mounts."""

    container: str
    binds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attached:
    """Its streams are attached; it is started when `go` is called. Of containers only that cannot
    be held at their start."""


@dataclass(frozen=True, slots=True)
class StartReturned:
    """Docker says that the container was started."""

    ending: Ending | None


@dataclass(frozen=True, slots=True)
class StreamsOver:
    """All output was delivered. ending: how Docker saw the end of what the kernel does not show.
    meddled: whether Docker sent the container a signal, or removed it, before that."""

    ending: Ending | None
    meddled: bool = False


@dataclass(frozen=True, slots=True)
class Meddled:
    """Somebody had Docker send the container a signal, or remove it; we never do."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The conversation failed; the container must die if it lives."""

    error: EngineError


Message = Created | Attached | StartReturned | StreamsOver | Meddled | Broken


@dataclass(frozen=True, slots=True)
class Order:
    """What Docker is asked for. Built in the worker, since it may have to load an image first."""

    body: dict[str, Any]
    binds: tuple[str, ...]


class Home(Protocol):
    """What a worker needs of its engine; all of it may be called from any thread."""

    def api(self) -> Api:
        """A new connection to the daemon, which may have to be found first."""

    def owe(self, container: str) -> None:
        """Remember to remove a container by name or ID, as soon as Docker answers again."""

    def settle(self, api: Api) -> None:
        """Remove what is owed, now that Docker answers."""


class Worker(threading.Thread):
    """See the module. `traced`: whether the launcher itself sees the container's end."""

    def __init__(
        self,
        home: Home,
        name: str,
        order: Callable[[Api], Order],
        stdio: tuple[int, int, int],
        *,
        traced: bool,
        remove_group: Callable[[], bool],
    ) -> None:
        """Takes the descriptors over. remove_group: false while something is still inside."""
        super().__init__(name=name, daemon=True)
        self._home = home
        self._order = order
        self._stdio = stdio
        self._traced = traced
        self._remove_group = remove_group
        self._closed = threading.Event()
        self._pump: Pump | None = None
        self._given_up = threading.Event()
        self._dead = threading.Event()
        self._doubted = False
        self.container = ""
        """Its ID, once Docker gave it one."""
        self._go = threading.Event()
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when `messages` has something; the launcher closes it by `close`."""

    # --- the launcher's side

    def messages(self) -> list[Message]:
        """What happened since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._messages.get_nowait())
        return found

    def nudge(self) -> None:
        """Have the launcher's loop look at this sandbox; from any thread."""
        with self._lock:
            if self.wake >= 0:
                os.eventfd_write(self.wake, 1)

    def post(self, message: Message) -> None:
        """Tell the launcher's loop; from any thread."""
        self._messages.put(message)
        self.nudge()

    def go(self) -> None:
        """Start the container that was only created."""
        self._go.set()

    def dead(self, *, doubted: bool = False) -> None:
        """Nothing runs in the container any more: it may be removed, and is not started.
        doubted: somebody may have ended it through Docker."""
        self._doubted = doubted
        self._dead.set()
        self._go.set()

    def expect(self, mark: bytes) -> None:
        """Everything is dead, and both outputs end with this: see `Pump.expect`."""
        with self._lock:
            if self._pump is not None:
                self._pump.expect(mark)

    def give_up(self) -> None:
        """Stop waiting for Docker; what the container still wrote is lost."""
        self._given_up.set()
        self.dead()
        with self._lock:
            if self._pump is not None:
                self._pump.stop()

    def close(self) -> None:
        """The launcher is through with this sandbox."""
        self.give_up()
        self._closed.set()
        with self._lock:
            os.close(self.wake)
            self.wake = -1

    # --- the thread's side

    def run(self) -> None:
        # The launcher's main thread handles it: it is the tracer.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            self._converse()
        except EngineError as error:
            self.post(Broken(error))
        except Exception as error:  # noqa: BLE001  (recorded: the loop turns it into a failure)
            self.post(Broken(EngineError("a worker failed", control="docker", detail=repr(error))))
        finally:
            self._close_streams()
            self._tidy()

    def _tidy(self) -> None:
        """Remove our groups once their counters were read. Docker's own inside them go when its
        runtime has cleared up after the container, which no dockerd is needed for."""
        self._closed.wait()
        deadline = time.monotonic() + _GROUP_SECONDS
        while not self._remove_group() and time.monotonic() < deadline:
            time.sleep(_GROUP_POLL_SECONDS)  # runc tells nobody when it removed its group

    def _converse(self) -> None:
        with contextlib.closing(self._home.api()) as api:
            order = self._order(api)
            if self._given_up.is_set():
                return
            known = docker_create.container_name(self.name)
            try:
                self.container = container = api.create(known, order.body)
                self.post(Created(container, order.binds))
                self._live(api, container)
                self._dead.wait()
                self._tidy()
                api.remove(known)
            except EngineError as error:
                # It may exist without our having been told, and must not be started later: its
                # scratch space is gone by then, and so Docker cannot.
                self.post(Broken(error))
                self._dead.wait()
                self._tidy()
                self._home.owe(known)
            self._home.settle(api)

    def _live(self, api: Api, container: str) -> None:
        pump = self._pump = Pump(api.attach(container), self._stdio)
        self._stdio = (-1, -1, -1)
        if self._given_up.is_set():
            return
        if not self._traced:
            self.post(Attached())
            self._go.wait()
            if self._dead.is_set():
                self._close_streams()
                self.post(StreamsOver(None))
                return
        api.start(container)
        self.post(StartReturned(None if self._traced else api.ending(container)))
        pump.run()
        if self._given_up.is_set():
            return
        ending, meddled = None, False
        if self._traced:
            if not pump.complete:
                # Tells a dockerd that ended from a program that closed its output. Not by asking
                # for the container: dockerd holds its lock while it clears up after it (12-25 ms).
                api.ping()
            self._close_streams()
            self._dead.wait()
            if self._given_up.is_set():
                return
        else:
            ending = self._wait_for_exit(api, container)
        if self._doubted or not self._traced:
            # dockerd tells of a signal when its runtime has sent it, and holds the container's lock
            # until then: who has got an answer about the container is told of it, too.
            ending = ending or api.ending(container)
            meddled = api.was_meddled(container)
        self._close_streams()
        self.post(StreamsOver(ending, meddled))

    def _wait_for_exit(self, api: Api, container: str) -> Ending:
        """Only Docker knows the exit code of what the kernel does not show us."""
        ending = api.ending(container)
        deadline = 0.0
        while ending.running:
            if not self._dead.wait(_WATCH_SECONDS):
                pass
            elif not deadline:
                deadline = time.monotonic() + _EXIT_SECONDS
            elif time.monotonic() > deadline:
                raise EngineError("Docker does not see the container's end", control="docker")
            else:
                time.sleep(_EXIT_POLL_SECONDS)  # it is dead; Docker is about to see that
            ending = api.ending(container)
        return ending

    def _close_streams(self) -> None:
        """The supervisor's pipes end with this."""
        with self._lock:
            pump, self._pump = self._pump, None
            if pump is not None:
                pump.close()
        stdio, self._stdio = self._stdio, (-1, -1, -1)
        for fd in stdio:
            if fd >= 0:
                os.close(fd)
