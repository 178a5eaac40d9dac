"""The keeper: starts launcher and supervisor, joins them, and outlives both.

Tiny, privileged, standard library only. It reads no request and no output: signals, ends of
processes and a supervisor's few words. A dead launcher is replaced, and one that hangs is killed
for that; a dead supervisor ends everything. As the subreaper of all of them it kills whatever a
crash leaves without a parent.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import fumehood
from fumehood.errors import ConfigError, EngineError, ExitStatus, ProtocolError
from fumehood.kernel import cgroup, cgroup_sweep, libc, proc, rootfs
from fumehood.launcher import messages as m
from fumehood.launcher import sealing
from fumehood.launcher.entry import (
    CANNOT_START,
    CANNOT_START_STATUSES,
    code_paths,
    keep_descriptors,
)
from fumehood.launcher.logline import log_line
from fumehood.launcher.notify import Manager
from fumehood.launcher.tool_trees import open_store
from fumehood.model.codec import decode, encode
from fumehood.model.plan import Ceilings, DockerLaunch, DockerSettings
from fumehood.trusted import read_trusted

SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO}
READY, ALIVE, RELOAD, HUNG, SEAL = b"ready", b"alive", b"reload", b"hung ", b"seal"
LOOK = b"look"
"""All that a supervisor says to its keeper: calls are answered; its event loop turns; read the
operator's configuration again; the launcher of the engine named after this does not answer; start
a sealer at the socket that comes with this; look whether the state is where it was."""
MOVED = "moved"
"""All that a keeper says to that: the state's folder is not at its path any more. The supervisor
cannot see it: what it has there is a mount, which goes where the folder goes."""
CONFIGURATION = "configuration"
"""What the keeper's answer to that begins with, as a launcher's channel begins with its engine."""
MOST_CONFIG_BYTES = 256 * 1024
MAX_RESTARTS = 5
RESTART_WINDOW_SECONDS = 30.0
MAX_SEALERS = 4
"""At once. A supervisor needs one; those whose errand is done take a moment to end."""
STOP_SECONDS = 15.0
"""How long a launcher may take to kill its sandboxes once its supervisor is gone."""
_SUPERVISOR_TMP_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """What `fumehood serve` decided, for the keeper and through it for the two others.

    supervisor_uid, supervisor_gid, supervisor_groups: who the supervisor becomes; -1 rootless.
    state, cache: the supervisor's directories; the only places besides /tmp that it may write.
    socket: path of the listening socket, removed at the end; empty when somebody else's.
    config: the operator's configuration as JSON, already checked. config_path: its file, which is
        read again when the operator asks for it.
    engines: one launcher runs for each. docker: for the one of that name.
    manager: the service manager to report to.
    master, master_source: the key ring's master key in base64 and where it came from; empty: the
    supervisor reads the one in its state.
    files: absolute paths of files that the configuration names for the supervisor, which sees of
        the host no others; one that is missing is the supervisor's to tell of.
    place: a private daemon's folder, removed at the end with all that is in it; empty otherwise.
    stop_seconds: how long the supervisor may take to end once it was asked to; then it is killed.
    tools_bytes: what the files of all tools may take on disk.
    """

    ceilings: Ceilings
    supervisor_uid: int
    supervisor_gid: int
    supervisor_groups: tuple[int, ...]
    state: str
    cache: str
    socket: str
    config: str
    config_path: str
    engines: tuple[str, ...]
    docker: DockerSettings
    manager: Manager = field(default_factory=Manager)
    master: str = field(default="", repr=False)
    master_source: str = ""
    files: tuple[str, ...] = ()
    place: str = ""
    stop_seconds: float = 60.0
    tools_bytes: int = 0


def exec_keeper(settings: Settings, *, listener: int, ready: int) -> NoReturn:
    """Become the keeper: the command line's large process is replaced by a small one.

    listener: the bound and listening Unix socket. ready: a pipe that gets one byte once calls
    are answered, or -1.
    """
    keep = {listener, *([ready] if ready >= 0 else [])}
    for fd in keep:
        os.set_inheritable(fd, True)
    memory = _memory_file(encode(settings))
    os.set_inheritable(memory, True)
    argv = _python("keeper", str(memory), str(listener), str(ready))
    os.execv(sys.executable, argv)  # noqa: S606  (no shell: an argv list)


def main(argv: list[str]) -> int:
    """`keeper SETTINGS_FD LISTENER_FD READY_FD`."""
    settings_fd, listener, ready = (int(word) for word in argv)
    keep_descriptors((settings_fd, listener, ready))
    with os.fdopen(settings_fd, "rb") as file:
        file.seek(0)
        settings = decode(Settings, json.load(file))
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o022)  # folders made on the way to a mount must let other accounts pass
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    keeper = Keeper(settings, listener, ready)
    try:
        return keeper.run()
    except EngineError as error:  # the store cannot be used
        _say(str(error))
        return ExitStatus.ENGINE
    finally:
        keeper.clean_up()


class Keeper:
    """The supervisor, one launcher for each engine, and what joins them."""

    def __init__(self, settings: Settings, listener: int, ready: int) -> None:
        self._settings = settings
        self._listener = listener
        self._ready = ready
        self._launchers: dict[str, int] = {}
        """PID by engine, of those that live."""
        self._sealers: set[int] = set()
        self._store = -1
        """Held, so that no other folder can ever have its inode."""
        self._supervisor = -1
        self._control: socket.socket | None = None
        self._starts: dict[str, list[float]] = {engine: [] for engine in settings.engines}
        self._stops = 0
        self._stop_by = 0.0
        """When (time.monotonic()) a supervisor that was asked to end is killed; 0: it was not."""
        self._failure = 0
        """Exit status of a launcher that cannot run."""
        # Another supervisor may take the path over once ours is dead: remove our own only.
        self._socket = _inode(settings.socket) if settings.socket else None
        self._state = _folder(settings.state)

    def run(self) -> int:
        """Until the supervisor ends; returns its exit status."""
        own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = own
        self._store = open_store(self._settings.ceilings.store)
        # SIGIO joins what the supervisor says with the signals waited for below (fcntl(2)).
        fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        channels = [self._start_launcher(engine) for engine in self._settings.engines]
        self._start_supervisor(theirs, channels)
        for given in (theirs, *channels):
            given.close()
        for fd in (self._listener, self._ready):
            if fd >= 0:
                os.close(fd)
        status = None
        while status is None:
            info = self._next_signal()
            if info is None:
                _say("the supervisor did not end in time; killing it")
                self._signal(self._supervisor, signal.SIGKILL)
            elif info.si_signo == signal.SIGCHLD:
                status = self._on_children()
            elif info.si_signo == signal.SIGIO:
                self._hear()
            elif info.si_signo == signal.SIGHUP:
                self._reload()
            else:
                self._stops += 1
                stop = signal.SIGTERM if self._stops == 1 else signal.SIGKILL
                self._signal(self._supervisor, stop)
                self._stop_by = self._stop_by or time.monotonic() + self._settings.stop_seconds
                manager = self._settings.manager
                manager.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={manager.stop_us}")
        return status

    def _next_signal(self) -> signal.struct_siginfo | None:
        """Wait for one; None when a stop lasts too long, and then again every second."""
        if not self._stop_by:
            return signal.sigwaitinfo(SIGNALS)
        info = signal.sigtimedwait(SIGNALS, max(self._stop_by - time.monotonic(), 0.0))
        if info is None:
            self._stop_by = time.monotonic() + 1.0
        return info

    def _hear(self) -> None:
        """Pass on what the supervisor says of itself. A stalled one says nothing."""
        while self._control is not None:
            try:
                word, passed = m.receive(self._control)
            except (OSError, ProtocolError):
                return
            if word == SEAL and len(passed) == 1:
                self._start_sealer(passed[0])
            m.close_all(passed)
            if word == READY:
                self._settings.manager.tell("READY=1")
            elif word == ALIVE:
                self._settings.manager.tell("WATCHDOG=1")
            elif word == RELOAD:
                self._reload()
            elif word == LOOK:
                self._look()
            elif word.startswith(HUNG):
                self._kill_hung(word.removeprefix(HUNG))
            elif not word:
                return

    def _look(self) -> None:
        try:
            same = _folder(self._settings.state) == self._state
        except OSError:  # of the disk: the next look tells
            return
        if not same:
            with contextlib.suppress(OSError):  # the supervisor is ending
                if self._control is not None:
                    self._control.send(MOVED.encode())

    def _kill_hung(self, named: bytes) -> None:
        """Its sandboxes die with it, and its end is a launcher's like any other: counted, swept
        after, replaced. A supervisor could end it as well by hanging up on one that listens."""
        for engine, pid in self._launchers.items():
            if engine.encode() == named:
                _say(f"the launcher of {engine} does not answer; killing it")
                self._signal(pid, signal.SIGKILL)

    def _reload(self) -> None:
        """Hand the operator's file over, unread: the supervisor parses it, and believes it only
        because it comes from here."""
        path, words, data = Path(self._settings.config_path), [CONFIGURATION], None
        try:
            data = read_trusted(path, os.geteuid(), most_bytes=MOST_CONFIG_BYTES)
        except ConfigError as error:
            words += [error.cause, error.remedy]
        except OSError as error:
            words += [f"{path}: {error.strerror}", "put a plain, readable file there"]
        passed = [] if data is None else [_memory_bytes(data)]
        with contextlib.suppress(OSError):  # the supervisor is ending
            if self._control is not None:
                socket.send_fds(self._control, ["\0".join(words).encode()[:4_000]], passed)
        for fd in passed:
            os.close(fd)

    # --- starting

    def _start_launcher(self, engine: str) -> socket.socket:
        """Start a launcher; returns the supervisor's end of its channel."""
        self._starts[engine].append(time.monotonic())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        role, bare = _LAUNCHERS[engine]
        argv = _python(role, "3", "4", bare=bare)
        given = encode(_launch(self._settings, engine))
        self._launchers[engine] = _spawn(argv, theirs.fileno(), given)
        theirs.close()
        return ours

    def _start_sealer(self, channel: int) -> None:
        """One that serves what is at the other end of `channel`, unless there are enough: then
        that sees the end of it."""
        if len(self._sealers) >= MAX_SEALERS:
            return
        held = os.fstat(self._store)
        given = sealing.Settings(
            store=self._settings.ceilings.store,
            device=held.st_dev,
            inode=held.st_ino,
            most_bytes=self._settings.tools_bytes,
            private=self._settings.supervisor_uid >= 0,
        )
        self._sealers.add(_spawn(_python("sealer", "3", "4", bare=True), channel, encode(given)))

    def _start_supervisor(self, control: socket.socket, channels: list[socket.socket]) -> None:
        """Fork, confine, exec. Forking is fine here: the keeper is small and has no thread."""
        settings = _memory_file(encode(self._settings))
        pid = os.fork()
        if pid:
            os.close(settings)
            self._supervisor = pid
            return
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.setsid()
            descriptors = [self._listener, control.fileno(), settings, self._ready]
            descriptors += [channel.fileno() for channel in channels]
            for fd in descriptors:
                if fd >= 0:
                    os.set_inheritable(fd, True)
            words = [str(fd) for fd in descriptors]
            if self._settings.supervisor_uid >= 0:
                _confine_supervisor(self._settings)
            libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
            argv = _python("daemon", *words)
            os.execve(sys.executable, argv, _environment())  # noqa: S606
        except OSError as error:
            sys.stderr.write(f"fumehood: the supervisor cannot start: {error}\n")
        finally:
            os._exit(CANNOT_START)

    # --- ends

    def _on_children(self) -> int | None:
        """Reap; replace a dead launcher; the supervisor's exit status when that is what ended."""
        result = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid == self._supervisor:
                self._supervisor = -1
                result = _exit_status(status)
            elif pid in self._sealers:
                self._sealers.discard(pid)
            elif (engine := self._engine_of(pid)) is not None:
                del self._launchers[engine]
                ended = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
                failed = ended in CANNOT_START_STATUSES
                if failed or not self._may_restart(engine):
                    self._failure = self._failure or (ended if failed else CANNOT_START)
                    self._stops += 1
                    self._signal(self._supervisor, signal.SIGKILL)
                    _say(f"the launcher of {engine} cannot run; stopping")
        self._kill_strays()
        if result is not None and self._failure:
            return self._failure  # the supervisor's end tells only that it was killed for it
        if result is None and not self._stops:
            for engine in self._settings.engines:
                if engine not in self._launchers:
                    self._replace_launcher(engine)
        return result

    def _engine_of(self, pid: int) -> str | None:
        return next((engine for engine, own in self._launchers.items() if own == pid), None)

    def _may_restart(self, engine: str) -> bool:
        since = time.monotonic() - RESTART_WINDOW_SECONDS
        self._starts[engine] = [start for start in self._starts[engine] if start > since]
        return len(self._starts[engine]) < MAX_RESTARTS

    def _replace_launcher(self, engine: str) -> None:
        channel = self._start_launcher(engine)
        assert self._control is not None  # noqa: S101  (set before any child exists)
        with contextlib.suppress(OSError):  # the supervisor is ending too
            socket.send_fds(self._control, [engine.encode()], [channel.fileno()])
        channel.close()

    def _kill_strays(self) -> None:
        """Orphans become our children; none of them is meant to live."""
        for pid in proc.children(os.getpid()):
            if pid not in (*self._launchers.values(), *self._sealers, self._supervisor):
                self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: int) -> None:
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def clean_up(self) -> None:
        """Wait for the launchers to finish their killing, then make sure of it."""
        deadline = time.monotonic() + STOP_SECONDS
        self._signal(self._supervisor, signal.SIGKILL)
        while self._launchers or self._sealers:
            left = deadline - time.monotonic()
            if left <= 0:
                for pid in (*self._launchers.values(), *self._sealers):
                    self._signal(pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, max(left, 0.1))
            self._stops += 1
            self._on_children()
        self._kill_strays()
        with contextlib.suppress(OSError):
            cgroup_sweep.sweep(cgroup.discover())
        with contextlib.suppress(OSError):
            if self._socket and _inode(self._settings.socket) == self._socket:
                os.unlink(self._settings.socket)
        if self._settings.place:
            import shutil  # it costs every other start 10 ms

            shutil.rmtree(self._settings.place, ignore_errors=True)


