"""Names and values of JSON that do not stand on one line, or not beside each other."""

from __future__ import annotations

import json

import pytest

from fumehood.scan import apart, assigned
from fumehood.scan.detector import Match
from support.scan import letters

SECRET = letters(8) + "4a7T" + letters(4)
DETECTORS = (assigned.detector(), apart.detector())


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


FRAMES = [
    '{{"outputs": {{"{n}": {{"sensitive": true, "type": "string", "value": "{v}"}}}}}}',
    '{{\n  "{n}": {{\n    "value": "{v}",\n    "type": "string"\n  }}\n}}',
    '{{"ParameterKey": "{n}", "ParameterValue": "{v}"}}',
    '{{"OutputKey": "{n}", "Description": "x", "OutputValue": "{v}"}}',
    '{{"id": "1", "name": "{n}", "metadata": {{"x": 1}}, "value": "{v}"}}',
    '{{"value": "{v}", "masked": false, "key": "{n}"}}',
    "- value: {v}\n  name: {n}\n",
    "<entry><key>{n}</key><value>{v}</value></entry>",
    "<property>\n  <name>{n}</name>\n  <value>{v}</value>\n</property>",
    "<key>{n}</key>\n<string>{v}</string>",
    "Key:   {n}\nType: secret\nValue: {v}\n",
    '{n} = {{\n  value = "{v}"\n  sensitive = true\n}}',
    'variable "{n}" {{\n  default = "{v}"\n}}',
    "{n}\t{v}\n",
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["DB_PASSWORD", "api_key", "jwt-secret"])
def test_a_value_that_stands_apart_from_its_name_is_found(frame: str, name: str) -> None:
    assert SECRET in values(frame.format(n=name, v=SECRET))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "db4-internal-77"), ("DB_PASSWORD_FILE", "/run/secrets/db"), ("TOKEN_TTL", "3600"),
        ("secretName", "db-credentials"), ("API_KEY", "${API_KEY}"), ("next_token", "9f8a7b6c5d4e"),
        ("password", "********"), ("password_policy", "at-least-12"), ("keyboard", "us-intl-2024"),
    ],
)  # fmt: skip
def test_what_is_no_secret_is_none_apart_from_its_name_either(
    frame: str, name: str, value: str
) -> None:
    assert not values(frame.format(n=name, v=value))


def test_a_personal_access_token_is_known_by_the_end_of_its_variable() -> None:
    assert values(f"export GITLAB_PAT='{SECRET}'\n") == {SECRET}
    assert not values("FILE_PAT='*.txt'\nURL_PAT = r'https://example.org/[a-z]+'\n")
    assert not values(f"file_pat = '{SECRET}'\n")
