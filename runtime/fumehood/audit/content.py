"""Arguments and output in a record, encrypted; only of tools that the operator named.

Who destroys the key (`fumehood key revoke`) destroys them, and the record stays whole. Must never
put any of it into a record in plain text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from fumehood.audit.record import Field
from fumehood.crypto.ring import Ring

MAX_BYTES: Final = 12 * 1024
"""Of arguments and of output each: encrypted and in base64 both fit into a record."""
ALL: Final = "*"
_KEPT: Final = ("arguments", "result")


class Content:
    """tools: names, or `*` for every one."""

    def __init__(self, ring: Ring, tools: tuple[str, ...]) -> None:
        self._ring = ring
        self._tools = frozenset(tools)

    def kept(
        self, tool: str, invocation: str, arguments: bytes, released: bytes
    ) -> dict[str, Field]:
        """Fields of a terminal record; none for a tool of which nothing is kept.

        Raises KeyringError when there is no key to encrypt under: then there is no record.
        """
        if not self._tools or not ({tool, ALL} & self._tools):
            return {}
        value = {
            "arguments": base64.b64encode(arguments[:MAX_BYTES]).decode(),
            "result": base64.b64encode(released[:MAX_BYTES]).decode(),
            "cut": len(arguments) > MAX_BYTES or len(released) > MAX_BYTES,
        }
        sealed = self._ring.seal(json.dumps(value).encode(), bound(invocation))
        return {"content": sealed}


def opened(record: Mapping[str, Any], ring: Ring) -> dict[str, Any] | None:
    """What a record keeps, None when it keeps nothing. Raises KeyringError: its key is gone."""
    sealed = record.get("content")
    if not isinstance(sealed, dict) or "nonce" not in sealed:
        return None
    value = json.loads(ring.unseal(sealed, bound(str(record.get("invocation")))))
    texts = {name: base64.b64decode(value[name]).decode(errors="replace") for name in _KEPT}
    return {**texts, "cut": bool(value["cut"])}


def bound(invocation: str) -> bytes:
    """What kept content is bound to."""
    return b"fumehood content " + invocation.encode()
