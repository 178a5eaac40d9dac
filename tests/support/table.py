"""The table of docs/engines.md, written from what the conformance and the hostile suite found.

A cell says no more than the run did: `kept` needs every attack on that promise to have failed on
that engine, and a promise that nobody attacked is called that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from fumehood.engines.promises import PROMISES
from support.engines import TARGETS, Target
from support.promises import ROWS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "engines.md"
BEGIN: Final = "<!-- written by `make engines-table` -->\n"
END: Final = "<!-- end -->\n"
GROUPS: Final = {
    "hostile: resources": "what takes all it can get: memory, processes, time, space, descriptors",
    "hostile: streams": "what floods, withholds, nests or leaves streams open",
    "hostile: artifacts": "what lies in wait for whoever collects files",
    "hostile: network": "ways out: loopback, metadata, abstract sockets, every family",
    "hostile: escape": "privilege, mounts, kernel files, roots, other processes, native code",
    "hostile: system calls": "the whole table of denied calls, and each tripwire alone",
}
"""Groups of hostile cases."""
Results = Mapping[tuple[str, str], list[bool]]
RESULTS: Final = pytest.StashKey[defaultdict[tuple[str, str], list[bool]]]()


def note(config: pytest.Config, row: str, target: Target, *, passed: bool) -> None:
    """One attack on a promise, or one hostile case of a group."""
    config.stash.setdefault(RESULTS, defaultdict(list))[row, target.name].append(passed)


def found(config: pytest.Config) -> Results:
    return config.stash.get(RESULTS, defaultdict(list))


def cell(results: Results, row: str, target: Target) -> str:
    outcomes = results.get((row, target.name), [])
    if not outcomes:
        return "not attacked"
    if row in GROUPS:
        return f"{sum(outcomes)} of {len(outcomes)}"
    if not all(outcomes):
        return "**broken**"
    gap = target.gap(ROWS[row])
    return f"accept `{gap}`" if gap else "kept"


def render(results: Results) -> str:
    names = [target.name for target in TARGETS]
    lines = [f"| promise | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for promise in PROMISES:
        cells = [cell(results, promise.name, target) for target in TARGETS]
        lines.append(f"| **{promise.name}**: {promise.sentence} | {' | '.join(cells)} |")
    lines += ["", f"| hostile cases | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for group, sentence in GROUPS.items():
        cells = [cell(results, group, target) for target in TARGETS]
        lines.append(f"| **{group}**, {sentence} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write(results: Results) -> None:
    """Put the table of these results between the marks of the document."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + render(results) + END + rest.split(END)[1])


def committed() -> dict[tuple[str, str], str]:
    """The cells of the document by row and engine."""
    table = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    cells = {}
    for line in table.splitlines():
        if line.startswith("| **"):
            first, *rest = (part.strip() for part in line.strip("|").split(" | "))
            row = first.removeprefix("| ").split("**")[1]
            for target, text in zip(TARGETS, rest, strict=True):
                cells[row, target.name] = text
    return cells
