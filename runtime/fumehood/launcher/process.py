"""The launcher: the small privileged process that alone may run engines.

Single-threaded, standard library and kernel room only. It parses nothing but the supervisor's
typed messages, believes none of them, and never touches a tool's output. When its supervisor is
gone (end of file) it kills every sandbox, removes their cgroups and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import fumehood
from fumehood.engines.bubblewrap import BWRAP, Bubblewrap, Stage
from fumehood.engines.protocol import Ended, Engine, Event, Failed, Opened, Sandbox, Started
from fumehood.errors import EngineError, FumehoodError, PlanRefused, ProtocolError
from fumehood.kernel import accounts, cgroup, libc, proc, rootfs, seccomp
from fumehood.launcher import ceilings as ceiling
from fumehood.launcher import image_trees
from fumehood.launcher import messages as m
from fumehood.model.codec import decode
from fumehood.model.plan import Ceilings

BASE = "/fumehood"
"""Where the launcher's own mount namespace holds what sandboxes are made from."""
DEADLINE_GRACE_SECONDS = 5.0
"""The supervisor holds the deadline; this much later the launcher does it for a stalled one."""
IDLE_SECONDS = 900.0
"""An opened sandbox that is never started is killed after this time."""
MAX_QUEUED = 4096
"""Messages waiting for a supervisor that does not read; one more, and it counts as dead."""
_POLL_SECONDS = 0.001
_KEEP = frozenset(
    {
        libc.CAP_SYS_ADMIN,  # mount
        libc.CAP_SETUID,
        libc.CAP_SETGID,
        libc.CAP_KILL,
        libc.CAP_CHOWN,  # scratch directories
        libc.CAP_DAC_OVERRIDE,  # artifacts that a tool made private
        libc.CAP_SYS_PTRACE,  # /proc/PID/ns of other accounts
    }
)
_SANDBOX_RLIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 4096),
    (resource.RLIMIT_MEMLOCK, 64 * 1024),
    (resource.RLIMIT_MSGQUEUE, 0),
)


@dataclass(slots=True)
class Running:
    """A sandbox and when it must be dead."""

    sandbox: Sandbox
    timeout: float
    deadline: float
    watched: set[int] = field(default_factory=set)


