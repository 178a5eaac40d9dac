"""Numbers of persons in tables, in JSON and beside names of many languages; and numbers that are of
nobody: parts, times, identifiers, bar codes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from corpus.sample import Sample
from fumehood.scan import checksums, national

_pick = random.Random(8128)


def digits(count: int) -> str:
    return "".join(str(_pick.randrange(10)) for _ in range(count))


def _until(make: Callable[[], str], check: Callable[[str], bool]) -> str:
    while not check(text := make()):
        pass
    return text


def _date() -> str:
    return f"{_pick.randrange(50, 99)}{_pick.randrange(1, 13):02}{_pick.randrange(1, 29):02}"


def _ssn() -> str:
    return f"{_pick.randrange(200, 660)}-{_pick.randrange(10, 99)}-{_pick.randrange(1000, 9999)}"


def _nine(first: str, check: Callable[[str], bool]) -> str:
    return _until(lambda: _pick.choice(first) + digits(8), check)


NUMBERS: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "us": ("ssn", _ssn),
    "us, bare": ("ssn", lambda: _ssn().replace("-", "")),
    "in": ("aadhaar", lambda: _until(lambda: "5" + digits(11), checksums.indian)),
    "pl": ("pesel", lambda: _until(lambda: _date() + digits(5), checksums.polish)),
    "nl": ("bsn", lambda: _nine("12", checksums.dutch)),
    "ca": ("sin", lambda: _nine("1457", checksums.luhn)),
    "br": ("cpf", lambda: _until(lambda: digits(11), checksums.brazilian)),
    "kr": ("rrn", lambda: _until(lambda: f"{_date()}{_pick.choice('12')}{digits(6)}", checksums.korean)),
    "jp": ("my_number", lambda: _until(lambda: digits(12), checksums.japanese)),
    "de": ("steuer_id", lambda: _until(lambda: "4" + digits(10), checksums.german)),
    "es": ("dni", lambda: _until(lambda: digits(8) + _pick.choice("TRWAGMYFPDXBNJZSQVHLCKE"), checksums.spanish)),
    "ru": ("snils", lambda: _until(lambda: digits(11), national.russian)),
    "tr": ("tckn", lambda: _until(lambda: "3" + digits(10), national.turkish)),
    "ar": ("cuil", lambda: _until(lambda: "20" + digits(9), national.argentine)),
    "au": ("tfn", lambda: _until(lambda: digits(9), national.australian)),
    "se": ("personnummer", lambda: _until(lambda: _date() + digits(4), national.swedish)),
    "ro": ("cnp", lambda: _until(lambda: "1" + _date() + digits(6), national.romanian)),
    "be": ("niss", lambda: _until(lambda: _date() + digits(5), national.belgian)),
    "card": ("card_number", lambda: _until(lambda: "4" + digits(15), checksums.luhn)),
}  # fmt: skip
PLACES: Final = (
    ("a name with an underscore", "customer_{n}={v}\n"),
    ("JSON", '{{"id": 7, "{n}": "{v}"}}\n'),
    ("JSON, another name before", '{{"{n}_primary": "{v}", "x": 1}}\n'),
    ("CSV", "name,{n},city\nann,{o},x\nbob,{o},y\ncarl with a long name that takes a lot of room in this row,{o},z\ndora with a long name that takes a lot of room,{v},w\n"),
    ("TSV", "name\t{n}\nann with a long name that takes a lot of room in this row\t{o}\nbob with a long name of its own\t{v}\n"),
    ("Markdown", "| name | {n} |\n|---|---|\n| ann with a long name that takes a lot of room in this row | {o} |\n| bob with a long name too, indeed | {v} |\n"),
    ("psql", " id | {n} \n----+-----------\n" + "".join(f" {n} | {{o}}\n" for n in range(10)) + " 11 | {v}\n"),
    ("one column", "{n}\n" + "{o}\n" * 12 + "{v}\n"),
)  # fmt: skip
WORDS: Final = (
    ("आधार संख्या: {}\n", "in"), ("आधार {}\n", "in"), ("マイナンバー：{}\n", "jp"), ("個人番号 {}\n", "jp"), ("주민번호: {}\n", "kr"), ("주민등록번호 {}\n", "kr"),
    ("СНИЛС: {}\n", "ru"), ("TC Kimlik No: {}\n", "tr"), ("Steuer-Identifikationsnummer: {}\n", "de"), ("PESEL {}\n", "pl"), ("Burgerservicenummer: {}\n", "nl"),
    ("número de seguro social: {}\n", "us"), ("customerSsn: {}\n", "us"), ("ssn_{}\n", "us"), ("SSN#{}\n", "us"), ("CPF nº {}\n", "br"),
    ("numéro d'assurance sociale {}\n", "ca"), ("카드번호 {}\n", "card"), ("信用卡 {}\n", "card"), ("カード番号：{}\n", "card"), ("Kreditkarte {}\n", "card"),
)  # fmt: skip
BENIGN: Final = (
    ("parts", "Part number 123-45-6780 replaces 321-54-9876.\nP/N: 456-78-9123\nSKU 234-56-7891 in stock\nmodel no. 345-67-8912\nitem 567-89-1234, catalog 512-34-5678\n"),
    ("snowflakes", '{"id": 1234567890123456789, "tweet_id": "1590000000000000017", "message_id": 4242424242424242420}\n'),
    ("times", '{"ts": 1700000000123456789, "timestamp": 1700000000123456, "time_ns": 1732700000123456789, "start": 1700000000000}\n'),
    ("bar codes", "EAN 4006381333931\nUPC 036000291452\nISBN 9780306406157\nGTIN 04006381333931\n4006381333931;5901234123457;9780306406157\n"),
    ("versions and dates", "v1.2.3.4 2026-11-27 10.0.19045.3803 20261127-123456 2026.11.27 20261127100000123\n"),
    ("counters", "bytes=4294967296 offset 5368709120 seq 4503599627370496 max 9007199254740991 6442450944\n"),
    ("columns of counts", "name,count,sin_theta\na,123456789,0.5\nb,234567890,0.25\n"),
    ("columns of words", "name,tin,pan\na,copper,left\nb,zinc,right\nc,123456,x\n"),
    ("columns of times", "id,ts\n1,1700000000123\n2,1700000000456\n"),
    ("coordinates", "48.858370,2.294481 -33.856784,151.215297 100-20-3000px\n"),
    ("hosts", "ip-10-12-34-56 0000-0002-1825-0097 00:1B:44:11:3A:B7\n"),
    ("serial numbers", "Serial: 5CG1234ABC IMEI 490154203237518 ICCID 8901260862291477114\n"),
)  # fmt: skip


def samples() -> Iterator[Sample]:
    for country, (name, make) in NUMBERS.items():
        for place, form in PLACES:
            text, value = form.replace("{n}", name), make()
            while "{o}" in text:
                text = text.replace("{o}", make(), 1)
            text = text.replace("{v}", value).replace("{{", "{").replace("}}", "}")
            yield Sample(
                "numbers of persons", f"{country} {place}", "personal_data", text.encode(), value
            )
    for form, country in WORDS:
        value = NUMBERS[country][1]()
        text = form.replace("{}", value)
        yield Sample("numbers of persons", form.strip(), "personal_data", text.encode(), value)
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    card = NUMBERS["card"][1]().translate(wide)
    yield Sample(
        "numbers of persons", "wide digits", "personal_data", f"card {card}\n".encode(), card
    )
    for name, text in BENIGN:
        yield Sample("numbers of nobody", name, None, text.encode())
