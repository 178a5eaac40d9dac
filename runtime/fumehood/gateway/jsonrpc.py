"""The JSON-RPC envelope: one frame to one message and back; no I/O, no meaning of methods.

Nothing that goes out from here tells a caller more than what to fix in its own request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fumehood.errors import (
    AuditError,
    Cancelled,
    CatalogError,
    EngineError,
    FumehoodError,
    ManifestError,
    ProtocolError,
    Rejected,
    ScanFailed,
    UnknownApproval,
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

_OWN_FAULT = (
    Rejected, UsageError, ManifestError, CatalogError, ProtocolError, Cancelled, UnknownInvocation,
    UnknownApproval,
)  # fmt: skip
_GENERIC: Mapping[type[FumehoodError], str] = {
    EngineError: "the sandbox could not be made, or not proven",
    AuditError: "the call could not be recorded, so it has no answer",
    ScanFailed: "the output could not be scanned, so it is withheld",
}
_DETAILS = ("field", "pointer", "retry_after", "limit", "control")


class InvalidFrame(ProtocolError):
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
    body = strict_json.loads(frame, depth=bounds.depth, values=bounds.values)
    if isinstance(body, list):
        raise InvalidFrame("batches are not supported", "send one message a line")
    if not isinstance(body, dict):
        raise InvalidFrame("a message is a JSON object")
    request_id = body.get("id")
    usable = _is_id(request_id)
    known = request_id if usable else None
    if body.get("jsonrpc") != "2.0":
        raise InvalidFrame('"jsonrpc" must be "2.0"', request_id=known)
    if "result" in body or "error" in body:
        raise InvalidFrame("this server sends no requests, so it takes no responses")
    method = body.get("method")
    if not isinstance(method, str) or not 0 < len(method) <= METHOD_CHARACTERS:
        raise InvalidFrame(
            f'"method" must be a string of 1 to {METHOD_CHARACTERS} characters', request_id=known
        )
    if "id" in body and not usable:
        raise InvalidFrame(
            f'"id" must be a 64-bit integer or a string of at most {ID_CHARACTERS} characters'
        )
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise InvalidFrame('"params" must be an object', request_id=known)
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
        for kind, text in _GENERIC.items():
            if isinstance(error, kind):
                cause = text
    data: dict[str, Any] = {"code": error.code, "cause": cause, "remedy": remedy}
    for name in _DETAILS:
        if (value := getattr(error, name, "")) != "":
            data[name] = value
    message = f"{cause} ({remedy})" if remedy else cause
    return {"code": error.jsonrpc_code, "message": message, "data": data}


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
