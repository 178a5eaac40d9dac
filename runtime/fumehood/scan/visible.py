"""Bytes as text in which everything can be seen and nothing is lost; `restore` is the proof.

A byte that is no UTF-8 and an ASCII control become `\\xNN`, another hidden character becomes
`\\u{NNNN}`. Where the text already has backslashes that read like that, they are doubled, but
only in a text in which something is rewritten: clean text is returned as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from fumehood.scan.control import HIDDEN, IN_CONTEXT, RUN, decode, is_plain
from fumehood.scan.redraws import settled

MAX_REWRITTEN: Final = 256 * 1024
"""Characters that are made visible in one text; one that needs more is no text for people."""

_BACKSLASHES: Final = re.compile(r"\\+")
_READS_LIKE_ESCAPE: Final = re.compile(r"x[0-9a-f]{2}|u\{")
_RESTORE: Final = re.compile(
    r"(?<!\\)(?P<pairs>(?:\\\\)*+)"
    r"(?:\\x(?P<byte>[0-9a-f]{2})|\\u\{(?P<point>[0-9A-F]{2,6})\}|(?=x[0-9a-f]{2}|u\{))"
)


def visible(data: bytes, *, most: int = MAX_REWRITTEN) -> tuple[str, bool]:
    """`data` as text, and whether it was cut where the `most`th character was rewritten.

    The text is identical to its decoding when nothing in it is hidden or invalid.
    """
    if is_plain(data):
        return data.decode("ascii"), False
    text = decode(data)
    if HIDDEN.search(settled(text)) is None:
        return text, False
    try:
        return RUN.sub(Rewriter(most), text), False
    except EnoughError as enough:
        return RUN.sub(Rewriter(len(text)), text[: enough.at]), True


def is_clean(data: bytes) -> bool:
    """Whether nothing has to be left out to read `data` as people see it: then `visible` changes
    nothing but the type. Of a bar that is drawn again it does not, either, and its parts are
    still put together to be searched."""
    return is_plain(data) or HIDDEN.search(decode(data)) is None


def restore(text: str) -> bytes:
    """The bytes that `visible` was given, when it rewrote something in them."""
    return _RESTORE.sub(_restored, text).encode("utf-8", "surrogateescape")


class EnoughError(Exception):
    """So much was rewritten that the rest, from character `at`, is left out."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class Rewriter:
    """Rewrites one run of backslashes and hidden characters after another, `most` in all."""

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, found: re.Match[str]) -> str:
        run = found[0]
        if IN_CONTEXT.search(run) is None:
            self._spend(len(run), found.start())
            return run.translate(_ESCAPES)
        if run.count("\\") < len(run):
            return "".join(self._characters(found))
        if _READS_LIKE_ESCAPE.match(found.string, found.end()) is None:
            return run
        self._spend(len(run), found.start())
        return run * 2

    def _characters(self, found: re.Match[str]) -> Iterator[str]:
        text, at, end = found.string, found.start(), found.end()
        while at < end:
            backslashes = _BACKSLASHES.match(text, at)
            if backslashes is not None:
                at = backslashes.end()
                escaped = HIDDEN.match(text, at) or _READS_LIKE_ESCAPE.match(text, at)
                yield backslashes[0] * 2 if escaped else backslashes[0]
                continue
            if HIDDEN.match(text, at) is None:
                yield text[at]
            else:
                self._spend(1, at)
                yield _ESCAPES[ord(text[at])]
            at += 1

    def _spend(self, count: int, at: int) -> None:
        if count > self._left:
            raise EnoughError(at + self._left)
        self._left -= count


class _Escapes(dict[int, str]):
    """The visible form of a code point, made when first asked for."""

    def __missing__(self, point: int) -> str:
        if 0xDC80 <= point <= 0xDCFF:
            shown = f"\\x{point - 0xDC00:02x}"
        else:
            shown = f"\\x{point:02x}" if point < 0x80 else f"\\u{{{point:04X}}}"
        self[point] = shown
        return shown


_ESCAPES: Final = _Escapes()


def _restored(found: re.Match[str]) -> str:
    backslashes = found["pairs"][::2]
    if found["byte"]:
        value = int(found["byte"], 16)
        return backslashes + chr(value if value < 0x80 else 0xDC00 + value)
    return backslashes + (chr(int(found["point"], 16)) if found["point"] else "")
