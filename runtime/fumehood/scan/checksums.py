"""Check digits of numbers that name a person or an account. Pure functions of digits.

Each gives whether the number can be one; a random number passes with the probability given.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

_DNI: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_FISCAL_ODD: Final = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3,
         6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip
_VERHOEFF_D: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VG": 24, "XK": 20,
}  # fmt: skip
"""ISO 13616, as the registry lists them."""


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1; one in ten."""
    backwards = digits.encode("ascii")[::-1]
    total = sum(backwards[::2]) + sum(backwards[1::2].translate(_DOUBLED))
    return (total - ord("0") * len(backwards)) % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: length by country and mod 97; one in 97."""
    if len(text) != IBAN_LENGTHS.get(text[:2]):
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def korean_date(digits: str) -> bool:
    """Whether a resident registration number begins with a birth date of its century."""
    century = {"1": 1900, "2": 1900, "3": 2000, "4": 2000, "5": 1900, "6": 1900, "7": 2000,
               "8": 2000, "9": 1800, "0": 1800}[digits[6]]  # fmt: skip
    return _is_date(century + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))


def korean(digits: str) -> bool:
    """Resident registration number: mod 11, as they were given until October 2020."""
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    extra = 2 if digits[6] in "5678" else 0
    return (11 - _weighted(digits, weights) % 11 + extra) % 10 == int(digits[12])


def chinese(text: str) -> bool:
    """GB 11643: birth date and ISO 7064 mod 11-2."""
    if not _is_date(int(text[6:10]), int(text[10:12]), int(text[12:14])):
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[_weighted(text, weights) % 11] == text[17].upper()


def spanish(text: str) -> bool:
    """DNI, and NIE with its first letter; one in 23."""
    number = text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return _DNI[int(number) % 23] == text[-1]


def italian(text: str) -> bool:
    """Codice fiscale; one in 26."""
    total = sum(
        _FISCAL_ODD[c] if place % 2 == 0 else (int(c) if c.isdigit() else ord(c) - ord("A"))
        for place, c in enumerate(text[:15])
    )
    return chr(ord("A") + total % 26) == text[15]


def french(text: str) -> bool:
    """NIR: mod 97, Corsica's letters as 19 and 18."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(number) % 97 == int(text[13:])


def brazilian(digits: str) -> bool:
    """CPF: two check digits; one in a hundred."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        rest = _weighted(digits[:length], range(length + 1, 1, -1)) * 10 % 11 % 10
        if rest != int(digits[length]):
            return False
    return True


def indian(digits: str) -> bool:
    """Aadhaar: Verhoeff; one in ten."""
    state = 0
    for place, digit in enumerate(reversed(digits)):
        state = int(_VERHOEFF_D[state][int(_VERHOEFF_P[place % 8][int(digit)])])
    return state == 0 and digits[0] not in "01"


def german(digits: str) -> bool:
    """Steuer-Identifikationsnummer: ISO 7064 mod 11-10, one digit twice or three times."""
    counts = sorted(digits[:10].count(d) for d in set(digits[:10]))
    if digits[0] == "0" or counts[-1] not in (2, 3):
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def japanese(digits: str) -> bool:
    """My Number: mod 11; one in eleven."""
    weights = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
    rest = _weighted(digits, weights) % 11
    return (0 if rest <= 1 else 11 - rest) == int(digits[11])


def polish(digits: str) -> bool:
    """PESEL: birth date and mod 10."""
    month = int(digits[2:4])
    year = {0: 1900, 20: 2000, 40: 2100, 60: 2200, 80: 1800}[month // 20 * 20] + int(digits[:2])
    if not _is_date(year, month % 20, int(digits[4:6])):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    return (10 - _weighted(digits, weights) % 10) % 10 == int(digits[10])


def dutch(digits: str) -> bool:
    """BSN: the eleven test."""
    return _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and len(set(digits)) > 1


def american(area: int, group: int, serial: int) -> bool:
    """SSN has no check digit: what was never issued, and the ones printed in advertisements."""
    if area in (0, 666) or area >= 900 or group == 0 or serial == 0:
        return False
    return (area, group, serial) not in ((78, 5, 1120), (219, 9, 9999), (123, 45, 6789))
