"""The supervisor's side of the processes that scan: hands out work, waits, and ends what does not
answer. Whatever goes wrong there is a Withhold that names the detector at work; nothing is ever
taken for scanned that was not.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

import fumehood
from fumehood.errors import ProtocolError, ScanFailed
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.detector import Match
from fumehood.scan.exchange import (
    HEADER,
    MAX_ANSWER,
    MAX_DETECTORS,
    Answer,
    Subject,
    read_answer,
    task,
)
from fumehood.scan.policy import Withhold
from fumehood.scan.search import MAX_SECRETS, SCAN_SECONDS, Budget, NotYet
from fumehood.supervisor.scan_process import GRACE_SECONDS, PAGE

log = structlog.get_logger(__name__)

SCANNERS: Final = 2
"""Processes that scan at once: as many as threads of the supervisor that wait for them."""
MEMORY_BYTES: Final = 640 * 1024 * 1024
MEMORY_FACTOR: Final = 8
"""What one task may add to a scanner's memory: this, and so many times the most output."""
LOAD_SECONDS: Final = 120.0
"""For the parent to load its rules: 0.7 s from the cache, 7 s without, more on a busy host."""
BUILDER: Final = "fumehood.scan.detectors:searcher"
_LATE: Final = frozenset((f"signal {signal.SIGPROF}", f"signal {signal.SIGALRM}"))
"""How one ends whose time the kernel ended: native code that does not return sees no deadline."""
_SLICE_SECONDS: Final = 0.05
"""How soon a wait sees that nobody wants the answer any more."""


