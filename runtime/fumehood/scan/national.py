"""Numbers of persons of more countries, by their check digits.

A number that its form tells counts by itself. One that any number of its length may be counts
behind a word that says what it is; the pattern begins with that word, which costs a text full of
numbers nothing. Must never take a number that fails its check.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fumehood.scan.checksums import luhn
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Judge, PatternDetector, Rule

_SEPARATORS: Final = re.compile(rb"[^0-9A-Za-z]")
_PART_BEFORE: Final = re.compile(rb"[0-9][-._:/]\Z|[0-9A-Za-z_+/]\Z")
_PART_AFTER: Final = re.compile(rb"[-._:/][0-9A-Za-z]|[0-9A-Za-z_+/=]")
_CURP: Final = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"
# What letters of Taiwanese numbers count, from 10 on.
_TAIWAN: Final = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
_SINGAPORE: Final = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT"}


def _sum(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _is_date(text: str) -> bool:
    """YYMMDD, of either century."""
    year, month, day = int(text[:2]), int(text[2:4]), int(text[4:6])
    for century in (1900, 2000):
        try:
            datetime.date(century + year, month, day)
        except ValueError:
            continue
        return True
    return False


def russian(digits: str) -> bool:
    """SNILS (11 digits, mod 101) or a person's INN (12, two check digits); one in a hundred."""
    if len(set(digits)) < 3:
        return False
    if len(digits) == 11:
        return _sum(digits[:9], range(9, 0, -1)) % 101 % 100 == int(digits[9:])
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    first, last = _sum(digits[:10], weights[1:]) % 11 % 10, _sum(digits[:11], weights) % 11 % 10
    return digits[10:] == f"{first}{last}"


def mexican(text: str) -> bool:
    """CURP: birth date and mod 10 over letters; one in ten."""
    total = sum(_CURP.index(c) * (18 - place) for place, c in enumerate(text[:17]))
    return _is_date(text[4:10]) and text[17] == str(-total % 10)


def turkish(digits: str) -> bool:
    """T.C. Kimlik No: two check digits; one in a hundred."""
    odd, even = sum(map(int, digits[0:9:2])), sum(map(int, digits[1:8:2]))
    tenth = (odd * 7 - even) % 10
    return digits[9:] == f"{tenth}{(odd + even + tenth) % 10}"


def thai(digits: str) -> bool:
    """Mod 11; one in eleven."""
    return (11 - _sum(digits, range(13, 1, -1)) % 11) % 10 == int(digits[12])


def south_african(digits: str) -> bool:
    """Birth date, whether a citizen, Luhn; one in a thousand."""
    return _is_date(digits) and digits[10] in "012" and luhn(digits)


def iranian(digits: str) -> bool:
    """Mod 11; one in eleven."""
    rest = _sum(digits, range(10, 1, -1)) % 11
    return len(set(digits)) > 1 and (rest if rest < 2 else 11 - rest) == int(digits[9])


