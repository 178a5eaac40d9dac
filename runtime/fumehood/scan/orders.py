"""In which orders somebody may read pieces of output: as the result and the files' numbers have
them, and few of them in any order. Pure; of many pieces there must never be more than a few."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Final

MAX_PERMUTED: Final = 4
"""Pieces that are joined in every order: 24 of them."""
MAX_PAIRED: Final = 8
"""Pieces of which every two are joined, both ways; of more only those that follow one another."""

_NUMBER: Final = re.compile(r"\d+")


def natural(numbers: Sequence[int], names: Sequence[str]) -> Iterator[Sequence[int]]:
    """As the result is read, and as a shell or a person sorts files. names: by number, empty for a
    stream."""
    streams = [number for number in numbers if not names[number]]
    files = [number for number in numbers if names[number]]
    counted = sorted(files, key=lambda number: _by_number(names[number]))
    yield [*streams, *files]
    yield [*streams[:1], *files, *streams[1:]]
    yield [*reversed(streams), *counted]
    yield [*counted, *streams]
    yield [*reversed(counted), *streams]


def _by_number(name: str) -> list[tuple[str, int]]:
    """`part10` after `part9`."""
    words, digits = _NUMBER.split(name), [int(found[:18]) for found in _NUMBER.findall(name)]
    return list(zip(words, [*digits, 0], strict=True))


def others(numbers: Sequence[int], paired: int = MAX_PAIRED) -> Iterator[Sequence[int]]:
    """Whatever else may be tried. paired: pieces of which every two are."""
    if len(numbers) <= MAX_PERMUTED:
        yield from permutations(numbers)
    elif len(numbers) <= paired:
        yield from permutations(numbers, 2)
