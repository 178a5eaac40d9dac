"""An image's contents, read from its tree: whatever the store knows of an image, these decide it.

Must never change what `digest` gives for a tree: tools are pinned to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fumehood.images import oci, sbom
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.index import Image
from fumehood.images.layer import Entry, Layer, write_layer


@dataclass(frozen=True, slots=True)
class Contents:
    """layer: the tree as an archive. lines: of the listing, by path, in the archive's order.
    files: SHA-256 (hex) of every file by path; a hard link has that of the file it names."""

    layer: Layer
    lines: dict[str, str]
    files: dict[str, str]

    @property
    def config(self) -> bytes:
        return oci.make_config(self.layer.digest)

    @property
    def manifest(self) -> bytes:
        return oci.make_manifest(self.config, self.layer.digest, self.layer.size)

    @property
    def digest(self) -> str:
        """The image's."""
        return oci.sha256(self.manifest)

    @property
    def listing(self) -> bytes:
        return "".join(f"{line}\n" for line in self.lines.values()).encode()


def read(
    tree: int, bounds: Bounds = DEFAULT, look: Callable[[Entry], None] = lambda _: None
) -> Contents:
    """Read every byte of a tree. look: is shown each entry.

    Raises:
        ImageError: there is something in it that no image can have.
    """
    lines: dict[str, str] = {}
    files: dict[str, str] = {}

    def record(entry: Entry, line: str) -> None:
        look(entry)
        lines[entry.path] = line
        if entry.kind == "file":
            files[entry.path] = line.rsplit(" ", 1)[1]
        elif entry.kind == "hardlink":
            files[entry.path] = files[entry.target]

    return Contents(write_layer(tree, None, record, bounds), lines, files)


def describe(
    tree: int, found: Contents, name: str, source: str, base: str = "", requirements: str = ""
) -> tuple[Image, tuple[bytes, ...]]:
    """An image of a tree that was read, and the blobs that the store keeps of it."""
    document = sbom.make(tree, found.digest, found.files)
    image = Image(
        name=name,
        digest=found.digest,
        size=found.layer.size,
        imported=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        source=source[:512],
        config=oci.sha256(found.config),
        layer=found.layer.digest,
        listing=oci.sha256(found.listing),
        sbom=oci.sha256(document),
        base=base,
        requirements=requirements,
    )
    return image, (found.config, found.manifest, found.listing, document)
