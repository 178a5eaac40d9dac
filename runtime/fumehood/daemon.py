"""The supervisor's process: starts what `composition` made, serves the socket, and ends in order.

Started by the keeper with its descriptors, already without privilege. Nobody imports this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import structlog

import fumehood
from fumehood.audit import replay
from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.audit.known import Known, known_path
from fumehood.audit.record import Field
from fumehood.composition import compose, pipeline_of, ring_of, scanners_of
from fumehood.config import Config
from fumehood.crypto.keyring import Digester
from fumehood.crypto.ring import Ring
from fumehood.errors import ConfigError, EngineError, ExitStatus, FumehoodError, ProtocolError
from fumehood.gateway import socket as front
from fumehood.gateway.bounds import Bounds
from fumehood.gateway.exposition import exposed
from fumehood.gateway.mcp import Gateway
from fumehood.launcher import messages as m
from fumehood.launcher.client import LauncherClient
from fumehood.launcher.clients import Launchers
from fumehood.launcher.keeper import (
    ALIVE,
    CONFIGURATION,
    HUNG,
    LOOK,
    MOVED,
    READY,
    RELOAD,
    SEAL,
    Settings,
)
from fumehood.model.codec import decode
from fumehood.supervisor import configured, gapwatch, keywatch
from fumehood.supervisor.scanners import Tally
from fumehood.supervisor.sealing import Sealer
from fumehood.supervisor.service import Supervisor

log = structlog.get_logger("fumehood")

HELLO_SECONDS = 15.0
ANSWER_SECONDS = 2.0
"""When everything has ended its answers still go out; a peer that does not read them loses them."""


def main(argv: list[str]) -> int:
    """`daemon LISTENER CONTROL SETTINGS READY CHANNEL…`: descriptors; READY may be -1, and there
    is one channel for each of the settings' engines, in their order."""
    for word in argv:
        if int(word) >= 0:
            os.set_inheritable(int(word), False)
    listener, control, *channels = (socket.socket(fileno=int(w)) for w in (*argv[:2], *argv[4:]))
    _configure_log()
    # 64 artifacts of 64 calls at once; a descriptor that does not fit would end the channel.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with os.fdopen(int(argv[2]), "rb") as file:
        file.seek(0)
        settings = decode(Settings, json.load(file))
    try:
        return asyncio.run(_serve(settings, listener, control, channels, int(argv[3])))
    except FumehoodError as error:
        sys.stderr.write(f"error: {error.cause}\n")
        if error.remedy:
            sys.stderr.write(f"  remedy: {error.remedy}\n")
        return error.exit_status


async def _serve(
    settings: Settings,
    listener: socket.socket,
    control: socket.socket,
    channels: list[socket.socket],
    ready: int,
) -> int:
    config = Config.from_json(settings.config)
    state = Path(settings.state)
    clients = (LauncherClient(channel, _on_hello) for channel in channels)
    launchers = Launchers(dict(zip(settings.engines, clients, strict=True)))
    ring = ring_of(settings, config)
    scanners = scanners_of(settings, config)
    pipeline = pipeline_of(scanners, config, ring)
    rules = asyncio.get_running_loop().run_in_executor(None, scanners.load)
    rules.add_done_callback(_heard)  # a start that fails earlier has a better reason
    audit = AuditLog.open(
        state / "audit",
        RingCustody(ring),
        keep_bytes=config.storage.audit,
        keep_days=config.storage.audit_days,
        known=Known(known_path(state), ring),
    )
    closing = contextlib.ExitStack()
    try:
        interrupted = _end_interrupted(audit, state / "audit")
        for launcher in launchers.clients:
            await _first_hello(launcher, config)
        sealer = Sealer(partial(_start_sealer, control))
        supervisor = compose(launchers, audit, pipeline, settings, config, ring, scanners, sealer)
        await rules  # no call is answered by a scanner that is not there yet
        started: dict[str, Field] = {
            "version": fumehood.__version__,
            "interrupted": interrupted,
            "keys": keywatch.summary(ring),
            "configuration": configured.summary(config, Digester(ring)),
        }
        await supervisor.recorder.record(replay.STARTED, started)
        if audit.replaced:
            log.warning(
                "the audit log is not the one that this state had",
                earlier=audit.replaced,
                remedy="find out where that one went; `audit init` begins another on purpose",
            )
        if audit.strays:
            log.warning(
                "files that are no part of the audit log lie in its folder",
                files=[stray.file for stray in audit.strays],
                remedy="`fumehood audit verify` names them; find out who put them there",
            )
        if audit.keeps_first_key:
            log.warning(
                "the first sealing key lies beside the audit log, which can be rewritten with it",
                remedy="`fumehood audit init` shows it once and takes it away",
            )
        if config.forward.to:
            from fumehood.supervisor.cursor import Vouch
            from fumehood.supervisor.forward import Forwarder
            from fumehood.supervisor.sinks import connector

            connect = connector(config.forward, fumehood.__version__)
            append = gapwatch.telling(audit.append, supervisor.response.gap)
            forwarder = Forwarder(
                state / "audit", state / "forward.json", connect, append, Vouch(ring)
            )
            forwarder.start()
            closing.callback(forwarder.close)
            supervisor.reporting.forwarded = forwarder.status
        stop = _Stop()
        _follow_keeper(control, launchers, stop, supervisor, settings.config_path)
        keeper = _KeeperLine(control, settings.manager.watchdog_us, ready)
        watches: list[Callable[[], Coroutine[Any, Any, None]]] = [
            partial(keywatch.watch, ring, audit, supervisor.response.keys_broken),
            partial(gapwatch.watch, audit, supervisor.response.gap, keeper.look),
            supervisor.releasing.watch,
        ]
        text = _metrics(config, supervisor, ring, scanners.tally)
        watches += _telemetry(config, supervisor, closing)
        async with exposed(config.metrics.listen, state, text):
            await _until_stopped(supervisor, config, listener, keeper, stop, watches)
        await supervisor.recorder.record("supervisor.stopped", {"reason": stop.reason})
    finally:
        launchers.close()
        audit.close()
        closing.close()
        scanners.close()
    return ExitStatus.OK


