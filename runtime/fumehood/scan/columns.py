"""Numbers of persons in the columns of tables: CSV, TSV, Markdown and what databases print.

The word that says what a number is stands in the heading, once, and its rows may be thousands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fumehood.scan import checksums, national
from fumehood.scan.detector import Match
from fumehood.scan.grid import HeadedDetector, grid
from fumehood.scan.patterns import Rule

MAX_ROWS: Final = 100_000
MAX_VALUE: Final = 24
_APART: Final = re.compile(rb"[ .\-/]")
_NINO: Final = re.compile("[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}[A-D]")


def _american(text: str) -> bool:
    return checksums.american(int(text[:3]), int(text[3:5]), int(text[5:]))


def _card(text: str) -> bool:
    return checksums.luhn(text) and len(set(text)) > 1


# By a heading's words: the number's rule, its form without separators, its check.
_KINDS: Final[tuple[tuple[str, str, str, Callable[[str], bool]], ...]] = (
    (r"ssn|social[ _-]?security(?:[ _-]?(?:no|num|number))?|soc[ _-]?sec|itin|tin|tax(?:payer)?[ _-]?id", "us", r"[0-9]{9}", _american),
    (r"aadhaar|aadhar|uidai?|\xe0\xa4\x86\xe0\xa4\xa7\xe0\xa4\xbe\xe0\xa4\xb0", "in", r"[2-9][0-9]{11}", checksums.indian),
    (r"pesel", "pl", r"[0-9]{11}", checksums.polish),
    (r"bsn|burgerservicenummer|sofi(?:nummer)?", "nl", r"[0-9]{9}", checksums.dutch),
    (r"sin|social[ _-]?insurance(?:[ _-]?(?:no|num|number))?|nas", "ca", r"[1-79][0-9]{8}", checksums.luhn),
    (r"nino|ni[ _-]?(?:no|num|number)|national[ _-]?insurance(?:[ _-]?(?:no|num|number))?", "gb", r"[A-Z]{2}[0-9]{6}[A-D]", lambda text: _NINO.fullmatch(text) is not None),
    (r"cpf", "br", r"[0-9]{11}", checksums.brazilian),
    (r"rrn|jumin\w{0,12}|resident[ _-]?(?:registration|reg)?[ _-]?(?:no|num|number|id)|\xec\xa3\xbc\xeb\xaf\xbc(?:\xeb\x93\xb1\xeb\xa1\x9d)?\xeb\xb2\x88\xed\x98\xb8", "kr", r"[0-9]{13}", checksums.korean_date),
    (r"\xe8\xba\xab(?:\xe4\xbb\xbd|\xe5\x88\x86)\xe8\xaf\x81(?:\xe5\x8f\xb7\xe7\xa0\x81|\xe5\x8f\xb7)?", "cn", r"[1-8][0-9]{16}[0-9X]", checksums.chinese),
    (r"my[ _-]?number|\xe3\x83\x9e\xe3\x82\xa4\xe3\x83\x8a\xe3\x83\xb3\xe3\x83\x90\xe3\x83\xbc|\xe5\x80\x8b\xe4\xba\xba\xe7\x95\xaa\xe5\x8f\xb7", "jp", r"[0-9]{12}", checksums.japanese),
    (r"steuer[ _-]?(?:id|nr|nummer|identifikationsnummer)|idnr", "de", r"[1-9][0-9]{10}", checksums.german),
    (r"dni|nie|nif", "es", r"(?:[0-9]{8}|[XYZ][0-9]{7})[A-Z]", checksums.spanish),
    (r"nir|(?:num(?:\xc3\xa9|e)ro[ _-]?)?s\xc3\xa9cu\w{0,8}|secu", "fr", r"[12][0-9]{4}(?:[0-9]{2}|2[AB])[0-9]{8}", checksums.french),
    (r"snils|inn|\xd0\xa1\xd0\x9d\xd0\x98\xd0\x9b\xd0\xa1|\xd0\x98\xd0\x9d\xd0\x9d", "ru", r"[0-9]{11,12}", national.russian),
    (r"tckn|t\.?c\.?[ _-]?(?:kimlik|no)\w{0,8}|kimlik\w{0,8}", "tr", r"[1-9][0-9]{10}", national.turkish),
    (r"(?:sa|rsa)[ _-]?id\w{0,8}", "za", r"[0-9]{13}", national.south_african),
    (r"cui[lt]", "ar", r"(?:2[03467]|3[034])[0-9]{9}", national.argentine),
    (r"ru[tn]", "cl", r"[1-9][0-9]{6,7}[0-9K]", national.chilean),
    (r"tfn|tax[ _-]?file[ _-]?(?:no|num|number)", "au", r"[0-9]{9}", national.australian),
    (r"nric|fin", "sg", r"[STFG][0-9]{7}[A-Z]", national.singaporean),
    (r"personn(?:ummer|r)|samordningsn\w{0,8}", "se", r"(?:19|20)?[0-9]{10}", national.swedish),
    (r"ahv\w{0,8}|avs", "ch", r"756[0-9]{10}", national.swiss),
    (r"niss|insz|rijksregister\w{0,8}", "be", r"[0-9]{11}", national.belgian),
    (r"cnp", "ro", r"[1-8][0-9]{12}", national.romanian),
    (r"(?:credit|debit|payment|bank)?[ _-]?card(?:[ _-]?(?:no|num|number))?|pan|ccn?|cc[ _-]?(?:no|num|number)", "card", r"[2-6][0-9]{12,18}", _card),
)  # fmt: skip
_WORD: Final = r"(?:\w{1,24}[ _-])?"
"""`customer_ssn`."""
_NAMED: Final = tuple(
    (
        re.compile(rf"(?i){_WORD}(?:{words})(?:[ _-](?:no|num|number|id|nr))?".encode()),
        "payment-card" if country == "card" else f"national-id-{country}",
        re.compile(form),
        check,
    )
    for words, country, form, check in _KINDS
)  # fmt: skip
_HEADING: Final = Rule(
    "number-heading", "low",
    rf"(?i)^(?:[^\n{{}}:()=]{{0,1000}}[|,;\t])?[ \t]{{0,40}}[\"'`]?{_WORD}(?:{'|'.join(kind[0] for kind in _KINDS)})"
    r"(?:[ _-](?:no|num|number|id|nr))?[\"'`]?[ \t]{0,40}(?:$|[\r|,;\t])",
    kind="personal_data",
)  # fmt: skip


def detector(cache: Path | None = None) -> HeadedDetector:
    return HeadedDetector("columns", _HEADING, _read, cache)


def _read(data: bytes, start: int) -> tuple[list[Match], int]:
    table = grid(data, start)
    if table is None:
        return [], start
    columns = [(n, kind) for n, cell in enumerate(table.cells) for kind in _kinds(cell)]
    if not columns:
        return [], start
    found: list[Match] = []
    for row in table.rows(data, MAX_ROWS):
        for column, (rule, form, check) in columns:
            value, place = row.value(column)
            text = _APART.sub(b"", value).upper().decode("latin-1")
            if len(value) <= MAX_VALUE and form.fullmatch(text) and check(text):
                found.append(Match(rule, "personal_data", "high", place, place + len(value)))
    return found, max(start, min(table.over, len(data)) - 1)


def _kinds(cell: bytes) -> list[tuple[str, re.Pattern[str], Callable[[str], bool]]]:
    name = cell.strip(b" \t\r\"'`*")
    return [(rule, form, check) for named, rule, form, check in _NAMED if named.fullmatch(name)]
