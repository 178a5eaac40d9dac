"""Files of this host that have a wanted hash: from folders, and from indexes on its disk.

Everything is copied while it is hashed, so that what was hashed is what is used, and no program
that parses strangers' pages needs to see the host's folders.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urljoin, urlsplit

from fumehood.errors import ImageError
from fumehood.images.streams import CHUNK

MAX_FILE_BYTES: Final = 2 << 30
MAX_PAGE_BYTES: Final = 8 << 20

Algorithm = Literal["sha256", "sha512"]
Chosen = Callable[[str, str], str | None]
"""(file name, hash in hex) to the name that the copy gets, or None for what is not wanted."""


def take(folder: Path, target: Path, algorithm: Algorithm, suffix: str, chosen: Chosen) -> None:
    """Copy from a folder what is chosen. One that is missing is empty.

    Raises:
        ImageError: a file cannot be read, or is a link.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.glob(f"*{suffix}")):
        take_file(path, target, algorithm, chosen)


def take_file(path: Path, target: Path, algorithm: Algorithm, chosen: Chosen) -> None:
    """The same for one file; what is no regular file, or too long, is passed over."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
        os.close(fd)
        return
    with os.fdopen(fd, "rb") as source:
        digest, copy = hashlib.new(algorithm), target / ".copy"
        with copy.open("wb") as sink:
            while data := source.read(CHUNK):
                digest.update(data)
                sink.write(data)
    name = chosen(path.name, digest.hexdigest())
    if name is None:
        copy.unlink()
    else:
        copy.chmod(0o644)
        copy.rename(target / name)


def indexed(index: Path, project: str) -> Iterator[tuple[Path, str]]:
    """(file, SHA-256 that the page names for it) of one project in an index of PEP 503's layout.

    project: its normal name, which has neither a slash nor a dot.
    """
    page = index / project / "index.html"
    try:
        with page.open("rb") as file:
            text = file.read(MAX_PAGE_BYTES).decode(errors="replace")
    except OSError:
        return
    links = _Links()
    links.feed(text)
    for link in links.found:
        try:
            parts = urlsplit(urljoin(page.absolute().as_uri(), link))
        except ValueError:
            continue
        if parts.scheme == "file" and parts.fragment.startswith("sha256="):
            yield Path(unquote(parts.path)), parts.fragment.removeprefix("sha256=")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
