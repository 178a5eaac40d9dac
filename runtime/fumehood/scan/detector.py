"""What a detector is: it takes bytes and finds; it must never decide what happens to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal[
    "secret", "personal_data", "hidden_text", "encoding", "injection", "payload",
    "schema", "artifact", "scanner",
]  # fmt: skip
Severity: TypeAlias = Literal["low", "medium", "high"]
Confidence: TypeAlias = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Match:
    """One thing seen in the bytes `start:end` of the data given.

    value: what was seen, where it differs from those bytes (it stood there encoded, or with
        characters in between that nobody sees); empty otherwise.
    count: how often, for rules that report their first place only.
    confidence: how sure the detector is that it is what `rule` says.
    decoded: by which steps `value` was read from those bytes, the outermost first.
    """

    rule: str
    kind: Kind
    severity: Severity
    start: int
    end: int
    value: bytes = b""
    count: int = 1
    confidence: Confidence = "high"
    decoded: tuple[str, ...] = ()


TOO_MANY: Final = "too-many-"


def too_many(match: Match, count: int = 1) -> Match:
    """What says that there are at least `count` more like `match`, from its place on, that nobody
    looked at one by one: salted output costs no more than other output, and is told of."""
    if match.rule.startswith(TOO_MANY):
        return replace(match, count=match.count + count)
    return replace(match, rule=TOO_MANY + match.rule, value=b"", count=count)


class Detector(Protocol):
    """One way of looking. Any exception means that the output was not looked at: it is withheld."""

    @property
    def name(self) -> str:
        """What findings and records call this detector."""

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        """Every match in `data`, in any order, within about `seconds` or by TimeoutError."""
