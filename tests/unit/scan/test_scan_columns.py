"""Numbers of persons in columns, and beside what says that they are something else."""

from __future__ import annotations

import pytest

from fumehood.scan import columns, personal

COLUMNS = columns.detector()
CONTACTS = personal.contacts()
PERSONAL = personal.detector()
TABLES = {
    "name,customer_ssn\n" + "ann,234-56-7891\n" * 40: 40,
    "| name | SSN |\n|---|---|\n| a | 234567891 |\n| b | 345-67-8912 |\n": 2,
    " id | ssn\n----+----\n 1 | 234-56-7891\n": 1,
    "ssn\n234-56-7891\n345-67-8912\n": 2,
    "name\tpesel\na\t44051401359\nb\t44051401358\n": 1,
    "name;cpf\na;52998224725\n": 1,
    "name,count\na,234567891\n": 0,
    "sin, cos = 1, 2\n234567891, 3\n": 0,
    "name,tin\na,copper\nb,000000000\n": 0,
}


@pytest.mark.parametrize("text", TABLES)
def test_each_row_below_a_heading_is_read(text: str) -> None:
    assert len(COLUMNS.find(text.encode(), seconds=5)) == TABLES[text]


@pytest.mark.parametrize(
    "text",
    [
        "customer_ssn=234567891", '{"ssn_primary": "234567891"}', "user_cpf: 52998224725",
        "आधार 999941057058", "card 4111111111111111",
    ],
)  # fmt: skip
def test_a_word_counts_beside_an_underscore_and_in_its_own_language(text: str) -> None:
    found = PERSONAL.find(text.encode(), seconds=5)
    assert [m for m in found if m.confidence == "high"]


@pytest.mark.parametrize(
    "text",
    [
        "Tél. 01 23 45 67 89", "phone 07700 900123", "Telefon 030 12345678", "手机 13800138000",
        "mobile 98765 43210", "celular (11) 91234-5678", "тел. 8 (495) 123-45-67",
        "móvil 612 345 678",
    ],
)  # fmt: skip
def test_phone_numbers_are_written_as_their_country_does(text: str) -> None:
    (match,) = CONTACTS.find(text.encode(), seconds=5)
    assert (match.rule, match.confidence) == ("phone-number", "high")


@pytest.mark.parametrize(
    "text",
    [
        "Part number 234-56-7891", "SKU 345-67-8912 in stock", '{"message_id": 4111111111111111}',
        "ts=4111111111111111", '{"id": 6212345678901234565}', "EAN 4111111111111111",
    ],
)  # fmt: skip
def test_what_is_said_to_be_something_else_is_not_sure(text: str) -> None:
    found = PERSONAL.find(text.encode(), seconds=5)
    assert [m for m in found if m.confidence != "low"] == []
