"""What is wrong with somebody's own request is told with what to do about it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import fumehood

PACKAGE = Path(fumehood.__file__).parent
OWN_FAULT = {"UsageError", "BadFrame", "InvalidFrame", "DaemonUnreachable"}


def without_remedy() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            named = any(keyword.arg == "remedy" for keyword in node.keywords)
            named = named or any(isinstance(argument, ast.Starred) for argument in node.args)
            if node.func.id in OWN_FAULT and len(node.args) < 2 and not named:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.func.id}"


def test_an_error_that_its_reader_caused_says_what_to_do() -> None:
    assert list(without_remedy()) == []
