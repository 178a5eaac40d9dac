"""`fumehood release`, as the command line shows it: the tool's bytes on stdout, nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from support.cli import Cli
from support.gateway import FakeSupervisor

NAME = "019aa7c5-3c1e-7d52-9a51-0f6f0e3d2b11"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def kept(supervisor: FakeSupervisor) -> dict[str, Any]:
    held: dict[str, Any] = {
        "invocation": NAME, "tool": "strict", "tool_digest": "sha384:00", "uid": 1000,
        "status": "ok", "message": "why it was", "findings": ["secret:github-pat:stdout"],
        "stdout": encoded(b"out \x1b[31m\n"), "stderr": encoded(b"err \x1b[2J\n"),
        "artifacts": [{"name": "a/b.txt", "data": encoded(b"\0file")}],
    }  # fmt: skip
    supervisor.releasing.kept[NAME] = held
    return held


def test_what_the_tool_wrote_is_on_stdout_as_it_was(cli: Cli, kept: dict[str, Any]) -> None:
    ended = cli("release", NAME)
    assert (ended.status, ended.out) == (0, "out \x1b[31m\n")
    assert "strict, called by uid 1000" in ended.err
    assert "why it was secret:github-pat:stdout" in ended.err
    assert "\x1b[2J" not in ended.err
    assert "1; --out DIR saves them" in ended.err


def test_files_are_saved_where_one_says(cli: Cli, kept: dict[str, Any], tmp_path: Path) -> None:
    ended = cli("release", NAME, "--out", str(tmp_path / "to"))
    assert ended.status == 0
    assert (tmp_path / "to/a/b.txt").read_bytes() == b"\0file"
    kept["artifacts"][0]["name"] = "../x"
    assert cli("release", NAME, "--out", str(tmp_path / "to")).status == 2
    assert not (tmp_path / "x").exists()


def test_the_whole_of_it_is_json(cli: Cli, kept: dict[str, Any]) -> None:
    assert json.loads(cli("release", NAME, "--json").out) == kept


def test_what_is_kept_is_listed(cli: Cli, kept: dict[str, Any]) -> None:
    assert NAME in cli("release", "--list").out
    (item,) = json.loads(cli("release", "--list", "--json").out)
    assert item["invocation"] == NAME
    kept.clear()


def test_nothing_kept_is_said_so(cli: Cli, supervisor: FakeSupervisor) -> None:
    assert "no withheld output is kept" in cli("release", "--list").err
    ended = cli("release", NAME)
    assert (ended.status, ended.out) == (3, "")
    assert "no output of such an invocation is kept" in ended.err


@pytest.mark.parametrize("words", [(), (NAME, "--list")])
def test_one_invocation_or_the_list(cli: Cli, words: tuple[str, ...]) -> None:
    ended = cli("release", *words)
    assert ended.status == 2
    assert "name one invocation, or --list" in ended.err
