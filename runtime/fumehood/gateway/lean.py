"""Which requests are plain enough to be answered without the SDK, in both protocol eras.

The SDK takes about a millisecond to validate, dispatch and serialise one call, and 63 MiB to be
imported; nearly every call needs none of it. Pure: it decides who answers, never what. A request
that it does not know completely is the SDK's, whose word on eras, versions and malformed params
is the protocol's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from fumehood.errors import UsageError
from fumehood.gateway.jsonrpc import Message, RequestId

MODERN: Final = "2026-07-28"
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
_CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
_PARAMS: Final[Mapping[str, frozenset[str]]] = {
    "tools/call": frozenset({"name", "arguments", "_meta"}),
    "tools/list": frozenset({"_meta"}),
    "server/discover": frozenset({"_meta"}),
}

Era = Literal["", "modern", "legacy"]


class Peer:
    """What is known of one connection's protocol: its first request decides the era, once."""

    __slots__ = ("era", "handshaken", "opening")

    def __init__(self) -> None:
        self.era: Era = ""
        self.handshaken = False
        """The SDK has accepted this connection's `initialize`."""
        self.opening: RequestId | None = None
        """The id of the last `initialize`."""

    @property
    def awaits_handshake(self) -> bool:
        return self.era == "legacy" and not self.handshaken

    def is_plain(self, message: Message) -> bool:
        """Whether this request can be answered without the SDK. Every request of the protocol
        passes here, and the first one settles the era."""
        if message.id is None:
            return False
        enveloped = VERSION_KEY in message.meta
        if not self.era:
            self.era = "modern" if enveloped and message.method != "initialize" else "legacy"
        if self.era == "modern":
            return enveloped and _has_plain_envelope(message.meta) and _has_plain_params(message)
        called = self.handshaken and message.method == "tools/call" and not enveloped
        return called and _has_plain_params(message)


def _has_plain_envelope(meta: Mapping[str, Any]) -> bool:
    if meta[VERSION_KEY] != MODERN or not isinstance(meta.get(CAPABILITIES_KEY), dict):
        return False
    if _CLIENT_INFO_KEY not in meta:
        return True
    info = meta[_CLIENT_INFO_KEY]
    if not isinstance(info, dict) or not {"name", "version"} <= info.keys() <= _INFO:
        return False
    return all(isinstance(value, str) for value in info.values())


_INFO: Final = {"name", "version", "title"}


def _has_plain_params(message: Message) -> bool:
    known, params = _PARAMS.get(message.method), message.params
    if known is None or params is None or not params.keys() <= known:
        return False
    if not isinstance(params.get("_meta", {}), dict):
        return False
    # bool is an int to isinstance, and no token to anybody.
    if type(message.meta.get("progressToken", "")) not in (str, int):
        return False
    if message.method != "tools/call":
        return True
    return isinstance(params.get("name"), str) and isinstance(params.get("arguments", {}), dict)


def fault(message: Message) -> UsageError | None:
    """What is wrong with the shape of a request that is not plain, in words the SDK does not have;
    None where it may be right."""
    params = message.params or {}
    if not isinstance(params.get("_meta", {}), dict):
        return UsageError('"_meta" must be an object', "leave it out, or send an object")
    if message.method == "tools/list" and not isinstance(params.get("cursor", ""), str | None):
        return UsageError('"cursor" must be a string', "leave it out: the list is whole")
    if message.method != "tools/call":
        return None
    if not isinstance(params.get("name"), str):
        return UsageError('"name" must be a string', "name a tool, as tools/list has it")
    if not isinstance(params.get("arguments"), dict | None):
        return UsageError('"arguments" must be an object', "name each of them, as inputSchema does")
    return None


def stamped(answer: Mapping[str, Any], server: Mapping[str, str]) -> dict[str, Any]:
    """A result as the modern era wants it: with the server's name in its `_meta`."""
    return {**answer, "_meta": {**answer.get("_meta", {}), SERVER_INFO_KEY: dict(server)}}


def unstamped(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A result as the handshake era knows it: without `resultType`."""
    return {name: value for name, value in answer.items() if name != "resultType"}
