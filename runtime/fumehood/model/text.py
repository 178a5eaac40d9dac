"""What people can see in a text and in a path. Pure, standard library only; must never alter
a text: it says what is wrong, and the caller refuses."""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional and tag characters among them), private, surrogate,
# unassigned, line and paragraph separators.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
MAX_NAME_BYTES = 255
"""NAME_MAX of Linux file systems (limits.h)."""


def hidden_character(text: str, *, allow: str = "\n\t") -> str | None:
    """The first control, bidirectional, invisible or unassigned character, as `U+202E`."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        if unicodedata.category(character) in _UNSHOWABLE and character not in allow:
            return f"U+{ord(character):04X}"
    return None


def relative_path_fault(path: str, *, max_bytes: int = 255) -> str | None:
    """Why `path` is no plain relative `/`-separated path, or None when it is."""
    if not path:
        return "is empty"
    if (character := hidden_character(path, allow="")) is not None:
        return f"holds the character {character}"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "holds a backslash"
    parts = path.split("/")
    if ".." in parts:
        return "leads out of its folder with `..`"
    if len(path.encode()) > max_bytes or any(len(p.encode()) > MAX_NAME_BYTES for p in parts):
        return f"has more than {max_bytes} bytes, or a name of more than {MAX_NAME_BYTES}"
    return None
