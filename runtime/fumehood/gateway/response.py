"""The methods of `fumehood/stops/*`, `fumehood/incidents/*` and `fumehood/withheld/*`; nothing is
decided here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from fumehood.errors import UsageError
from fumehood.gateway.connection import Arrival, Route
from fumehood.gateway.corridor import Report, Supervisor

MAX_TEXT: Final = 4000
MAX_UID: Final = 2**32 - 2
"""(uid_t) -1 is no user: chown(2), setresuid(2)."""
Kind = Literal["all", "tool", "caller"]


def routes(supervisor: Supervisor) -> Mapping[str, Route]:
    """The methods by name; each raises UsageError for params it cannot take."""

    async def stop(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "kind", "name", "reason", "capture")
        kind, name, reason = _kind(params), _text(params, "name"), _text(params, "reason")
        if kind == "caller" and not _is_uid(name):
            raise UsageError(
                f"'name' of a caller must be a UID, not {name[:40]!r}",
                f"give its number as `id -u` prints it: 0 to {MAX_UID}",
            )
        return _answer(
            "stop",
            await supervisor.response.stop(
                arrival.caller, kind, name, reason, capture=_truth(params, "capture")
            ),
        )

    async def resume(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "kind", "name")
        kind, name = _kind(params), _text(params, "name")
        return _answer("stop", await supervisor.response.resume(arrival.caller, kind, name))

    async def stopped(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        return _answer("stopped", await supervisor.response.stopped(arrival.caller))

    async def incidents(arrival: Arrival) -> dict[str, Any]:
        closed = _truth(_params(arrival, "closed"), "closed")
        return _answer(
            "found", await supervisor.response.list_incidents(arrival.caller, closed=closed)
        )

    async def show(arrival: Arrival) -> dict[str, Any]:
        name = _text(_params(arrival, "incident"), "incident")
        return _answer("incident", await supervisor.response.show_incident(arrival.caller, name))

    async def close(arrival: Arrival) -> dict[str, Any]:
        params = _params(arrival, "incident", "note")
        name, note = _text(params, "incident"), _text(params, "note")
        return _answer(
            "incident", await supervisor.response.close_incident(arrival.caller, name, note)
        )

    async def withheld(arrival: Arrival) -> dict[str, Any]:
        _params(arrival)
        return _answer("withheld", await supervisor.releasing.listed(arrival.caller))

    async def release(arrival: Arrival) -> dict[str, Any]:
        name = _text(_params(arrival, "invocation"), "invocation")
        return _answer("released", await supervisor.releasing.release(arrival.caller, name))

    return {
        "fumehood/withheld/list": withheld,
        "fumehood/withheld/release": release,
        "fumehood/stops/add": stop,
        "fumehood/stops/remove": resume,
        "fumehood/stops/list": stopped,
        "fumehood/incidents/list": incidents,
        "fumehood/incidents/show": show,
        "fumehood/incidents/close": close,
    }


def _answer(name: str, report: Report) -> dict[str, Any]:
    return {name: report.to_json(), "resultType": "complete"}


def _params(arrival: Arrival, *known: str) -> dict[str, Any]:
    params = arrival.message.params or {}
    if unknown := set(params) - set(known) - {"_meta"}:
        names = ", ".join(known) or "none"
        raise UsageError(f"unknown parameter {sorted(unknown)[0][:40]!r}", f"known here: {names}")
    return params


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise UsageError(
            f"{name!r} must be a string of at most {MAX_TEXT} characters", "shorten it"
        )
    return value


def _truth(params: Mapping[str, Any], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"{name!r} must be true or false", "say which")
    return value


def _kind(params: Mapping[str, Any]) -> Kind:
    kind = params.get("kind")
    if kind not in ("all", "tool", "caller"):
        raise UsageError("'kind' must be all, tool or caller", "say which")
    return cast("Kind", kind)


def _is_uid(text: str) -> bool:
    """Whether this is how a UID is written: what is written otherwise (`00`, digits of another
    script) stands for a number, too, and would match no caller."""
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_UID))
    return digits and str(int(text)) == text and int(text) <= MAX_UID
