"""What the supervisor and a scanner process say to each other. Pure.

The scanner reads hostile bytes with native code, so it is not believed: its answer is decoded
strictly, and the worst that a false one can do is to find nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from fumehood.errors import ProtocolError
from fumehood.scan.detector import Confidence, Kind, Match, Severity

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of one answer: 4,096 secrets, each as long as a chunk of base64, fit many times over."""

HEADER: Final = struct.Struct("!QQ")
"""Before each message: its number, and the bytes that follow."""
_TASK: Final = struct.Struct("!dI")
_SUBJECT: Final = struct.Struct("!QHB")


@dataclass(frozen=True, slots=True)
class Subject:
    """Bytes to be searched. clean: nothing in them is hidden. name: of a file, else empty."""

    data: bytes
    clean: bool
    name: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """found: what is in each subject; or `failed`, the detector that has not seen them to their
    end (`late`: for want of time), and `detail` for the log. seconds: of CPU that were used."""

    found: tuple[tuple[Match, ...], ...] = ()
    seconds: float = 0.0
    failed: str = ""
    late: bool = False
    detail: str = ""
    too_many: bool = False


def task(subjects: Sequence[Subject], seconds: float) -> list[bytes]:
    """The parts of a request, to be sent one after the other."""
    parts = [_TASK.pack(seconds, len(subjects))]
    for subject in subjects:
        name = subject.name.encode("utf-8", "surrogateescape")[:4096]
        parts.append(_SUBJECT.pack(len(subject.data), len(name), subject.clean) + name)
        parts.append(subject.data)
    return parts


def read_task(message: memoryview) -> tuple[list[Subject], float]:
    """Of the supervisor, which is believed."""
    seconds, count = _TASK.unpack_from(message)
    at = _TASK.size
    subjects = []
    for _ in range(count):
        size, length, clean = _SUBJECT.unpack_from(message, at)
        at += _SUBJECT.size
        name = bytes(message[at : at + length]).decode("utf-8", "surrogateescape")
        at += length
        subjects.append(Subject(bytes(message[at : at + size]), bool(clean), name))
        at += size
    return subjects, seconds


def answer(said: Answer) -> bytes:
    """As one message."""
    if said.found and not any(said.found) and not said.failed:
        return b"%d %r" % (len(said.found), said.seconds)
    return json.dumps(
        {
            "found": [[_row(match) for match in matches] for matches in said.found],
            "seconds": said.seconds,
            "failed": said.failed,
            "late": said.late,
            "detail": said.detail,
            "too_many": said.too_many,
        }
    ).encode()


def read_answer(message: bytes, subjects: Sequence[Subject]) -> Answer:
    """Raises ProtocolError for anything but an answer about these subjects."""
    try:
        if message[:1] != b"{":
            count, seconds = message.split()
            _require(int(count) == len(subjects))
            return Answer(((),) * len(subjects), float(seconds))
        value = json.loads(message)
        said = Answer(
            tuple(
                tuple(_match(row, subject) for row in rows)
                for rows, subject in zip(value["found"], subjects, strict=False)
            ),
            float(value["seconds"]),
            str(value["failed"])[:64],
            value["late"] is True,
            str(value["detail"])[:500],
            value["too_many"] is True,
        )
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ProtocolError(f"the scanner answers with nonsense: {type(error).__name__}") from error
    if not said.failed and not said.too_many and len(said.found) != len(subjects):
        raise ProtocolError("the scanner does not answer for everything")
    return said


def _row(match: Match) -> list[Any]:
    value = base64.b64encode(match.value).decode()
    return [
        match.rule, match.kind, match.severity, match.start, match.end, value, match.count,
        match.confidence, match.decoded,
    ]  # fmt: skip


def _match(row: Any, subject: Subject) -> Match:
    rule, kind, severity, start, end, value, count, confidence, decoded = row
    _require(isinstance(rule, str) and 0 < len(rule) <= 128 and rule.isprintable())
    _require(kind in get_args(Kind) and severity in get_args(Severity))
    _require(confidence in get_args(Confidence))
    _require(type(start) is int and type(end) is int and type(count) is int)
    _require(0 <= start < end <= len(subject.data) and count > 0)
    _require(isinstance(decoded, list) and len(decoded) <= 16)
    _require(all(isinstance(step, str) and step.isprintable() for step in decoded))
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("a value is no base64") from error
    steps = tuple(step[:32] for step in decoded)
    return Match(rule, kind, severity, start, end, raw, count, confidence, steps)


def _require(true: object) -> None:
    if not true:
        raise ValueError("a field is out of its bounds")
