"""Numbers and addresses that name a person: found by form, check digits and what stands near.

A form of digits alone is nothing: tables and logs are full of them. What has a strong checksum
counts by itself; what has a weak one, or none, counts where a word near it says what it is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fumehood.scan import checksums
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import NEAR, Found, Judge, PatternDetector, Rule

_SEPARATORS: Final = re.compile(rb"[^0-9A-Za-z]")
# Hard and narrow blanks; hyphens and dashes (U+2010 to U+2015, U+2212), full-width ones too.
_WIDE: Final = r"\xc2\xa0|\xe2\x80[\x80-\x8a\x90-\x95\xaf]|\xe2\x88\x92|\xef\xbc\x8d"
# ISO/IEC 7812: issuers' ranges and the lengths that they use.
_CARD: Final = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12,15}|35[2-8]\d{13}"
    r"|62\d{14,17}"
)
_CARD_NEAR: Final = (
    rb"card|credit|debit|visa|master|amex|(?:\b|_)pan(?:\b|_)|(?:\b|_)ccn?(?:\b|_)|payment|\xec\xb9\xb4\xeb\x93\x9c"
    rb"|kart[ey]|tarjeta|cart[ea]o?\b|cart\xc3\xa3o|carta\b|kredit|\xe5\x8d\xa1|\xe3\x82\xab\xe3\x83\xbc\xe3\x83\x89|\xd0\xba\xd0\xb0\xd1\x80\xd1\x82|\xe0\xa4\x95\xe0\xa4\xbe\xe0\xa4\xb0\xe0\xa5\x8d\xe0\xa4\xa1"
)


def _digits(found: Found) -> str:
    return _SEPARATORS.sub(b"", found["s"]).decode("ascii")


def _near(found: Found, words: bytes) -> bool:
    start, end = found.span
    around = found.data[max(0, start - NEAR) : end + 16]
    return re.search(words, around, re.IGNORECASE) is not None


def _glued(found: Found) -> bool:
    """Whether it is a part of something longer: a decimal, a version, a UUID, a timestamp."""
    start, end = found.span
    before, after = found.data[max(0, start - 2) : start], found.data[end : end + 2]
    return bool(re.search(rb"[0-9][-._:/]\Z|[0-9A-Za-z_+/]\Z", before)) or bool(
        re.match(rb"[-._:/][0-9A-Za-z]|[0-9A-Za-z_+/=]", after)
    )


def _in_table(found: Found) -> bool:
    """Whether more groups of four stand beside it: code points and offsets are printed so."""
    start, end = found.span
    before, after = found.data[max(0, start - 6) : start], found.data[end : end + 6]
    return bool(
        re.search(rb"[0-9A-Fa-f]{4}\s\Z", before) or re.match(rb"\s[0-9A-Fa-f]{4}\b", after)
    )


_NUMBER_BEFORE: Final = re.compile(rb"([0-9]{17,20})[\s,;()\[\]{}-]{1,60}\Z")
_NUMBER_AFTER: Final = re.compile(rb"[\s,;()\[\]{}-]{1,60}([0-9]{17,20})(?![0-9])")


def _among_numbers(found: Found) -> bool:
    """Whether numbers of 64 bits that are no cards stand on both sides: of the constants of a
    source or the states of a generator, any tenth passes Luhn's check. Times and the numbers of
    accounts are shorter."""
    start, end = found.span
    beside = (
        _NUMBER_BEFORE.search(found.data[max(0, start - 90) : start]),
        _NUMBER_AFTER.match(found.data[end : end + 90]),
    )
    return all(number is not None and not _is_card(number[1].decode()) for number in beside)


# `"message_id": 42…`, `ts=…`, `EAN …`: what is said to be an identifier or a time.
_IDENTIFIED: Final = re.compile(
    rb"(?:(?i:(?:\b|_)(?:ids?|uid|ts|ns|seq|nonce|imei|ean|upc|gtin|isbn|iccid|snowflake|time|timestamp|sequence|offset"
    rb"|barcode|serial|tracking)(?:[ _]?(?:no|num|number|ns|us))?)|[a-z]I[dD]|[a-z]T(?:ime|imestamp))[\"']?\s{0,3}[:=#]?\s{0,3}[\"']?\Z"
)


def _is_card(digits: str) -> bool:
    return _CARD.fullmatch(digits) is not None and checksums.luhn(digits) and len(set(digits)) >= 2


def _card(found: Found) -> Confidence | None:
    digits = _digits(found)
    if not _is_card(digits) or _glued(found):
        return None
    spaced = len(digits) != len(found["s"])
    if spaced and _in_table(found):
        return None
    if spaced or _near(found, _CARD_NEAR):
        return "high"
    # Numbers of 64 bits: of those with 17 to 19 digits any tenth that begins like a card is one.
    if len(digits) not in (15, 16) or _among_numbers(found):
        return "low"
    start = found.span[0]
    return "low" if _IDENTIFIED.search(found.data[max(0, start - 40) : start]) else "medium"


def _iban(found: Found) -> Confidence | None:
    text = _SEPARATORS.sub(b"", found["s"]).decode("ascii").upper()
    return "high" if checksums.iban(text) else None


def _checked(check: Callable[[str], bool], words: bytes, alone: Confidence | None) -> Judge:
    """alone: how sure it is without one of `words` near it."""

    def judge(found: Found) -> Confidence | None:
        if _glued(found) or not check(_digits(found).upper()):
            return None
        return "high" if _near(found, words) else alone

    return judge


_SSN_NEAR: Final = rb"(?:\b|_)ssn|ssn(?:\b|_)|soc(?:ial)?.{0,3}sec(?:urity)?\b|seguro.{0,3}social|taxpayer|(?:\b|_)i?tin(?:\b|_)"
# What has numbers of the same form: `Part number 456-78-9123`.
_PART: Final = re.compile(
    rb"(?i)\b(?:parts?|p/n|pn|sku|models?|items?|catalog(?:ue)?|serial|ref(?:erence)?|order|ticket|invoice|lot|batch|article"
    rb"|products?|replaces|mpn|isbn|bug|case|phone|tel|fax|zip)\b[^\n]{0,40}\Z"
)


def _issued(found: Found) -> bool:
    digits = _digits(found)
    return checksums.american(int(digits[:3]), int(digits[3:5]), int(digits[5:]))


def _ssn(found: Found) -> Confidence | None:
    if _glued(found) or not _issued(found):
        return None
    if _near(found, _SSN_NEAR):
        return "high"
    if found["s"].count(b"-") != 2:
        return None
    start = found.span[0]
    return "low" if _PART.search(found.data[max(0, start - NEAR) : start]) else "medium"


def _nino(found: Found) -> Confidence | None:
    near = _near(
        found, rb"national.insurance|(?:\b|_)nino(?:\b|_)|(?:\b|_)ni(?:\b|_)[ _]?(?:no|num)"
    )
    return "high" if near else ("medium" if b" " in found["s"] else "low")


def _email(found: Found) -> Confidence | None:
    text = found["s"].lower()
    if text.endswith((b".png", b".jpg", b".svg", b".gif", b".js", b".css")):
        return None
    return (
        "low" if re.search(rb"@(?:example\.|test\.|localhost)|noreply|no-reply", text) else "high"
    )


def _phone(found: Found) -> Confidence | None:
    digits = re.sub(rb"\D", b"", found["s"])
    if _glued(found) or not 8 <= len(digits) <= 15:
        return None
    near = _near(
        found,
        rb"phone|mobile|\btel|\bcell|\bcall|contact|fax|whatsapp|\xec\xa0\x84\xed\x99\x94|"
        rb"t\xc3\xa9l|m(?:o|\xc3\xb3)vil|celular|handy|portable|mobil|(?:\xd1\x82|\xd0\xa2)\xd0\xb5\xd0\xbb|\xe6\x89\x8b\xe6\x9c\xba|\xe6\x90\xba\xe5\xb8\xaf|"
        rb"\xe0\xa4\xab\xe0\xa5\x8b\xe0\xa4\xa8|\xed\x9c\xb4\xeb\x8c\x80|\xe7\x94\xb5\xe8\xaf\x9d|\xe9\x9b\xbb\xe8\xa9\xb1",
    )
    if near or found["s"].startswith(b"+"):
        return "high" if near else "medium"
    formed = re.match(rb"01[016789]-|\([0-9]{3}\)", found["s"])
    return "medium" if formed else "low"


def _ip(found: Found) -> Confidence | None:
    try:
        address = ipaddress.ip_address(found["s"].decode("ascii"))
    except ValueError:
        return None
    if _near(found, rb"version|\bv\d*$"):
        return None
    return "high" if address.is_global else "low"


_CPF_NEAR: Final = rb"(?:\b|_)cpf|cpf(?:\b|_)"
_RRN_NEAR: Final = (
    rb"\xec\xa3\xbc\xeb\xaf\xbc|\xeb\x93\xb1\xeb\xa1\x9d|(?:\b|_)rrn(?:\b|_)|jumin|resident"
)
_B: Final = r"(?:^|[^0-9A-Za-z._/+-])"
_E: Final = r"(?:$|[^0-9A-Za-z_/+=-])"


def _rule(name: str, pattern: str, judge: Judge, near: bytes = b"") -> Rule:
    pattern = f"{_B}(?P<s>{pattern}){_E}"
    # Where to look: as literals, which are found four times as fast; the judge asks exactly.
    near = near.replace(rb"(?:\b|_)", b"")
    return Rule(name, "high", pattern, judge=judge, kind="personal_data", near=near)


def _named(name: str, pattern: str, check: Callable[[str], bool], words: bytes) -> Rule:
    """What counts beside one of `words` only."""
    return _rule(name, pattern, _checked(check, words, None), words)


# Tables of code points and offsets: `_in_table` says of all groups that none is a card, and asked
# for each of them it takes 1 s for a megabyte.
_TABLE: Final = rf"{_B}[0-9]{{4}}(?:\s[0-9]{{4}}){{4,}}\b"


RULES: Final[Sequence[Rule]] = (
    Rule("payment-card", "high",
         rf"{_TABLE}|{_B}(?P<s>[2-6][0-9]{{3}}[ -]?[0-9]{{4}}[ -]?[0-9]{{4}}[ -]?[0-9]{{1,7}}"
         rf"|3[47][0-9]{{2}}[ -]?[0-9]{{6}}[ -]?[0-9]{{5}}){_E}", judge=_card, kind="personal_data"),
    _rule("iban", r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?", _iban),
    _rule("national-id-kr", r"[0-9]{6}-[0-9]{7}", lambda found: _rrn(found)),
    _rule("national-id-kr", r"[0-9]{13}", lambda found: _rrn(found), _RRN_NEAR),
    _rule("national-id-cn", r"[1-8][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]",
          _checked(checksums.chinese, rb"\xe8\xba\xab\xe4\xbb\xbd|\bid\b|identity", "high")),
    _rule("national-id-us", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _ssn),
    _rule("national-id-us", r"[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}|[0-9]{9}", _ssn, _SSN_NEAR),
    _rule("national-id-es", r"(?:[0-9]{8}|[XYZ][0-9]{7})-?[A-Z]",
          _checked(checksums.spanish, rb"(?:\b|_)(?:dni|nie|nif)(?:\b|_)|documento", "medium")),
    _rule("national-id-it", r"[A-Z]{6}[0-9]{2}[ABCDEHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
          _checked(checksums.italian, rb"codice|fiscale", "high")),
    _rule("national-id-fr",
          r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
          _checked(checksums.french, rb"s\xc3\xa9cu|(?:\b|_)nir(?:\b|_)|secu|insee", "medium")),
    _rule("national-id-br", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", lambda found: _cpf(found)),
    _rule("national-id-br", r"[0-9]{11}", lambda found: _cpf(found), _CPF_NEAR),
    _named("national-id-in", r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}",
           checksums.indian, rb"aadhaar|aadhar|uidai|\xe0\xa4\x86\xe0\xa4\xa7\xe0\xa4\xbe\xe0\xa4\xb0"),
    _named("national-id-de", r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
           checksums.german, rb"steuer|idnr|tin\b"),
    _named("national-id-jp", r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}",
           checksums.japanese, rb"\xe3\x83\x9e\xe3\x82\xa4\xe3\x83\x8a|my[ _-]?number|"
           rb"\xe5\x80\x8b\xe4\xba\xba\xe7\x95\xaa\xe5\x8f\xb7"),
    _named("national-id-pl", r"[0-9]{11}", checksums.polish, rb"pesel"),
    _named("national-id-nl", r"[0-9]{9}", checksums.dutch, rb"(?:\b|_)bsn(?:\b|_)|burgerservice|sofi.?nummer"),
    _named("national-id-ca", r"[1-79][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}",
           checksums.luhn, rb"(?:\b|_)sin(?:\b|_)|social insurance|assurance.{0,3}sociale"),
    _rule("national-id-gb",
          r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", _nino),
)  # fmt: skip


_GAP: Final = rf"(?:[. -]|{_WIDE})"
FORMS: Final[Sequence[Rule]] = (
    _rule("payment-card", rf"[2-6][0-9]{{3}}{_GAP}[0-9]{{4}}{_GAP}[0-9]{{4}}{_GAP}[0-9]{{1,7}}", _card),
    # ISO/IEC 7813: what a magnetic stripe holds, tracks 2 and 1.
    Rule("payment-card", "high", r";(?P<s>[2-6][0-9]{12,18})=[0-9]{7}",
         judge=lambda found: _track(found), kind="personal_data"),
    Rule("payment-card", "high", r"%B(?P<s>[2-6][0-9]{12,18})\^",
         judge=lambda found: _track(found), kind="personal_data"),
    Rule("iban", "high",
         r"(?i)iban[^\n0-9]{0,40}?[^a-z0-9](?P<s>[a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,3})?)(?:$|[^a-z0-9])",
         judge=_iban, kind="personal_data"),
    Rule("national-id-us", "high", r"(?i)ssn_(?P<s>[0-9]{3}-?[0-9]{2}-?[0-9]{4})(?:$|[^0-9A-Za-z])",
         judge=lambda found: "high" if _issued(found) else None, kind="personal_data"),
    _rule("national-id-kr", rf"[0-9]{{6}}[ ]?(?:-|{_WIDE})[ ]?[0-9]{{7}}", lambda found: _rrn(found)),
)  # fmt: skip
"""Numbers as `RULES` has them, in other spellings: a detector of its own, which costs a tenth."""

FORMS_GATE: Final = (
    rf"[0-9] ?(?:{_WIDE}) ?[0-9]{{4}}", r"[;B][2-6][0-9]{12}", r"[0-9]{4}\.[0-9]{4}\.[0-9]{4}\.",
    r"(?i)iban[^\n0-9]+[0-9]{2}", r"- [0-9]{7}", r"(?i)ssn_[0-9]{3}",
)  # fmt: skip


def _track(found: Found) -> Confidence | None:
    return "high" if _is_card(_digits(found)) else None


def _rrn(found: Found) -> Confidence | None:
    digits = _digits(found)
    if _glued(found) or not checksums.korean_date(digits):
        return None
    near, checked = _near(found, _RRN_NEAR), checksums.korean(digits)
    if len(found["s"]) > len(digits):
        # Those given since October 2020 have no check digit.
        return "high" if near or checked else "low"
    return "high" if near and checked else ("medium" if near else None)


def _cpf(found: Found) -> Confidence | None:
    if _glued(found) or not checksums.brazilian(_digits(found)):
        return None
    if b"." in found["s"] or _near(found, _CPF_NEAR):
        return "high"
    return None


CONTACTS: Final[Sequence[Rule]] = (
    Rule("email-address", "low",
         r"(?:^|[^A-Za-z0-9._%+/-])(?P<s>[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@"
         r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24})(?:$|[^A-Za-z0-9-])",
         judge=_email, kind="personal_data"),
    Rule("phone-number", "low",
         r"(?:^|[^0-9A-Za-z.+/_-])(?P<s>\+[1-9][0-9]{0,2}[ .-]?(?:\(0?[0-9]{1,4}\)[ .-]?)?"
         r"[0-9]{1,4}(?:[ .-]?[0-9]{2,4}){2,4}|01[016789]-[0-9]{3,4}-[0-9]{4}"
         r"|0[2-9][0-9]?-[0-9]{3,4}-[0-9]{4}|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}"
         r"|[2-9][0-9]{2}[.-][2-9][0-9]{2}[.-][0-9]{4}|1-[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}"
         # France; Great Britain, Germany, Australia; Brazil; China; India; Russia; Spain, Poland.
         r"|0[1-9](?:[ .][0-9]{2}){4}|0[1-9][0-9]{1,4}[ /-][0-9]{3,4}[ -]?[0-9]{3,5}|\([0-9]{2,5}\) ?9?[0-9]{3,4}[ -]?[0-9]{3,4}"
         r"|1[3-9][0-9](?:[ -]?[0-9]{4}){2}|[6-9][0-9]{4} [0-9]{5}|8 ?\([0-9]{3}\) ?[0-9]{3}-[0-9]{2}-[0-9]{2}"
         r"|[5-9][0-9]{2}(?: [0-9]{3}){2})" + _E,
         judge=_phone, kind="personal_data"),
    Rule("ip-address", "low",
         r"(?:^|[^0-9A-Za-z.:])(?P<s>(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
         r"|(?:[0-9a-fA-F]{1,4}:){2,7}(?::[0-9a-fA-F]{1,4}){0,6}[0-9a-fA-F]{0,4})"
         r"(?:$|[^0-9A-Za-z.:])",
         judge=_ip, kind="personal_data"),
)  # fmt: skip
"""Looked for only where a policy does more with them than to let them pass."""


GATE: Final = (rf"{_B}[0-9XYZ][0-9AB ./-]{{6,}}[0-9A-Zx]{_E}", r"[A-Z]{2} ?[0-9]{2}")
"""Digits with what separates them, set apart from what stands around; letters before digits."""


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("personal", RULES, cache, gate=GATE)


def forms(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("personal-forms", FORMS, cache, gate=FORMS_GATE)


def contacts(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("contacts", CONTACTS, cache)
