"""`fumehood reload`: has the daemon read its configuration again."""

from __future__ import annotations

from fumehood.cli.options import JsonOption, SocketOption, chosen
from fumehood.cli.present import out, out_json, say
from fumehood.client import Client


def command(as_json: JsonOption = False, socket: SocketOption = None) -> None:
    """Have the daemon read its configuration again, as SIGHUP does. Only operators may.

    Who may call what, rates, budgets and sessions take effect at once; keys that need a restart
    are named. A file that is refused changes nothing: the last good configuration holds, and
    `fumehood status` says so.
    """
    with Client.connect(chosen(socket).socket) as client:
        report = client.reload()
    if as_json:
        out_json(report)
        return
    out("reloaded\n")
    if report["dropped"]:
        say(f"not named any more, and at their defaults: {', '.join(report['dropped'])}")
    if report["loosened"]:
        gone = ", ".join(report["loosened"])
        say(f"gone or changed, though they forbade or asked (numbers of the file before): {gone}")
    if report["anew"]:
        say(f"count what none before did, and so begin anew: {', '.join(report['anew'])}")
    if report["restart"]:
        say(f"changed, and waiting for a restart: {', '.join(report['restart'])}")
