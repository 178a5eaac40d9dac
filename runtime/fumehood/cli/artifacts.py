"""Saves the files that a tool left in /out below one directory, and nowhere else.

Names come from a tool: each part is checked and opened relative to its parent's descriptor,
following no link; nothing is overwritten unless the caller said so.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fumehood.cli.present import printable
from fumehood.errors import UsageError

MAX_DEPTH: Final = 32
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Block:
    """One artifact: `name` is relative and `/`-separated, not yet checked."""

    name: str
    data: bytes


def find(
    content: Iterable[Mapping[str, Any]], marking: Mapping[str, Any] | None = None
) -> tuple[Block, ...]:
    """The artifacts among MCP content blocks: resources `fumehood:///INVOCATION/out/NAME`.

    marking: the result's; what is marked for models is a file as it was again.
    """
    found = []
    for block in content:
        resource = block.get("resource")
        if block.get("type") != "resource" or not isinstance(resource, dict):
            continue
        url = urlsplit(str(resource.get("uri", "")))
        _, marker, name = url.path.partition("/out/")
        if url.scheme == "fumehood" and marker and name:
            found.append(Block(unquote(name), _bytes(resource, marking)))
    return tuple(found)


def _bytes(resource: Mapping[str, Any], marking: Mapping[str, Any] | None) -> bytes:
    if isinstance(text := resource.get("text"), str):
        return _unmarked(text, marking).encode()
    try:
        return base64.b64decode(str(resource.get("blob", "")), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("an artifact's blob is not base64", "is this a supervisor?") from None


def _unmarked(text: str, marking: Mapping[str, Any] | None) -> str:
    if not marking:
        return text
    from fumehood.model.marking import Marking

    try:
        return Marking(marking["mode"], marking["marker"]).unmark(text)
    except (ValueError, KeyError):
        raise UsageError("an artifact is not marked as its result says", "use --json") from None


def check(directory: Path) -> None:
    """Make the directory, and refuse it before a tool runs for nothing; raises UsageError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}", "choose another --out") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"{directory}: nothing can be written there", "choose another --out")


def save(blocks: Iterable[Block], directory: Path, *, force: bool) -> tuple[Path, ...]:
    """Write each artifact below `directory`, making it if needed; returns the paths written.

    Raises:
        UsageError: a name that leads elsewhere, or a file that exists without `force`.
    """
    parts = [(_checked(block.name), block.data) for block in blocks]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}", "choose another --out") from None
    try:
        for names, data in parts:
            _write(root, names, data, directory, force=force)
    finally:
        os.close(root)
    return tuple(directory.joinpath(*names) for names, _ in parts)


def _checked(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    bad = any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
    if bad or len(parts) > MAX_DEPTH or printable(name) != name or "\n" in name or "\t" in name:
        raise UsageError(
            f"the artifact {name[:80]!r} has no plain relative name; none is saved",
            "have the tool name it plainly; --json shows its content",
        )
    return parts


def _write(root: int, names: tuple[str, ...], data: bytes, top: Path, *, force: bool) -> None:
    path = top.joinpath(*names)
    with contextlib.ExitStack() as stack:
        parent = root
        try:
            for name in names[:-1]:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=parent)
                parent = os.open(name, _DIRECTORY, dir_fd=parent)
                stack.callback(os.close, parent)
            _write_file(parent, names[-1], data, force=force)
        except FileExistsError:
            raise UsageError(f"{path} exists", "choose another --out, or add --force") from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", "choose another --out") from None


def _write_file(parent: int, name: str, data: bytes, *, force: bool) -> None:
    """With `force` by a new file and rename: a link in its place is replaced, never followed."""
    import secrets  # it costs every call 8 ms, and few calls come here

    target = f".{secrets.token_hex(8)}.part" if force else name
    fd = os.open(target, _FILE, 0o644, dir_fd=parent)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    if force:
        try:
            os.rename(target, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            os.unlink(target, dir_fd=parent)
            raise
