"""Looks for what a manifest says to a model that a description has no reason to say. Pure.

It helps whoever reviews a tool and proves nothing: a text that passes may still mislead. Must
never refuse silently: each finding has a rule, a severity and a place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fumehood.errors import CatalogError
from fumehood.model.manifest import Manifest
from fumehood.model.text import hidden_character

Severity = Literal["high", "medium", "low"]
Finder = Callable[[Sequence[str]], Sequence[Sequence[tuple[str, str, str]]]]
"""What in each text speaks to a model: rule, confidence, and what was found. The detector is the
scanner's, passed in by whoever composes; raises ScanFailed."""
RULES: Final[dict[str, Severity]] = {
    "hidden_text": "high",
    "hidden_markup": "high",
    "instructs_model": "high",
    "asks_for_secrets": "high",
    "look_alike": "high",
    "near_name": "medium",
    "names_other_tool": "medium",
    "mentions_instructions": "low",
    "contradicting_hints": "medium",
    "encoded_text": "medium",
    "long_text": "low",
    "takes_anything": "low",
}
"""Findings of high severity refuse a registration until they are accepted by name."""
OF_OTHERS: Final = frozenset({"look_alike", "near_name", "names_other_tool"})
"""Rules whose findings tell what else is registered: not for whoever may not know."""
LONG_TEXT: Final = 2_000
NEAR_LENGTH: Final = 5
"""Shorter names are a letter apart by chance; none looks like another one by chance."""