def _confine_supervisor(settings: Settings) -> None:
    """The process that parses everything hostile sees /usr, its code and its state, nothing else,
    and owns no capability. That also lets it run from a clone below a directory of root's."""
    own = settings.ceilings.own_profiles
    paths = {settings.ceilings.profiles, *([own] if own else []), *code_paths()}
    binds = [rootfs.Bind(path) for path in sorted(paths) if not path.startswith("/usr/")]
    binds += [rootfs.Bind("/etc"), rootfs.Bind("/sys")]
    binds += [rootfs.Bind(path, read_only=False) for path in (settings.state, settings.cache)]
    shown = ("/usr/", "/etc/", *(f"{bind.source}/" for bind in binds))
    binds += [
        rootfs.Bind(path)
        for path in sorted(set(settings.files))
        if not path.startswith(shown) and os.path.isfile(path) and not os.path.islink(path)
    ]
    # Over the state: what is a mount cannot be renamed or replaced from within.
    images = settings.ceilings.image_store
    if images and os.path.isdir(images) and not os.path.islink(images):
        binds.append(rootfs.Bind(images))
    binds.append(rootfs.Bind(settings.ceilings.store))
    rootfs.private_namespace()
    rootfs.enter(binds, tmp_bytes=_SUPERVISOR_TMP_BYTES)
    libc.limit_capabilities(frozenset({libc.CAP_SETUID, libc.CAP_SETGID}))
    os.setgroups(list(settings.supervisor_groups))
    gid, uid = settings.supervisor_gid, settings.supervisor_uid
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _launch(settings: Settings, engine: str) -> Ceilings | DockerLaunch:
    """What a launcher is started with."""
    if engine == "docker":
        return DockerLaunch(settings.ceilings, settings.docker)
    return settings.ceilings


