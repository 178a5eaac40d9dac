"""A structured value as text to be searched, and redacted where its strings are.

Raw JSON alone hides a secret behind escapes, strings alone lose the key that makes a value
one; so each string stands here as `key: "value"`, and what is found is put back into the value
it came from. Numbers are not changed, ever: a secret in one cannot be redacted.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

from fumehood.scan.redact import Span, redact_text

Path: TypeAlias = "tuple[Path, Any, str | int] | None"
"""A linked path up to the root (above, container, key): cheaper than a tuple for each value."""


class Place(NamedTuple):
    """`container[key]`, or, when `is_key`, the key itself."""

    container: Any
    key: str | int
    path: Path
    is_key: bool


class Leaf(NamedTuple):
    """One string of the value, at `start:end` of the text."""

    start: int
    end: int
    place: Place


@dataclass(frozen=True, slots=True)
class Edits:
    """`texts`: a leaf's number to its new text. `names`: each key that changes to its new one."""

    texts: dict[int, str]
    names: dict[str, str]


class CannotRedact(Exception):
    """Two keys of one object became the same, or a span lies in no string."""


class Leaves:
    """The strings of one parsed JSON value, which is changed in place."""

    def __init__(self, value: object) -> None:
        self._root = [value]
        self._names: dict[tuple[int, str], str] = {}
        parts: list[str] = []
        _render(self._root, parts)
        self.data = "".join(parts).encode()
        self._table: list[Leaf] = []

    @property
    def value(self) -> Any:
        return self._root[0]

    def leaf_of(self, span: Span) -> Leaf | None:
        """The leaf in which the span lies wholly, or None."""
        at = self._at(span.start)
        leaf = self._leaves[at] if at >= 0 else None
        return leaf if leaf and leaf.start <= span.start and span.end <= leaf.end else None

    def numbered(self, number: int) -> Leaf | None:
        """That one of the strings and names, in the order in which the document has them."""
        return self._leaves[number] if 0 <= number < len(self._leaves) else None

    def edits(self, spans: Iterable[Span], show: Callable[[bytes], str] | None) -> Edits:
        """What each string that must change will be: its spans redacted, then `show`n.

        A span over several strings is cut up between the values in it. show: None when no
        string needs it.

        Raises:
            CannotRedact: a span lies in no string.
        """
        cuts: dict[int, list[Span]] = {}
        for span in spans:
            touched = self._touched(span)
            if not touched:
                raise CannotRedact(f"a `{span.rule}` lies in no string")
            for at in touched:
                cuts.setdefault(at, []).append(self._cut(span, self._leaves[at]))
        texts: dict[int, str] = {}
        for at in range(len(self._leaves)) if show else cuts:
            leaf = self._leaves[at]
            old = self.data[leaf.start : leaf.end]
            new = redact_text(old, cuts[at]) if at in cuts else old
            text = show(new) if show else new.decode()
            if text.encode() != old:
                texts[at] = text
        places = ((self._leaves[at].place, text) for at, text in texts.items())
        names = {str(place.key): text for place, text in places if place.is_key}
        return Edits(texts, names)

    def apply(self, edits: Edits) -> None:
        """Change the value. Raises CannotRedact when two keys of one object become the same."""
        renamed: dict[int, tuple[dict[str, Any], dict[str, str]]] = {}
        for at, text in edits.texts.items():
            container, key, _, is_key = self._leaves[at].place
            if not is_key:
                container[key] = text
                continue
            names = renamed.setdefault(id(container), (container, {}))[1]
            names[str(key)] = self._names[id(container), str(key)] = text
        for container, names in renamed.values():
            items = [(names.get(key, key), item) for key, item in container.items()]
            if len({key for key, _ in items}) != len(items):
                raise CannotRedact("two keys of one object would become the same")
            container.clear()
            container.update(items)

    def pointer(self, offset: int) -> str:
        """The JSON pointer of the leaf at or before a byte of the text, as the value is now."""
        at = self._at(offset)
        if at < 0:
            return ""
        place = self._leaves[at].place
        path: Path = (place.path, place.container, place.key)
        parts: list[str] = []
        while path is not None:
            path, container, key = path
            parts.append(self._names.get((id(container), str(key)), str(key)))
        # The last one is the index in the list that holds the root.
        return pointer(reversed(parts[:-1]))

    @property
    def _leaves(self) -> list[Leaf]:
        """Where each string stands: worked out only when something was found."""
        if not self._table and self.data:
            self._walk(self._root, None, 0)
        return self._table

    def _walk(self, node: Any, path: Path, at: int) -> int:
        """Follows `_render` step by step; returns where it ends."""
        if isinstance(node, dict):
            for key, item in node.items():
                at = self._leaf(key, at, Place(node, key, path, is_key=True))
                at += len(_AFTER_KEY if isinstance(item, str) else _ALONE)
                at = self._item(item, at, Place(node, key, path, is_key=False))
        else:
            for index, item in enumerate(node):
                at = self._item(item, at, Place(node, index, path, is_key=False))
        return at

    def _item(self, item: Any, at: int, place: Place) -> int:
        if isinstance(item, str):
            return self._leaf(item, at + len(_QUOTE), place) + len(_UNQUOTE)
        if isinstance(item, dict | list):
            return self._walk(item, (place.path, place.container, place.key), at)
        return at

    def _leaf(self, text: str, at: int, place: Place) -> int:
        end = at + (len(text) if text.isascii() else len(text.encode()))
        self._table.append(Leaf(at, end, place))
        return end

    def _at(self, offset: int) -> int:
        """The number of the leaf at or before a byte of the text, -1 before the first."""
        return bisect_right(self._leaves, offset, key=_start) - 1

    def _touched(self, span: Span) -> list[int]:
        first = max(self._at(span.start), 0)
        last = self._at(span.end - 1)
        over = [at for at in range(first, last + 1) if self._overlaps(span, self._leaves[at])]
        if len(over) < 2:
            return over
        values = [at for at in over if not self._leaves[at].place.is_key]
        return values or over

    @staticmethod
    def _overlaps(span: Span, leaf: Leaf) -> bool:
        return span.start < leaf.end and leaf.start < span.end

    @staticmethod
    def _cut(span: Span, leaf: Leaf) -> Span:
        start, end = max(span.start, leaf.start), min(span.end, leaf.end)
        return replace(span, start=start - leaf.start, end=end - leaf.start)


_QUOTE: Final = '"'
_UNQUOTE: Final = '"\n'
_AFTER_KEY: Final = ": "
_ALONE: Final = "\n"
_start: Final = operator.attrgetter("start")


def _render(node: Any, parts: list[str]) -> None:
    if isinstance(node, list):
        for item in node:
            if isinstance(item, str):
                parts += (_QUOTE, item, _UNQUOTE)
            elif isinstance(item, dict | list):
                _render(item, parts)
        return
    for key, item in node.items():
        if isinstance(item, str):
            parts += (key, _AFTER_KEY, _QUOTE, item, _UNQUOTE)
            continue
        parts += (key, _ALONE)
        if isinstance(item, dict | list):
            _render(item, parts)


def pointer(parts: Iterable[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
