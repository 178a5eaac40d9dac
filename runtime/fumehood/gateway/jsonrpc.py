"""The JSON-RPC envelope: one frame to one message and back; no I/O, no meaning of methods.

Nothing that goes out from here tells a caller more than what to fix in its own request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fumehood.errors import (
    AuditError,
    BadFrame,
    Cancelled,
    CatalogError,
    ConfigError,
    EngineError,
    FumehoodError,
    ManifestError,
    NotStrictJSON,
    ProtocolError,
    Rejected,
    ScanFailed,
    UnknownApproval,
    UnknownIncident,
    UnknownInvocation,
    UsageError,
)
from fumehood.gateway.bounds import Bounds
from fumehood.model import strict_json

RequestId = str | int

CONNECTION_CLOSED: Final[Mapping[str, Any]] = {"code": -32000, "message": "Connection closed"}
"""What a request without an answer gets when its connection ends, as the SDK has it."""

METHOD_CHARACTERS: Final = 128
ID_CHARACTERS: Final = 128
_ONE_A_LINE: Final = "send one JSON-RPC 2.0 message a line"

_OWN_FAULT = (
    Rejected, UsageError, ManifestError, CatalogError, ProtocolError, Cancelled, UnknownInvocation,
    UnknownApproval, UnknownIncident, ConfigError,
)  # fmt: skip
_SEE_LOG: Final = "the operator finds the reason in the daemon's log"
_GENERIC: Mapping[type[FumehoodError], tuple[str, str]] = {
    EngineError: (
        "the sandbox could not be made, or not proven",
        f"call again; when that fails, too, {_SEE_LOG}",
    ),
    AuditError: (
        "the call could not be recorded, so it has no answer",
        f"it may have run: find out before you call again; {_SEE_LOG}",
    ),
    ScanFailed: ("the output could not be scanned, so it is withheld", _SEE_LOG),
}
"""Cause and remedy for a caller, whose fault it is not."""
_DETAILS = ("field", "pointer", "retry_after", "limit", "control")


class InvalidFrame(BadFrame):
    """A frame that is JSON but no request of ours. `request_id` is its id, if usable."""

    def __init__(
        self, cause: str, remedy: str = "", *, request_id: RequestId | None = None
    ) -> None:
        super().__init__(cause, remedy)
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Message:
    """A request, or a notification when `id` is None. `params` holds JSON values only."""

    method: str
    id: RequestId | None
    params: dict[str, Any] | None

    @property
    def meta(self) -> Mapping[str, Any]:
        """`params._meta`, empty when absent or no object."""
        meta = self.params.get("_meta") if self.params else None
        return meta if isinstance(meta, dict) else {}


def parse(frame: bytes | bytearray, bounds: Bounds) -> Message:
    """The message in a frame.

    Raises:
        NotStrictJSON: the frame is no JSON, or ambiguous JSON (JSON-RPC −32700).
        InvalidFrame: it is JSON, but no request or notification (JSON-RPC −32600).
    """
    try:
        body = strict_json.loads(frame, depth=bounds.depth, values=bounds.values)
    except NotStrictJSON as error:
        raise NotStrictJSON(error.cause, error.remedy or _ONE_A_LINE) from None
    if isinstance(body, list):
        raise InvalidFrame("batches are not supported", "send one message a line")
    if not isinstance(body, dict):
        raise InvalidFrame("a message is a JSON object", _ONE_A_LINE)
    request_id = body.get("id")
    usable = _is_id(request_id)
    known = request_id if usable else None
    if body.get("jsonrpc") != "2.0":
        raise InvalidFrame('"jsonrpc" must be "2.0"', _ONE_A_LINE, request_id=known)
    if "result" in body or "error" in body:
        raise InvalidFrame(
            "this server sends no requests, so it takes no responses", "send requests only"
        )
    method = body.get("method")
    if not isinstance(method, str) or not 0 < len(method) <= METHOD_CHARACTERS:
        raise InvalidFrame(
            f'"method" must be a string of 1 to {METHOD_CHARACTERS} characters',
            "name a method, such as tools/call",
            request_id=known,
        )
    if "id" in body and not usable:
        raise InvalidFrame(
            f'"id" must be a 64-bit integer or a string of at most {ID_CHARACTERS} characters',
            "number your requests, and leave the id out of notifications",
        )
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise InvalidFrame('"params" must be an object', "name each of them", request_id=known)
    return Message(method, known, params)


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= ID_CHARACTERS
    return isinstance(value, int) and not isinstance(value, bool)


def correlation(request_id: RequestId) -> RequestId:
    """The key two ids share when a peer may confuse them: "7" and 7 are one (as the SDK has it)."""
    if isinstance(request_id, str):
        try:
            return int(request_id)
        except ValueError:
            pass
    return request_id


def is_own_fault(error: FumehoodError) -> bool:
    """Whether the caller can do something about it, and so may read it word for word."""
    return isinstance(error, _OWN_FAULT)


def public(error: FumehoodError) -> dict[str, Any]:
    """The JSON-RPC error object a caller may see: exact for its own faults, generic otherwise."""
    if is_own_fault(error):
        cause, remedy = error.cause, error.remedy
    else:
        cause, remedy = "internal error", ""
        for kind, said in _GENERIC.items():
            if isinstance(error, kind):
                cause, remedy = said
    data: dict[str, Any] = {"code": error.code, "cause": cause, "remedy": remedy}
    for name in _DETAILS:
        if (value := getattr(error, name, "")) != "":
            data[name] = value
    message = f"{cause} ({remedy})" if remedy else cause
    return {"code": error.jsonrpc_code, "message": message, "data": data}


_REMEDIES: Final[Mapping[int, str]] = {
    -32600: "use what the protocol's version of this connection has, or open another",
    -32601: "tools/list, tools/call and fumehood/* are answered here",
    -32602: "see the params of this method in the protocol's specification",
}


def explained(error: Mapping[str, Any], *, handshaken: bool) -> dict[str, Any]:
    """An error in the SDK's words, with a cause and a remedy where it gave no object itself.

    handshaken: false where the SDK refuses all but `initialize` and `ping`.
    """
    code, cause = int(error["code"]), str(error["message"])
    if isinstance(error.get("data"), Mapping) or code not in _REMEDIES:
        return dict(error)
    remedy = _REMEDIES[code]
    if code == UsageError.jsonrpc_code and not handshaken:
        cause = "nothing is answered before a handshake"
        remedy = "send initialize first, or the protocol's version in every request's _meta"
    return {
        "code": code,
        "message": f"{cause} ({remedy})",
        "data": {"code": UsageError.code, "cause": cause, "remedy": remedy},
    }


def internal() -> dict[str, Any]:
    """The error object for what should not have happened; its story is in the local log."""
    return public(FumehoodError(""))


def result_frame(request_id: RequestId, result: Mapping[str, Any]) -> bytes:
    """A response, with its newline. Raises ValueError for what JSON cannot carry."""
    return strict_json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}) + b"\n"


def notification_frame(method: str, params: Mapping[str, Any]) -> bytes:
    """A notification, with its newline."""
    return strict_json.dumps({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"


def error_frame(request_id: RequestId | None, error: Mapping[str, Any]) -> bytes:
    """An error response, with its newline. `error` is what `public` gives."""
    return strict_json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}) + b"\n"
