"""Compares an image of the store with its digest: the whole chain from the tree's bytes to the
digest that tools are pinned to, which the store's own index has no say in.

Must never let one image's trouble hide another's: whatever goes wrong is a problem of that image.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import contents, oci
from fumehood.images.contents import Contents
from fumehood.images.index import Image
from fumehood.images.layer import Entry, shown_mode

_HOST_IS_SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Says nothing of an image."""
_FIELDS: Final = ("path", "kind", "mode", "time", "content or target")


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which an image is not what its digest promises. path: empty for the whole."""

    digest: str
    path: str
    what: str


def distinct(images: Iterable[Image]) -> list[Image]:
    """One of all that say the same of the same digest: names of an intact image say the same."""
    return list({(i.digest, i.config, i.layer, i.size, i.blobs): i for i in images}.values())


def check(
    tree: int, digest: str, owner: int, image: Image | None = None, listing: str = ""
) -> tuple[list[Problem], Contents | None]:
    """What differs in a tree from what its digest promises, nothing when it is intact; and what is
    in it, if it can be read.

    Args:
        owner: the UID that everything in it must belong to.
        image: what the index says of it.
        listing: one line for each file, to say which of them differ.
    """
    problems: list[Problem] = []
    found: Contents | None = None

    def problem(path: str, what: str) -> None:
        problems.append(Problem(digest, path, what))

    def look(entry: Entry) -> None:
        if entry.owner != owner:
            problem(entry.path, f"belongs to UID {entry.owner}")
        if entry.kind != "symlink" and entry.mode != shown_mode(entry):
            problem(entry.path, f"has the mode {entry.mode:04o}")

    try:
        found = contents.read(tree, look=look)
        if found.digest != digest:
            problems += _differences(digest, listing, found)
        elif image is not None and not _agrees(image, found):
            problem("", "the index says something else of it than its digest")
    except ImageError as error:
        problem(error.entry, error.cause)
    except OSError as error:
        if error.errno in _HOST_IS_SHORT:
            raise
        problem("", f"cannot be read: {error.strerror}")
    except MemoryError:
        raise
    # What somebody put into a tree may break any reader, and must not keep the others from being
    # looked at, nor the daemon from starting without this one.
    except Exception as error:  # noqa: BLE001  (told)
        problem("", f"cannot be compared: {type(error).__name__}: {ascii(str(error))[:200]}")
    return problems, found


def _agrees(image: Image, found: Contents) -> bool:
    """Docker goes by these: one of another image would be that image under this digest."""
    said = image.config, image.layer, image.size
    return said == (oci.sha256(found.config), found.layer.digest, found.layer.size)


def _differences(digest: str, listing: str, found: Contents) -> list[Problem]:
    # Not splitlines(): names may hold U+2028 and U+0085.
    wanted = {line.split("\t", 1)[0]: line for line in listing.split("\n") if line}
    different = [
        Problem(digest, path, what)
        for path in sorted(wanted.keys() | found.lines.keys() if wanted else ())
        if (what := _difference(wanted.get(path), found.lines.get(path)))
    ]
    return different or [Problem(digest, "", "the tree differs from its digest")]


def _difference(wanted: str | None, found: str | None) -> str:
    if wanted == found:
        return ""
    if wanted is None:
        return "is not part of the image"
    if found is None:
        return "is missing"
    last = len(_FIELDS) - 1  # a target may hold tabs, in a tree that was changed
    old, new = wanted.split("\t", last), found.split("\t", last)
    if not len(old) == len(new) == len(_FIELDS):
        return "is another file"
    return "has another " + " and ".join(
        name for name, before, now in zip(_FIELDS, old, new, strict=True) if before != now
    )
