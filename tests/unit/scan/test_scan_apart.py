"""Names and values of JSON that do not stand on one line, or not beside each other."""

from __future__ import annotations

import json

import pytest

from fumehood.scan import assigned
from fumehood.scan.detector import Match
from support.scan import letters

SECRET = letters(8) + "4a7T" + letters(4)
DETECTORS = (assigned.detector(), assigned.pairs())


def found(text: str) -> list[Match]:
    data = text.encode()
    return [match for d in DETECTORS for match in d.find(data, seconds=9)]


def values(text: str) -> set[str]:
    return {text.encode()[m.start : m.end].decode() for m in found(text)}


@pytest.mark.parametrize("between", ["", "\n", "\n  ", "\r\n\t\t", "\n" + " " * 80])
def test_a_value_on_another_line_than_its_name_is_found(between: str) -> None:
    assert values(f'{{"password":{between}"{SECRET}"}}') == {SECRET}
    assert values(f'{{"password"{between}:{between}"{SECRET}",\n"port": 1}}') == {SECRET}


def parameter(name: str, kind: str, value: str) -> dict[str, object]:
    return {
        "Name": name, "Type": kind, "Value": value, "Version": 3,
        "ARN": f"arn:aws:ssm:eu-west-1:123456789012:parameter{name}", "DataType": "text",
    }  # fmt: skip


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("order", [1, -1])
def test_a_parameter_is_found_by_its_type_or_by_the_end_of_its_path(
    indent: int | None, order: int
) -> None:
    def printed(name: str, kind: str, value: str) -> str:
        items = list(parameter(name, kind, value).items())[::order]
        return json.dumps({"Parameter": dict(items)}, indent=indent)

    assert SECRET in values(printed("/prod/db/password", "SecureString", SECRET))
    assert "justaword" in values(printed("/prod/db/dsn", "SecureString", "justaword"))
    assert SECRET in values(printed("/prod/db/password", "String", SECRET))
    assert not values(printed("/prod/db/host", "String", "db.internal.example"))
    assert not values(printed("/prod/password/policy", "String", "at-least-twelve"))


def test_a_value_belongs_to_the_names_of_its_own_object_only() -> None:
    two = [{"Type": "SecureString", "Name": "x"}, {"Value": "db.internal.example"}]
    assert not values(json.dumps(two))


def test_names_that_code_makes_of_others_are_no_password() -> None:
    assert not values("user_pass = '%s:%s' % (unquote(user), unquote(password))\n")
    assert not values("passwd = '{}:{}'.format(a, b)\n")
