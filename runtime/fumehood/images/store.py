"""The image store: root file systems by digest, owned by root, read-only, shared by all sandboxes.

    <store>/index.json               names, an OCI image index
    <store>/blobs/sha256/<hex>       manifests, configurations, listings, SBOMs
    <store>/trees/<hex>/             unpacked; <hex> is of the manifest's digest
    <store>/wheels/                  Python wheels of derived images, to be used again
    <store>/new-…, old-…             work in progress; what a crash leaves is swept

Must never write into a tree after it has its name, and never follow a link on the way to the
store: it stands in a directory that the unprivileged supervisor owns.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import disk, docker_archive, index, oci, sbom, sources
from fumehood.images.beneath import open_directory, read_beneath
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.index import Image, Index
from fumehood.images.layer import Entry, Layer, Sink, shown_mode, write_layer
from fumehood.images.reference import HOST, parse, parse_name
from fumehood.images.sources import Workplace
from fumehood.images.spool import disk_errors
from fumehood.images.tree import Tree

__all__ = ["Image", "ImageStore", "Problem"]

MAX_INDEX_BYTES: Final = 4 << 20
MAX_BLOB_BYTES: Final = 256 << 20
"""Of a listing or an SBOM."""
_TREES, _BLOBS, _WHEELS = "trees", "blobs/sha256", "wheels"

Fill = Callable[[Workplace], Tree]


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which an image is not what its digest promises. path: empty for the whole."""

    digest: str
    path: str
    what: str


