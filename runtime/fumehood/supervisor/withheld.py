"""Output that was withheld, kept for an operator who wants to see it: encrypted, bounded in bytes
and in time. Must never hold any of it in plain text on disk, nor give it out by itself.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from fumehood.crypto.files import read_private, write_private
from fumehood.crypto.ring import Ring
from fumehood.errors import KeyringError, UnknownInvocation
from fumehood.model.outcome import Artifact, Outcome
from fumehood.model.request import Admitted
from fumehood.model.result import Result
from fumehood.scan.visible import visible

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 600.0
MAX_FILES: Final = 4096
_HEAD: Final = struct.Struct("!I")
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a tool wrote, as it wrote it. about: which call's, and why it did not leave."""

    about: dict[str, Any]
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    artifacts: tuple[Artifact, ...] = field(default=(), repr=False)

    @property
    def size(self) -> int:
        files = sum(len(artifact.data) for artifact in self.artifacts)
        return len(self.stdout) + len(self.stderr) + files

    def to_json(self) -> dict[str, Any]:
        return {
            **self.about,
            "stdout": base64.b64encode(self.stdout).decode(),
            "stderr": base64.b64encode(self.stderr).decode(),
            "artifacts": [
                {"name": artifact.name, "data": base64.b64encode(artifact.data).decode()}
                for artifact in self.artifacts
            ],
        }


class Withheld:
    """One folder. Thread safe; a file for each invocation, named by it."""

    def __init__(self, folder: Path, ring: Ring, *, most_bytes: int, days: int) -> None:
        """most_bytes: of all files on disk; 0 keeps nothing."""
        self._folder = folder
        self._ring = ring
        self._most = most_bytes
        self._seconds = days * 86_400.0
        self._lock = threading.Lock()

    def keep(self, admitted: Admitted, outcome: Outcome, result: Result) -> bool:
        """Whether it is kept: not what is larger than all that may be, and not without a key."""
        request = admitted.request
        artifacts = tuple(a for a in outcome.artifacts if not a.refused)
        about = {
            "invocation": request.invocation,
            "tool": result.tool_name,
            "tool_digest": result.tool_digest,
            "uid": request.caller.uid,
            "status": outcome.status,
            "message": result.message,
            "findings": [
                f"{f.kind}:{f.rule}:{f.place[:100]}"
                for f in result.findings
                if f.action == "withhold"
            ],
        }
        kept = Kept(about, outcome.stdout, outcome.stderr, artifacts)
        if not kept.size or kept.size > self._most:
            return False
        try:
            sealed = self._ring.seal(_packed(kept), _bound(request.invocation))
            data = json.dumps(sealed).encode()
            if len(data) > self._most:
                return False
            with self._lock:
                self._make_room(len(data))
                write_private(self._path(request.invocation), data, replace=True)
        except (OSError, KeyringError) as error:
            log.error(  # noqa: TRY400  (the text of the error is the operator's)
                "withheld output is not kept", invocation=request.invocation, error=str(error)
            )
            return False
        return True

    def open(self, invocation: str) -> Kept:
        """What is kept of an invocation.

        Raises:
            UnknownInvocation: nothing is, whatever the reason.
            KeyringError: its key is gone, or the file was changed.
        """
        unknown = UnknownInvocation(
            "no output of such an invocation is kept", "`fumehood release --list` shows what is"
        )
        if not _ID.fullmatch(invocation):
            raise unknown
        self.sweep()
        try:
            data = read_private(self._path(invocation), self._most, "withheld output")
        except OSError as error:
            raise KeyringError(f"withheld output cannot be read: {error.strerror}") from None
        if data is None:
            raise unknown
        try:
            sealed = json.loads(data)
        except ValueError:
            raise KeyringError("withheld output was changed on disk") from None
        return _unpacked(self._ring.unseal(sealed, _bound(invocation)))

    def listed(self) -> list[dict[str, Any]]:
        """Invocation, bytes on disk and seconds that are left of each, the oldest first."""
        self.sweep()
        now = time.time()
        return [
            {
                "invocation": path.stem,
                "bytes": size,
                "seconds_left": round(max(0.0, when + self._seconds - now)),
            }
            for when, size, path in self._files()
        ]

    def sweep(self) -> None:
        """Delete what was kept long enough."""
        oldest = time.time() - self._seconds
        with self._lock:
            for when, _, path in self._files():
                if when < oldest:
                    path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        files = self._files()
        held = sum(length for _, length, _ in files)
        while files and (held + size > self._most or len(files) >= MAX_FILES):
            _, length, path = files.pop(0)
            path.unlink(missing_ok=True)
            held -= length

    def _files(self) -> list[tuple[float, int, Path]]:
        """When, how large and where, the oldest first."""
        found = []
        for path in self._folder.glob("*.json"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _path(self, invocation: str) -> Path:
        return self._folder / f"{invocation}.json"


def _packed(kept: Kept) -> bytes:
    """A head with the lengths, then the bytes: base64 inside of base64 would be twice the size."""
    parts = (kept.stdout, kept.stderr, *(artifact.data for artifact in kept.artifacts))
    head = json.dumps(
        {
            "about": kept.about,
            "names": [_shown(artifact.name) for artifact in kept.artifacts],
            "sizes": [len(part) for part in parts],
        }
    ).encode()
    return b"".join((_HEAD.pack(len(head)), head, *parts))


def _unpacked(data: bytes) -> Kept:
    (length,) = _HEAD.unpack_from(data)
    at = _HEAD.size + length
    head = json.loads(data[_HEAD.size : at])
    parts = []
    for size in head["sizes"]:
        parts.append(data[at : at + size])
        at += size
    names = zip(head["names"], parts[2:], strict=True)
    artifacts = tuple(Artifact(name, part) for name, part in names)
    return Kept(head["about"], parts[0], parts[1], artifacts)


def _shown(name: str) -> str:
    return visible(name.encode("utf-8", "surrogateescape"))[0]


def _bound(invocation: str) -> bytes:
    """What kept output is bound to."""
    return b"fumehood withheld " + invocation.encode()
