"""How images are named: `python`, `python:3.11`, `python@sha256:…`, `sha256:…`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fumehood.errors import ImageError

HOST = "host"
"""The host's /usr, which is in no store."""
DEFAULT_TAG = "latest"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAMED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_RESERVED = (HOST, "sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class Reference:
    """name and tag are empty for a bare digest; digest is empty for a name that is not pinned."""

    name: str
    tag: str
    digest: str

    @property
    def tagged(self) -> str:
        """The name in the index: `python:latest`."""
        return f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """Read a reference.

    Raises:
        ImageError: it is none, or `host`, which is not kept in the store.
    """
    if _DIGEST.fullmatch(text):
        return Reference("", "", text)
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ImageError(
            f"{text[:128]!r} is no name of an image",
            "write NAME, NAME:TAG, NAME@sha256:… or sha256:…, NAME being of [a-z0-9._-]",
        )
    if found["name"] in _RESERVED:
        raise ImageError(
            f"{text[:128]!r} is no name of an image", f"no image can be called {found['name']}"
        )
    return Reference(found["name"], found["tag"] or DEFAULT_TAG, found["digest"] or "")


def parse_name(text: str) -> Reference:
    """A name to give: without a digest, which the content decides."""
    reference = parse(text)
    if reference.digest or not reference.name:
        raise ImageError(f"{text[:128]!r} cannot be given as a name", "write NAME or NAME:TAG")
    return reference
