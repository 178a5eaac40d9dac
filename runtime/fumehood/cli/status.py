"""`fumehood status`: how the daemon is, through its socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import out_json, table
from fumehood.client import Client


def command(as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Show how the daemon is: what it enforces on this host, what runs, what waits."""
    where = chosen(socket)
    with Client.connect(where.socket) as client:
        report = client.status()
    if as_json:
        out_json(report)
        return
    table(("KEY", "VALUE"), [("socket", str(where.socket)), *_rows(report, "")])


def _rows(report: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in report.items():
        if isinstance(value, dict) and value:
            yield from _rows(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{key}", "none" if value is None or value == {} else str(value)
