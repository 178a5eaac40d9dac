"""Runs inside a daemon under test, in place of its processes' own entrances: dies or hangs.

`faulty` makes the argv of a daemon whose processes each run this text before their own `main`.
The program itself has no switch for this: whoever can start it like that could as well replace
it. A process kills itself with SIGKILL when it reaches the stage that the tool's manifest names
in its environment (`DIE_AT`), so one daemon serves for all stages that it survives; or hangs
there (`HANG_AT`), and then its sandbox's death is waited for no longer than a second, nor a
word of its launcher. The supervisor's clock may jump an hour (`CLOCK_JUMPS_AT`). A launcher of
containers may also kill dockerd (`KILL_DOCKERD_AT`, its PID in `DOCKERD`).

This file is passed as text: it imports nothing but the standard library and fumehood.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUPERVISOR_STAGES = (
    "admitted",
    "journalled",
    "opened",
    "fed",
    "ended",
    "scanned",
    "recorded",
)
"""After the arguments were accepted; while the launch is written; before the tool is executed;
once it is fed; when its end is known; before the terminal record; before the answer."""
LAUNCHER_STAGES = (
    "asked",
    "spawned",
    "proven",
    "executed",
    "running",
    "dead",
    "reported",
    "released",
)
"""Before anything exists; once bubblewrap runs; once the sandbox is proven; once the filter is
given; once the tool runs; when it has ended; when all is said; when its cgroup is gone."""
DOCKER_STAGES = ("asked", "created", "proven", "running", "dead", "reported")
"""The same of a container; it is created and not yet held at its start."""


_TIME = time.time


def faulty(*words: str) -> list[str]:
    """argv of the command line, with this text in all processes that come of it."""
    import fumehood

    package = str(Path(fumehood.__file__).resolve().parent.parent)
    text = Path(__file__).read_text()
    return [sys.executable, "-I", "-c", _wrapped(text, package, "cli"), *words]


def _wrapped(text: str, package: str, role: str) -> str:
    return (
        f"import sys; sys.path.insert(0, {package!r}); text = {text!r}; "
        f"names = {{'__name__': 'inside'}}; exec(text, names); "
        f"names['enter'](text, {package!r}, {role!r})"
    )


def enter(text: str, package: str, role: str) -> None:
    """Become the process of this role, prepared to die."""
    import fumehood.launcher.keeper as keeper

    original = keeper._python
    keeper.MAX_RESTARTS = 1000

    def python(role: str, *words: str, bare: bool = False) -> list[str]:
        argv = original(role, *words, bare=bare)
        argv[argv.index("-c") + 1] = _wrapped(text, package, role)
        return argv

    keeper._python = python
    if role == "cli":
        from fumehood.cli import activation
        from fumehood.cli.main import main

        activation.STOP_MARGIN_SECONDS = 1  # type: ignore[misc]  # a test does not wait for 30
        main()
        return
    if role == "daemon":
        _prepare_supervisor()
    elif role == "process":
        _prepare_launcher()
    elif role == "docker_process":
        _prepare_docker_launcher()
    module = __import__(keeper._MODULES[role], fromlist=["main"])
    sys.exit(module.main(sys.argv[1:]))


def die(stage: str, plan: Any) -> None:
    """End, or stand still, here and now if the tool of this plan asks for it."""
    if ("DIE_AT", stage) in plan.environment:
        os.kill(os.getpid(), signal.SIGKILL)
    if ("HANG_AT", stage) in plan.environment:
        os.kill(os.getpid(), signal.SIGSTOP)
    if ("CLOCK_JUMPS_AT", stage) in plan.environment:
        time.time = lambda: _TIME() + 3600
    if ("KILL_DOCKERD_AT", stage) in plan.environment:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(dict(plan.environment)["DOCKERD"]), signal.SIGKILL)


def around(
    owner: Any,
    name: str,
    *,
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> None:
    """Call `before` with a method's arguments, `after` with its result and its arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args)
        result = original(*args, **kwargs)
        if after is not None:
            after(result, *args)
        return result

    setattr(owner, name, wrapper)


