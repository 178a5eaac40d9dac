"""What an image of ours is built from: `image.yaml`, read strictly. Pure but for reading it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.errors import FumehoodError, ImageError
from fumehood.images.reference import parse_name
from fumehood.model.document import DocumentError, parse, shown
from fumehood.model.faults import nearest

FILE: Final = "image.yaml"
MAX_BYTES: Final = 64 * 1024
MAX_PACKAGES: Final = 500
MAX_EXTENDS: Final = 4
EPOCH: Final = 1735689600
"""2025-01-01T00:00:00Z. Times of files above it become it (reproducible-builds.org,
SOURCE_DATE_EPOCH); the variable of that name, when set, is used instead."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}(=[A-Za-z0-9.+:~-]{1,127})?\Z")
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_KEYS = ("name", "summary", "suite", "packages", "extends")


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image of Debian packages; `packages` has those of the recipes that it extends too."""

    name: str
    summary: str
    suite: str
    packages: tuple[str, ...]


def load(directory: Path) -> Recipe:
    """Read `directory`/image.yaml.

    Raises:
        ImageError: naming file, line and key.
    """
    return _load(directory, MAX_EXTENDS)


def _load(directory: Path, depth: int) -> Recipe:
    path = directory / FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        document = parse(data.decode(), max_bytes=MAX_BYTES)
    except OSError as error:
        raise ImageError(
            f"{path}: {error.strerror}", f"name a folder with {FILE}, such as images/base"
        ) from None
    except UnicodeDecodeError as error:
        raise ImageError(f"{path}: not UTF-8 at byte {error.start}") from None
    except DocumentError as error:
        raise ImageError(f"{path}, line {error.line}: {error.cause}", error.remedy) from None
    value = document.value
    if not isinstance(value, dict):
        raise ImageError(f"{path}: expected a mapping, got {shown(value)}")

    def wrong(key: str, cause: str, remedy: str = "") -> ImageError:
        return ImageError(f"{path}, line {document.line_of((key,))}: {key}: {cause}", remedy)

    for key in value:
        if key not in _KEYS:
            raise wrong(key, "unknown key", nearest(key, _KEYS))
    below = None
    if "extends" in value:
        if not isinstance(value["extends"], str) or not depth:
            raise wrong("extends", f"expected a folder, at most {MAX_EXTENDS} after one another")
        below = _load(directory / value["extends"], depth - 1)
    name, summary = _text(value, "name", wrong), _text(value, "summary", wrong)
    suite = below.suite if below and "suite" not in value else _text(value, "suite", wrong)
    try:
        parse_name(name)
    except FumehoodError as error:
        raise wrong("name", error.cause, error.remedy) from None
    if not _SUITE.match(suite):
        raise wrong("suite", f"{shown(suite)} is no release of Debian", "such as bookworm")
    packages = value.get("packages")
    if not isinstance(packages, list) or not 0 < len(packages) <= MAX_PACKAGES:
        raise wrong("packages", f"expected a list of 1 to {MAX_PACKAGES} names of packages")
    for item in packages:
        if not isinstance(item, str) or not _PACKAGE.match(item):
            raise wrong("packages", f"{shown(item)} is no name of a package")
    inherited = set(below.packages) if below else set()
    return Recipe(name, summary, suite, tuple(sorted({*inherited, *packages})))


def _text(value: dict[str, object], key: str, wrong: object) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text.strip():
        assert callable(wrong)  # noqa: S101  (the function above)
        raise wrong(key, f"expected a text, got {shown(text)}")
    return text
