"""Rules that an operator brings: they find what they say, and what they do not mean is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.errors import ConfigError
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan import custom

GITLEAKS = r"""
title = "own"
[[rules]]
id = "acme-token"
description = "a token of ours"
regex = '''\b(acme_[a-z0-9]{10})\b'''
entropy = 2.0
keywords = ["ACME_"]
[rules.allowlist]
stopwords = ["sample"]
[[rules]]
id = "second"
regex = '''key=(\w+);(\w+)'''
secretGroup = 2
"""
YARA = 'rule own_marker { meta: severity = "high" strings: $a = "MARK" condition: #a > 1 }'


def written(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_gitleaks_rules_find_their_group(tmp_path: Path) -> None:
    own, yara = custom.load([written(tmp_path / "a.toml", GITLEAKS)])
    assert own is not None
    assert yara is None
    data = b"x acme_q7w2e9r4t1 y acme_aaaaaaaaaa z key=a;secret acme_samplex1y2"
    found = {(m.rule, data[m.start : m.end]) for m in own.find(data, seconds=5)}
    assert found == {("acme-token", b"acme_q7w2e9r4t1"), ("second", b"secret")}


def test_yara_rules_are_payloads_of_their_severity(tmp_path: Path) -> None:
    own, yara = custom.load([written(tmp_path / "a.yara", YARA)])
    assert own is None
    assert yara is not None
    (match,) = yara.find(b"a MARK b MARK", seconds=5)
    assert (match.rule, match.kind, match.severity) == ("yara-own_marker", "payload", "high")
    assert (match.start, match.end, match.count) == (2, 6, 2)
    assert yara.find(b"a MARK", seconds=5) == []


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("a.toml", "[[rules]", "no TOML"),
        ("a.toml", "title = 'x'", r"no \[\[rules\]\]"),
        (
            "a.toml",
            "[[rules]]\nid = 'a'\npath = 'x'\nregex = 'x'",
            "'path', which is not supported",
        ),
        ("a.toml", "[[rules]]\nid = 'a'", "no regex"),
        ("a.toml", "[[rules]]\nid = 'a'\nregex = '(?=x)'", "a: "),
        ("a.toml", "[[rules]]\nid = 'a\\nb'\nregex = 'x'", "no name"),
        ("a.toml", "[[rules]]\nid = 'a'\nregex = 'x'\nsecretGroup = 3", "names no group"),
        ("a.toml", "[extend]\nuseDefault = true", "'extend'"),
        ("a.toml", "[[rules]]\nid = 'a'\nregex = 'x'\n" * 2, "there twice"),
        ("a.yara", "rule {", "syntax error"),
        ("a.yara", 'include "/etc/passwd"', "include"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, name: str, text: str, cause: str
) -> None:
    with pytest.raises(ConfigError, match=cause):
        custom.load([written(tmp_path / name, text)])


def test_files_that_others_could_have_written_are_not_read(tmp_path: Path) -> None:
    path = Path(written(tmp_path / "a.toml", GITLEAKS))
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="written by others"):
        custom.load([str(path)])
    path.chmod(0o600)
    (tmp_path / "link.toml").symlink_to(path)
    with pytest.raises(ConfigError):
        custom.load([str(tmp_path / "link.toml")])


def test_the_configuration_takes_paths_of_rule_files_only() -> None:
    assert ScanSpec(rules=("/etc/fumehood/own.yara",)).rules
    for path in ("own.toml", "/etc/own.txt"):
        with pytest.raises(ValueError, match="no absolute path"):
            ScanSpec(rules=(path,))
