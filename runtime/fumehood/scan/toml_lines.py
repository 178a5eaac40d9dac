"""The line of every key and value of a TOML document, which tomllib does not tell.

For documents that tomllib has read: what is no TOML gets some line, or none. Must never be asked
for values.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

Place = tuple[str | int, ...]
"""Keys and indices from the top: `("rules", 2, "regex")`."""

_BLANK: Final = re.compile(r"(?:[ \t]|\r?\n|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""+|\'\'\'.*?\'\'\'+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_WORD: Final = re.compile(r"[^\s,\]}#=.]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def lines(text: str) -> dict[Place, int]:
    """From 1."""
    walk = _Walk(text)
    try:
        walk.document()
    except (IndexError, ValueError, RecursionError):
        return walk.found  # as far as it was understood
    return walk.found


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lists: dict[Place, int] = {}
        self.found: dict[Place, int] = {}

    def document(self) -> None:
        table: Place = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        doubled = self._text.startswith("[[", self._at)
        line = self._line
        self._at += 2 if doubled else 1
        keys = self._keys()
        self._at += 2 if doubled else 1
        table: Place = ()
        for key in keys[:-1]:
            table = self._last((*table, key))
        table = (*table, keys[-1])
        if doubled:
            self._lists[table] = self._lists.get(table, -1) + 1
        table = self._last(table)
        self.found.setdefault(table, line)
        return table

    def _last(self, place: Place) -> Place:
        """Of a list of tables, the one that was begun last."""
        return (*place, self._lists[place]) if place in self._lists else place

    def _pair(self, table: Place) -> None:
        line = self._line
        place = (*table, *self._keys())
        self.found.setdefault(place, line)
        self._at += 1  # the equals sign
        self._value(place)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                raw = self._text[self._at : self._skip(_STRING)]
                keys.append(str(tomllib.loads(f"{raw}=0").popitem()[0]))
            else:
                keys.append(self._text[self._at : self._skip(_WORD)])
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, place: Place) -> None:
        self._skip(_SPACE)
        first = self._text[self._at]
        if first == "[":
            self._inside("]", place)
        elif first == "{":
            self._inside("}", place)
        else:
            self._skip(_STRING if first in "\"'" else _SCALAR)

    def _inside(self, end: str, place: Place) -> None:
        self._at += 1
        count = 0
        while self._text[self._skip(_BLANK)] != end:
            if self._text[self._at] == ",":
                self._at += 1
            elif end == "}":
                self._pair(place)
            else:
                self.found[(*place, count)] = self._line
                self._value((*place, count))
                count += 1
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        """Go behind what fits here; where that is. Raises IndexError where nothing is left."""
        found = pattern.match(self._text, self._at)
        end = found.end() if found else self._at + 1
        if end > len(self._text):
            raise IndexError(end)
        self._line += self._text.count("\n", self._at, end)
        self._at = end
        return end
