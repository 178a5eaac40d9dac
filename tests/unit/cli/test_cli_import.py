"""`fumehood tool import`: the draft on stdout or in a file, the rest on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli import Cli

ENTRY = """
type: server
name: clock
description: Tells the time.
image: example/clock
command: [serve]
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "entry.yaml"
    path.write_text(ENTRY)
    return str(path)


def test_the_draft_is_on_stdout_and_what_was_not_mapped_on_stderr(cli: Cli, source: str) -> None:
    ended = cli("tool", "import", source)
    assert ended.status == 0
    assert ended.out.startswith("name: clock\n")
    assert "not mapped: command: " in ended.err
    assert "incomplete: the draft" in ended.err


def test_json_has_all_of_it(cli: Cli, source: str) -> None:
    found = json.loads(cli("tool", "import", source, "--json").out)
    assert (found["format"], found["manifest"]["name"]) == ("docker-catalog", "clock")
    assert {"key": "command", "why": found["not_mapped"][-1]["why"]} in found["not_mapped"]
    assert found["check"]["ok"] is False


def test_a_file_is_written_once_and_checked_as_it_was_told(
    cli: Cli, source: str, tmp_path: Path
) -> None:
    target = tmp_path / "tool.yaml"
    assert cli("tool", "import", source, "-o", str(target)).out == ""
    refused = cli("tool", "check", str(target))
    assert refused.status != 0
    assert "missing" in refused.err
    again = cli("tool", "import", source, "-o", str(target))
    assert (again.status, "exists" in again.err) == (2, True)


def test_an_archive_and_a_missing_file_are_told(cli: Cli, tmp_path: Path) -> None:
    bundle = tmp_path / "x.mcpb"
    bundle.write_bytes(b"PK\x03\x04")
    assert "unpack it" in cli("tool", "import", str(bundle)).err
    assert cli("tool", "import", str(tmp_path / "none")).status == 2
