"""A structured value as text to be searched, and redacted where its strings are.

Raw JSON alone hides a secret behind escapes, strings alone lose the key that makes a value
one; so each string stands here as `key: "value"`, and what is found is put back into the value
it came from. Numbers are not changed, ever: a secret in one cannot be redacted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fumehood.scan.redact import Span, redact_text

Path: TypeAlias = "tuple[Path, Any, str | int] | None"
"""A linked path up to the root (above, container, key): cheaper than a tuple for each value."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One string of the value at `start:end` of the text: `container[key]`, or `key` itself."""

    start: int
    end: int
    container: Any
    key: str | int
    path: Path
    is_key: bool


@dataclass(frozen=True, slots=True)
class Edits:
    """`texts`: a leaf's number to its new text. `names`: each key that changes to its new one."""

    texts: dict[int, str]
    names: dict[str, str]


class CannotRedact(Exception):  # noqa: N818  (a verdict, translated by `structured`)
    """Two keys of one object became the same, or a span lies in no string."""


class Leaves:
    """The strings of one parsed JSON value, which is changed in place."""

    def __init__(self, value: object) -> None:
        self._root = [value]
        self._leaves: list[Leaf] = []
        self._names: dict[tuple[int, str], str] = {}
        self._parts: list[bytes] = []
        self._length = 0
        self._walk(self._root, None)
        self.data = b"".join(self._parts)
        self._starts = [leaf.start for leaf in self._leaves]

    @property
    def value(self) -> Any:
        return self._root[0]

    def leaf_of(self, span: Span) -> Leaf | None:
        """The leaf in which the span lies wholly, or None."""
        leaf = self._leaves[at] if (at := self._at(span.start)) >= 0 else None
        return leaf if leaf and leaf.start <= span.start and span.end <= leaf.end else None

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
                raise CannotRedact("a secret lies in no string")
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
        names = {str(self._leaves[at].key): t for at, t in texts.items() if self._leaves[at].is_key}
        return Edits(texts, names)

    def apply(self, edits: Edits) -> None:
        """Change the value. Raises CannotRedact when two keys of one object become the same."""
        renamed: dict[int, tuple[dict[str, Any], dict[str, str]]] = {}
        for at, text in edits.texts.items():
            leaf = self._leaves[at]
            if not leaf.is_key:
                leaf.container[leaf.key] = text
                continue
            names = renamed.setdefault(id(leaf.container), (leaf.container, {}))[1]
            names[str(leaf.key)] = self._names[id(leaf.container), str(leaf.key)] = text
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
        leaf = self._leaves[at]
        path: Path = (leaf.path, leaf.container, leaf.key)
        parts: list[str] = []
        while path is not None:
            path, container, key = path
            parts.append(self._names.get((id(container), str(key)), str(key)))
        # The last one is the index in the list that holds the root.
        return pointer(reversed(parts[:-1]))

    def _walk(self, node: Any, path: Path) -> None:
        if isinstance(node, dict):
            for key, item in node.items():
                self._leaf(key, node, key, path, is_key=True)
                self._add(b": " if isinstance(item, str) else b"\n")
                self._item(item, node, key, path)
        else:
            for index, item in enumerate(node):
                self._item(item, node, index, path)

    def _item(self, item: Any, node: Any, key: str | int, path: Path) -> None:
        if isinstance(item, str):
            self._add(b'"')
            self._leaf(item, node, key, path, is_key=False)
            self._add(b'"\n')
        elif isinstance(item, dict | list):
            self._walk(item, (path, node, key))

    def _leaf(self, text: str, node: Any, key: str | int, path: Path, *, is_key: bool) -> None:
        start = self._length
        self._add(text.encode())
        self._leaves.append(Leaf(start, self._length, node, key, path, is_key))

    def _add(self, text: bytes) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _at(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1

    def _touched(self, span: Span) -> list[int]:
        first = max(self._at(span.start), 0)
        last = self._at(span.end - 1)
        over = [at for at in range(first, last + 1) if self._overlaps(span, self._leaves[at])]
        if len(over) < 2:
            return over
        values = [at for at in over if not self._leaves[at].is_key]
        return values or over

    @staticmethod
    def _overlaps(span: Span, leaf: Leaf) -> bool:
        return span.start < leaf.end and leaf.start < span.end

    @staticmethod
    def _cut(span: Span, leaf: Leaf) -> Span:
        start, end = max(span.start, leaf.start), min(span.end, leaf.end)
        return Span(
            start - leaf.start, end - leaf.start, span.rule, span.severity, span.fingerprint
        )


def pointer(parts: Iterable[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
