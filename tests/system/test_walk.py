"""The page that walks from an alert to a proof shows what the commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/incidents.md"
SHAPES = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "INVOCATION"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"@\[[\d.]+\]", "@[TIME]"),
    (r"\b[0-9a-f]{32}\b", "KEY"),
    (r"\b[0-9a-f]{96}\b|\b[0-9a-f]{16}(?=…)", "DIGEST"),
    (r'(?<="pid": )\d+|(?<="parent": )\d+', "PID"),
    (r"(?m)(?<=^record: )\d+|^\d+(?=  )|(?<=^ok: )\d+(?= records)", "RECORD"),
    (r" +(?=\n|$)", ""),
)
"""What differs each time, in place of which its kind is compared; and so how wide columns are."""

Shown = list[list[str]]
"""Of each command, itself and what it prints."""


def commands(text: str) -> Shown:
    for pattern, kind in SHAPES:
        text = re.sub(pattern, kind, text)
    text = re.sub(r"(?<=\S) {2,}", "  ", text)
    shown: Shown = []
    for line in text.splitlines():
        if line.startswith("$ "):
            shown.append([line])
        else:
            shown[-1].append(line)
    return shown


def blocks(language: str) -> str:
    section = PAGE.read_text().partition("## From alert to proof\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return "".join(text for of, text in found if of == language)


def page() -> str:
    return blocks("")


def drift(page: str, run: str) -> list[str]:
    """Where a page differs from a run, `…` standing for anything in a line, and, alone on one, for
    any lines. A kill and a quarantine are two tasks: in which order lines come is not compared."""
    told, real = commands(page), commands(run)
    wrong = [line for [line, *_], [other, *_] in zip(told, real, strict=False) if line != other]
    if len(told) != len(real):
        wrong.append(f"{len(told)} commands instead of {len(real)}")
    for [command, *lines], [_, *printed] in zip(told, real, strict=False):
        left = list(printed)
        for line in lines:
            if line == "…":
                continue
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            found = next((other for other in left if re.fullmatch(pattern, other)), None)
            if found is None:
                wrong.append(f"{command}: not printed: {line}")
            else:
                left.remove(found)
        if "…" not in lines:
            wrong += [f"{command}: not on the page: {other}" for other in left]
    return wrong


@pytest.fixture(scope="module")
def run() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "support.walk"], cwd=ROOT / "tests", stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_page_shows_what_the_commands_print(run: str) -> None:
    assert not (wrong := drift(page(), run)), "\n".join(wrong)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("audit verify --key first.txt", "audit verify --key other.txt"),
        ('fumehood_incidents_open{signal="tripwire"} 1.0', "incidents_open 1.0"),
        ('alertstate="firing"', 'alertstate="pending"'),
        ("unbroken", "whole"),
        ('"3": "/tmp/loot"', "/tmp/loot"),
        ("change: files grab.py changed\n", ""),
        ("status: cancelled\n", "status: cancelled\nexit: 1\n"),
        ("$ fumehood incident list\n", ""),
    ],
)
def test_a_page_that_drifts_is_found_out(run: str, old: str, new: str) -> None:
    assert old in page()
    assert drift(page().replace(old, new), run)


def test_the_page_shows_the_rule_that_is_shipped() -> None:
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/fumehood.rules.yml").read_text())
    assert yaml.safe_load(blocks("yaml"))[0] in shipped["groups"][0]["rules"]
