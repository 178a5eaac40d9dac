"""Imports run one way, and the privileged processes load nothing but what they may.

The first half reads every module's syntax tree, imports inside functions included; the second
half really imports, in an interpreter that cannot see any installed package.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest

import fumehood

PACKAGE = Path(fumehood.__file__).parent
ROOT = Path(__file__).parents[2]
BASE = {"errors", "model", "places", "resources", "config", "trusted"}

# room -> the rooms that it may import besides itself. A module directly in the package is a room
# of its own; `fumehood` itself (the version) is open to all.
MAY = {
    "errors": set[str](),
    "resources": set[str](),
    "places": {"errors"},
    "trusted": {"errors"},
    "model": {"errors"},
    "crypto": {"errors", "model"},
    "connection": {"errors", "model"},
    "client": {"errors", "connection"},
    "tool": set[str](),  # runs inside sandboxes, alone
    "verify": {"errors", "crypto", "audit"},
    "config": {"errors", "model", "places", "trusted"},
    "kernel": BASE - {"config"},
    "catalog": {*BASE, "crypto"},
    "admission": {*BASE, "crypto"},
    "scan": BASE,
    "audit": {*BASE, "crypto"},
    "images": BASE,
    "engines": {*BASE, "kernel", "images"},
    "launcher": {*BASE, "kernel", "images", "engines"},
    "supervisor": {*BASE, "crypto", "kernel", "catalog", "admission", "scan", "audit", "launcher"},
    "gateway": {*BASE, "catalog", "admission", "supervisor"},
    # The composition root, and its process, which nobody imports.
    "composition": {
        *BASE, "crypto", "kernel", "catalog", "admission", "scan", "audit", "images", "engines",
        "launcher", "supervisor",
    },
    "daemon": {
        *BASE, "crypto", "scan", "audit", "launcher", "supervisor", "gateway", "composition",
    },
    # A running daemon is reached through `client` only. `serve` becomes the keeper, `doctor`
    # asks the kernel and the engines, `audit verify` reads the log on disk, `image` works on the
    # store on disk, `key` on the key ring: it must work when an expired key keeps the daemon from
    # starting, `policy check` reviews the operator's file before any daemon reads it, `scan`
    # looks into a user's own files.
    "cli": {
        *BASE, "client", "verify", "crypto", "kernel", "audit", "scan", "images", "engines",
        "launcher", "gateway",
        "admission", "catalog",
    },
    "__main__": {"cli"},
}  # fmt: skip

# What the privileged processes may load of ours, by module name.
PRIVILEGED_ROOMS = {"kernel", "engines", "launcher"}
PRIVILEGED_MODULES = {
    "fumehood",
    "fumehood.errors",
    "fumehood.resources",
    "fumehood.trusted",
    "fumehood.model",
    "fumehood.model.plan",
    "fumehood.model.codec",
    "fumehood.model.outcome",
    "fumehood.model.text",
    "fumehood.model.tree",
}
ENTRANCES = [
    "fumehood.launcher.keeper", "fumehood.launcher.process", "fumehood.launcher.fetch",
    "fumehood.launcher.sealer",
]  # fmt: skip


def modules() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if "probe" not in path.relative_to(PACKAGE).parts
    )


def room(module: str) -> str:
    """`fumehood.cli.main` is in `cli`; `fumehood` itself in the empty room."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of everything of ours that a module imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""
            if node.module == "fumehood":
                for name in node.names:
                    if not name.name.startswith("_"):
                        yield node.lineno, f"fumehood.{name.name}"


def test_every_module_is_in_a_room_with_a_rule() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert rooms - {"__init__"} <= set(MAY)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = {"", own} | MAY.get(own, set())
    wrong = [
        f"{path.name}:{line} imports {name}"
        for line, name in imported(path)
        if name.partition(".")[0] == "fumehood" and room(name) not in allowed
    ]
    assert not wrong


def test_the_rules_themselves_have_no_circle() -> None:
    order: list[str] = []
    while len(order) < len(MAY):
        ready = [name for name, needs in MAY.items() if name not in order and needs <= set(order)]
        assert ready, f"a circle among {set(MAY) - set(order)}"
        order += ready


def test_admission_knows_of_no_socket() -> None:
    """It decides about callers whoever proved them: a socket's peer, or a token's subject."""
    network = {"socket", "socketserver", "asyncio", "anyio", "select", "selectors", "ssl", "http"}
    for path in sorted((PACKAGE / "admission").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & network, path.name


def test_the_levels_of_imports_are_told_as_they_are_held() -> None:
    lines = [
        re.search(
            r"errors, resources.*?(?=\.|$)",
            (ROOT / path).read_text().replace("`", ""),
            re.MULTILINE,
        )
        for path in ("docs/architecture.md", "CONTRIBUTING.md")
    ]
    assert lines[0]
    assert lines[1]
    assert lines[0][0] == lines[1][0]
    levels = [set(level.split(", ")) for level in lines[0][0].split(" ← ")]
    told: set[str] = set().union(*levels)
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.is_symlink()}
    assert rooms - {"__pycache__"} <= told <= set(MAY)
    for level, below in zip(levels[1:], accumulate(levels, set.union), strict=False):
        for room in level:
            assert MAY[room] & told <= below, f"{room} may import what is not below it"


LOAD = """
import json, sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
__import__(sys.argv[2])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_privileged_processes_load_the_standard_library_and_little_of_ours(entrance: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOAD, str(PACKAGE.parent), entrance],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = json.loads(done.stdout)
    assert entrance in loaded
    strange = [
        name
        for name in loaded
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "fumehood"}
    ]
    assert not strange
    ours = {name for name in loaded if name.startswith("fumehood")}
    assert not {
        name
        for name in ours
        if name not in PRIVILEGED_MODULES and room(name) not in PRIVILEGED_ROOMS
    }


def test_every_complaint_of_the_type_checker_that_is_silenced_has_its_reason() -> None:
    silenced = re.compile(r"#\s*type:\s*ignore(?!\[[a-z,-]+\]  # \S)")
    found = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in modules()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if silenced.search(line)
    ]
    assert found == []
