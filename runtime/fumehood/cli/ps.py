"""`fumehood ps`: what runs and waits, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import age, out_json, percent, say, seconds, size, table
from fumehood.client import Client

HEADERS: Final = (
    "INVOCATION", "TOOL", "CALLER", "STATE", "AGE", "CPU", "MEMORY", "PIDS", "PROGRESS",
)  # fmt: skip


def command(as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """List the invocations that run or wait: your own, or all for an operator.

    CPU is CPU time so far, MEMORY what is in use of `limits.memory` (tmpfs included).
    `fumehood top` shows the same and refreshes it.
    """
    with Client.connect(chosen(socket).socket) as client:
        report = client.invocations()
    if as_json:
        out_json({key: report[key] for key in ("invocations", "host")})
    elif report["invocations"]:
        table(HEADERS, [row(item) for item in report["invocations"]])
    else:
        say("nothing runs")


def row(item: Mapping[str, Any], cpu: str = "") -> list[str]:
    """One invocation. cpu: in place of its CPU time."""
    caller = item["caller"]
    return [
        str(item["invocation"]),
        str(item["tool"]),
        str(caller["name"] or caller["uid"]),
        state(item),
        age(item["age_seconds"]),
        cpu or (seconds(item["cpu_seconds"]) if item["cpu_seconds"] is not None else "-"),
        memory(item),
        "-" if item["pids"] is None else str(item["pids"]),
        progress(item["progress"]),
    ]


def state(item: Mapping[str, Any]) -> str:
    """`running`; with what is abnormal about it: `running, spinning`."""
    return ", ".join([str(item["state"]), *(str(s).replace("_", " ") for s in item["signs"])])


def memory(item: Mapping[str, Any]) -> str:
    """`12 MiB/128 MiB`."""
    if item["memory_bytes"] is None:
        return "-"
    return f"{size(item['memory_bytes'])}/{size(item['memory_limit_bytes'])}"


def progress(said: Mapping[str, Any] | None) -> str:
    """`42 % page 3`; empty when the tool said nothing."""
    if said is None:
        return ""
    return f"{percent(said['value'], said['total'])} {said['message']}".rstrip()
