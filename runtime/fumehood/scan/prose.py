"""Instructions to a model in texts that are no tool's output: those of a manifest, which models
read before they call anything.

The detectors are those that look at output. Must never pass a text that was not looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

from fumehood.errors import ScanFailed
from fumehood.scan import injection
from fumehood.scan.exchange import Subject
from fumehood.scan.policy import Withhold
from fumehood.scan.search import Budget, Search, Searcher

BETWEEN: Final = b"\n\n"
MAX_SHOWN: Final = 120
"""Characters of what was found."""

Instruction = tuple[str, str, str]
"""Rule, confidence (`low`: the text talks about such instructions), and what was found."""


def searcher(cache: Path | None) -> Searcher:
    """For who runs no scanner processes. cache: a directory of this user's own."""
    detector = injection.detector(cache)
    detector.load()
    return Searcher([detector], [])


def instructions(search: Search, texts: Sequence[str]) -> list[list[Instruction]]:
    """What in each text speaks to a model. Blocks.

    Raises:
        ScanFailed: they could not be looked at.
    """
    pieces = [text.encode("utf-8", "replace") for text in texts]
    data = BETWEEN.join(pieces)
    try:
        (matches,) = search.find_all([Subject(data, clean=False)], Budget())
    except Withhold as error:
        raise ScanFailed(
            "the manifest's texts could not be looked at",
            "try again; the log names the detector",
            detail=f"{error.message} {error.detail}",
        ) from None
    starts = [0, *accumulate(len(piece) + len(BETWEEN) for piece in pieces)][:-1] or [0]
    found: list[list[Instruction]] = [[] for _ in texts]
    for match in matches:
        if match.kind != "injection":
            continue
        shown = match.value or data[match.start : match.end]
        text = shown.decode("utf-8", "replace")[:MAX_SHOWN]
        found[bisect_right(starts, match.start) - 1].append((match.rule, match.confidence, text))
    return found
