"""Private keys of wallets: extended keys (BIP 32), Bitcoin's import format, and BIP 38.

Forms of letters alone, which nothing but their checksum tells. Beside other rules these patterns
cost ten times what they cost by themselves, so they are a detector of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, PatternDetector, Rule

_BASE58: Final = {
    letter: place
    for place, letter in enumerate(b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}


def _checked(found: Found) -> Confidence | None:
    """Base58Check: four bytes, one in four billion."""
    number = 0
    value = found["s"]
    for letter in value:
        number = number * 58 + _BASE58[letter]
    zeros = len(value) - len(value.lstrip(b"1"))
    data = b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return (
        "high"
        if hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]
        else None
    )


_C: Final = "[1-9A-HJ-NP-Za-km-z]"

RULES: Final[Sequence[Rule]] = (
    Rule("private-key", "high", rf"\b(?P<s>[xyztuvYZUV]prv{_C}{{100,112}})\b", judge=_checked),
    Rule("private-key", "high", rf"\b(?P<s>(?:5[HJK]|[KL]{_C}|c[M-V]|6P){_C}{{49,56}})\b", judge=_checked),
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("wallets", RULES, cache)
