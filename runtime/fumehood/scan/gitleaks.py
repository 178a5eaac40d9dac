"""Rules in gitleaks' TOML, each checked to its end when it is loaded; must never take a key that
it does not do.

All faults of a file are told, each with its key, so that one run mends it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import re2

from fumehood.errors import ConfigError
from fumehood.scan.detector import Match
from fumehood.scan.judging import entropy
from fumehood.scan.toml_lines import Place, lines

MAX_RULES: Final = 4096

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOML_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a file of rules does not load. line: from 1, 0 when it is not known. key: in which the
    fault is, empty where it is in none."""

    cause: str
    remedy: str
    line: int = 0
    key: str = ""
    file: str = ""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.file}{line}: {self.cause}"


class RulesError(ConfigError):
    """Rules that do not load. The cause is the first fault; `faults` are all."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{others}", faults[0].remedy)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a value has to be."""

    name: str
    fits: Callable[[Any], bool]


def _all(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


_TEXT: Final = _Kind("a text", lambda value: isinstance(value, str))
_NUMBER: Final = _Kind("a number", lambda value: type(value) in (int, float))
_WHOLE: Final = _Kind("a whole number", lambda value: type(value) is int and value >= 0)
_TEXTS: Final = _Kind("a list of texts", lambda value: _all(value, str))
_TABLE: Final = _Kind("a table", lambda value: isinstance(value, dict))
_TABLES: Final = _Kind("a list of tables", lambda value: _all(value, dict))

_RULE: Final = {
    "id": _TEXT, "description": _TEXT, "regex": _TEXT, "secretGroup": _WHOLE, "entropy": _NUMBER,
    "keywords": _TEXTS, "tags": _TEXTS, "allowlist": _TABLE, "allowlists": _TABLES,
}  # fmt: skip
_ALLOW: Final = {
    "description": _TEXT, "regexes": _TEXTS, "stopwords": _TEXTS, "regexTarget": _TEXT,
    "condition": _TEXT,
}  # fmt: skip
_TOP: Final = {
    "title": _TEXT, "minVersion": _TEXT, "rules": _TABLES, "allowlist": _TABLE,
    "allowlists": _TABLES,
}  # fmt: skip


@dataclass(slots=True)
class _Faults:
    """What is wrong, and where."""

    found: list[tuple[Place, str, str]] = field(default_factory=list)

    def add(self, place: Place, cause: str, remedy: str) -> None:
        self.found.append((place, cause, remedy))


@dataclass(frozen=True, slots=True)
class Allowed:
    """One allowlist: what a rule finds and is none."""

    regexes: Sequence[Any]
    words: Sequence[bytes]
    whole: bool

    def allows(self, secret: bytes, match: bytes) -> bool:
        text = match if self.whole else secret
        return any(word in secret.lower() for word in self.words) or any(
            regex.search(text) is not None for regex in self.regexes
        )


@dataclass(frozen=True, slots=True)
class GitleaksRule:
    """One `[[rules]]` table, and what all of them allow. line: of its id."""

    id: str
    line: int
    pattern: Any
    group: int
    entropy: float
    keywords: Sequence[bytes]
    allowed: Sequence[Allowed]

    def find(self, data: bytes, lowered: bytes) -> list[Match]:
        if self.keywords and not any(word in lowered for word in self.keywords):
            return []
        matches = []
        for found in self.pattern.finditer(data):
            group = self.group or (1 if self.pattern.groups else 0)
            start, end = found.span(group)
            if start < 0 or start == end:
                start, end = found.span()
            secret = data[start:end]
            if self.entropy and entropy(secret) <= self.entropy:
                continue
            if start < end and not any(a.allows(secret, found.group()) for a in self.allowed):
                matches.append(Match(self.id, "secret", "high", start, end))
        return matches


def load(data: bytes) -> tuple[list[GitleaksRule], list[Fault]]:
    """The rules of one file, and all that is wrong with it: then the rules are not all."""
    try:
        text = data.decode()
        top = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return [], [Fault("no TOML: a byte that is no UTF-8", "write it in UTF-8", line)]
    except (ValueError, RecursionError) as error:
        told = _TOML_LINE.search(str(error))
        line = int(told[1]) if told else data.rstrip().count(b"\n") + 1
        return [], [Fault(f"no TOML: {error}", "correct it there", line)]
    faults = _Faults()
    rules = _rules(top, faults, at := lines(text))
    return rules, [
        Fault(cause, remedy, _line(at, place), _key(place)) for place, cause, remedy in faults.found
    ]


def _rules(top: Mapping[str, Any], faults: _Faults, at: Mapping[Place, int]) -> list[GitleaksRule]:
    known = _known(top, _TOP, (), "the file", faults)
    tables = known.get("rules", [])
    if "rules" not in top or not len(tables) <= MAX_RULES:
        faults.add(("rules",), "no [[rules]], or too many of them", f"1 to {MAX_RULES} are taken")
    allow = _allowlists(known, (), "the file", faults)
    rules = []
    for number, table in enumerate(tables[:MAX_RULES]):
        place = ("rules", number)
        rule = _rule(table, place, allow, faults, _line(at, (*place, "id")))
        rules += [rule] if rule is not None else []
    return rules


def _rule(
    table: Mapping[str, Any], place: Place, allow: Sequence[Allowed], faults: _Faults, line: int
) -> GitleaksRule | None:
    before = len(faults.found)
    name = table.get("id", "")
    if not isinstance(name, str) or _ID.fullmatch(name) is None:
        faults.add((*place, "id"), f"rule id {name!r} is no name", "letters, digits, `.`, `_`, `-`")
        name = f"rule {place[-1]}"
    known = _known(table, _RULE, place, name, faults)
    if "regex" not in table:
        remedy = "rules that only look at paths are not supported"
        faults.add((*place, "regex"), f"{name}: no regex", remedy)
    pattern = _compiled(known.get("regex"), (*place, "regex"), name, faults)
    group = known.get("secretGroup", 0)
    if pattern is not None and group > pattern.groups:
        cause = f"{name}: secretGroup {group} names no group of its regex"
        faults.add((*place, "secretGroup"), cause, f"it has {pattern.groups}")
    allowed = [*_allowlists(known, place, name, faults), *allow]
    if len(faults.found) > before:
        return None
    keywords = [word.lower().encode() for word in known.get("keywords", ())]
    return GitleaksRule(
        name, line, pattern, group, float(known.get("entropy", 0)), keywords, allowed
    )


def _allowlists(
    table: Mapping[str, Any], place: Place, name: str, faults: _Faults
) -> list[Allowed]:
    """Those of a rule or of the file. table: of known keys only."""
    listed = enumerate(table.get("allowlists", ()))
    entries: list[tuple[Place, Mapping[str, Any]]]
    entries = [((*place, "allowlists", number), entry) for number, entry in listed]
    if "allowlist" in table:
        entries.append(((*place, "allowlist"), table["allowlist"]))
    return [_allowed(entry, at, f"the allowlist of {name}", faults) for at, entry in entries]


def _allowed(table: Mapping[str, Any], place: Place, name: str, faults: _Faults) -> Allowed:
    known = _known(table, _ALLOW, place, name, faults)
    for key, fit in (("regexTarget", ("secret", "match")), ("condition", ("OR",))):
        if key in known and known[key] not in fit:
            cause = f"{name}: {key} {known[key]!r} is not supported"
            faults.add((*place, key), cause, f"write {' or '.join(fit)}")
    texts = known.get("regexes", ())
    compiled = [
        _compiled(text, (*place, "regexes", n), name, faults) for n, text in enumerate(texts)
    ]
    words = [word.lower().encode() for word in known.get("stopwords", ())]
    return Allowed(compiled, words, known.get("regexTarget") == "match")


def _known(
    table: Mapping[str, Any], keys: Mapping[str, _Kind], place: Place, name: str, faults: _Faults
) -> dict[str, Any]:
    """What of the table has a known key, and a value that fits it."""
    known = {}
    for key, value in table.items():
        kind = keys.get(key)
        if kind is None:
            cause = f"{name} has the key {key!r}, which is not supported"
            faults.add((*place, key), cause, f"leave it out; known are {', '.join(keys)}")
        elif not kind.fits(value):
            faults.add((*place, key), f"{name}: {key} is not {kind.name}", f"give {kind.name}")
        else:
            known[key] = value
    return known


def _compiled(text: str | None, place: Place, name: str, faults: _Faults) -> Any:
    if text is None:
        return None
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        said = error.args[0]
        shown = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        faults.add(place, f"{name}: {shown}", "write RE2's syntax")
        return None


def _line(at: Mapping[Place, int], place: Place) -> int:
    """Of that place, or, where it is not there, of what it would stand in."""
    while place and place not in at:
        place = place[:-1]
    return at.get(place, 0)


def _key(place: Place) -> str:
    """`rules[2].allowlist.regexes[0]`"""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return key.removeprefix(".")
