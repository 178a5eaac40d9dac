"""Secrets that are broken over the strings of one text: `["ghp_…", "…"]`, `{"a": "AKIA…", "b": "…"}`,
`"…" + "…"`. Whoever joins the strings has them.

Every JSON text is full of strings that follow one another. So a join begins only where a string
ends inside of what known tokens, keys, addresses and given values begin with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import re2

from fumehood.scan.patterns import PatternDetector, Rule
from fumehood.scan.seams import BETWEEN, MAX_JOINED, Joined, Segment

MAX_BEGINNINGS: Final = 64
"""Places in one chunk from which strings are joined."""
MAX_STRINGS: Final = 64
"""Strings that are joined from one place on, each of up to MAX_STRING bytes."""
MAX_STRING: Final = 4096
MAX_ENDS: Final = 16
"""Strings after which the secret may be over: each is tried."""
MAX_BETWEEN: Final = 400
"""Bytes of names, punctuation and numbers between two strings."""
BEFORE: Final = 256

_REST: Final = r"[A-Za-z0-9_./+=:~-]{0,512}"
_PREFIX: Final = (
    r"(?:gh[oprsu](?:_|[\"'])|github_pat|glpat|glpa[\"']|xox[a-z](?:-|[\"'])|xapp-|sk-|sk_l|sk_t|rk_l|whsec|AIza|ya29|npm_"
    r"|pypi-|SG\.|hf_|dop_v1|shp(?:at|ca|pa|ss)|hvs\.|hvb\.|dckr_|AGE-S|lin_api|tskey|GOCSPX|NRAK|sq0|secret_|ntn_|AKIA|ASIA"
    r"|ABIA|ACCA|eyJ|LTAI|AKID|glsa_|glc_|figd_|dapi|PMAK|ATATT|ATBB|sbp_|rubygems_|pscale_|pplx-|gsk_|xai-|sntry|nfp_"
    r"|hooks\.slack\.com|webhooks/|\$2[abxy]\$|\$6\$|\$5\$|\$y\$)"
)
_BEGINNINGS: Final = PatternDetector(
    "broken",
    (
        Rule("token", "low", rf"{_PREFIX}{_REST}[\"']"),
        Rule("key", "low", r"-----BEGIN [A-Z0-9 ]{0,40}(?:PRIV[A-Z]{0,3}(?: K?E?Y?)?|PRIVATE KEY[^\"']*)[\"']"),
        Rule("hook", "low", r"https://(?:[a-z.]{0,14}|hooks\.[^\s\"']{0,200})[\"']"),
        Rule(
            "scheme", "low",
            r"\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|s?ftps?|ssh|smtps?|ldaps?)"
            r":/{0,2}[^\s@\"']{0,128}[\"']",
        ),
        Rule("address", "low", r"[a-z][a-z0-9+.-]{1,20}://[^\s:@/\"']{0,64}:[^\s@/\"']{0,128}[\"']"),
        Rule("named", "low", r"(?i)(?:passw(?:or)?d|passwd|pwd|secret|token|api_?key)[\\]?=[^\s\"'&;]{1,64}[\"']"),
    ),
)  # fmt: skip
# Its end, and where the next one begins: punctuation, numbers and a name, in JSON, in what leaves
# are rendered as, and in code.
_NEXT: Final = re.compile(
    rb"[\"'](?:[\s,+(){}\[\]:;\\]|[\"'][^\"'\n]{0,64}[\"']\s{0,8}:|\b(?:null|true|false)\b"
    rb"|(?<![0-9.])[0-9.]+(?![0-9.])|(?<=\n)[^\"'\n]{0,64}:[ ])*[\"']"
)
_LINK: Final = re.compile(rb"[!-~]+(?:(?:\\n|\r?\n)[!-~]+)*(?:\\n|\r?\n)?")
_TEXT: Final = re.compile(rb"[^\n]*")
_NAME: Final = re.compile(
    rb"(?:[\"']([^\"'\n]{1,64})[\"']\s{0,8}:|(?:^|\n)([^\"'\n]{1,64}):)\s{0,64}[\"']\Z"
)
_DIGITS: Final = b"0123456789"
_FORMS: Final = frozenset(("scheme", "address", "named"))
"""What any text holds: values of different names are no parts of one of these."""
_Pattern: TypeAlias = "tuple[Any, re.Pattern[bytes], bool]"


def load(cache: Path | None) -> None:
    """Compile the patterns now, so that no invocation waits for it."""
    _BEGINNINGS.load(cache)


def joined(data: bytes, *values: Any) -> Joined | None:
    """Strings of `data` that follow one another, put together, where one may begin a secret.

    values: patterns of what given values begin with (`beginnings`), or None.
    """
    if b'"' not in data and b"'" not in data:
        return None
    patterns: list[_Pattern] = [
        (rule.compiled, _LINK, rule.name in _FORMS) for rule in _BEGINNINGS.occurring(data)
    ]
    patterns += [(pattern, _TEXT, False) for pattern in values if pattern is not None]
    return _joined(data, patterns) if patterns else None


def beginnings(values: Iterable[bytes]) -> Any:
    """A pattern for a string that ends in the beginning of one of these, of 3 bytes or more."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return re2.compile(b"(?:" + b"|".join(map(_beginning, values)) + b")[\"']", options)


