"""What is wrong with a rule file is told with file, line and key, all of it in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.scan import custom
from fumehood.scan.gitleaks import Fault, RulesError
from fumehood.scan.toml_lines import lines

FAULTY = """title = 'own'
[[rules]]
id = "first"
description = '''
[[rules]] = not one
'''
regex = '''
(?=x)'''

[[rules]]
id = "second"
regex = 'x(y)'
secretGroup = 2
entropy = "3"
pth = 'a'
[rules.allowlist]
regexes = [
  'fine',  # ] no end
  '(',
]
[[rules.allowlists]]
stopwords = 'x'
condition = 'AND'
[[rules]]
id = "second"
keywords = [1]
"""


def written(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return str(path)


def faults(*paths: str) -> tuple[Fault, ...]:
    with pytest.raises(RulesError) as raised:
        custom.load(paths)
    return raised.value.faults


def test_each_fault_of_a_file_has_its_own_line_and_key(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", FAULTY)
    found = faults(path)
    assert {fault.file for fault in found} == {path}
    assert all(fault.remedy for fault in found)
    assert {(fault.line, fault.key) for fault in found} == {
        (7, "rules[0].regex"),
        (13, "rules[1].secretGroup"),
        (14, "rules[1].entropy"),
        (15, "rules[1].pth"),
        (19, "rules[1].allowlist.regexes[1]"),
        (22, "rules[1].allowlists[0].stopwords"),
        (23, "rules[1].allowlists[0].condition"),
        (24, "rules[2].regex"),
        (26, "rules[2].keywords"),
    }


def test_faults_of_every_file_are_told_at_once(tmp_path: Path) -> None:
    paths = (
        written(tmp_path / "a.toml", "[[rules]]\nid = 'same'\nregex = 'x'\n"),
        written(tmp_path / "b.toml", "# again\n[[rules]]\nregex = 'x'\nid = 'same'\n"),
        written(tmp_path / "c.toml", "[[rules]]\nid = 'c'\nregex = 'x'\nx = ]\n"),
        written(tmp_path / "d.toml", b"a = 1\nb = '\xff'\n"),
        str(tmp_path / "missing.toml"),
        written(
            tmp_path / "e.yara",
            "rule a {\n condition: foo\n}\nrule b {\n condition: bar\n}\n",
        ),
        written(tmp_path / "f.yar", "rule c { strings:\n $a = /(/\n condition: $a }\n"),
        written(tmp_path / "g.yar", b"rule d {\n condition: true // \xff\n}\n"),
    )
    found = [(Path(fault.file).name, fault.line, fault.cause) for fault in faults(*paths)]
    places = [(name, line) for name, line, _ in found]
    assert sorted(places) == [
        ("b.toml", 4), ("c.toml", 4), ("d.toml", 2), ("e.yara", 2), ("e.yara", 5), ("f.yar", 2),
        ("g.yar", 2), ("missing.toml", 0),
    ]  # fmt: skip
    causes = {(name, line): cause for name, line, cause in found}
    assert "a.toml:2" in causes["b.toml", 4]
    assert "`bar`" in causes["e.yara", 5]
    assert "unclosed group" in causes["f.yar", 2]
    assert causes["missing.toml", 0] == "No such file or directory"


def test_who_is_told_one_fault_is_told_how_many_more_there_are(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", "[[rules]]\nid = 'a'\nregex = '('\nx = 1\n")
    with pytest.raises(RulesError) as raised:
        custom.load([path])
    assert raised.value.cause.startswith(f"{path}:4: a has the key 'x'")
    assert raised.value.cause.endswith("(and 1 more)")


def test_lines_are_those_of_keys_whatever_stands_in_the_values() -> None:
    text = (
        "a.b = '''\nc = 1\n'''\n[t.\"u v\"]\n# x = 1\ny = [ # [\n 1,\n {z = \"]\\\"}\", w = 2},\n"
        ']\ne = """a\\"""b""""\nd = 1979-05-27 07:32:00\n[[l]]\n'
        'k = ""\n[[l]]\nk = 2\n[l.m]\nn = 3\n'
    )
    found = lines(text)
    expected = {
        ("a", "b"): 1, ("t", "u v"): 4, ("t", "u v", "y"): 6, ("t", "u v", "y", 0): 7,
        ("t", "u v", "y", 1, "z"): 8, ("t", "u v", "y", 1, "w"): 8, ("t", "u v", "e"): 10,
        ("t", "u v", "d"): 11, ("l", 0): 12, ("l", 0, "k"): 13, ("l", 1): 14, ("l", 1, "k"): 15,
        ("l", 1, "m", "n"): 17,
    }  # fmt: skip
    assert {place: found.get(place) for place in expected} == expected


@pytest.mark.parametrize(
    "text", ["", "a", "a = ", "a = [", "[", "[[a", "a = '''x", '"\\q" = 1', "]"]
)
def test_lines_of_what_is_no_toml_are_no_error(text: str) -> None:
    assert isinstance(lines(text), dict)
