"""How large an image may be, in each direction; must never be unbounded in any.

Every reader of this room takes a `Bounds`, so that tests attack small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from fumehood.errors import ImageError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """entries: files, directories and links together, over all layers.

    bytes: contents over all layers, unpacked. file_bytes: of one file (a ustar header cannot
        tell more than 8 GiB). depth: directories within each other. path_bytes: PATH_MAX
        is 4096 with its NUL, and the root file system is not at `/` everywhere.
    layers: Docker itself allows 127. document_bytes: of one JSON document of an image.
    header_bytes: of one pax or GNU long-name header. headers_bytes: of all of them, over all
        layers; 300,000 long names need some 100 MiB.
    store_bytes: of all images of a store together, as archives; an image with two names counts
        once. room_bytes: like `bytes`, what store_bytes leaves for the image that is being read.
    """

    entries: int = 300_000
    bytes: int = 16 << 30
    file_bytes: int = 4 << 30
    depth: int = 64
    path_bytes: int = 2048
    layers: int = 128
    document_bytes: int = 4 * MIB
    header_bytes: int = MIB
    headers_bytes: int = 256 * MIB
    store_bytes: int = 32 << 30
    room_bytes: int = 32 << 30

    def require_bytes(self, size: int, *, entry: str = "") -> None:
        """Raise ImageError when contents of `size` bytes are too much, before they are written."""
        if size > self.bytes:
            raise exceeded("more", self.bytes, "bytes", entry=entry)
        if size > self.room_bytes:
            raise ImageError(
                f"the image has more than the {self.room_bytes} bytes that storage.images allows "
                f"beside the other images ({self.store_bytes} for all)",
                "make room with `fumehood image remove`, or raise storage.images",
                entry=entry,
            )


DEFAULT = Bounds()


def exceeded(what: str, most: int, unit: str, *, entry: str = "") -> ImageError:
    """The error for a bound that fired."""
    return ImageError(
        f"the image has {what} than {most} {unit}",
        "make it smaller: tools rarely need a whole distribution",
        entry=entry,
    )