class Tally:
    """By detector: seconds that it looked, what it found, how often it failed. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}
        self._failures: dict[str, int] = {}

    def add(self, counts: Mapping[str, tuple[float, int]]) -> None:
        with self._lock:
            for name, (seconds, matches) in counts.items():
                if name in self._counts or len(self._counts) < MAX_DETECTORS:
                    before = self._counts.get(name, (0.0, 0))
                    self._counts[name] = before[0] + seconds, before[1] + matches

    def failed(self, name: str) -> None:
        with self._lock:
            if name in self._failures or len(self._failures) < MAX_DETECTORS:
                self._failures[name] = self._failures.get(name, 0) + 1

    def told(self, name: str, seconds: float, failed: bool) -> None:  # noqa: FBT001  (a callback)
        """Of what is no detector of ours."""
        self.add({name: (seconds, 0)})
        if failed:
            self.failed(name)

    def read(self) -> tuple[dict[str, tuple[float, int]], dict[str, int]]:
        """(seconds, matches) and failures, each by name."""
        with self._lock:
            return dict(self._counts), dict(self._failures)


class Scanners:
    """A `Search` whose detectors run elsewhere. Thread safe."""

    def __init__(
        self,
        spec: ScanSpec,
        cache: Path | None,
        *,
        builder: str = BUILDER,
        output_bytes: int = 0,
        memory_bytes: int = MEMORY_BYTES,
        paths: Sequence[str] = (),
    ) -> None:
        """Cheap: nothing is started before `load`, or the first use.

        Args:
            cache: a directory of this user's own for compiled rules.
            builder: `module:function` that makes the detectors there, found on `paths`, too.
            output_bytes: the most that one stream may have.
            memory_bytes: what a task may add to a scanner's memory in any case.
        """
        self._settings = json.dumps(
            {
                "spec": spec.model_dump_json(),
                "cache": str(cache or ""),
                "memory_bytes": memory_bytes + MEMORY_FACTOR * output_bytes,
            }
        ).encode()
        self._builder = builder
        self._paths = list(paths)
        self._lock = threading.Lock()
        self._parent: _Parent | None = None
        self._starting: _Parent | None = None
        """Whose rules are being loaded; ended without the lock, which is held meanwhile."""
        self._closed = False
        self.tally = Tally()
        self._begun: dict[_Begun, _Scanner] = {}
        """Those that look before they are asked. Each step on it is one of the interpreter's."""
        self._idle: queue.LifoQueue[_Scanner | None] = queue.LifoQueue()
        for _ in range(SCANNERS):
            self._idle.put(None)

    def load(self) -> None:
        """Start the parent, and wait until its rules are loaded. Raises ScanFailed."""
        with self._lock:
            parent = self._started()
        for scanner in [self._idle.get() or parent.fork() for _ in range(SCANNERS)]:
            self._idle.put(scanner)

    def close(self) -> None:
        """End all of them, also while `load` waits for their rules; then nothing is scanned."""
        self._closed = True
        starting = self._starting
        if starting is not None:
            starting.kill()
        with contextlib.suppress(queue.Empty):
            while True:
                scanner = self._idle.get_nowait()
                if scanner is not None:
                    scanner.close()
        while (scanner := self._taken_back()) is not None:
            scanner.close()
        for _ in range(SCANNERS):  # whoever waits for one learns that there is none
            self._idle.put(None)
        with self._lock:
            if self._parent is not None:
                self._parent.close()
                self._parent = None

    def begin(self, subjects: Sequence[Subject], given: Sequence[bytes]) -> _Begun | None:
        """See `Search.begin`. Whoever needs a scanner and finds none takes this one back, so that a
        look ahead keeps nobody waiting for longer than it takes."""
        if not any(subject.data for subject in subjects):
            return None
        with contextlib.suppress(queue.Empty):
            scanner = self._idle.get_nowait()
            healthy = scanner is not None
            try:
                if scanner is not None and scanner.tell_at_once(subjects, SCAN_SECONDS, given):
                    begun = _Begun(list(subjects), tuple(given), self._give_up)
                    self._begun[begun] = scanner
                    return begun
            except OSError:
                healthy = False
            if scanner is not None and not healthy:
                self._end(scanner)
            self._idle.put(scanner if healthy else None)
        return None

    def _give_up(self, begun: _Begun) -> None:
        scanner = self._begun.pop(begun, None)
        if scanner is not None:
            scanner.give_up()
            self._idle.put(scanner)

    def _taken_back(self) -> _Scanner | None:
        """One that looks before it is asked; what it finds is nobody's then."""
        with contextlib.suppress(KeyError):
            _, scanner = self._begun.popitem()
            scanner.give_up()
            return scanner
        return None

    def _begun_for(self, subjects: Sequence[Subject], budget: Budget) -> _Scanner | None:
        """The one that was told the very same already."""
        begun, budget.begun = budget.begun, None
        if isinstance(begun, _Begun) and begun.subjects == subjects and begun.given == budget.given:
            return self._begun.pop(begun, None)
        if begun is not None:
            begun.close()
        return None

    def find_all(self, subjects: Sequence[Subject], budget: Budget) -> list[Sequence[Match]]:
        """What is in each of them. Raises Withhold."""
        told = self._begun_for(subjects, budget)
        if told is None and not any(subject.data for subject in subjects):
            return [()] * len(subjects)
        scanner = told or self._take(budget)
        healthy = False
        try:
            scanner = scanner or self._new()
            if told is None:
                scanner.tell(subjects, budget)
            said = scanner.hear(subjects, budget)
            healthy = True
            self.tally.add(said.counts)
        except NotYet:
            healthy = True  # its answer is read, and dropped, by whoever asks it next
            raise
        except Withhold as withhold:
            self.tally.failed(withhold.findings[0].rule)
            raise
        except (OSError, ProtocolError, ScanFailed) as error:
            detector, owed = (scanner.at_work(), scanner.owes) if scanner else ("", False)
            self.tally.failed(detector or "scanner")
            how = self._end(scanner) if scanner else ""
            scanner = None
            if not owed:
                late = how in _LATE
                raise Withhold.reported(detector or "scanner", str(error), late=late) from error
        finally:
            if not healthy and scanner is not None:
                self._end(scanner)
            self._idle.put(scanner if healthy else None)
        if not healthy:  # it ended of what another one had asked: that is not this one's fault
            return self.find_all(subjects, budget)
        if said.failed and not said.too_many:
            self.tally.failed(said.failed)
        return _told(said, budget)

    def _take(self, budget: Budget) -> _Scanner | None:
        if budget.patience is not None:
            try:
                scanner = self._idle.get_nowait()
            except queue.Empty:
                scanner = self._taken_back()
            else:
                if scanner is None:
                    self._idle.put(None)
            if scanner is None:
                raise NotYet
            return scanner
        while True:
            try:
                return self._idle.get_nowait()
            except queue.Empty:
                if (scanner := self._taken_back()) is not None:
                    return scanner
            try:
                return self._idle.get(timeout=_SLICE_SECONDS)
            except queue.Empty:
                _ = _left(budget, "scanner")

    def _new(self) -> _Scanner:
        with self._lock:
            return self._started().fork()

    def _end(self, scanner: _Scanner) -> str:
        """A scanner that failed: nothing of it is used again. How it ended."""
        detector = scanner.at_work()
        scanner.close()
        with self._lock:
            ended = self._parent.end(scanner.pid) if self._parent else "its parent is gone"
        log.error("scanner ended", pid=scanner.pid, detector=detector, how=ended)
        return ended

    def _started(self) -> _Parent:
        if self._parent is None or self._parent.is_gone:
            self._starting = parent = _Parent(self._settings, self._builder, self._paths)
            try:
                if self._closed:
                    parent.close()
                    raise ScanFailed("no scanner is started any more")
                parent.wait()
            finally:
                self._starting = None
            self._parent = parent
        return self._parent


