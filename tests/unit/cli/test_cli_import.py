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


SOURCES = {
    "server.json": {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-10-17/server.schema.json",
        "name": "io.github.example/files", "description": "Reads files.", "version": "1.0.2",
        "packages": [{
            "registryType": "oci", "identifier": "docker.io/example/files:1.0.2",
            "transport": {"type": "stdio"},
            "environmentVariables": [{"name": "TOKEN", "isSecret": True}],
        }],
    },
    "catalog": {
        "type": "server", "name": "clock", "description": "Tells the time.",
        "image": "example/clock", "command": ["serve"],
    },
    "toolhive": {"network": {"outbound": {"allow_host": ["example.org"]}}, "read": ["/etc"]},
    "manifest.json": {
        "manifest_version": "0.2", "name": "hello", "version": "0.1.0",
        "description": "Says hello.",
        "server": {
            "type": "python", "entry_point": "server/main.py",
            "mcp_config": {
                "command": "python3", "args": ["${__dirname}/server/main.py"],
                "env": {"KEY": "${user_config.key}"},
            },
        },
    },
}  # fmt: skip
FILLED = {
    "name": "filled", "version": "1.0.0", "description": "Filled in.",
    "inputSchema": {"type": "object", "additionalProperties": False},
    "run": {"command": ["cat"]}, "run.command": ["cat"],
}  # fmt: skip


@pytest.mark.parametrize("form", SOURCES)
def test_a_draft_with_the_named_gaps_filled_in_is_a_manifest(
    cli: Cli, tmp_path: Path, form: str
) -> None:
    (tmp_path / "source").write_text(json.dumps(SOURCES[form]))
    (tmp_path / "server").mkdir()
    (tmp_path / "server/main.py").write_text("print('hello')")
    found = json.loads(cli("tool", "import", str(tmp_path / "source"), "--json").out)
    draft, gaps = found["manifest"], found["check"]["missing"]
    assert found["not_mapped"], "what could not be mapped is listed"
    assert gaps
    for gap in gaps:
        at, _, key = gap.rpartition(".")
        (draft[at] if at else draft)[key] = FILLED[gap]
    (tmp_path / "tool.yaml").write_text(json.dumps(draft))
    checked = cli("tool", "check", str(tmp_path / "tool.yaml"))
    assert checked.status == 0, checked.err


def test_an_archive_and_a_missing_file_are_told(cli: Cli, tmp_path: Path) -> None:
    bundle = tmp_path / "x.mcpb"
    bundle.write_bytes(b"PK\x03\x04")
    assert "unpack it" in cli("tool", "import", str(bundle)).err
    assert cli("tool", "import", str(tmp_path / "none")).status == 2
