"""Whether a record is of this log: the chain leads on from it to what somebody vouches for.

The key that sealed a record is gone, so its MAC says nothing to the host any more. Two things do:
the last record, which who writes the log knows by heart, and the end of a finished segment, which
is signed. Whoever edits a record, and mends the chain behind it, cannot mend these. Must never
take a record's word, nor that of the one behind it.
"""

from __future__ import annotations

import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fumehood.audit.custody import SEGMENT_TYPE
from fumehood.audit.folder import Segment, list_segments, reading
from fumehood.audit.head import read_signed, signature_path
from fumehood.audit.record import Position, Unsealed, read
from fumehood.crypto.signing import PublicKey
from fumehood.errors import AuditError, KeyringError

MAX_BYTES: Final = 256 * 1024 * 1024
"""How far the chain is followed; a segment has a fourth of it."""
EVERY: Final = 1000
"""Of so many records one is remembered as proven: the next walk is short (3 to 17 ms)."""
MAX_KNOWN: Final = 100_000


class Anchors:
    """Thread safe. Blocks: a first walk through a whole segment takes 0.3 to 0.7 s."""

    def __init__(
        self,
        directory: Path,
        chain: str,
        newest: Callable[[], Position],
        public: Callable[[], Sequence[PublicKey]],
    ) -> None:
        """chain: id of the log. newest: its last confirmed record, from memory and not from the
        disk. public: the keys that may have signed ends of segments."""
        self._directory = directory
        self._chain = chain
        self._newest = newest
        self._public = public
        self._lock = threading.Lock()
        self._known: OrderedDict[int, str] = OrderedDict()

    def holds(self, line: bytes) -> bool | None:
        """Whether a line, without its newline, is a record of the log; None for what is behind
        the last confirmed one, so that nobody knows yet.

        Raises AuditError, OSError: the log cannot be read."""
        with self._lock:
            try:
                entry = read(line)
            except Unsealed:
                return False
            newest = self._newest()
            if entry.position.seq > newest.seq:
                return None
            if entry.key != self._chain:
                return False
            return self._follow(line, entry.position, newest)

    def _follow(self, line: bytes, at: Position, newest: Position) -> bool:
        trail = [at]
        if self._is_known(at, newest):
            return True
        left = MAX_BYTES
        start = line
        for segment in self._from(at.seq):
            with reading(segment.path) as file:
                if not file.seek(0, 2):
                    return False
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    offset = _behind(data, start) if start else 0
                    if offset < 0 or (not start and segment.first != at.seq + 1):
                        return False
                    start = b""
                    while (end := data.find(b"\n", offset)) >= 0:
                        try:
                            entry = read(data[offset:end])
                        except Unsealed:
                            return False
                        if entry.prev != at.digest or entry.position.seq != at.seq + 1:
                            return False
                        at = entry.position
                        if at.seq % EVERY == 0:
                            trail.append(at)
                        if self._is_known(at, newest):
                            return self._proven(trail)
                        offset = end + 1
                    left -= len(data)
            if self._is_signed(segment, at):
                return self._proven(trail)
            if left <= 0:
                break
        return False

    def _from(self, seq: int) -> Sequence[Segment]:
        """The segment that holds a record, and those behind it."""
        segments = list_segments(self._directory)
        before = sum(segment.first <= seq for segment in segments)
        return segments[max(0, before - 1) :]

    def _is_known(self, at: Position, newest: Position) -> bool:
        return at == newest or self._known.get(at.seq) == at.digest

    def _is_signed(self, segment: Segment, last: Position) -> bool:
        try:
            signed = read_signed(signature_path(segment.path), SEGMENT_TYPE, self._public())
        except (AuditError, KeyringError, OSError):
            return False
        return (signed.chain, signed.first, signed.position) == (self._chain, segment.first, last)

    def _proven(self, trail: Sequence[Position]) -> bool:
        for at in trail:
            self._known[at.seq] = at.digest
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return True


def _behind(data: mmap.mmap, line: bytes) -> int:
    """Where the line after this one begins; -1 when it is not there."""
    at = data.find(line + b"\n")
    while at > 0 and data[at - 1 : at] != b"\n":
        at = data.find(line + b"\n", at + 1)
    return at + len(line) + 1 if at >= 0 else -1