class _Wanted:
    """Stands in for a plan where there is only a manifest, or a tool's name."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = tuple(environment.items())


def _prepare_supervisor() -> None:
    from fumehood.admission.admit import Admission
    from fumehood.audit.chain import AuditLog
    from fumehood.launcher import client
    from fumehood.launcher.client import LauncherClient, Sandbox
    from fumehood.scan.pipeline import Pipeline
    from fumehood.supervisor.invocation import _Invocation
    from fumehood.supervisor.service import Supervisor

    tools: dict[str, _Wanted] = {}

    def admitted(result: Any, *_: object) -> None:
        tools[result.tool.manifest.name] = _Wanted(result.tool.manifest.run.environment)
        die("admitted", tools[result.tool.manifest.name])

    def journalled(_result: object, _self: object, event: str, fields: Any) -> None:
        if event == "invocation.launched":
            die("journalled", tools[fields["tool"]])

    around(Admission, "admit", after=admitted)
    around(AuditLog, "append", after=journalled)
    around(Sandbox, "start", before=lambda self: die("opened", self.plan))
    around(
        LauncherClient,
        "_ended",
        before=lambda _self, sandbox, *_: die("ended", sandbox.plan),
    )
    around(
        Pipeline,
        "release",
        after=lambda _result, _self, admitted, plan, *_: die("scanned", plan),
    )
    start, record = _Invocation._start, Supervisor._record

    async def fed(self: Any, arguments: bytes) -> None:
        await start(self, arguments)
        die("fed", self._plan)

    async def recorded(self: Any, event: str, fields: Any) -> Any:
        position = await record(self, event, fields)
        if event == "invocation.ended":
            die("recorded", tools[fields["tool"]])
        return position

    client.SILENT_SECONDS = 1.0
    patient = _Invocation._death_seconds.fget

    def impatient(self: Any) -> float:
        hangs = any(name == "HANG_AT" for name, _ in self._plan.environment)
        return 1.0 if hangs else patient(self)

    _Invocation._death_seconds = property(impatient)  # type: ignore[method-assign]  # no 15 s
    _Invocation._start = fed  # type: ignore[method-assign]  # that is the fault
    Supervisor._record = recorded  # type: ignore[method-assign]  # that is the fault


def _misread() -> None:
    """Let the read-back of a tool that asks for it (`SHARES`) find a namespace to be the host's."""
    from fumehood.engines import bubblewrap
    from fumehood.kernel import proc

    prove = bubblewrap.prove_confined

    def misread(pid: int, plan: Any, host: Any, **more: Any) -> Any:
        shared = [value for name, value in plan.environment if name == "SHARES"]
        own = {name: proc.namespaces(pid)[name] for name in shared}
        return prove(pid, plan, {**host, **own}, **more)

    bubblewrap.prove_confined = misread  # type: ignore[assignment]  # that is the fault


def _common_stages() -> None:
    """What every launcher goes through, whichever its engine."""
    from fumehood.launcher.loop import Launcher
    from fumehood.launcher.messages import OpenedMessage, StartedMessage

    def said(_result: object, self: Any, message: object, *_: object) -> None:
        # `_running` still holds the sandbox: it is removed once its end was reported.
        stages = {OpenedMessage: "proven", StartedMessage: "running"}
        stage = stages.get(type(message), "")
        if stage:
            die(stage, self._running[message.sandbox].sandbox.plan)  # type: ignore[attr-defined]

    around(Launcher, "_open", before=lambda _self, message, *_: die("asked", message.plan))
    around(Launcher, "_send", after=said)
    around(
        Launcher,
        "_send_ended",
        after=lambda _result, self, name, *_: die("reported", self._running[name].sandbox.plan),
    )


def _prepare_launcher() -> None:
    from fumehood.engines.bubblewrap import BubblewrapSandbox

    _misread()
    _common_stages()
    around(BubblewrapSandbox, "spawn", after=lambda _result, self, *_: die("spawned", self.plan))
    around(BubblewrapSandbox, "start", after=lambda _result, self: die("executed", self.plan))
    around(BubblewrapSandbox, "_ended", before=lambda self: die("dead", self.plan))
    around(BubblewrapSandbox, "release", after=lambda _result, self: die("released", self.plan))


def _prepare_docker_launcher() -> None:
    from fumehood.engines import docker_api, docker_sandbox
    from fumehood.engines.docker_sandbox import DockerSandbox

    docker_api.START_SECONDS = 5.0  # type: ignore[misc]  # a test does not wait for 15
    docker_sandbox.OPEN_SECONDS = 8.0  # type: ignore[misc]
    docker_sandbox.ORDER_SECONDS = 8.0  # type: ignore[misc]
    _common_stages()
    around(DockerSandbox, "_look", before=lambda self: die("created", self.plan))
    around(DockerSandbox, "_ended", before=lambda self: die("dead", self.plan))