_LAUNCHERS = {"bubblewrap": ("process", True), "docker": ("docker_process", False)}
"""Module of each engine's launcher, and whether it runs without any installed package."""
_MODULES = {
    "keeper": "fumehood.launcher.keeper",
    "process": "fumehood.launcher.process",
    "docker_process": "fumehood.launcher.docker_process",
    "sealer": "fumehood.launcher.sealer",
    "daemon": "fumehood.daemon",
}


def _python(role: str, *words: str, bare: bool = False) -> list[str]:
    """argv for one of our processes: isolated from the environment and the user's site; `bare`
    without any installed package."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(fumehood.__file__)))
    code = (
        f"import sys; sys.path.insert(0, {package!r}); "
        f"from {_MODULES[role]} import main; sys.exit(main(sys.argv[1:]))"
    )
    flags = ["-I", "-S"] if bare or role == "keeper" else ["-I"]
    return [sys.executable, *flags, "-c", code, *words]


def _spawn(argv: list[str], channel: int, settings: object) -> int:
    """Start a privileged process of ours with its channel at 3 and its settings at 4; its PID."""
    memory = _memory_file(settings)
    try:
        return os.posix_spawn(
            sys.executable,
            argv,
            _environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, channel, 3), (os.POSIX_SPAWN_DUP2, memory, 4)],
            setsigmask=[],
        )
    finally:
        os.close(memory)


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def _memory_file(value: object) -> int:
    return _memory_bytes(json.dumps(value).encode())


def _memory_bytes(data: bytes) -> int:
    fd = os.memfd_create("fumehood-settings", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _inode(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _folder(path: str) -> tuple[int, int] | None:
    """What lies at a path just now, links followed; None for nothing. Raises OSError."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _say(text: str) -> None:
    human = sys.stderr.isatty()
    sys.stderr.write(f"fumehood: {text}\n" if human else log_line(text, "error"))
