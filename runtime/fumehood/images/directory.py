"""A directory of the host as the source of an image: read entry by entry, following no link."""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO

from fumehood.errors import ImageError
from fumehood.images.bounds import Bounds
from fumehood.images.layer import Opener, walk
from fumehood.images.streams import CHUNK
from fumehood.images.tar import Kind, Member
from fumehood.images.tree import MOUNT_POINTS


class DirectoryReader:
    """The members of a directory, as an archive of it would have them."""

    def __init__(self, directory: int, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._member: Member | None = None
        self._opener: Opener | None = None

    def __iter__(self) -> Iterator[Member]:
        for entry, opener in walk(self._directory, self._bounds, frozenset(MOUNT_POINTS)):
            kind: Kind = "device" if entry.kind == "other" else entry.kind
            self._opener = opener
            self._member = Member(
                name=entry.path,
                kind=kind,
                executable=bool(entry.mode & 0o111),
                size=entry.size,
                mtime=entry.mtime,
                link=entry.target,
            )
            yield self._member

    def content(self) -> Iterator[bytes]:
        """The bytes of the member that came last; an error when it changes meanwhile."""
        member, opener = self._member, self._opener
        if member is None or opener is None:
            return
        with _opened(opener, member.name) as file:
            left = member.size
            while data := file.read(CHUNK):
                left -= len(data)
                if left < 0:
                    break
                yield data
        if left:
            raise ImageError(f"{member.name!r} changed while it was read", entry=member.name)


def _opened(opener: Opener, name: str) -> FileIO:
    try:
        return FileIO(opener(), "rb")
    except OSError as error:
        raise ImageError(f"{name!r} cannot be read: {error.strerror}", entry=name) from None