def argentine(digits: str) -> bool:
    """CUIL of a person: mod 11; one in eleven."""
    rest = 11 - _sum(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return {11: 0, 10: 9}.get(rest, rest) == int(digits[10])


def chilean(text: str) -> bool:
    """RUN: mod 11, whose ten is K; one in eleven."""
    rest = -_sum(text[-2::-1], (2, 3, 4, 5, 6, 7, 2, 3)) % 11
    return "0123456789K"[rest] == text[-1].upper()


def australian(digits: str) -> bool:
    """Tax file number: mod 11; one in eleven."""
    return len(set(digits)) > 1 and _sum(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def taiwanese(text: str) -> bool:
    """Mod 10; one in ten."""
    letter = _TAIWAN.index(text[0]) + 10
    return (letter // 10 + letter % 10 * 9 + _sum(text[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def singaporean(text: str) -> bool:
    """NRIC and FIN: a letter for mod 11; one in 26."""
    return _SINGAPORE[text[0]][_sum(text[1:8], (2, 7, 6, 5, 4, 3, 2)) % 11] == text[8]


def swedish(digits: str) -> bool:
    """Birth date, or one 60 days off, and Luhn."""
    short = digits[-10:]
    day = int(short[4:6])
    return _is_date(f"{short[:4]}{day - 60 if day > 60 else day:02}") and luhn(short)


def swiss(digits: str) -> bool:
    """AHV number: EAN-13."""
    return -_sum(digits[:12], (1, 3) * 6) % 10 == int(digits[12])


def belgian(digits: str) -> bool:
    """Mod 97, with a 2 in front for who was born since 2000."""
    number, check = int(digits[:9]), int(digits[9:])
    return _is_date(digits) and check in (97 - number % 97, 97 - (number + 2 * 10**9) % 97)


def romanian(digits: str) -> bool:
    """CNP: birth date and mod 11."""
    rest = _sum(digits, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return _is_date(digits[1:]) and (1 if rest == 10 else rest) == int(digits[12])


def _judge(check: Callable[[str], bool], sure: Confidence) -> Judge:
    def judge(found: Found) -> Confidence | None:
        start, end = found.span
        data = found.data
        if _PART_BEFORE.search(data[max(0, start - 2) : start]) is not None:
            return None
        if _PART_AFTER.match(data[end : end + 2]) is not None:
            return None
        return sure if check(_SEPARATORS.sub(b"", found["s"]).decode("ascii")) else None

    return judge


def _rule(
    country: str,
    pattern: str,
    judge: Judge,
    before: str = r"(?:^|[^0-9A-Za-z._/+-])",
    first: str = "",
) -> Rule:
    whole = rf"{before}(?P<s>{pattern})(?:$|[^0-9A-Za-z_/+=-])"
    name = f"national-id-{country}"
    return Rule(name, "high", whole, judge=judge, kind="personal_data", first=first)


def _formed(
    country: str, pattern: str, check: Callable[[str], bool], sure: Confidence, first: str = ""
) -> Rule:
    """A number that its form tells. first: see `Rule`."""
    return _rule(country, pattern, _judge(check, sure), first=first)


def _named(country: str, words: str, pattern: str, check: Callable[[str], bool]) -> Rule:
    """A number behind a word that says what it is, within 80 bytes."""
    before = rf"(?:{words})(?:.|\n){{0,80}}?[^0-9A-Za-z._/+-]"
    return _rule(country, pattern, _judge(check, "high"), before)


FORMED: Final[Sequence[Rule]] = (
    _formed("ru", r"[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}", russian, "medium", r"-[0-9]{3}-[0-9]{3}[ -][0-9]{2}"),
    _formed("mx", r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}[A-Z0-9][0-9]", mexican, "high"),
    _formed("th", r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]|[1-8] [0-9]{4} [0-9]{5} [0-9]{2} [0-9]", thai, "medium", r"-[0-9]{5}-[0-9]{2}-[0-9]| [0-9]{5} [0-9]{2} [0-9]"),
    _formed("ch", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", swiss, "high"),
    _formed("be", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", belgian, "high"),
)  # fmt: skip
NAMED: Final[Sequence[Rule]] = (
    _named("ru", r"(?i:snils)|(?:\b|_)(?i:inn)(?:\b|_)|\xd0\xa1\xd0\x9d\xd0\x98\xd0\x9b\xd0\xa1|\xd0\x98\xd0\x9d\xd0\x9d"
           r"|\xd1\x81\xd0\xbd\xd0\xb8\xd0\xbb\xd1\x81", r"[0-9]{11,12}|[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}", russian),
    _named("tr", r"(?i:tckn|kimlik|vatanda|\bt\.?c\.? (?:no|id))", r"[1-9][0-9]{10}", turkish),
    _named("th", r"\xe0\xb8\x9b\xe0\xb8\xa3\xe0\xb8\xb0\xe0\xb8\x8a\xe0\xb8\xb2\xe0\xb8\x8a\xe0\xb8\x99|(?i:thai|citizen|national[ _-]?id)",
           r"[1-8][0-9]{12}", thai),
    _named("za", r"(?i:south[ _-]?africa|\bsa[ _-]?id|\brsa[ _-]?id|identity n|id[ _-]?num)", r"[0-9]{6} ?[0-9]{4} ?[0-9]{3}", south_african),
    _named("ir", r"\xda\xa9\xd8\xaf[ \xe2\x80\x8c]{0,3}\xd9\x85\xd9\x84\xdb\x8c|(?i:melli|national[ _-]?(?:id|code)|\biran)",
           r"[0-9]{3}-?[0-9]{6}-?[0-9]", iranian),
    _named("ar", r"(?i:(?:\b|_)cui[lt](?:\b|_))", r"(?:2[03467]|3[034])-?[0-9]{8}-?[0-9]", argentine),
    _named("cl", r"(?i:(?:\b|_)ru[tn](?:\b|_)|chile)|c\xc3\xa9dula", r"[1-9][0-9]?\.?[0-9]{3}\.?[0-9]{3}-[0-9Kk]", chilean),
    _named("au", r"(?i:(?:\b|_)tfn(?:\b|_)|tax[ _-]file)", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}", australian),
    _named("tw", r"\xe8\xba\xab(?:\xe5\x88\x86|\xe4\xbb\xbd)|(?i:taiwan|national[ _-]?id|\bid[ _-]?n)", r"[A-Z][1289][0-9]{8}", taiwanese),
    _named("sg", r"(?i:nric|(?:\b|_)fin(?:\b|_)|singapore)", r"[STFG][0-9]{7}[A-Z]", singaporean),
    _named("se", r"(?i:personn|samordningsn|svensk|swedish)", r"(?:19|20)?[0-9]{6}[-+]?[0-9]{4}", swedish),
    _named("ch", r"(?i:(?:\b|_)ahv|(?:\b|_)avs(?:\b|_)|sozialvers)", r"756[0-9]{10}", swiss),
    _named("be", r"(?i:rijksr|registre national|(?:\b|_)niss(?:\b|_)|(?:\b|_)insz(?:\b|_))", r"[0-9]{11}", belgian),
    _rule("ca", r"[1-79][0-9]{8}", _judge(luhn, "high"),
          r"(?:\b|_)(?i:sin(?:_?(?:no|num|number|primary))?)[\"']?\s{0,3}[:=]\s{0,3}[\"']?"),
    _named("ca", r"(?i:social insurance|assurance.{0,3}sociale)", r"[1-79][0-9]{8}", luhn),
    _named("ro", r"(?i:(?:\b|_)cnp(?:\b|_)|cod numeric)", r"[1-8][0-9]{12}", romanian),
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("national", (*FORMED, *NAMED), cache)
