"""Marks when a call passes the doors between rooms. Copied into a scratch copy of the package, it
wraps functions there by name; the package that is shipped knows nothing of it.

Standard library only, because it also runs in the launcher. A mark costs about a microsecond; what
was marked is written to stderr as one line when a call is over.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import time
from collections.abc import Callable
from typing import Any

PREFIX = "MARKS "
MOST = 400

# label: (module, name, "enter" or "exit"). The last of each process also writes them out.
SUPERVISOR = {
    "handler": ("fumehood.gateway.mcp", "Gateway.call", "enter"),
    "admitted": ("fumehood.admission.admit", "Admission.admit", "exit"),
    "taken": ("fumehood.supervisor.pool", "Pool.take", "exit"),
    "start sent": ("fumehood.launcher.client", "Sandbox.start", "exit"),
    "begin sent": ("fumehood.launcher.client", "Sandbox.begin", "exit"),
    "fed": ("fumehood.supervisor.harvest", "Feed.__init__", "exit"),
    "run over": ("fumehood.supervisor.invocation", "run", "exit"),
    "scanned": ("fumehood.scan.pipeline", "Pipeline.release", "exit"),
    "recorded": ("fumehood.supervisor.service", "Supervisor._record", "exit"),
    "answered": ("fumehood.gateway.connection", "Connection.answer", "exit"),
}
LAUNCHER = {
    "open asked": ("fumehood.engines.bubblewrap", "BubblewrapSandbox.spawn", "enter"),
    "spawned": ("fumehood.engines.bubblewrap", "BubblewrapSandbox.spawn", "exit"),
    "opened": ("fumehood.launcher.loop", "Launcher._report", "Opened"),
    "let go": ("fumehood.engines.bubblewrap", "BubblewrapSandbox.start", "exit"),
    "started": ("fumehood.launcher.loop", "Launcher._report", "Started"),
    "end seen": ("fumehood.engines.bubblewrap", "BubblewrapSandbox._monitor_ended", "enter"),
    "end sent": ("fumehood.launcher.loop", "Launcher._send_ended", "exit"),
}
_ROLES = {"fumehood.daemon": SUPERVISOR, "fumehood.launcher.process": LAUNCHER}

_marked: list[tuple[str, float, str]] = []


def install(module: str) -> None:
    """Called at the end of the module that is one of our processes' main."""
    labels = _ROLES[module]
    missing = [label for label, spot in labels.items() if not _wrap(label, *spot)]
    if missing:
        _write({"missing": missing})


def _wrap(label: str, module: str, name: str, when: str) -> bool:
    holder: Any = importlib.import_module(module)
    *path, last = name.split(".")
    try:
        for part in path:
            holder = getattr(holder, part)
        inner = getattr(holder, last)
    except AttributeError:
        return False
    setattr(holder, last, _marking(label, when, inner))
    return True


def _marking(label: str, when: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    over = label in ("answered", "end sent")

    def mark(args: tuple[Any, ...], result: Any) -> None:
        if when not in ("enter", "exit") and type(args[2]).__name__ != when:
            return
        if len(_marked) < MOST:
            _marked.append((label, time.monotonic(), _sandbox(args, result)))
        if over:
            _write({"marks": list(_marked)})
            _marked.clear()

    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def waits(*args: Any, **kwargs: Any) -> Any:
            if when == "enter":
                mark(args, None)
            result = await inner(*args, **kwargs)
            if when != "enter":
                mark(args, result)
            return result

        return waits

    @functools.wraps(inner)
    def runs(*args: Any, **kwargs: Any) -> Any:
        if when == "enter":
            mark(args, None)
        result = inner(*args, **kwargs)
        if when != "enter":
            mark(args, result)
        return result

    return runs


def _sandbox(args: tuple[Any, ...], result: Any) -> str:
    """Which sandbox it was about, where that can be told: refills go on beside a call."""
    for value in (getattr(result, "sandbox", None), *args[:2]):
        name = value if isinstance(value, str) else getattr(value, "name", "")
        if isinstance(name, str) and len(name) == 36:
            return name
    return ""


def _write(value: dict[str, Any]) -> None:
    os.write(2, (PREFIX + json.dumps(value) + "\n").encode())
