"""The names of files as pieces of output: a tool may write a secret into several of them, or go on
in one with what stdout ends in. Pure; must never change a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from fumehood.scan import orders
from fumehood.scan.redact import is_identifier

MAX_PAIRED: Final = 16
"""Names of which every two are joined, both ways: they are short."""

# `01-`, `part_2.`, `(3) `, `4 - `, and what stands behind a name: `-2`, ` (3)`.
_BEFORE: Final = re.compile(
    rb"(?:[A-Za-z]{1,12}[-_. ]?)?\(?[0-9]{1,4}(?: - |[-_.)] ?| )(?=.)", re.DOTALL
)
_BEHIND: Final = re.compile(rb"(?<=.)(?: \(|[-_. (])[0-9]{1,4}\)?\Z", re.DOTALL)
_ENDING: Final = re.compile(rb"(?<=.)(?:\.tar)?\.[A-Za-z0-9]{1,5}\Z", re.DOTALL)


class Component(NamedTuple):
    """One part of paths, between slashes. places: the files in whose names it stands, and where.

    own: whether it is the last one, by which people call a file.
    """

    text: bytes
    path: str
    own: bool
    places: tuple[tuple[int, int], ...]


def components(names: Sequence[bytes]) -> list[Component]:
    """Of all names, in their order; a directory once."""
    found: list[Component] = []
    directories: dict[bytes, list[tuple[int, int]]] = {}
    for number, name in enumerate(names):
        at = 0
        for text in name.split(b"/"):
            end = at + len(text)
            place, path = (number, at), name[:end].decode(errors="replace")
            if end == len(name) and text:
                found.append(Component(text, path, True, (place,)))
            elif text:
                directories.setdefault(name[:end], []).append(place)
            at = end + 1
    for prefix, places in directories.items():
        text = prefix.rpartition(b"/")[2]
        path = prefix.decode(errors="replace")
        found.append(Component(text, path, False, tuple(places)))
    return found


def readings(
    streams: Sequence[int], first: int, parts: Sequence[Component], contents: Mapping[int, int]
) -> Iterator[Sequence[int]]:
    """The orders in which names are read.

    streams: the numbers of what is read beside them. first: the number of the first of `parts`.
    contents: by file, that of what it holds.
    """
    own = [first + n for n, part in enumerate(parts) if part.own]
    folders = [first + n for n, part in enumerate(parts) if not part.own]
    paths = {first + n: part.path for n, part in enumerate(parts)}
    # Among many names only those that are no words of a language or of code: 3 ms for 8 of them.
    odd = [n for n in own if not is_identifier(core(parts[n - first].text))]
    names = [paths.get(n, "") for n in range(first + len(parts))]
    for some in (own, folders):
        if some:
            yield from orders.natural([*streams, *some], names)
    few = len(own) <= (orders.MAX_PAIRED if odd else orders.MAX_PERMUTED)
    for some in (own if few else odd, folders):
        if some:
            both = [*streams, *some]
            yield from orders.others(both if len(both) <= MAX_PAIRED else some, MAX_PAIRED)
    for number, part in enumerate(parts, first):
        if part.own and (content := contents.get(part.places[0][0])) is not None:
            yield number, content
    yield from _downwards(first, parts)


def _downwards(first: int, parts: Sequence[Component]) -> Iterator[Sequence[int]]:
    """Each path from its first directory on."""
    holds: dict[int, list[tuple[int, int]]] = {}
    for number, part in enumerate(parts, first):
        for file, at in part.places:
            holds.setdefault(file, []).append((at, number))
    seen: set[tuple[int, ...]] = set()
    for places in holds.values():
        path = tuple(number for _, number in sorted(places))
        if len(path) > 1 and path not in seen:
            seen.add(path)
            yield path


def _stem(name: bytes) -> tuple[int, int]:
    """`start:end` of a name without its ending."""
    ending = _ENDING.search(name)
    return 0, ending.start() if ending else len(name)


def _unnumbered(name: bytes) -> tuple[int, int]:
    """The same without a number before it that says which part it is."""
    _, end = _stem(name)
    before = _BEFORE.match(name, 0, end)
    return before.end() if before else 0, end


def _uncounted(name: bytes) -> tuple[int, int]:
    """The same without one behind it."""
    _, end = _stem(name)
    behind = _BEHIND.search(name, 0, end)
    return 0, behind.start() if behind else end


READINGS: Final[Mapping[str, Callable[[bytes], tuple[int, int]]]] = {
    "lines": _stem,
    "unwrapped": _unnumbered,
    "counted": _uncounted,
}
"""By what is left out beside a name, what is left out of it."""


def core(name: bytes) -> bytes:
    """A name without its ending and a number before it."""
    start, end = _unnumbered(name)
    return name[start:end]
