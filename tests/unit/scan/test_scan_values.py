"""Where a value begins and ends, in the frames that names and values stand in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fumehood.model.result import Result, Timing
from fumehood.scan import apart, assigned
from fumehood.scan.decide import Policies
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.redact import Fingerprints
from fumehood.scan.search import Searcher
from fumehood.scan.single import look
from support.scan import KEY, accept, admitted, outcome, plan

DETECTORS: Final = [assigned.detector(), apart.detector()]
SEARCHER: Final = Searcher(DETECTORS, [])
LABEL: Final = re.compile(r"\[redacted:[a-z-]+:[0-9a-f]{8}\]")


def released(text: str) -> str:
    report = look(text.encode(), "", SEARCHER, Policies().of(""), Fingerprints(KEY))
    assert report.released is not None
    return LABEL.sub("<gone>", report.released.decode())


def structured(value: object) -> Result:
    pipeline = Pipeline(fingerprint_key=KEY, secrets=DETECTORS)
    done = outcome(json.dumps(value))
    return pipeline.release(
        admitted('{"type": "object"}'), plan(), done, timing=Timing(), check_output=accept
    )


def _doubled(value: str) -> str:
    return value.replace("'", "''")


def _escaped(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _twice(value: str) -> str:
    return _escaped(_escaped(value))


def _hand(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _xml(value: str) -> str:
    return (
        value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )


Frame = tuple[str, str, Callable[[str], str]]
QUOTED: Final[dict[str, Frame]] = {
    "JSON": ('{"a": 1, "password": "', '", "n": 1}', _escaped),
    "JSON, minified": ('{"a":1,"dbPassword":"', '","n":1}', _escaped),
    "JSON over lines": ('{\n  "password":\n    "', '",\n  "n": 1\n}', _escaped),
    "JSON in a string": ('{"log": "{\\"password\\": \\"', '\\", \\"n\\": 1}"}', _twice),
    "pairs": (
        '[{"name": "DB_PASSWORD", "value": "',
        '"}, {"name": "PORT", "value": "1"}]',
        _escaped,
    ),
    "list": ('{"passwords": ["', '", "1"], "n": 1}', _escaped),
    "output of Terraform": ('{"db_password": {"value": "', '", "type": "string"}}', _escaped),
    "Python": ("login(user='bob', password='", "', port=1)\n", _hand),
    "Ruby": (':password=>"', '", :n=>1', _escaped),
    "JavaScript": ('{user:"bob",password:"', '",n:1}', _escaped),
    "YAML": ("password: '", "'\nport: 1\n", _doubled),
    "environment in YAML": ("- name: DB_PASSWORD\n  value: '", "'\n- name: PORT\n", _doubled),
    "TOML": ('password = "', '"\nport = 1\n', _escaped),
    "SQL": ("INSERT INTO users (name, password, n) VALUES ('bob', '", "', 1);", _doubled),
    "C": ('#define DB_PASSWORD "', '"\n#define N 1\n', _escaped),
    "call": ('os.environ.get("DB_PASSWORD", "', '", 1)', _escaped),
    "wrapped": ('let password = Some("', '"); n = 1;', _escaped),
    "Terraform": ('~ password = "old1Secret" -> "', '" # n = 1', _escaped),
    "XML": ("<user>bob</user><password>", "</password><n>1</n>", _xml),
    "attribute": ('<add key="DbPassword" value="', '" n="1"/>', _xml),
    "CDATA": ("<password><![CDATA[", "]]></password><n>1</n>", str),
}
BARE: Final[dict[str, tuple[str, str, str]]] = {
    "settings": ("PORT=1\nDB_PASSWORD=", "\nHOST=x\n", ""),
    "INI": ("[db]\npassword = ", "\nport = 1\n", ",;"),
    "YAML": ("db:\n  password: ", "\n  port: 1\n", ",;"),
    "container": ('{"Env": ["A=b", "DB_PASSWORD=', '", "C=d"]}', ""),
    "connection string": ("Server=db;Password=", ";Encrypt=1", ";,()[]{}<>&"),
    "query": ("GET /x?password=", "&n=1 HTTP/1.1", "#&;<>()[]{}"),
    "cookie": ("Cookie: a=b; password=", "; Path=/; n=1", ";,()[]{}<>&"),
    "columns": ("DB_HOST      x\nDB_PASSWORD  ", "\nDB_PORT      1\n", "|"),
    "command": ("tool --admin-password=", " --port 1", ",;()[]{}<>&"),
}
AWKWARD: Final = "\"'\\`()[]{}<>,;:.!?$%&#@*+-_/|~^=äßжщ한글中\u3042"


@st.composite
def passwords(draw: st.DrawFn, without: str = "", *, blanks: bool = False) -> str:
    """Such as nobody takes for a word, a path, or code; with awkward characters in between."""
    characters = "".join(c for c in AWKWARD if c not in without) + (" " if blanks else "")
    awkward = draw(st.lists(st.sampled_from(characters), min_size=1, max_size=4))
    parts = draw(st.permutations(["xQ7", "Tz4", "kW9", "Vb2", "Hj5"]))
    return (
        "".join(part + mark for part, mark in zip(parts, [*awkward, "", "", ""], strict=False))
        + "m3R"
    )


@pytest.mark.parametrize("name", QUOTED)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_value_in_quotes_goes_whole_and_alone(name: str, data: st.DataObject) -> None:
    before, after, written = QUOTED[name]
    password = data.draw(passwords("]" if name == "CDATA" else "", blanks=True))
    text = released(before + written(password) + after)
    assert text == (before + "<gone>" + after).replace("old1Secret", "<gone>")
    if before[0] in "{[" and name != "JavaScript":
        json.loads(text)


@pytest.mark.parametrize("name", BARE)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_value_without_quotes_goes_whole_and_alone(name: str, data: st.DataObject) -> None:
    before, after, without = BARE[name]
    password = data.draw(passwords("\"'`\\=" + without))
    assert released(before + password + after) == before + "<gone>" + after


@settings(max_examples=25, deadline=None)
@given(password=passwords(), more=st.sampled_from([{}, {"n": "kept"}]))
def test_what_a_schema_promises_is_kept(password: str, more: dict[str, str]) -> None:
    result = structured({"password": password, **more})
    assert result.status == "ok"
    assert LABEL.sub("<gone>", json.dumps(result.structured)) == json.dumps(
        {"password": "<gone>", **more}
    )


@pytest.mark.parametrize(
    "value",
    [
        {"password": "xQpLBT7QmwT6xp3"},
        {"msg": "the password is Winter2024aZ"},
        {"msg": ["Password: Winter2024aZ", "and more"]},
        {"msg": "Passwort lautet Winter2024aZ."},
    ],
)
def test_a_password_that_ends_a_string_withholds_nothing(value: object) -> None:
    result = structured(value)
    assert result.status == "ok"
    text = json.dumps(result.structured)
    assert "redacted" in text
    assert "Winter" not in text
