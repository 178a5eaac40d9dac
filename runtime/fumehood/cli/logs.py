"""`fumehood logs`: what is known of one invocation that runs or has run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fumehood.cli.cancel import InvocationArgument
from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import age, note, out, out_json
from fumehood.cli.ps import memory, progress
from fumehood.client import Client

_SHOWN_ELSEWHERE: Final = frozenset({"seq", "time", "event", "tool", "tool_digest", "caller"})


def command(
    invocation: InvocationArgument, as_json: JsonOption = False, socket: SocketOption = None
) -> None:
    """Show what is known of an invocation: your own, or any for an operator.

    The tool's stderr, scanned, goes to stdout while it runs and for ten minutes afterwards; it is
    kept in the daemon's memory only. An operator also gets the records of the audit log, at any
    time.
    """
    with Client.connect(chosen(socket).socket) as client:
        logs = client.logs(invocation)
    if as_json:
        out_json(logs)
        return
    for label, text in _about(logs["invocation"]):
        note(label, text)
    for record in logs["records"] or ():
        note("record", f"{record['seq']}  {record['time']}  {record['event']}  {_fields(record)}")
    if logs["records_broken"]:
        note("bad", f"{logs['records_broken']} records are not as they were written", "1;31")
    if not logs["records_whole"]:
        note("note", "older parts of the audit log were not searched")
    if logs["stderr"] is None:
        note("stderr", "not kept any more")
    else:
        out(logs["stderr"])


def _about(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "invocation", str(item["invocation"])
    yield "tool", f"{item['tool']} {item['version']}".rstrip()
    yield "state", str(item["state"])
    if "ended_seconds_ago" in item:
        yield "ended", f"{age(item['ended_seconds_ago'])} ago"
    if item.get("message"):
        yield "message", str(item["message"])
    if "caller" in item:
        caller = item["caller"]
        yield "caller", f"{caller['name']} (uid {caller['uid']}, pid {caller['pid']})"
        yield "age", age(item["age_seconds"])
        yield "memory", memory(item)
    if item.get("progress"):
        yield "progress", progress(item["progress"])


def _fields(record: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in record.items() if key not in _SHOWN_ELSEWHERE}
    return "  ".join(f"{key}={_word(value)}" for key, value in shown.items() if value is not None)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
