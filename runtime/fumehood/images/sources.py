"""From a source of an image to a tree: what kind it is, its documents checked, its layers applied.

Sources: a directory, a tar of a root file system, an OCI layout (directory or tar), what
`docker save` wrote, an image in the local Docker Engine, a registry through skopeo. Digests that
a document names are checked against the bytes that were really used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from fumehood.errors import ImageError
from fumehood.images import oci
from fumehood.images.beneath import open_beneath
from fumehood.images.bounds import Bounds
from fumehood.images.directory import DirectoryReader
from fumehood.images.external import docker_save, registry_copy
from fumehood.images.spool import Spool
from fumehood.images.streams import Decompressed, Hashed, Reader
from fumehood.images.tar import TarReader
from fumehood.images.tree import File, Symlink, Tree

DOCKER: Final = "docker:"
REGISTRY: Final = "docker://"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_HOPS = 8
_REMEDY: Final = (
    "name a folder, a tar archive, an OCI layout, docker:NAME of the local Docker Engine, or "
    "docker://… in a registry"
)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where an import works. archive: an empty directory for the pieces of an archive.

    contents: an empty directory for files on their way into the tree.
    copies: an empty directory, by its path, for what other programs fetch.
    room: bytes that the contents may have at most, of what storage.images allows.
    """

    archive: int
    contents: int
    copies: Path
    room: int

    def within(self, bounds: Bounds) -> Bounds:
        """The bounds for what is read here."""
        return replace(bounds, room_bytes=self.room)


def load(source: str, place: Workplace, bounds: Bounds) -> Tree:
    """Read a source into a tree.

    Raises:
        ImageError: naming the entry or the document that is wrong.
    """
    bounds = place.within(bounds)
    if source.startswith(REGISTRY):
        registry_copy(source, place.copies, min(bounds.bytes, place.room))
        return _from_directory(place.copies, place, bounds)
    if source.startswith(DOCKER):
        with docker_save(source.removeprefix(DOCKER)) as stream:
            return from_tar(stream, place, bounds)
    path = Path(source)
    if path.is_dir():
        return _from_directory(path, place, bounds)
    with _opened(path) as file:
        return from_tar(file, place, bounds)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", _REMEDY) from None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ImageError(f"{path} is neither a file nor a directory", _REMEDY)
        yield file


def _from_directory(path: Path, place: Workplace, bounds: Bounds) -> Tree:
    fd = os.open(path, _DIRECTORY)
    try:
        tree = Tree(Spool(place.contents, bounds), bounds)
        if (path / "oci-layout").is_file():
            _from_oci(_LayoutDirectory(fd), tree, bounds)
        else:
            tree.apply(DirectoryReader(fd, bounds), whiteouts=False)
    except OSError as error:
        where = f"{path}/{error.filename or ''}"
        raise ImageError(f"{where} cannot be read: {error.strerror}") from None
    else:
        return tree
    finally:
        os.close(fd)


def from_tar(stream: Reader, place: Workplace, bounds: Bounds) -> Tree:
    bounds = place.within(bounds)
    outer = Tree(Spool(place.archive, bounds), bounds)
    outer.apply(TarReader(Decompressed(stream), bounds), whiteouts=False)
    names = outer.root.children
    if "usr" in names or "bin" in names:
        return outer
    if "manifest.json" not in names and "oci-layout" not in names:
        return outer
    tree = Tree(Spool(place.contents, bounds), bounds)
    blobs = _ArchiveBlobs(outer)
    if "manifest.json" in names:
        _from_docker(blobs, tree, bounds)
    else:
        _from_oci(blobs, tree, bounds)
    return tree


# --- where the blobs of an image are


class _Blobs(Protocol):
    def open(self, path: str) -> BinaryIO: ...


class _LayoutDirectory:
    """An OCI layout on disk; its files are opened one name at a time, following no link."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def open(self, path: str) -> BinaryIO:
        try:
            return os.fdopen(open_beneath(self._directory, path), "rb")
        except OSError as error:
            raise ImageError(f"the image lacks {path}: {error.strerror}", entry=path) from None


class _ArchiveBlobs:
    """The files of an unpacked archive. `docker save` once wrote equal layers as links."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def open(self, path: str) -> BinaryIO:
        parts = path.split("/")
        for _ in range(_MAX_HOPS):
            node = self._tree.find(parts)
            if isinstance(node, File):
                return self._tree.spool.open(node.content)
            if not isinstance(node, Symlink):
                break
            parts = _resolved(parts[:-1], node.target)
        raise ImageError(f"the archive lacks {path[:256]!r}", "write it again", entry=path[:256])


def _resolved(parents: list[str], target: str) -> list[str]:
    parts = [] if target.startswith("/") else list(parents)
    for step in target.split("/"):
        if step == "..":
            parts = parts[:-1]
        elif step not in ("", "."):
            parts.append(step)
    return parts


