"""Private keys without the lines around them: DER in base64 (RFC 5958, 8017, 5915), OpenSSH's own
format, and the members of JSON Web Keys that are private (RFC 7518, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Rule

MAX_OBJECT: Final = 4096
"""Bytes to both sides in which a member says of what kind the key is; RSA-4096 has 3,300."""

_C: Final = "[A-Za-z0-9+/]"
_LENGTH: Final = f"MII{_C}{_C}[AQgw]IBA"
"""SEQUENCE of 256 bytes or more, INTEGER 0."""


def _member(found: Found) -> Confidence | None:
    """Whether the object in which it stands is a key."""
    start, end = found.span
    before = found.data[max(0, start - MAX_OBJECT) : start]
    after = found.data[end : end + MAX_OBJECT]
    around = before[before.rfind(b"{") + 1 :] + after.partition(b"}")[0]
    return "high" if b'"kty"' in around or b"'kty'" in around else None


RULES: Final[Sequence[Rule]] = (
    Rule(
        "private-key", "high",
        rf"(?:^|[^A-Za-z0-9+/])(?P<s>(?:{_LENGTH}DANBgkqhkiG9w0BAQ|{_LENGTH}AK[BC]|MI{_C}{_C}AgEAM{_C}{_C}GByqGSM49AgEG"
        rf"|MC4CAQAwBQYDK2VwBCIEI|MHcCAQEEI|MIGkAgEBBD|b3BlbnNzaC1rZXktdjEA){_C}{{40,}}"
        rf"(?:\r?\n[ \t]{{0,8}}{_C}{{16,}})*={{0,2}})",
    ),
    Rule(
        "private-key", "high",
        r"[\"'](?:d|k|p|q|dp|dq|qi)[\"']\s{0,8}:\s{0,8}[\"'](?P<s>[A-Za-z0-9_-]{16,1000})[\"']",
        judge=_member,
    ),
)  # fmt: skip
