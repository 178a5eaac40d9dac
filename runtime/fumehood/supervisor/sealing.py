"""Has the files of tools stored, or deleted, by a sealer: the supervisor itself cannot write there.

Blocks: to be called in a thread, or before anything is served. Every wait ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fumehood.errors import CatalogError, ProtocolError
from fumehood.launcher import messages as m
from fumehood.launcher import sealing as words
from fumehood.model.tree import ToolFile

WAIT_SECONDS: Final = 60.0
"""For one answer, with `sealer.LOCK_SECONDS` in it."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """start: has a sealer started at the other end of a seqpacket socket, which is closed here
    afterwards; raises OSError."""

    start: Callable[[socket.socket], None]

    def seal(self, files: Mapping[str, ToolFile], *, replace: bool) -> str:
        """Store a tree; its digest, as it was written. replace: in place of what stands under it.
        Raises CatalogError, OSError."""
        fd = words.packed(files)
        try:
            (digest,) = self._errand([(words.Seal(replace), (fd,))])
        finally:
            os.close(fd)
        return digest

    def discard(self, names: Iterable[str]) -> None:
        """Delete entries of the store. Raises CatalogError, OSError."""
        self._errand([(words.Discard(name), ()) for name in names])

    def _errand(self, asked: list[tuple[words.Seal | words.Discard, tuple[int, ...]]]) -> list[str]:
        if not asked:
            return []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.settimeout(WAIT_SECONDS)
            with theirs:
                self.start(theirs)
            try:
                return [_one(ours, word, fds) for word, fds in asked]
            except TimeoutError:
                raise _unanswered("the sealer does not answer") from None
            except (ProtocolError, ConnectionError) as error:
                raise _unanswered(repr(error)) from None


def _one(channel: socket.socket, word: words.Seal | words.Discard, fds: tuple[int, ...]) -> str:
    words.send(channel, word, *fds)
    data, descriptors = m.receive(channel)
    m.close_all(descriptors)
    if not data:
        raise _unanswered("the sealer ended")
    answer = m.unpack(data, words.FROM_SEALER)
    if isinstance(answer, words.Refused):
        raise CatalogError(answer.cause, answer.remedy, detail=answer.detail)
    return answer.digest


def _unanswered(why: str) -> CatalogError:
    return CatalogError(
        "the tool's files could not be stored just now",
        "try again; the daemon's log tells more",
        detail=why,
    )