def _beginning(value: bytes) -> bytes:
    first = bytes(re2.escape(value[:3]))
    rest = [bytes(re2.escape(value[at : at + 1])) for at in range(3, min(len(value) - 1, 64))]
    return first + b"".join(b"(?:" + one for one in rest) + b")?" * len(rest)


def _joined(data: bytes, patterns: Sequence[_Pattern]) -> Joined | None:
    result = Joined()
    parts: list[bytes] = []
    size = run = 0
    for begin, end, link, same in _places(data, patterns):
        strings = _strings(data, begin, end, link, same=same)
        for count in range(2, len(strings) + 1):
            if size > MAX_JOINED or (count > MAX_ENDS and count != len(strings)):
                continue
            run += 1
            for number, (start, stop) in enumerate(strings[:count]):
                result.segments.append(
                    Segment(size, 0, start, stop, run, bare=False, whole=number > 0)
                )
                parts.append(data[start:stop])
                size += stop - start
            parts.append(BETWEEN)
            size += len(BETWEEN)
    if not parts:
        return None
    result.data = b"".join(parts)
    return result


def _places(
    data: bytes, patterns: Sequence[_Pattern]
) -> Iterator[tuple[int, int, re.Pattern[bytes], bool]]:
    """Where a string begins to look like a secret, where it ends, what a middle part is, and
    whether all parts have one name."""
    left = MAX_BEGINNINGS
    for pattern, link, same in patterns:
        reach = -1
        for found in pattern.finditer(data):
            start, end = found.span()
            if start < reach:
                continue
            reach = end
            line = data.rfind(b"\n", max(0, start - BEFORE), start) + 1
            yield line or max(0, start - BEFORE), end - 1, link, same
            left -= 1
            if not left:
                return


def _strings(
    data: bytes, begin: int, end: int, link: re.Pattern[bytes], *, same: bool
) -> list[tuple[int, int]]:
    """The first string, with what stands before it, and those that follow. same: until one has
    another name."""
    strings = [(begin, end)]
    name = (
        _name(data, data.rfind(data[end : end + 1], max(0, end - MAX_STRING), end)) if same else b""
    )
    while len(strings) < MAX_STRINGS:
        following = _NEXT.match(data, end, end + MAX_BETWEEN)
        if following is None:
            break
        start = following.end()
        if same and _name(data, start - 1) != name:
            break
        quote = data[start - 1 : start]
        end = data.find(quote, start, start + MAX_STRING)
        if end < 0:
            break
        if end > start:
            strings.append((start, end))
        if link.fullmatch(data, start, end) is None:
            break
    return strings


def _name(data: bytes, quote: int) -> bytes:
    """What names the string whose quote stands there, its digits left out; empty if nothing."""
    found = _NAME.search(data[max(0, quote - 160) : quote + 1]) if quote >= 0 else None
    return (found[1] or found[2]).translate(None, _DIGITS) if found else b""
