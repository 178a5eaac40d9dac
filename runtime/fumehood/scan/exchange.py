"""What the supervisor and a scanner process say to each other. Pure.

The scanner reads hostile bytes with native code, so it is not believed: its answer is decoded
strictly, and the worst that a false one can do is to find nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from fumehood.errors import ProtocolError
from fumehood.scan.detector import Confidence, Kind, Match, Severity

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of one answer: 4,096 secrets, each as long as a chunk of base64, fit many times over."""

MAX_DETECTORS: Final = 64

HEADER: Final = struct.Struct("!QQ")
"""Before each message: its number, and the bytes that follow."""
_TASK: Final = struct.Struct("!dII")
_GIVEN: Final = struct.Struct("!I")
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
    end (`late`: for want of time), and `detail` for the log. seconds: of CPU that were used.
    counts: by detector, the seconds that it looked and what it found."""

    found: tuple[tuple[Match, ...], ...] = ()
    seconds: float = 0.0
    failed: str = ""
    late: bool = False
    detail: str = ""
    too_many: bool = False
    counts: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def task(subjects: Sequence[Subject], seconds: float, given: Sequence[bytes] = ()) -> list[bytes]:
    """The parts of a request, to be sent one after the other. given: exact values to be found."""
    parts = [_TASK.pack(seconds, len(subjects), len(given))]
    parts += (_GIVEN.pack(len(value)) + value for value in given)
    for subject in subjects:
        name = subject.name.encode("utf-8", "surrogateescape")[:4096]
        parts.append(_SUBJECT.pack(len(subject.data), len(name), subject.clean) + name)
        parts.append(subject.data)
    return parts


def read_task(message: memoryview) -> tuple[list[Subject], float, list[bytes]]:
    """Of the supervisor, which is believed."""
    seconds, count, values = _TASK.unpack_from(message)
    at = _TASK.size
    given = []
    for _ in range(values):
        (size,) = _GIVEN.unpack_from(message, at)
        at += _GIVEN.size + size
        given.append(bytes(message[at - size : at]))
    subjects = []
    for _ in range(count):
        size, length, clean = _SUBJECT.unpack_from(message, at)
        at += _SUBJECT.size
        name = bytes(message[at : at + length]).decode("utf-8", "surrogateescape")
        at += length
        subjects.append(Subject(bytes(message[at : at + size]), bool(clean), name))
        at += size
    return subjects, seconds, given


def answer(said: Answer) -> bytes:
    """As one message."""
    if said.found and not any(said.found) and not said.failed:
        counts = " ".join(f"{name} {spent!r} {n}" for name, (spent, n) in said.counts.items())
        return b"%d %r %s" % (len(said.found), said.seconds, counts.encode())
    return json.dumps(
        {
            "found": [[_row(match) for match in matches] for matches in said.found],
            "seconds": said.seconds,
            "failed": said.failed,
            "late": said.late,
            "detail": said.detail,
            "too_many": said.too_many,
            "counts": said.counts,
        }
    ).encode()


def read_answer(message: bytes, subjects: Sequence[Subject]) -> Answer:
    """Raises ProtocolError for anything but an answer about these subjects."""
    try:
        if message[:1] != b"{":
            count, seconds, *words = message.decode("ascii").split(" ")
            _require(int(count) == len(subjects))
            rows = (
                zip(words[::3], words[1::3], words[2::3], strict=True) if words[-1:] != [""] else ()
            )
            counts = {name: (float(spent), int(n)) for name, spent, n in rows}
            return Answer(((),) * len(subjects), float(seconds), counts=_bounded(counts))
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
            _bounded({str(name): (float(s), int(n)) for name, (s, n) in value["counts"].items()}),
        )
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ProtocolError(f"the scanner answers with nonsense: {type(error).__name__}") from error
    if not said.failed and not said.too_many and len(said.found) != len(subjects):
        raise ProtocolError("the scanner does not answer for everything")
    return said


def _bounded(counts: dict[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """They become the labels of metrics."""
    _require(len(counts) <= MAX_DETECTORS)
    for name, (seconds, matches) in counts.items():
        _require(len(name) <= 48 and name.replace("-", "").isalnum() and name.isascii())
        _require(0 <= seconds < 1e6 and matches >= 0)
    return counts


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
