"""What a check of the audit log is told, and what it says; no files here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from fumehood.audit.custody import Custody
from fumehood.audit.record import Epoch, Position
from fumehood.crypto.signing import PublicKey

MAX_STRAYS: Final = 16
"""Files without a place in the log that are named."""

Kind = Literal[
    "edited", "deleted", "reordered", "forked", "truncated", "renamed", "head", "base",
    "signature", "wrong_key", "special", "stray",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier has. first_key: the log's first sealing key. public: the keys that may have
    signed; None: signatures are not checked. custody: the host's own keys."""

    first_key: bytes | None = field(default=None, repr=False)
    public: Sequence[PublicKey] | None = None
    custody: Custody | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Defect:
    """The first thing wrong: what, in which file, at which line (from 1; 0: the file itself)."""

    kind: Kind
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found. `last` is the last record in place before `first_bad`.

    torn_bytes: an unfinished last line, as a power cut leaves it, or a write under way.
    strays: files named like a segment that are no part of the log, the first `MAX_STRAYS`;
    stray_files: how many there are. Alone they are the `first_bad` of a whole check.
    behind_head: records behind the one that the head names, whole and linked: written since it was
    read, or left so by a power cut; within the last segment only.
    removed: up to which record retention removed the log. sealed: whether MACs were checked;
    signed: how many segment ends were; signers: by which keys. steps: where the clock went
    backwards, as `record number: time before > time`; no defect, and `clock_steps` counts them all.
    """

    records: int
    segments: int
    last: Position
    first_bad: Defect | None
    torn_bytes: int = 0
    removed: int = 0
    sealed: bool = False
    signed: int = 0
    clock_steps: int = 0
    steps: tuple[str, ...] = ()
    epoch: Epoch | None = None
    strays: tuple[Defect, ...] = ()
    stray_files: int = 0
    behind_head: int = 0
    signers: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.first_bad is None

    def reaching(self, seq: int) -> Report:
        """The same, and that the log still holds record `seq`, known from a receipt or a SIEM."""
        if self.first_bad is not None or self.last.seq >= seq:
            return self
        message = f"the log ends with record {self.last.seq}; it had record {seq}"
        return replace(self, first_bad=Defect("truncated", "segments", 0, message))
