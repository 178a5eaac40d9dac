"""One line for a person: why the status is what it is. Must never hold a tool's own words."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Final, get_args

from fumehood.model.live import Sign
from fumehood.model.outcome import IN_FILES, Breach, Outcome

_CONTROL: Final = re.compile(r"([a-z][a-z0-9_.-]{0,40}): ")
_SIGNS: Final = frozenset(get_args(Sign))
_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def why(outcome: Outcome) -> str:
    """The sentence for an outcome; empty for `ok`."""
    if outcome.breach is not None and outcome.breach.control in _SIGNS:
        return _behaviour(outcome.breach)
    said = _SENTENCES.get(outcome.status)
    return said(outcome) if said else ""


def _behaviour(breach: Breach) -> str:
    sign = breach.control.replace("_", " ")
    return (
        f"The tool was stopped for its behaviour ({sign}): {breach.detail}. The operator decides "
        "with behaviour.kill whether that ends a call."
    )


def _tool_error(outcome: Outcome) -> str:
    if outcome.signal is not None:
        return f"The tool was killed by {_signal_name(outcome.signal)}."
    if outcome.exit_code is None:
        return "The tool ended without an exit status."
    said = f"The tool ended with exit status {outcome.exit_code}."
    if outcome.breach is not None:
        said += f" It had met limits.{outcome.breach.control.partition('_')[0]}{_detail(outcome)}."
    return said


def _detail(outcome: Outcome) -> str:
    found = outcome.breach.detail if outcome.breach else ""
    return f": {found}" if found else ""


def _timeout(outcome: Outcome) -> str:
    limit, observed = _both(outcome.breach, _seconds)
    if outcome.breach is not None and outcome.breach.control == "cpu_time":
        return (
            f"The tool was stopped when its CPU time of {limit} was used up ({observed}). Give it "
            "less to do, or have the operator raise limits.cpu_time."
        )
    return (
        f"The tool was stopped at its time limit of {limit} (it ran {observed}). Give it less "
        "to do, or have the operator raise limits.timeout."
    )


def _memory(outcome: Outcome) -> str:
    limit, observed = _both(outcome.breach, size)
    return (
        f"The tool reached its memory limit of {limit} (peak {observed}{_detail(outcome)}). Give "
        "it less to do, or have the operator raise limits.memory."
    )


def _output(outcome: Outcome) -> str:
    limit, observed = _both(outcome.breach, size)
    if outcome.breach is not None and outcome.breach.detail == IN_FILES:
        return (
            f"The files that the tool left in /out have a size of {observed} together, more than "
            f"its output limit of {limit}; those that did not fit are left out. Ask for less, or "
            "have the operator raise limits.output."
        )
    return (
        f"The tool wrote {observed}, more than its output limit of {limit}; the rest is left "
        "out. Ask for less, or have the operator raise limits.output."
    )


def _syscall(outcome: Outcome) -> str:
    profile = outcome.breach.limit if outcome.breach else "its"
    made = outcome.syscalls.killed() if outcome.syscalls else ""
    return (
        f"The tool made a system call that the seccomp profile `{profile}` does not allow, "
        f"and was killed{f': {made}' if made else ''}."
    )


def _cancelled(_outcome: Outcome) -> str:
    return "The call was cancelled and the sandbox destroyed."


def _engine(outcome: Outcome) -> str:
    return engine_error(control(outcome.error))


_NOT_EXECUTED: Final = (
    "The tool's program could not be executed (control: command): it is missing in the tool's "
    "image, or it may not be executed, or the interpreter that its first line names is missing. "
    "Have the operator install it, or correct run.command in the manifest."
)


def engine_error(name: str) -> str:
    """What a caller learns of a failed engine: the control, nothing of the host."""
    if name == "command":
        return _NOT_EXECUTED
    promise = f" (control: {name})" if name else ""
    return f"The sandbox could not be run as promised{promise}. The operator's log says why."


def control(error: str) -> str:
    """The control that an outcome's `error` begins with, `control: what failed`; or empty."""
    found = _CONTROL.match(error)
    return found[1] if found else ""


def not_json(rule: str) -> str:
    return f"The tool's output is no JSON, which its outputSchema demands: {rule}."


def breaks_schema(pointer: str) -> str:
    where = f" at {pointer}" if pointer else ""
    return f"The tool's output breaks its outputSchema{where}."


_SENTENCES: Final[dict[str, Callable[[Outcome], str]]] = {
    "tool_error": _tool_error,
    "timeout": _timeout,
    "memory_exceeded": _memory,
    "output_exceeded": _output,
    "syscall_killed": _syscall,
    "cancelled": _cancelled,
    "engine_error": _engine,
}


def _both(breach: Breach | None, form: Callable[[float], str]) -> tuple[str, str]:
    if breach is None:
        return "?", "?"
    return tuple(  # type: ignore[return-value]  # two of them
        form(value) if isinstance(value, int | float) else str(value)
        for value in (breach.limit, breach.observed)
    )


def _seconds(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + " s"


def size(count: float) -> str:
    """`512 B`, `1.5 KiB`, `128 MiB`."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{count:.0f} B"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
