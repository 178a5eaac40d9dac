"""Every dependency is imported, locked and on record, and every import is a dependency."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = (ROOT / "docs/decisions/0001-dependencies.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


BROUGHT = {"mcp-types": "mcp", "requests": "docker", "urllib3": "docker"}
"""Imported for the types and errors of a dependency, which pins them itself."""
AWAITED = {"yara-x"}
"""Locked for the YARA rules of operators, which nothing reads yet."""


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[><=~!\[; ]", line)[0]) for line in requirements}


def locked(file: str) -> set[str]:
    return {normal(name) for name in re.findall(r"^([\w.-]+)==", (ROOT / file).read_text(), re.M)}


RUN_TIME = names(PROJECT["dependencies"])
DEVELOPMENT = names(PROJECT["optional-dependencies"]["dev"])


def imported(folder: str) -> set[str]:
    """Distributions that the modules of a folder import, anywhere in them."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    by_module = packages_distributions()
    foreign = found - {*sys.stdlib_module_names, "fumehood", ""}
    return {normal(name) for module in foreign for name in by_module.get(module, [module])}


def test_the_package_imports_its_dependencies_and_nothing_else() -> None:
    used = {BROUGHT.get(name, name) for name in imported("runtime")}
    assert used <= RUN_TIME
    assert RUN_TIME - used <= AWAITED


def test_each_dependency_of_run_time_has_a_row_in_the_record() -> None:
    rows = {normal(name) for name in re.findall(r"^\| `([\w-]+)`", RECORD, re.MULTILINE)}
    assert rows == RUN_TIME


def test_each_dependency_of_development_is_named_in_the_record() -> None:
    sentence = next(line for line in RECORD.splitlines() if line.startswith("For development:"))
    named = {normal(name) for name in re.findall(r"`([\w-]+)` \(", sentence)}
    assert named == {"setuptools", *(n for n in DEVELOPMENT if not n.startswith("types-"))}


def test_the_locks_hold_what_is_asked_for() -> None:
    assert locked("requirements.lock") >= RUN_TIME
    assert locked("requirements-dev.lock") >= RUN_TIME | DEVELOPMENT