def _start_sealer(control: socket.socket, channel: socket.socket) -> None:
    socket.send_fds(control, [SEAL], [channel.fileno()])


def _heard(work: asyncio.Future[None]) -> None:
    if not work.cancelled():
        work.exception()


def _metrics(
    config: Config, supervisor: Supervisor, ring: Ring, tally: Tally
) -> Callable[[], bytes]:
    if not (config.metrics.listen or config.telemetry.to):
        return bytes
    from fumehood.supervisor.metrics import Metrics

    supervisor.metrics = metrics = Metrics(
        supervisor.reporting.now, ring, tally, supervisor.reporting.tools
    )
    supervisor.response.count = metrics.incident
    return metrics.text


def _telemetry(
    config: Config, supervisor: Supervisor, closing: contextlib.ExitStack
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Traces and metrics by OTLP, where the configuration says to whom; costs nothing otherwise."""
    if not config.telemetry.to or supervisor.metrics is None:
        return []
    from fumehood.supervisor.telemetry import Telemetry

    supervisor.telemetry = telemetry = Telemetry(config.telemetry, fumehood.__version__)
    supervisor.reporting.untraced = lambda: telemetry.dropped
    telemetry.start()
    closing.callback(telemetry.close)
    return [partial(telemetry.measure, supervisor.metrics.collect)]


def _end_interrupted(audit: AuditLog, directory: Path) -> int:
    """Give what a crash cut short its one terminal record; how many there were."""
    cut = replay.unfinished(directory)
    for item in cut:
        audit.append(
            "invocation.ended", {**item.fields, "status": "engine_error", "reason": "interrupted"}
        )
    if cut:
        log.warning("invocations were interrupted by the last end", count=len(cut))
    return len(cut)


class _KeeperLine:
    """What the supervisor tells of itself: to the keeper, and to whoever waits for the start."""

    def __init__(self, control: socket.socket, watchdog_us: int, ready: int) -> None:
        self._control = control
        self._seconds = watchdog_us / 2_000_000
        self._ready = ready

    def ready(self) -> None:
        if self._ready >= 0:
            os.write(self._ready, b"1")
            os.close(self._ready)
            self._ready = -1
        self._say(READY)

    def look(self) -> None:
        """Have the keeper look whether the state is where it was."""
        self._say(LOOK)

    async def beat(self) -> None:
        """As long as the event loop turns, twice in the watchdog's time."""
        while self._seconds:
            self._say(ALIVE)
            await anyio.sleep(self._seconds)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # the end of the keeper is seen elsewhere
            self._control.send(word)


class _Stop:
    """Why and when to stop. The second signal needs no handler: the keeper kills then."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reason = ""
        self.at_once = False
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the keeper's to hear

    def ask(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.asked.set()


def _follow_keeper(
    control: socket.socket,
    launchers: Launchers,
    stop: _Stop,
    supervisor: Supervisor,
    config_path: str,
) -> None:
    """The keeper passes the channel of each new launcher, and the operator's configuration when it
    was read again; its end of file is our end."""
    loop = asyncio.get_running_loop()
    control.setblocking(False)
    reloading: set[asyncio.Task[None]] = set()

    def say(word: bytes) -> None:
        with contextlib.suppress(OSError):  # the end of the keeper is seen elsewhere
            control.send(word)

    def hung(engine: str) -> None:
        log.error("launcher does not answer", engine=engine)
        say(HUNG + engine.encode())

    def take(words: list[str], descriptors: list[int]) -> None:
        text = None
        for fd in descriptors:
            with open(fd, "rb") as file:
                file.seek(0)
                text = file.read()
        problem = ConfigError(*words[1:3]) if len(words) > 1 else None
        task = loop.create_task(supervisor.reloading.take(config_path, text, problem))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    supervisor.reloading.ask = partial(say, RELOAD)
    launchers.on_hung(hung)

    def read() -> None:
        try:
            data, descriptors = m.receive(control)
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            data, descriptors = b"", []
        if not data:
            loop.remove_reader(control)
            stop.at_once = True
            stop.ask("the keeper ended")
        elif (words := data.decode(errors="replace").split("\0"))[0] == CONFIGURATION:
            take(words, descriptors)
        elif words == [MOVED]:
            supervisor.state_moved()
        elif descriptors:
            engine = data.decode("ascii")
            log.warning("launcher replaced", engine=engine)
            launchers.replace(engine, socket.socket(fileno=descriptors[0]))

    loop.add_reader(control, read)


async def _until_stopped(
    supervisor: Supervisor,
    config: Config,
    listener: socket.socket,
    keeper: _KeeperLine,
    stop: _Stop,
    watches: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> None:
    """Accept callers until somebody asks to stop; then let what runs end, or cancel it."""
    bounds = Bounds(
        frame_bytes=config.frame_bytes,
        frame_seconds=config.idle_frame_timeout,
        in_flight=config.in_flight_per_connection,
        connections=config.connections,
        connections_per_uid=max(1, config.connections * 3 // 4),
    )
    gateway = Gateway(supervisor, bounds)
    async with anyio.create_task_group() as group:
        accepting = anyio.CancelScope()
        serve = partial(
            front.serve,
            bounds=bounds,
            may_connect=supervisor.may_connect,
            refused=supervisor.attempted,
            accepting=accepting,
        )
        group.start_soon(serve, listener, gateway.serve)
        group.start_soon(keeper.beat)
        for watch in watches:
            group.start_soon(watch)
        keeper.ready()
        log.info("ready", not_enforced=sorted(config.accept_unenforced))
        await stop.asked.wait()
        log.info("stopping", reason=stop.reason)
        accepting.cancel()
        await supervisor.stop(0.0 if stop.at_once else config.shutdown.grace)
        await gateway.answered(ANSWER_SECONDS)
        group.cancel_scope.cancel()


async def _first_hello(launcher: LauncherClient, config: Config) -> None:
    """Refuse to serve where a control is missing that the operator did not accept by name."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = await asyncio.shield(launcher.hello)
    except TimeoutError:
        raise EngineError("the launcher does not answer", "see its messages above") from None
    missing = {c: why for c, why in hello.unenforceable if c not in config.accept_unenforced}
    if missing:
        reasons = "; ".join(f"{control} ({why})" for control, why in sorted(missing.items()))
        names = ",".join(sorted(missing))
        raise EngineError(
            f"this host cannot enforce: {reasons}",
            "`fumehood doctor` names what mends each; or accept it by name: "
            f"--accept-unenforced {names}",
            control=sorted(missing)[0],
        )


_CONTROLS = (
    "service_account", "namespaces", "network", "capabilities", "no_new_privs", "seccomp",
    "scratch", "memory", "cpu", "pids",
)  # fmt: skip


def _on_hello(hello: m.Hello) -> None:
    missing = dict(hello.unenforceable)
    log.info(
        "launcher ready", engine=hello.engine, cgroups=hello.cgroup_mode, pid=hello.pid,
        swept=hello.swept, enforces=[name for name in _CONTROLS if name not in missing],
        not_enforced=missing,
    )  # fmt: skip


def _configure_log() -> None:
    """Human on a terminal, JSON otherwise; never an argument's or an output's content."""
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