_INSTRUCTS = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,40}\b(instructions?|rules?|prompts?|guidelines?)\b"
    r"|\b(do not|don't|never)\b.{0,30}\b(tell|mention|inform|show|reveal|ask)\b.{0,30}\buser\b"
    r"|\b(without|before)\b.{0,20}\b(telling|informing|asking)\b.{0,20}\buser\b"
    r"|\b(before|after|whenever|instead of)\b.{0,20}\b(using|calling|running|invoking)\b.{0,20}"
    r"\b(any|every|another|other|all)\b.{0,20}\btools?\b"
    r"|\byou (must|should|have to|are required to) (always|first|now|also)\b"
    r"|\b(secretly|silently|covertly)\b|\bsystem prompt\b|\bas an ai\b|\byou are now\b",
    re.IGNORECASE | re.DOTALL,
)
_SECRETS = re.compile(
    r"\b(pass|send|include|provide|attach|read|append|copy|enter|supply)\b.{0,60}"
    r"\b(passwords?|api[ _-]?keys?|access[ _-]?tokens?|secrets?|credentials?|private[ _-]?keys?|"
    r"ssh[ _-]?keys?|cookies?|(conversation|chat)([ _-]?(history|log|context))?|"
    r"(previous|earlier) messages?)\b|~/\.ssh|/etc/shadow|\bid_(rsa|ed25519)\b",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP = re.compile(
    r"<!--|<\s*(system|important|instructions?|secret|hidden|admin)\b", re.IGNORECASE
)
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{80,}|(\\x[0-9a-fA-F]{2}){8,}")
_SAME: Final = (
    ("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"),
    ("q", "g"), ("8", "b"), ("2", "z"), ("-", ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """rule: a key of RULES. place: where in the manifest. text: what was seen, short."""

    rule: str
    place: str
    text: str

    @property
    def severity(self) -> Severity:
        return RULES[self.rule]

    def __str__(self) -> str:
        return f"{self.severity} {self.rule} at {self.place}: {self.text}"


def examine(manifest: Manifest, others: Collection[str], find: Finder) -> list[Finding]:
    """Findings in what a model or a person reads of a tool, the worst first.

    others: names of the other registered tools.
    """
    found = list(_names(manifest.name, others))
    texts = list(_texts(manifest))
    for place, text in texts:
        found += _text(place, text, manifest.name, others)
    spoken = find([text for _, text in texts])
    for (place, _), seen in zip(texts, spoken, strict=True):
        found += (
            Finding(
                "mentions_instructions" if sure == "low" else "instructs_model",
                place, f"{rule}: {_short(what)}",
            )
            for rule, sure, what in seen
        )  # fmt: skip
    hints = manifest.annotations
    if hints.readOnlyHint and hints.destructiveHint:
        cause = "it calls itself read-only and destructive"
        found.append(Finding("contradicting_hints", "annotations", cause))
    if hints.openWorldHint and manifest.network == "none":
        cause = "it calls itself open-world and has no network"
        found.append(Finding("contradicting_hints", "annotations", cause))
    schema = manifest.inputSchema
    if not schema.get("properties") and schema.get("additionalProperties") is not False:
        found.append(Finding("takes_anything", "inputSchema", "no argument is described"))
    order: Final = ("high", "medium", "low")
    return sorted(dict.fromkeys(found), key=lambda finding: order.index(finding.severity))


def refusal(findings: Sequence[Finding], accept: Collection[str]) -> CatalogError | None:
    """Why a manifest is not registered: what is of high severity and was not accepted by name."""
    high = [f for f in findings if f.severity == "high" and f.rule not in accept]
    if not high:
        return None
    rules = sorted({finding.rule for finding in high})
    accepted = " ".join(f"--accept {rule}" for rule in rules)
    return CatalogError(
        "the manifest says what a tool has no reason to say: "
        + "; ".join(str(finding) for finding in high[:5]),
        f"change it, or, where it is meant so, register it with {accepted}",
    )


def _text(place: str, text: str, name: str, others: Collection[str]) -> Iterator[Finding]:
    if (character := hidden_character(text)) is not None:
        yield Finding("hidden_text", place, f"the character {character}")
    patterns = (
        ("hidden_markup", _MARKUP), ("instructs_model", _INSTRUCTS),
        ("asks_for_secrets", _SECRETS), ("encoded_text", _ENCODED),
    )  # fmt: skip
    for rule, pattern in patterns:
        if match := pattern.search(text):
            yield Finding(rule, place, _short(match[0]))
    if len(text) > LONG_TEXT:
        yield Finding("long_text", place, f"{len(text)} characters")
    words = set(re.findall(r"[a-z0-9][a-z0-9-]*[a-z0-9]", text.lower()))
    for other in sorted(words.intersection(others) - {name}):
        if "-" in other or len(other) > NEAR_LENGTH:
            yield Finding("names_other_tool", place, other)


def _names(name: str, others: Collection[str]) -> Iterator[Finding]:
    for other in sorted(others):
        if other == name:
            continue
        if _skeleton(other) == _skeleton(name):
            yield Finding("look_alike", "name", other)
        elif len(name) >= NEAR_LENGTH and _is_near(name, other):
            yield Finding("near_name", "name", other)


def _skeleton(name: str) -> str:
    """What a name looks like at a glance."""
    for seen, read in _SAME:
        name = name.replace(seen, read)
    return name


def _is_near(one: str, two: str) -> bool:
    """One letter added, left out, changed, or two swapped; numbers alone make no look-alike."""
    if abs(len(one) - len(two)) > 1 or re.sub(r"[0-9]", "", one) == re.sub(r"[0-9]", "", two):
        return False
    short, long = sorted((one, two), key=len)
    at = next(
        (i for i, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]),
        len(short),
    )
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[:at] + short[at + 1 : at + 2] + short[at : at + 1] + short[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or swapped == long


def _texts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if manifest.title:
        yield "title", manifest.title
    yield "description", manifest.description
    if manifest.annotations.title:
        yield "annotations.title", manifest.annotations.title
    yield from _strings("inputSchema", manifest.inputSchema)
    if manifest.outputSchema is not None:
        yield from _strings("outputSchema", manifest.outputSchema)


def _strings(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every string of a schema, names of properties too: models read all of it."""
    waiting = [(place, value)]
    while waiting:
        where, item = waiting.pop()
        if isinstance(item, str):
            yield where, item
        elif isinstance(item, list):
            waiting += [(f"{where}[{index}]", inner) for index, inner in enumerate(item)]
        elif isinstance(item, dict):
            for key, inner in item.items():
                if key != "pattern":  # RE2 reads it, and it may well look encoded
                    yield where, key
                    waiting.append((f"{where}.{key[:40]}", inner))


def _short(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 60 else shown[:60] + "…"
