"""Shows the result of one invocation to a person or a pipe, and says how the command exits.

stdout gets what the tool answered and nothing else; everything about it goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fumehood.cli import artifacts
from fumehood.cli.present import note, out, out_json, say, seconds, show_error, size
from fumehood.errors import ExitStatus, UsageError

EXIT: Final[Mapping[str, int]] = {
    "ok": ExitStatus.OK,
    "tool_error": ExitStatus.TOOL_ERROR,
    "timeout": ExitStatus.LIMIT,
    "memory_exceeded": ExitStatus.LIMIT,
    "output_exceeded": ExitStatus.LIMIT,
    "syscall_killed": ExitStatus.LIMIT,
    "cancelled": ExitStatus.CANCELLED,
    "withheld": ExitStatus.WITHHELD,
    "rejected": ExitStatus.REJECTED,
    "engine_error": ExitStatus.ENGINE,
}
_BYTE_CONTROLS: Final = {"memory", "output", "scratch", "output_flood"}
_TIME_CONTROLS: Final = {"timeout", "cpu_time", "spinning"}
_STDERR_LINES: Final = 200
_PROGRESS: Final = "::progress "
"""Lines of stderr that say how far a tool is; they were shown while it ran."""

Result = Mapping[str, Any]


def exit_status(result: Result) -> int:
    """The exit status for the result's one terminal status."""
    return EXIT.get(str(result.get("status")), ExitStatus.ENGINE)


def show(
    result: Result, *, as_json: bool, verbose: bool, directory: Path | None, force: bool
) -> int:
    """Show everything that there is to show; returns the exit status.

    directory: where artifacts are saved, or None. One that cannot be is told last, with the
        status of a usage error unless the tool's own says more: the answer is not lost for it.
    """
    if as_json:
        out_json(result)
    else:
        _answer(result)
    sys.stdout.flush()
    blocks, unsaved = artifacts.find(result.get("content", ()), result.get("marking")), None
    if directory is not None:
        try:
            for path in artifacts.save(blocks, directory, force=force):
                if not as_json:
                    note("saved", str(path))
        except UsageError as error:
            unsaved = error
    if not as_json:
        if blocks and directory is None:
            _unsaved(blocks)
        _about(result)
        if verbose:
            _details(result)
    if unsaved is not None:
        show_error(unsaved)
    return exit_status(result) or (ExitStatus.OK if unsaved is None else unsaved.exit_status)


def _answer(result: Result) -> None:
    if result.get("structured") is not None:
        out_json(result["structured"])
        return
    for block in result.get("content", ()):
        if block.get("type") == "text":
            out(str(block.get("text", "")))


def _unsaved(blocks: tuple[artifacts.Block, ...]) -> None:
    names = ", ".join(f"{block.name} ({size(len(block.data))})" for block in blocks)
    note("artifacts", f"{names}; --out DIR saves them")


def _about(result: Result) -> None:
    status, message = result.get("status"), result.get("message") or ""
    if status != "ok":
        note("error", f"{status}: {message}" if message else str(status), "1;31")
        _breach(result.get("breach"))
        if text := str(result.get("stderr") or "").rstrip("\n"):
            _tool_stderr(text)
    if result.get("truncated"):
        note("warning", "the output was cut at its limit", "1;33")
    for finding in result.get("findings", ()):
        _finding(finding)
    _denied((result.get("syscalls") or {}).get("seen") or ())
    if missing := (result.get("enforced") or {}).get("not_enforced"):
        note("warning", f"accepted as not enforced here: {', '.join(missing)}", "1;33")


def _denied(seen: Sequence[Mapping[str, Any]]) -> None:
    """Calls that were answered with an error, which no other line tells."""
    found = [item for item in seen if item["action"] == "errno"]
    words = [f"{item['syscall']} ({item['count']})" for item in found[:_CALLS]]
    more = f" and {len(found) - _CALLS} more" if len(found) > _CALLS else ""
    if words:
        note("denied", f"system calls: {', '.join(words)}{more}", "1;33")


def _breach(breach: Mapping[str, Any] | None) -> None:
    if breach:
        control = str(breach["control"])
        limit, observed = (_amount(control, breach[key]) for key in ("limit", "observed"))
        detail = f" ({breach['detail']})" if breach.get("detail") else ""
        note("limit", f"{control}: allowed {limit}, observed {observed}{detail}")


def _amount(control: str, value: object) -> str:
    if isinstance(value, int | float):
        if control in _BYTE_CONTROLS:
            return size(value)
        if control in _TIME_CONTROLS:
            return seconds(value)
    return str(value)


def _tool_stderr(text: str) -> None:
    lines = [line for line in text.splitlines() if not line.startswith(_PROGRESS)]
    if not lines:
        return
    say("--- stderr of the tool")
    for line in lines[:_STDERR_LINES]:
        say(line)
    if len(lines) > _STDERR_LINES:
        say(f"--- {len(lines) - _STDERR_LINES} more lines; --json shows all")


_CALLS: Final = 8
_DONE: Final = {"redact": "redacted", "withhold": "withheld", "flag": "flagged", "pass": "passed"}


def _finding(finding: Mapping[str, Any]) -> None:
    action = _DONE.get(str(finding.get("action")), "")
    text = f"{finding.get('kind')} {finding.get('rule')} in {finding.get('place')}: {action}"
    if message := finding.get("message"):
        text += f" ({message})"
    note("finding", text, "1;33")


def _details(result: Result) -> None:
    """Usage, what was enforced, and where the time went."""
    usage, timing = result.get("usage") or {}, result.get("timing") or {}
    tool = result.get("tool") or {}
    note("tool", f"{tool.get('name')} {tool.get('version')}  {str(tool.get('digest'))[:23]}…")
    note(
        "used",
        f"{seconds(usage.get('wall_seconds'))} wall, {seconds(usage.get('cpu_seconds'))} cpu, "
        f"{size(usage.get('memory_peak_bytes'))} memory at its peak, "
        f"{_count(usage.get('pids_peak'))} processes, "
        f"{size(usage.get('stdout_bytes'))} out, {size(usage.get('stderr_bytes'))} err",
    )
    if enforced := result.get("enforced"):
        note("enforced", _enforced(enforced))
    steps = ("queued", "started", "ran", "scanned")
    spent = (f"{step} {seconds((timing.get(f'{step}_ms') or 0) / 1000)}" for step in steps)
    note("time", ", ".join(spent))
    note("invocation", str(result.get("invocation")))


def _count(value: object) -> str:
    return "unknown" if value is None else str(value)


def _enforced(enforced: Mapping[str, Any]) -> str:
    limits = enforced.get("limits") or {}
    engine, runtime = enforced.get("engine"), enforced.get("runtime")
    parts = [
        f"{engine} ({runtime})" if runtime else f"{engine}",
        f"uid {enforced.get('uid')}",
        f"seccomp {enforced.get('seccomp') or 'not loaded'}",
        f"network {enforced.get('network')}",
        _found(enforced, "capabilities", "no capability", "capabilities"),
        _found(enforced, "no_new_privs", "new privileges possible", "no_new_privs"),
    ]
    parts += [f"{name} {_limit(name, value)}" for name, value in sorted(limits.items())]
    return ", ".join(parts)


def _found(enforced: Mapping[str, Any], key: str, none: str, some: str) -> str:
    """What was read back from the kernel, or that nothing was."""
    if enforced.get(key) is None:
        return f"{key} not read back"
    return some if enforced[key] else none


def _limit(name: str, value: int) -> str:
    if name.endswith("_bytes"):
        return size(value)
    if name.endswith("_ms"):
        return seconds(value / 1000)
    return str(value)
