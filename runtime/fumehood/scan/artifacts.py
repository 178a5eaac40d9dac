"""Files that a tool left in /out, as MCP resource blocks; must never name a path of the host."""

from __future__ import annotations

import base64
from typing import Any, Final
from urllib.parse import quote

from fumehood.model.outcome import Artifact
from fumehood.scan import formats
from fumehood.scan.detector import Severity

REFUSALS: Final[dict[str, tuple[Severity, str]]] = {
    "symlink": ("medium", "a symbolic link is not followed"),
    "hard_link": ("medium", "a file with several names is not collected"),
    "not_regular": ("medium", "only regular files are collected"),
    "name": ("low", "its name is no plain UTF-8 path"),
    "too_large": ("low", "it does not fit into limits.output"),
    "too_many": ("low", "there are more files than are collected"),
    "too_deep": ("low", "it lies deeper than is collected"),
}
"""`Artifact.refused` and what it means."""


MOST_CONTROLS: Final = 8
"""Control characters that any text may have."""
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {*b"\t\n\r\f\b\x1b"})


def name_of(artifact: Artifact) -> bytes:
    """Its name as it is searched."""
    return artifact.name.encode(errors="surrogateescape")


def is_text(data: bytes) -> bool:
    """Whether a file is returned as text: UTF-8 without a NUL."""
    return b"\0" not in data and _is_utf8(data)


def is_binary(data: bytes) -> bool:
    """Whether a file is no text at all, so that bytes which would hide something in one are just
    data: a known format, a NUL among bytes that are no UTF-8, or many control characters. Text
    with a NUL put into it is none of these."""
    if is_text(data):
        return False
    if formats.sniff(data) or (b"\0" in data and not _is_utf8(data)):
        return True
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return controls > max(MOST_CONTROLS, len(data) // 20)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_block(invocation: str, name: str, text: str) -> dict[str, Any]:
    """A file as text."""
    return _block(invocation, name, {"mimeType": "text/plain", "text": text})


def binary_block(invocation: str, name: str, data: bytes) -> dict[str, Any]:
    """A file as base64."""
    blob = base64.b64encode(data).decode()
    return _block(invocation, name, {"mimeType": "application/octet-stream", "blob": blob})


def _block(invocation: str, name: str, body: dict[str, str]) -> dict[str, Any]:
    uri = f"fumehood:///{quote(invocation, safe='')}/out/{quote(name)}"
    return {"type": "resource", "resource": {"uri": uri, **body}}
