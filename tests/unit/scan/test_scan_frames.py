"""All rules together take a secret whole and leave what it stands in: two rules that each find a
part of it do not cut into each other, and none of it stays behind."""

from __future__ import annotations

import re
from typing import Final

import pytest

from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.decide import Policies
from fumehood.scan.detectors import searcher
from fumehood.scan.redact import Fingerprints
from fumehood.scan.search import Searcher
from fumehood.scan.single import look
from support.scan import KEY

LABEL: Final = re.compile(r"\[redacted:[a-z-]+:[0-9a-f]{8}\]")


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    return searcher(tmp_path_factory.mktemp("rules"), ScanSpec())


def released(search: Searcher, text: str) -> str:
    report = look(text.encode(), "", search, Policies().of(""), Fingerprints(KEY))
    assert report.released is not None
    return LABEL.sub("<gone>", report.released.decode())


@pytest.mark.parametrize("value", ["fnK66xcK8fK", "Tz4-kW9.m3R"])
@pytest.mark.parametrize(
    "frame",
    [
        "CREATE LOGIN bob WITH PASSWORD='{}';\n",
        "Server=x;Password='{}';Uid=y\n",
        "host=db user=bob password='{}' dbname=x\n",
        "Config(host='db', port=5432, password='{}', ssl=True)\n",
        "Driver={{ODBC Driver 17}};Server=tcp:x,1433;Uid=sa;Pwd={{{}}};Encrypt=yes\n",
        "https://u:{}@h.example?email=a@b.example\n",
        "https://u:{}@h.example/x?email=a@b.example\n",
    ],
)
def test_what_stands_around_it_stays(search: Searcher, frame: str, value: str) -> None:
    assert released(search, frame.format(value)) == frame.format("<gone>")


@pytest.mark.parametrize("value", ["fnK66@cK8fK", "p4ss@w0@rdX"])
@pytest.mark.parametrize("behind", ["", ":5432/app", "/x?email=a@b.example"])
def test_the_host_stands_behind_the_last_at_sign(search: Searcher, value: str, behind: str) -> None:
    text = f"postgres://app:{value}@db.example{behind}\n"
    assert released(search, text) == f"postgres://app:<gone>@db.example{behind}\n"


@pytest.mark.parametrize("splice", ["'\\''", "'\"'\"'"])
def test_a_shells_quote_within_a_text_does_not_end_it(search: Searcher, splice: str) -> None:
    text = "export PASSWORD='EQZe7x{}VG2arA'; ls 'a b'\n"
    left = released(search, text.format(splice))
    assert left == "export PASSWORD='<gone>'; ls 'a b'\n"


@pytest.mark.parametrize("end", ["", "\n", "\n\nStore them safely.\n"])
def test_each_of_several_codes_is_gone(search: Searcher, end: str) -> None:
    text = "backup codes:\n1765177770\n8311688358\n4090112233" + end
    assert released(search, text) == "backup codes:\n<gone>" + end


@pytest.mark.parametrize(
    "text",
    ["f'Server={srv};Uid=sa;Pwd={password};Encrypt=yes'\n", "Server=x;Uid=y;Pwd={YOUR_PWD};\n"],
)
def test_braces_are_a_place_holder_too(search: Searcher, text: str) -> None:
    assert released(search, text) == text