class _Begun:
    """What a scanner was told before it was asked."""

    def __init__(
        self, subjects: list[Subject], given: tuple[bytes, ...], give_up: Callable[[_Begun], None]
    ) -> None:
        self.subjects = subjects
        self.given = given
        self._give_up = give_up

    def close(self) -> None:
        self._give_up(self)


def _told(said: Answer, budget: Budget) -> list[Sequence[Match]]:
    budget.spend(said.seconds)
    if said.too_many:
        raise Withhold.too_many_secrets(MAX_SECRETS)
    if said.failed:
        raise Withhold.reported(said.failed, said.detail, late=said.late)
    budget.take(sum(1 for found in said.found for match in found if match.kind == "secret"))
    return list(said.found)


def _left(budget: Budget, detector: str) -> float:
    try:
        return budget.seconds
    except TimeoutError as error:
        raise Withhold.failed(detector, error) from error


class _Parent:
    """The process that forks scanners. One at a time talks to it."""

    def __init__(self, settings: bytes, builder: str, paths: Sequence[str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("fumehood-scan-settings", os.MFD_CLOEXEC)
        os.write(memory, settings)
        package = str(Path(fumehood.__file__).parents[1])
        code = (
            f"import sys; sys.path[:0] = {[package, *paths]!r}; "
            "from fumehood.supervisor.scan_process import main; sys.exit(main(sys.argv[1:]))"
        )
        words = [str(theirs.fileno()), str(memory), builder]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", code, *words],
                pass_fds=(theirs.fileno(), memory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        finally:
            theirs.close()
            os.close(memory)
        self._control.settimeout(LOAD_SECONDS)

    def wait(self) -> None:
        """Until its rules are loaded. Raises ScanFailed."""
        if self._receive() != b"ready":
            self.close()
            raise ScanFailed("the scanner cannot start: its rules cannot be loaded")

    def kill(self) -> None:
        """End it from another thread than the one that waits, which then learns of it."""
        self._process.kill()

    @property
    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def fork(self) -> _Scanner:
        """Raises ScanFailed when there is none to be had."""
        try:
            self._control.send(b"new")
            data, descriptors, _, _ = socket.recv_fds(self._control, 64, 2)
        except OSError as error:
            raise ScanFailed(f"no scanner can be started: {error}") from error
        if len(descriptors) != 2:
            raise ScanFailed("no scanner can be started: its parent is gone")
        return _Scanner(int(data), socket.socket(fileno=descriptors[0]), descriptors[1])

    def end(self, pid: int) -> str:
        """Kill one; how it ended."""
        try:
            self._control.send(b"end %d" % pid)
        except OSError:
            return "its parent is gone"
        return self._receive().decode() or "its parent is gone"

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _receive(self) -> bytes:
        try:
            return self._control.recv(64)
        except OSError:
            return b""


class _Scanner:
    """One child, used by one thread at a time."""

    def __init__(self, pid: int, sock: socket.socket, page: int) -> None:
        self.pid = pid
        self._sock = sock
        self._page = mmap.mmap(page, PAGE.size)
        os.close(page)
        self._number = 0
        self._heard = 0
        """The task whose answer was read last."""
        self._received = bytearray()
        sock.setblocking(False)

    @property
    def owes(self) -> bool:
        """Whether it was at work for somebody else when it was told its last task."""
        return self._heard < self._number - 1

    def tell(self, subjects: Sequence[Subject], budget: Budget) -> None:
        """Give it a task. Raises OSError or Withhold: then it must be ended."""
        deadline = time.monotonic() + budget.wall_seconds + GRACE_SECONDS
        parts = self._task(subjects, _left(budget, "scanner"), budget.given)
        for part in parts if budget.patience is None else [b"".join(parts)]:
            self._send(part, deadline, budget)

    def tell_at_once(
        self, subjects: Sequence[Subject], seconds: float, given: Sequence[bytes]
    ) -> bool:
        """False where it takes nothing just now. Raises OSError: then it must be ended."""
        message = b"".join(self._task(subjects, seconds, given))
        try:
            sent = self._sock.send(message)
        except BlockingIOError:
            self._number -= 1
            return False
        if sent < len(message):
            raise OSError("it takes half of a task")
        return True

    def _task(
        self, subjects: Sequence[Subject], seconds: float, given: Sequence[bytes]
    ) -> list[bytes]:
        parts = task(subjects, seconds, given)
        self._number += 1
        parts[0] = HEADER.pack(self._number, sum(len(part) for part in parts)) + parts[0]
        return parts

    def hear(self, subjects: Sequence[Subject], budget: Budget) -> Answer:
        """The answer to what it was told last. Raises NotYet, after which it can be told something
        else; OSError, ProtocolError or Withhold when there is none: then it must be ended."""
        deadline = time.monotonic() + budget.wall_seconds + GRACE_SECONDS
        while True:
            self._fill(HEADER.size, deadline, budget)
            number, length = HEADER.unpack_from(self._received)
            if number > self._number or length > MAX_ANSWER:
                raise ProtocolError("the scanner answers another question")
            end = HEADER.size + length
            self._fill(end, deadline, budget)
            said = bytes(self._received[HEADER.size : end])
            del self._received[:end]
            self._heard = number
            if number == self._number:
                return read_answer(said, subjects)

    def give_up(self) -> None:
        """Nobody wants the answer to what it was told last."""
        self._page[:8] = self._number.to_bytes(8, "big")

    def at_work(self) -> str:
        """The detector that it entered last."""
        name: bytes = PAGE.unpack(self._page[: PAGE.size])[1]
        text = name.rstrip(b"\0").decode("ascii", "replace")
        return text if text.replace("-", "").isalnum() else ""

    def close(self) -> None:
        self._sock.close()
        self._page.close()

    def _send(self, data: bytes, deadline: float, budget: Budget) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline, budget)

    def _fill(self, size: int, deadline: float, budget: Budget) -> None:
        """Until so many bytes are there; what has come stays, whatever is raised."""
        while len(self._received) < size:
            try:  # of one that was told before, the answer is there
                data = self._sock.recv(max(size - len(self._received), 4096))
            except BlockingIOError:
                self._wait(select.POLLIN, deadline, budget)
                continue
            if not data:
                raise ProtocolError("the scanner ended")
            self._received += data

    def _wait(self, event: int, deadline: float, budget: Budget) -> None:
        poll = select.poll()
        poll.register(self._sock, event)
        if budget.patience is not None:
            if poll.poll(budget.patience * 1000):
                return
            if event == select.POLLIN:
                raise NotYet
            raise Withhold.reported(self.at_work() or "scanner", "it takes nothing", late=True)
        while not poll.poll(_SLICE_SECONDS * 1000):
            if budget.abandoned():
                self.give_up()
            if time.monotonic() > deadline:
                raise Withhold.reported(self.at_work() or "scanner", "no answer", late=True)
