"""One text or file through the same detectors and the same policy as a tool's output, for people
who look into something by hand."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import quote

from fumehood.model.result import Action
from fumehood.scan.artifacts import is_binary
from fumehood.scan.decide import Policy
from fumehood.scan.detector import Confidence, Kind, Severity
from fumehood.scan.pieces import Piece, Secrets
from fumehood.scan.redact import Fingerprints, redact_binary, redact_text
from fumehood.scan.search import Budget, Search
from fumehood.scan.shown import made_visible

SECONDS: Final = 120.0
"""CPU time for one file."""
_LEVELS: Final = {"low": "note", "medium": "warning", "high": "error"}
"""Of SARIF."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One finding, at the bytes `start:end`."""

    rule: str
    kind: Kind
    severity: Severity
    confidence: Confidence
    action: Action
    start: int
    end: int
    decoded: str
    fingerprint: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen, by place; what of it would leave, None when nothing would. named: what was
    seen in the file's name."""

    findings: tuple[Seen, ...]
    released: bytes | None
    named: tuple[Seen, ...] = ()


def look(
    data: bytes,
    name: str,
    search: Search,
    policy: Policy,
    fingerprints: Fingerprints,
    *,
    everything: bool = False,
    given: Sequence[bytes] = (),
) -> Report:
    """everything: tell what the policy lets pass, too. given: exact values that are secrets.

    Raises Withhold when a detector fails, or when there is too much to be cut out.
    """
    piece = Piece(name, data, name=name, binary=is_binary(data))
    secrets = Secrets(
        search, fingerprints, Budget(SECONDS, given=given), policy, tell_all=everything
    )
    secrets.search([piece])
    seen = [
        Seen(
            span.rule, span.kind, span.severity, span.confidence, "redact", span.start, span.end,
            span.decoded, span.fingerprint,
        )
        for span in piece.spans
    ]  # fmt: skip
    told = list(piece.told)
    if piece.withheld is not None:
        told.append((piece.withheld, "withhold"))
    seen += (
        Seen(
            match.rule, match.kind, match.severity, match.confidence, action, match.start,
            match.end, ">".join(match.decoded), count=match.count,
        )
        for match, action in told
    )  # fmt: skip
    released = None if piece.withheld else _released(piece)
    return Report(tuple(sorted(set(seen), key=lambda s: (s.start, s.end, s.rule))), released)


def _released(piece: Piece) -> bytes:
    if piece.binary:
        return redact_binary(piece.data, piece.spans)
    try:
        piece.data.decode()
    except UnicodeDecodeError:
        return redact_binary(piece.data, piece.spans)
    if piece.clean:
        return redact_text(piece.data, piece.spans)
    return made_visible(redact_text(piece.data, piece.spans))[0].encode()


class Lines:
    """Where a byte stands, as people count: lines and columns from 1."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def _starts(self) -> list[int]:
        """Of each line; read once, however much is found."""
        return [0, *(found.end() for found in re.finditer(b"\n", self._data))]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        before = self._data[self._starts[line - 1] : offset]
        return line, len(before.decode(errors="replace")) + 1


def sarif(version: str, files: Sequence[tuple[str, bytes, Report]]) -> dict[str, object]:
    """SARIF 2.1.0 (OASIS), as code hosts take it: a file is a URI reference (3.4.3)."""
    results = []
    rules: dict[str, dict[str, object]] = {}
    for name, data, report in files:
        lines = Lines(data)
        for seen in (*report.named, *report.findings):
            rules.setdefault(seen.rule, {"id": seen.rule, "properties": {"kind": seen.kind}})
        results += [_result(seen, quote(name), None) for seen in report.named]
        for seen in report.findings:
            line, column = lines.place(seen.start)
            region = {
                "startLine": line, "startColumn": column, "byteOffset": seen.start,
                "byteLength": seen.end - seen.start,
            }  # fmt: skip
            results.append(_result(seen, quote(name), region))
    driver = {"name": "fumehood", "version": version, "rules": list(rules.values())}
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }


def _result(seen: Seen, uri: str, region: dict[str, int] | None) -> dict[str, object]:
    """region: where it stands; None for the name of the file."""
    where = " in its name" if region is None else ""
    place: dict[str, object] = {"artifactLocation": {"uri": uri}}
    if region is not None:
        place["region"] = region
    return {
        "ruleId": seen.rule,
        "level": _LEVELS[seen.severity],
        "message": {"text": f"{seen.kind}: {seen.rule} ({seen.confidence} confidence){where}"},
        "locations": [{"physicalLocation": place}],
        "properties": {
            "kind": seen.kind,
            "confidence": seen.confidence,
            "action": seen.action,
            "decoded": seen.decoded,
        },
    }
