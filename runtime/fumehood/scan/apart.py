"""Names and values that stand apart: in pairs of a name and a value, in objects that are called
after what is in them, in statements that list columns first.

A detector of its own, because a JSON text is full of names, and few have values beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from fumehood.scan import judging, values
from fumehood.scan.assigned import IN_XML, SURE, Places
from fumehood.scan.detector import Confidence
from fumehood.scan.names import KEY, NAME, WORD
from fumehood.scan.patterns import Found, PatternDetector, Rule, Told
from fumehood.scan.tokens import is_placeholder
from fumehood.scan.values import Value

MAX_ROWS: Final = 512
"""Of one statement."""
MAX_COLUMNS: Final = 128


def _stored(_found: Found, text: bytes, _value: Value) -> Confidence | None:
    return None if is_placeholder(text) else "high"


_TEXT: Final = re.compile(rb"[ \t]*\r?(?:\n|\Z)")
_STORED: Final = Places(_stored)
_LINE: Final = Places(lambda found, text, value: _named(found, text, value), _TEXT)


def _named(found: Found, text: bytes, value: Value) -> Confidence | None:
    return judging.sure(found["n"], text.strip(b"\"'"), value, found.data)


def _paired(found: Found, text: bytes, value: Value) -> Confidence | None:
    return judging.sure(found["n"], text, value, found.data)


PAIRS: Final[Sequence[Rule]] = (
    # Pairs of a name and a value: Kubernetes, ECS, Postman, forms.
    Rule(
        "assigned-secret", "high",
        rf"(?i:\b(?:name|key))\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}(?:\\?[\"'])?{KEY}(?:\\?[\"'])?\s{{0,4}},?\s{{0,40}}(?:\\?[\"'])?(?P<v>\b(?i:value))(?P<b>(?:\\?[\"'])?\s{{0,4}}[:=]\s{{0,4}})(?P<q>\\{{0,3}}[\"']?)(?P<s>[^\s\"'`])",
        seek=Places(_paired, begins="v"),
    ),
    Rule(
        "assigned-secret", "high",
        r"(?i)<input\b[^>]{0,200}?\btype\s*=\s*[\"']?(?P<n>password)\b[^>]{0,200}?\bvalue\s*=\s*(?P<q>[\"']?)(?P<s>[^\"'\s<>])",
        seek=SURE,
    ),
)  # fmt: skip
# AWS' parameter store: what is of the type SecureString is a secret, whatever it looks like, and
# so is what a path of names ends on one of.
_BETWEEN: Final = r"[^{}]{0,600}?(?:\{[^{}]{0,300}\}[^{}]{0,300}?)?"
_VALUE: Final = r"\"(?i:[A-Za-z_]{0,20}value)\"\s{0,100}:\s{0,400}(?P<q>\")(?P<s>[^\s\"])"
_WHOLE: Final = rf"{_VALUE}(?:[^\"\n\\]|\\.){{3,}}\""
_SECURE: Final = r"(?i:\"type\"\s{0,100}:\s{0,400}\"SecureString\")"
_PATH: Final = (
    r"\"(?i:[A-Za-z_]{0,20}(?:name|key)|id)\"\s{0,100}:\s{0,400}\"(?:[^\"\n\\]{0,200}[/.:])?"
    rf"(?P<n>[A-Za-z0-9_\-]{{0,64}}{WORD})\""
)

STORED: Final[Sequence[Rule]] = (
    Rule("secure-string", "high", rf"{_SECURE}{_BETWEEN}{_WHOLE}", seek=_STORED),
    Rule("secure-string", "high", rf"{_WHOLE}{_BETWEEN}{_SECURE}", seek=_STORED),
    Rule("assigned-secret", "high", rf"{_PATH}{_BETWEEN}{_WHOLE}", seek=SURE),
    Rule("assigned-secret", "high", rf"{_WHOLE}{_BETWEEN}{_PATH}", seek=SURE),
    # Outputs of Terraform and of deployments: the name has an object, and the value stands in it.
    Rule("assigned-secret", "high", rf"\"{KEY}\"\s{{0,8}}:\s{{0,8}}\{{{_BETWEEN}{_WHOLE}", seek=SURE),
    Rule(
        "assigned-secret", "high",
        rf"{KEY}\"?\s{{0,8}}=?\s{{0,8}}\{{[^{{}}]{{0,300}}?\b(?:value|default)\s{{0,8}}=\s{{0,8}}(?P<q>\")(?P<s>[^\s\"])",
        seek=SURE,
    ),
    # Listed keys of Azure, stacks of CloudFormation.
    Rule(
        "assigned-secret", "high",
        rf"(?i)\"keyName\"\s{{0,8}}:\s{{0,8}}\"(?P<n>[\w.-]{{1,64}})\"{_BETWEEN}\"value\"\s{{0,8}}:\s{{0,8}}\"(?P<s>[A-Za-z0-9+/]{{40,100}}={{0,2}})\"",
    ),
    # YAML with the value first, XML of properties, plists, and what consoles print below each other.
    Rule(
        "assigned-secret", "high",
        rf"(?:^|[\s-])value:[ \t]+(?P<s>\S[^\n]{{0,511}})\n[ \t]+(?:name|key):[ \t]+[\"']?{KEY}[\"']?[ \t\r]*$",
        seek=_LINE,
    ),
    Rule(
        "assigned-secret", "high",
        rf"<(?i:key|name)>\s{{0,8}}{KEY}\s{{0,8}}</(?i:key|name)>\s{{0,40}}<(?i:value|string)>\s{{0,8}}(?P<s>[^\s<])",
        seek=IN_XML,
    ),
    Rule(
        "assigned-secret", "high",
        rf"^[ \t]*(?i:key|name)[ \t]*:[ \t]+{KEY}[ \t]*\r?\n(?:[ \t]*[A-Za-z _-]{{1,30}}:[^\n]{{0,100}}\n){{0,4}}[ \t]*(?i:value)[ \t]*:[ \t]+(?P<s>[^\s\"'])",
        seek=_LINE,
    ),
)  # fmt: skip


def _inserted(found: Found) -> Iterable[Told]:
    """The column of each row that the statement calls so."""
    data = found.data
    columns = [name.strip(b" \t\r\n\"'`[]") for name in found["c"].split(b",")]
    wanted = {number: name for number, name in enumerate(columns) if _COLUMN.fullmatch(name)}
    told: list[Told] = []
    at = found.span[0]
    for _ in range(MAX_ROWS):
        row = _ROW.match(data, at)
        if row is None:
            break
        at = row.end()
        for number in range(MAX_COLUMNS):
            item = _CELL.match(data, at)
            if item is None:
                return told
            quote, start = item["q"], item.end()
            end = values.quoted_end(data, start, quote[-1:]) if quote else start
            if end is None:
                return told
            if number in wanted and quote:
                value = Value(start, end, framed=True)
                if sure := judging.sure(wanted[number], data[start:end], value, data):
                    told.append((start, end, sure))
            behind = _BEHIND.match(data, end + 1 if quote else end)
            if behind is None:
                return told
            at = behind.end()
            if behind[1] == b")":
                break
    return told


_COLUMN: Final = re.compile(NAME.encode())
_ROW: Final = re.compile(rb"[\s,]*\(")
_CELL: Final = re.compile(rb"\s*(?:(?P<q>[NEBX]?')|[^',()]{0,200})")
_BEHIND: Final = re.compile(rb"(?:\s*::\w+)?(?:\([^()]{0,100}\))?\s*([,)])")

INSERTS: Final[Sequence[Rule]] = (
    Rule(
        "assigned-secret", "high",
        rf"(?i)(?:insert|replace)(?: ignore)? into [\w.`\"\[\]]{{1,100}}\s{{0,8}}\((?P<c>[^()]{{0,400}}{WORD}[^()]{{0,400}})\)\s{{0,8}}values?\s{{0,8}}(?P<s>\()",
        seek=_inserted,
    ),
)  # fmt: skip
GATE: Final = (
    r"(?i)value[\"']?\s{0,100}[:=]", r"(?i)</(?:key|name)>", r"(?i)default\s{0,8}=\s{0,8}\"",
    r"(?i)(?:insert|replace)(?: ignore)? into ",
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("pairs", (*PAIRS, *STORED, *INSERTS), cache, gate=GATE)
