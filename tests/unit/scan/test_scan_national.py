"""Numbers of persons: by their check digits, and where a word says what they are."""

from __future__ import annotations

import random

import pytest

from fumehood.scan import national

DETECTOR = national.detector()
NAMED = {
    "ru": ("СНИЛС: {}", "11223344595"),
    "tr": ("T.C. Kimlik No: {}", "17291716060"),
    "th": ("เลขประจำตัวประชาชน {}", "3100600445635"),
    "za": ("SA ID number {}", "7503305044089"),
    "ir": ("کد ملی: {}", "0499370899"),
    "ar": ("CUIL {}", "20-05536168-2"),
    "cl": ("RUT: {}", "12.531.909-2"),
    "au": ("Tax file number {}", "123 456 782"),
    "tw": ("身分證字號 {}", "A123456789"),
    "sg": ("NRIC: {}", "S1234567D"),
    "se": ("personnummer {}", "811228-9874"),
    "ch": ("AHV-Nr. {}", "7569217076985"),
    "be": ("rijksregisternummer {}", "85073003328"),
    "ro": ("CNP: {}", "1630615123457"),
}
FORMED = {
    "ru": "112-233-445 95",
    "mx": "HEGG560427MVZRRL04",
    "th": "3-1006-00445-63-5",
    "ch": "756.9217.0769.85",
    "be": "85.07.30-033.28",
}


def told(text: str) -> list[tuple[str, str]]:
    data = text.encode()
    found = DETECTOR.find(data, seconds=5)
    return [(m.rule, data[m.start : m.end].decode()) for m in found]


def with_another_digit(number: str) -> list[str]:
    """Each with one digit that is wrong."""
    return [
        number[:at] + str((int(digit) + 1) % 10) + number[at + 1 :]
        for at, digit in enumerate(number)
        if digit.isdigit()
    ]


@pytest.mark.parametrize("country", NAMED)
def test_a_number_counts_behind_the_word_that_says_what_it_is(country: str) -> None:
    words, number = NAMED[country]
    assert (f"national-id-{country}", number) in told(words.format(number) + "\n")
    assert told(f"count {number} of them\n") == []
    wrong = [n for n in with_another_digit(number) if told(words.format(n))]
    assert len(wrong) <= 1  # some check digits of mod 11 stand for two rests


@pytest.mark.parametrize("country", FORMED)
def test_a_number_that_its_form_tells_counts_by_itself(country: str) -> None:
    number = FORMED[country]
    assert (f"national-id-{country}", number) in told(f"x {number}, y\n")
    assert len([n for n in with_another_digit(number) if told(f"x {n}, y\n")]) <= 1


def test_a_part_of_something_longer_is_none() -> None:
    for text in (
        "CNP: 1630615123457-88",
        "NRIC: S1234567DE",
        "RUT 1.12.531.909-2",
        "TFN 123456782.5",
    ):
        assert told(text) == []


def test_random_digits_are_none() -> None:
    pick = random.Random(4077)
    rows = [" ".join(str(pick.randrange(10**n)) for n in range(8, 15)) for _ in range(4000)]
    assert told("\n".join(rows)) == []
    times = [
        f"2026-11-27 08:{n:02}:00.123456 id={pick.randrange(10**11)} 12.34.56-789.10"
        for n in range(60)
    ]
    assert told("\n".join(times)) == []
