"""What the documents promise is there: commands, options, targets, links, numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from fumehood.cli.main import build
from fumehood.cli.outcome import EXIT
from fumehood.cli.present import size
from fumehood.model.manifest import load_manifest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()


RUN = re.compile(r"<!-- run: begin -->.*<!-- run: end -->", re.DOTALL)
"""What `make bench` printed: its rows begin with names of what was measured."""


def blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[str]:
    """The lines in code blocks of all documents that call `program`, without comments."""
    found = {
        line.partition("  #")[0].strip()
        for document in DOCUMENTS
        for block in blocks(RUN.sub("", document.read_text()))
        for line in block.splitlines()
        if line.startswith(f"{program} ")
    }
    return sorted(line for line in found if "──" not in line)


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield (*path, name), child
        yield from leaves(child, (*path, name))


TREE = typer.main.get_command(build())
ALL = dict(leaves(TREE, ()))


@pytest.mark.parametrize("line", commands("fumehood"))
def test_a_documented_command_line_can_be_parsed(line: str) -> None:
    words = shlex.split(line)[1:]
    command: Any = TREE
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    command.make_context("test", words)  # raises on an unknown option or a missing argument


def test_documents_show_every_command() -> None:
    shown = "\n".join(document.read_text() for document in DOCUMENTS)
    for path, command in ALL.items():
        is_group = hasattr(command, "commands")
        if not is_group and path[0] not in {"version", "image"}:
            assert f"fumehood {' '.join(path)}" in shown, path


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_has_a_help_text(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    assert command.help.strip().split("\n")[0].endswith(".")
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            assert parameter.help, parameter.name
            assert parameter.help.endswith((".", "?")), parameter.help


@pytest.mark.parametrize("line", commands("make"))
def test_a_documented_target_is_in_the_makefile(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if not target.startswith(("https:", "#")):
            assert (document.parent / target.partition("#")[0]).exists(), target


def test_the_exit_statuses_in_the_readme_and_the_help_are_all_there_are() -> None:
    (sentence,) = re.findall(r"^`call` and `run` exit with .*$", README, re.MULTILINE)
    assert {int(number) for number in re.findall(r"\b\d+\b", sentence)} == {*EXIT.values(), 2}
    (sentence,) = re.findall(r"Exit status: .*?130", ALL[("call",)].help, re.DOTALL)
    assert {int(number) for number in re.findall(r"\b\d+\b", sentence)} == {*EXIT.values(), 2}


def test_the_manifest_in_the_readme_is_one() -> None:
    (text,) = (block for block in blocks(README) if block.startswith("name:"))
    manifest = load_manifest(text, source="README.md")
    assert size(manifest.limits.to_plan().memory_bytes) == "128 MiB"


def test_the_readme_counts_the_examples() -> None:
    count = len(list((ROOT / "examples").glob("*/tool.yaml")))
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    assert f"has {words[count]} of them" in README


def test_the_architecture_names_every_folder_and_nothing_else() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (block,) = re.findall(r"^## Folders\n```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    below = re.findall(r"^  (\S+)", block, re.MULTILINE)
    top = re.findall(r"^(\S+)", block, re.MULTILINE)
    package = ROOT / top[0]
    marks = {"__init__.py", "py.typed", "profiles"}
    """Of Python's packaging, and the link that the line of resources.py tells of."""
    there = {path.name + "/" * path.is_dir() for path in package.iterdir()}
    assert sorted(below) == sorted(there - {"__pycache__/", *marks, "profiles/"})
    folders = {path.name + "/" for path in ROOT.iterdir() if path.is_dir()}
    kept = {name for name in folders if not name.startswith(".") and name != "build/"}
    assert sorted(top[1:]) == sorted(kept - {"runtime/"})


def test_the_architecture_names_only_modules_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", text))
    assert len(named) > 10
    package = ROOT / "runtime" / "fumehood"
    assert [
        name for name in named if not (package / name).exists() and not (ROOT / name).exists()
    ] == []