def _document(blobs: _Blobs, path: str, what: str, bounds: Bounds) -> bytes:
    with blobs.open(path) as file:
        data = file.read(bounds.document_bytes + 1)
    if len(data) > bounds.document_bytes:
        raise ImageError(f"the image's {what} has more than {bounds.document_bytes} bytes")
    return data


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


# --- the two kinds of archive


def _from_docker(blobs: _Blobs, tree: Tree, bounds: Bounds) -> None:
    """`docker save`: manifest.json names a configuration, which names every layer's digest."""
    listing = oci.Document(
        _document(blobs, "manifest.json", "list", bounds), "manifest.json", bounds
    )
    if not isinstance(listing.value, list) or not listing.value:
        raise listing.wrong("its content", "a list of images")
    if len(listing.value) > 1:
        raise ImageError(
            f"the archive holds {len(listing.value)} images", "save one: `docker save NAME`"
        )
    entry = oci.Document(oci.encode(listing.value[0]), "manifest.json", bounds)
    config = oci.Document(
        _document(blobs, entry.text("Config"), "configuration", bounds), "configuration", bounds
    )
    _apply_all(blobs, tree, config, [(path, None) for path in entry.texts("Layers")], bounds)


def _from_oci(blobs: _Blobs, tree: Tree, bounds: Bounds) -> None:
    """An OCI layout: index.json leads to one manifest for this machine, and that to the layers."""
    index = oci.Document(_document(blobs, "index.json", "index", bounds), "index", bounds)
    manifest = _manifest(blobs, index, bounds, depth=2)
    config = _checked(blobs, manifest.descriptor("config"), "configuration", bounds)
    layers = [(_blob_path(item.digest), item) for item in manifest.descriptors("layers")]
    _apply_all(blobs, tree, config, layers, bounds)


def _manifest(blobs: _Blobs, index: oci.Document, bounds: Bounds, *, depth: int) -> oci.Document:
    wanted = oci.architecture()
    found = [
        item
        for item in index.descriptors("manifests")
        if item.architecture in ("", wanted)
        and item.media_type in (oci.INDEX, oci.MANIFEST, oci.DOCKER_LIST, oci.DOCKER_MANIFEST)
    ]
    if len(found) != 1:
        raise ImageError(
            f"the layout holds {len(found)} images for {wanted}",
            "copy the one you want: `skopeo copy oci:DIR:TAG oci:NEW`",
        )
    document = _checked(blobs, found[0], "manifest", bounds)
    if found[0].media_type in (oci.INDEX, oci.DOCKER_LIST):
        if depth == 0:
            raise ImageError("the image's index leads to indexes only")
        return _manifest(blobs, document, bounds, depth=depth - 1)
    return document


def _checked(blobs: _Blobs, descriptor: oci.Descriptor, what: str, bounds: Bounds) -> oci.Document:
    data = _document(blobs, _blob_path(descriptor.digest), what, bounds)
    if oci.sha256(data) != descriptor.digest or len(data) != descriptor.size:
        raise ImageError(
            f"the image's {what} is not what its digest promises", "fetch the image again"
        )
    return oci.Document(data, what, bounds)


def _apply_all(
    blobs: _Blobs,
    tree: Tree,
    config: oci.Document,
    layers: Sequence[tuple[str, oci.Descriptor | None]],
    bounds: Bounds,
) -> None:
    if (arch := config.text("architecture")) != oci.architecture():
        raise ImageError(
            f"the image is for {arch}, this host is {oci.architecture()}",
            f"fetch the variant for {oci.architecture()}",
        )
    if (system := config.text("os")) != "linux":
        raise ImageError(f"the image is for {system[:32]!r}, not for linux")
    digests = config.texts("rootfs", "diff_ids")
    if len(digests) != len(layers) or not 0 < len(layers) <= bounds.layers:
        raise ImageError(
            f"the image has {len(layers)} layers and digests of {len(digests)}; "
            f"1 to {bounds.layers} are allowed"
        )
    for (path, descriptor), digest in zip(layers, digests, strict=True):
        _apply(blobs, tree, path, descriptor, digest, bounds)


def _apply(
    blobs: _Blobs,
    tree: Tree,
    path: str,
    descriptor: oci.Descriptor | None,
    digest: str,
    bounds: Bounds,
) -> None:
    with blobs.open(path) as file:
        packed = Hashed(file)
        unpacked = Hashed(Decompressed(packed))
        tree.apply(TarReader(unpacked, bounds), whiteouts=True)
    right = unpacked.digest == digest and (
        descriptor is None
        or (packed.digest == descriptor.digest and packed.size == descriptor.size)
    )
    if not right:
        raise ImageError(
            f"the layer {path[:256]!r} is not what its digest promises",
            "fetch the image again",
            entry=path[:256],
        )