class Launcher:
    """The loop between one supervisor and one engine."""

    def __init__(
        self,
        channel: socket.socket,
        engine: Engine,
        limits: Ceilings,
        profiles: dict[str, str],
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._ceilings = limits
        self._profiles = profiles
        self._unenforceable = engine.unenforceable()
        self._running: dict[str, Running] = {}
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._owners: dict[int, str] = {}
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
            ready = self._epoll.poll(self._wait_seconds())
            for fd, events in ready:
                if fd == self._channel.fileno():
                    self._on_channel(events)
            names = {self._owners[fd] for fd, _ in ready if fd in self._owners}
            names |= {name for name, item in self._running.items() if item.sandbox.polling}
            for name in names:
                self._step(name)
            self._hold_deadlines()
        self._engine.close()

    def _wait_seconds(self) -> float:
        if any(item.sandbox.polling for item in self._running.values()):
            return _POLL_SECONDS
        deadlines = [item.deadline for item in self._running.values()]
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
            if not isinstance(message, m.Start | m.Kill):
                raise ProtocolError("not a message for a launcher")
            running = self._running.get(message.sandbox)
            if running is None:
                return  # it ended while the message was on its way
            sandbox = message.sandbox
            if isinstance(message, m.Kill):
                running.sandbox.kill()
            else:
                running.sandbox.start()
                running.deadline = time.monotonic() + running.timeout
            self._step(sandbox)
        except FumehoodError as error:
            self._refuse(sandbox if sandbox not in self._running else "", error)

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
        ceiling.check(
            message.plan, self._ceilings, self._profiles, self._unenforceable, image_trees.has
        )
        stdin, stdout, stderr = descriptors
        sandbox = self._engine.open(message.sandbox, message.plan, (stdin, stdout, stderr))
        timeout = message.plan.limits.timeout_ms / 1000 + DEADLINE_GRACE_SECONDS
        self._running[message.sandbox] = Running(sandbox, timeout, time.monotonic() + IDLE_SECONDS)
        self._step(message.sandbox)

    def _refuse(self, sandbox: str, error: FumehoodError) -> None:
        control = error.control if isinstance(error, EngineError) else "protocol"
        code = error.code if isinstance(error, EngineError) else "plan_refused"
        self._send(m.Refused(sandbox, code, control, error.cause, error.detail[:1024]))

    # --- the sandboxes' side

    def _step(self, name: str) -> None:
        running = self._running[name]
        over = False
        for event in running.sandbox.step():
            over = self._report(name, event) or over
        if over:
            self._watch(running, name, set())
            del self._running[name]
        else:
            self._watch(running, name, set(running.sandbox.descriptors))

    def _watch(self, running: Running, name: str, wanted: set[int]) -> None:
        for fd in running.watched - wanted:
            self._owners.pop(fd, None)
            with contextlib.suppress(OSError):  # closing it has already removed it
                self._epoll.unregister(fd)
        for fd in wanted - running.watched:
            self._epoll.register(fd, select.EPOLLIN)
            self._owners[fd] = name
        running.watched = wanted

    def _report(self, name: str, event: Event) -> bool:
        """Tell the supervisor; True when the sandbox is over."""
        match event:
            case Opened(proofs):
                self._send(m.OpenedMessage(name, proofs))
                return False
            case Started(proofs):
                self._send(m.StartedMessage(name, proofs))
                return False
            case Failed(control, cause, detail):
                self._send(m.Refused(name, "engine_error", control, cause, detail[:1024]))
                return True
            case Ended():
                self._send_ended(name, event)
                return True

    def _send_ended(self, name: str, event: Ended) -> None:
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
            ),
            descriptors,
        )

    def _hold_deadlines(self) -> None:
        now = time.monotonic()
        for name, running in list(self._running.items()):
            if now >= running.deadline:
                running.deadline = now + DEADLINE_GRACE_SECONDS
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
                self._epoll.modify(self._channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
            except (BrokenPipeError, ConnectionError):
                self._end()
                return
            self._queue.popleft()
            m.close_all(descriptors)
        self._epoll.modify(self._channel.fileno(), select.EPOLLIN)


# --- becoming the launcher


def main(argv: list[str]) -> int:
    """`process CHANNEL_FD SETTINGS_FD`: descriptors of the seqpacket socket and the ceilings."""
    keep_descriptors(int(word) for word in argv)
    channel = socket.socket(fileno=int(argv[0]))
    with os.fdopen(int(argv[1]), "rb") as file:
        limits = decode(Ceilings, json.load(file))
    try:
        launcher, mode, swept = prepare(channel, limits)
    except (FumehoodError, OSError) as error:
        cause = error if isinstance(error, FumehoodError) else f"the launcher cannot start: {error}"
        sys.stderr.write(f"fumehood-launcher: {cause}\n")
        return 6
    launcher.hello(cgroup_mode=mode, swept=swept)
    launcher.run()
    return 0


def keep_descriptors(wanted: Iterable[int]) -> None:
    """Close whatever else was inherited, and let nothing be inherited from here.

    bubblewrap passes descriptors on to the tool: one on the host's root would list the host.
    What is opened later is close-on-exec (PEP 446, MSG_CMSG_CLOEXEC).
    """
    keep = {0, 1, 2, *wanted}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in keep:
            with contextlib.suppress(OSError):  # the listing's own descriptor is gone already
                os.close(fd)
        elif fd > 2:
            os.set_inheritable(fd, False)


def prepare(channel: socket.socket, limits: Ceilings) -> tuple[Launcher, str, int]:
    """Sweep, build the stage, and give up every privilege that is not needed after that."""
    os.setsid()  # a terminal's Ctrl-C is the keeper's to handle
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    rootless = limits.uid_own >= 0
    if not os.access(BWRAP, os.X_OK):
        raise EngineError(f"{BWRAP} is missing", "apt-get install bubblewrap", control="engine")
    if not rootless:
        accounts.check_range(limits.uid_first, limits.uid_count)
    profiles, filters = _load_profiles(limits.profiles)
    layout = cgroup.discover()
    swept = cgroup.sweep(layout)
    cgroups = cgroup.Instance.create(layout)
    host = proc.namespaces("self")
    stage = _build_stage(limits, layout, rootless=rootless)
    if not rootless:
        os.setgroups([])
        libc.limit_capabilities(_KEEP)
    for kind, most in _SANDBOX_RLIMITS:
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
    engine = Bubblewrap(stage, cgroups, filters, host, rootless)
    return Launcher(channel, engine, limits, profiles), layout.mode, swept


def _load_profiles(directory: str) -> tuple[dict[str, str], dict[str, bytes]]:
    """Digest and compiled filter of every profile in the directory."""
    digests, filters = {}, {}
    for entry in sorted(os.listdir(directory)):
        if entry.endswith(".json"):
            profile = seccomp.load_profile(os.path.join(directory, entry))
            name = entry.removesuffix(".json")
            digests[name], filters[name] = profile.digest, seccomp.compile_bpf(profile)
    return digests, filters


def _build_stage(limits: Ceilings, layout: cgroup.Layout, *, rootless: bool) -> Stage:
    """Our own root: what sandboxes are made from, cgroups, our code, and nothing else.

    It also makes bubblewrap faster, which reads the whole mount table for every bind.
    """
    if rootless:
        rootfs.user_namespace()
    else:
        rootfs.private_namespace()
    binds = [rootfs.Bind(limits.store, f"{BASE}/store")]
    binds += [rootfs.Bind(path) for path in code_paths()]
    trees = image_trees.open_trees(limits.image_store)
    if trees >= 0:
        binds.append(rootfs.Bind(f"/proc/self/fd/{trees}", image_trees.PLACE))
    alternatives = rootfs.alternatives()
    groups = {str(path) for path in layout.v1.values()}
    if layout.unified:
        groups.add(str(layout.unified))
    binds += [rootfs.Bind(path, read_only=False) for path in sorted(groups)]
    rootfs.enter(binds, tmp_bytes=64 * 1024)
    if trees >= 0:
        os.close(trees)
    stage = Stage(
        f"{BASE}/root", f"{BASE}/dev", f"{BASE}/store", f"{BASE}/sandboxes", image_trees.PLACE
    )
    for path in (stage.skeleton, stage.devices, stage.sandboxes):
        os.mkdir(path)
    rootfs.skeleton(Path(stage.skeleton), alternatives)
    rootfs.device_directory(Path(stage.devices))
    return stage


def code_paths() -> list[str]:
    """Directories outside /usr that this interpreter still loads code from."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(fumehood.__file__)))
    # Without `site` a virtual environment is not in sys.prefix; its interpreter tells it.
    environment = os.path.dirname(os.path.dirname(sys.executable))
    candidates = [package, sys.base_prefix, environment]
    return sorted({path for path in candidates if not path.startswith("/usr/") and path != "/usr"})