class ImageStore:
    """The store at `directory`, made by the first import.

    Anybody who can read it may resolve and verify; only its owner may change it.
    """

    def __init__(self, directory: Path, bounds: Bounds = DEFAULT) -> None:
        self.directory = directory
        self._bounds = bounds

    # --- reading

    def list(self) -> builtins.list[Image]:
        """All names, sorted."""
        return builtins.list(self._index().images)

    def resolve(self, reference: str) -> Image:
        """The image of a reference.

        Raises:
            ImageError: no such image, or the store is not safe to use.
        """
        image = self._index().find(parse(reference))
        if image is None:
            raise ImageError(
                f"there is no image {reference!r}",
                "see `fumehood image list`; build or import it first",
            )
        return image

    def pin(self, reference: str, requirements: str = "") -> str:
        """What a plan names: `host`, or the digest of the image; with the key of requirements
        (see `requirements.key`), of the image that adds them to it.

        Raises:
            ImageError: no such image, or none derived yet with these requirements.
        """
        if reference == HOST:
            if requirements:
                raise ImageError(
                    "run.requirements needs an image of its own",
                    "set run.image: python (or node), made by `make images`",
                )
            return HOST
        base = self.resolve(reference)
        self.path(base.digest)
        if not requirements:
            return base.digest
        derived = self._index().derived(base.digest, requirements)
        if derived is None:
            raise ImageError(
                f"the requirements are not installed over {base.name} yet",
                "run on the daemon's host, as the store's owner: fumehood image derive MANIFEST",
            )
        return derived.digest

    def derived(self, base: str, requirements: str) -> Image | None:
        """The image that adds requirements, by their key, to a base, by its digest."""
        return self._index().derived(base, requirements)

    def path(self, digest: str) -> Path:
        """The directory of an image's root file system; raises ImageError when it is missing."""
        path = self.directory / _TREES / self.resolve(digest).hex
        if not path.is_dir():
            raise ImageError(f"the tree of {digest} is missing", "import the image again")
        return path

    def sbom(self, image: Image) -> bytes:
        """The CycloneDX document of an image."""
        with self._opened() as root:
            return self._blob(root, image.sbom)

    def export_tar(self, digest: str, sink: Sink) -> Layer:
        """Write the root file system as one tar archive, the same bytes every time."""
        image = self.resolve(digest)
        with self._opened() as root, _directory(root, f"{_TREES}/{image.hex}") as tree:
            return write_layer(tree, sink)

    def export_docker(self, digest: str, sink: Sink, tag: str = "") -> str:
        """Write what `docker load` takes; returns the ID that Docker gives it.

        Docker checks the layer's digest and names the image by its configuration's: the ID is
        `Image.config` exactly when Docker has the very same tree.
        """
        image = self.resolve(digest)
        with self._opened() as root, _directory(root, f"{_TREES}/{image.hex}") as tree:
            docker_archive.write(image, self._blob(root, image.config), tree, sink, tag)
        return image.config

    def verify(self, reference: str | None = None) -> builtins.list[Problem]:
        """Read everything again and compare it with the digests; reads every byte.

        Raises:
            ImageError: no such image, or an index that cannot be read.
        """
        known = self._index().images
        wanted = known if reference is None else (self.resolve(reference),)
        with self._opened(missing_is_empty=True) as root:
            return [
                problem
                for image in {item.digest: item for item in wanted}.values()
                for problem in self._verify(root, image)
            ]

    def quarantine(self) -> builtins.list[Problem]:
        """Verify everything, and take away each tree that differs from its digest: nothing can
        use it then until it is imported again. Returns what was found."""
        problems: builtins.list[Problem] = []
        with disk_errors(), self._writable() as root:
            for image in {item.digest: item for item in self._index(root).images}.values():
                found = self._verify_tree(root, image)
                if found:
                    with disk.locked(root), _directory(root, _TREES) as trees:
                        disk.set_aside(trees, image.hex, root)
                problems += found
        return problems

    # --- changing

    def import_(self, source: str | Path, name: str) -> Image:
        """Read a source (see `sources`) into the store under `name`.

        Raises:
            ImageError: the source is refused; nothing of it is left.
        """
        return self.add(
            lambda place: sources.load(str(source), place, self._bounds), name, source=str(source)
        )

    def add(
        self, fill: Fill, name: str, *, source: str, base: str = "", requirements: str = ""
    ) -> Image:
        """Store the tree that `fill` makes; see `import_`."""
        tagged = parse_name(name).tagged
        with disk_errors(), self._writable() as root, disk.staging(root) as work:
            place = Workplace(
                archive=work.make("archive"),
                contents=work.make("contents"),
                copies=work.path("copies"),
                room=self._room(self._index(root), tagged),
            )
            tree_fd = work.make("tree")
            tree = fill(place)
            tree.finish()
            tree.write(tree_fd)
            files: dict[str, str] = {}
            lines: builtins.list[str] = []
            layer = write_layer(tree_fd, None, _recorder(files, lines), self._bounds)
            config = oci.make_config(layer.digest)
            manifest = oci.make_manifest(config, layer.digest, layer.size)
            digest = oci.sha256(manifest)
            listing = "".join(f"{line}\n" for line in lines).encode()
            document = sbom.make(tree_fd, digest, files)
            image = Image(
                name=tagged,
                digest=digest,
                size=layer.size,
                imported=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                source=source[:512],
                config=oci.sha256(config),
                layer=layer.digest,
                listing=oci.sha256(listing),
                sbom=oci.sha256(document),
                base=base,
                requirements=requirements,
            )
            disk.sync(tree_fd)
            with disk.locked(root):
                self._require_room(self._index(root), image)
                self._place(root, work.fd, image)
                for blob in (config, manifest, listing, document):
                    disk.write(root, f"{_BLOBS}/{oci.sha256(blob).removeprefix('sha256:')}", blob)
                self._save(root, self._index(root).with_(image))
        return image

    def tag(self, reference: str, name: str) -> Image:
        """Give an image of the store one more name."""
        tagged = parse_name(name).tagged
        with self._writable() as root, disk.locked(root):
            found = self._index(root).find(parse(reference))
            if found is None:
                raise ImageError(f"there is no image {reference!r}", "see `fumehood image list`")
            image = index.renamed(found, tagged)
            self._save(root, self._index(root).with_(image))
        return image

    def remove(
        self, reference: str, *, in_use: Collection[str] = (), force: bool = False
    ) -> builtins.list[Image]:
        """Forget a name, or with a bare digest all names of an image; its tree goes with its last
        name. Returns the names that are gone.

        in_use: digests that registered tools name. Calls that run at this moment lose the files
        they have not opened yet.

        Raises:
            ImageError: no such image; or it is in use and `force` is not given.
        """
        wanted = parse(reference)
        with disk_errors(), self._writable() as root, disk.locked(root):
            before = self._index(root)
            gone = [
                image
                for image in before.images
                if (image.digest == wanted.digest if wanted.digest else image.name == wanted.tagged)
            ]
            if not gone:
                raise ImageError(f"there is no image {reference!r}", "see `fumehood image list`")
            after = before.without(frozenset(image.name for image in gone))
            lost = {item.digest for item in gone} - {item.digest for item in after.images}
            if not force and (used := sorted(lost & set(in_use))):
                raise ImageError(
                    f"a registered tool uses {used[0]}",
                    "remove the tool first, or remove the image with --force",
                )
            self._save(root, after)
            self._collect(root, after)
        return gone

    def wheels(self) -> Path:
        """Where wheels are kept that were used once; the directory may be missing."""
        return self.directory / _WHEELS

    def keep_wheels(self, files: Sequence[Path]) -> None:
        """Keep wheels, whose hashes are checked again whenever they are used."""
        with (
            self._writable() as root,
            disk.locked(root),
            _directory(root, _WHEELS) as wheels,
        ):
            for file in files:
                disk.set_aside(wheels, file.name, root)
                os.link(file, file.name, dst_dir_fd=wheels)

    def create(self) -> None:
        """Make an empty store, where none is yet, so that a daemon sees what is imported later."""
        with self._writable():
            pass

    def sweep(self) -> None:
        """Delete what crashes left, and what no name leads to."""
        with disk_errors(), self._writable() as root, disk.locked(root):
            self._collect(root, self._index(root))

    # --- inside

    def _index(self, root: int | None = None) -> Index:
        if root is None:
            with self._opened(missing_is_empty=True) as opened:
                return self._index(opened)
        if root < 0:
            return Index()
        data = read_beneath(root, "index.json", MAX_INDEX_BYTES)
        return index.decode(data, self._bounds) if data is not None else Index()

    def _save(self, root: int, new: Index) -> None:
        sizes = {image.digest: len(self._blob(root, image.digest)) for image in new.images}
        disk.write(root, "index.json", index.encode(new, sizes))

    def _blob(self, root: int, digest: str) -> bytes:
        path = f"{_BLOBS}/{digest.removeprefix('sha256:')}"
        data = read_beneath(root, path, MAX_BLOB_BYTES)
        if data is None or oci.sha256(data) != digest:
            raise ImageError(f"the blob {digest} is missing or damaged", "import the image again")
        return data

    def _room(self, known: Index, name: str) -> int:
        """The bytes that an image under `name` may have, which counts when it replaces one. It
        may turn out to be an image that is here already, and then takes no more room."""
        kept = {image.digest: image.size for image in known.without(frozenset({name})).images}
        largest = max((image.size for image in known.images), default=0)
        return max(self._bounds.store_bytes - sum(kept.values()), largest)

    def _require_room(self, known: Index, new: Image) -> None:
        kept = {image.digest: image.size for image in known.with_(new).images}
        if sum(kept.values()) > self._bounds.store_bytes:
            raise ImageError(
                f"the images would take {sum(kept.values())} bytes together, more than "
                f"storage.images allows ({self._bounds.store_bytes})",
                "make room with `fumehood image remove`, or raise storage.images",
            )

    def _place(self, root: int, work: int, image: Image) -> None:
        """Move the new tree to its name, unless an intact one is there already."""
        if not self._verify_tree(root, image):
            return
        with _directory(root, _TREES) as trees:
            disk.set_aside(trees, image.hex, root)
            os.rename("tree", image.hex, src_dir_fd=work, dst_dir_fd=trees)
            os.fsync(trees)

    def _collect(self, root: int, kept: Index) -> None:
        trees = {image.hex for image in kept.images}
        blobs = {blob.removeprefix("sha256:") for image in kept.images for blob in image.blobs}
        for parent, names in ((_TREES, trees), (_BLOBS, blobs)):
            with _directory(root, parent) as fd:
                for name in set(os.listdir(fd)) - names:
                    disk.set_aside(fd, name, root)
        disk.sweep(root)

    def _verify(self, root: int, image: Image) -> Iterator[Problem]:
        for blob in image.blobs:
            try:
                self._blob(root, blob)
            except ImageError as error:
                yield Problem(image.digest, "", error.cause)
        yield from self._verify_tree(root, image)

    def _verify_tree(self, root: int, image: Image) -> builtins.list[Problem]:
        """What differs from the digest, file by file where the listing is there."""
        problems: builtins.list[Problem] = []
        found: dict[str, str] = {}
        owner = os.fstat(root).st_uid

        def record(entry: Entry, line: str) -> None:
            found[entry.path] = line
            if entry.owner != owner:
                problems.append(Problem(image.digest, entry.path, f"belongs to UID {entry.owner}"))
            if entry.kind != "symlink" and entry.mode != shown_mode(entry):
                problems.append(Problem(image.digest, entry.path, f"has the mode {entry.mode:04o}"))

        try:
            with _directory(root, f"{_TREES}/{image.hex}") as fd:
                layer = write_layer(fd, None, record)
        except ImageError as error:
            return [*problems, Problem(image.digest, error.entry, error.cause)]
        if layer.digest != image.layer:
            problems += self._differences(root, image, found)
        return problems

    def _differences(
        self, root: int, image: Image, found: dict[str, str]
    ) -> builtins.list[Problem]:
        try:
            listing = self._blob(root, image.listing).decode()
        except ImageError:
            listing = ""
        wanted = {line.split("\t", 1)[0]: line for line in listing.splitlines()}
        different = [
            Problem(image.digest, path, what)
            for path in sorted(wanted.keys() | found.keys())
            if (what := _difference(wanted.get(path), found.get(path)))
        ]
        return different or [Problem(image.digest, "", "the tree differs from its digest")]

    @contextmanager
    def _opened(self, *, missing_is_empty: bool = False) -> Iterator[int]:
        """The store's descriptor, after a look at who could have written in it; -1 for none."""
        try:
            fd = os.open(self.directory, disk.DIRECTORY)
        except FileNotFoundError:
            if missing_is_empty:
                yield -1
                return
            raise ImageError(f"there is no image store at {self.directory}") from None
        except OSError as error:
            raise ImageError(
                f"the image store {self.directory} cannot be opened: {error.strerror}",
                "run as root, or as the owner of the state directory",
            ) from None
        try:
            info = os.fstat(fd)
            if info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o022:
                raise ImageError(
                    f"the image store {self.directory} can be written by others",
                    "it must belong to root, or to you, with mode 0755",
                )
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _writable(self) -> Iterator[int]:
        try:
            with disk_errors():
                disk.create(self.directory, (_TREES, "blobs", _BLOBS, _WHEELS))
        except (NotADirectoryError, FileNotFoundError) as error:
            raise ImageError(
                f"the image store {self.directory} cannot be made: {error.strerror}",
                "name another --state",
            ) from None
        with self._opened() as root:
            if os.fstat(root).st_uid != os.geteuid():
                raise ImageError(
                    f"the image store {self.directory} belongs to another user",
                    "run as root" if os.geteuid() else "name another --state",
                )
            yield root


def _difference(wanted: str | None, found: str | None) -> str:
    if wanted == found:
        return ""
    if wanted is None:
        return "is not part of the image"
    if found is None:
        return "is missing"
    names = ("path", "kind", "mode", "time", "content or target")
    pairs = zip(names, wanted.split("\t"), found.split("\t"), strict=True)
    return "has another " + " and ".join(name for name, old, new in pairs if old != new)


def _recorder(files: dict[str, str], lines: list[str]) -> Callable[[Entry, str], None]:
    """Collects the listing's lines, and the SHA-256 of every file for the SBOM."""

    def record(entry: Entry, line: str) -> None:
        lines.append(line)
        if entry.kind == "file":
            files[entry.path] = line.rsplit(" ", 1)[1]
        elif entry.kind == "hardlink":
            files[entry.path] = files[entry.target]

    return record


@contextmanager
def _directory(root: int, path: str) -> Iterator[int]:
    try:
        fd = open_directory(root, path)
    except OSError as error:
        raise ImageError(
            f"{path} is missing from the image store: {error.strerror}", "import the image again"
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)
