"""The image store: root file systems by digest, owned by root, read-only, shared by all sandboxes.

    <store>/index.json               images and their names, an OCI image index
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
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import contents, disk, docker_archive, index, oci, sources
from fumehood.images.beneath import open_directory, read_beneath
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.contents import describe
from fumehood.images.index import Image, Index
from fumehood.images.layer import Layer, Sink, write_layer
from fumehood.images.reference import HOST, parse, parse_name
from fumehood.images.sources import Workplace
from fumehood.images.spool import disk_errors
from fumehood.images.tree import Tree
from fumehood.images.verification import Problem, check, distinct

__all__ = ["Image", "ImageStore", "Problem"]

MAX_INDEX_BYTES: Final = 4 << 20
MAX_BLOB_BYTES: Final = 256 << 20
"""Of a listing or an SBOM."""
_TREES, _BLOBS, _WHEELS = "trees", "blobs/sha256", "wheels"

Fill = Callable[[Workplace], Tree]


class ImageStore:
    """The store at `directory`, made by the first import.

    Anybody who can read it may resolve and verify; only its owner may change it.
    """

    def __init__(self, directory: Path, bounds: Bounds = DEFAULT) -> None:
        self.directory = directory
        self._bounds = bounds

    # --- reading

    def list(self) -> builtins.list[Image]:
        """All names, sorted, then the images whose names moved, with none."""
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
                f"the requirements are not installed over {base.name or base.digest} yet",
                "run on the daemon's host, as the store's owner: fumehood image derive MANIFEST",
            )
        self.path(derived.digest)
        return derived.digest

    def derived(self, base: str, requirements: str) -> Image | None:
        """The image that adds requirements, by their key, to a base, by its digest."""
        return self._index().derived(base, requirements)

    def path(self, digest: str) -> Path:
        """The directory of an image's root file system; raises ImageError when it is missing."""
        image = self.resolve(digest)
        if not self.has_tree(image):
            raise ImageError(f"the tree of {digest} is missing", "import the image again")
        return self.directory / _TREES / image.hex

    def has_tree(self, image: Image) -> bool:
        """Whether its root file system is there: a damaged one was taken away."""
        return (self.directory / _TREES / image.hex).is_dir()

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
            return [problem for image in distinct(wanted) for problem in self._verify(root, image)]

    def quarantine(self) -> builtins.list[Problem]:
        """Verify everything, and take away each tree that differs from its digest: nothing can
        use it then until it is imported again. Returns what was found."""
        with disk_errors(), self._writable() as root:
            with disk.locked(root):
                known, problems = self._completed(root)
            for image in distinct(known.images):
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
                room=self._room(self._index(root)),
            )
            tree_fd = work.make("tree")
            tree = fill(place)
            tree.finish()
            tree.write(tree_fd)
            found = contents.read(tree_fd, self._bounds)
            image, blobs = describe(tree_fd, found, tagged, source, base, requirements)
            disk.sync(tree_fd)
            with disk.locked(root):
                known, _ = self._completed(root)
                self._require_room(known, image)
                self._place(root, work.fd, image)
                self._keep(root, blobs)
                self._save(root, known.with_(image))
        return image

    def tag(self, reference: str, name: str) -> Image:
        """Give an image of the store one more name."""
        tagged = parse_name(name).tagged
        with self._writable() as root, disk.locked(root):
            known, _ = self._completed(root)
            found = known.find(parse(reference))
            if found is None:
                raise ImageError(f"there is no image {reference!r}", "see `fumehood image list`")
            image = index.renamed(found, tagged)
            self._save(root, known.with_(image))
        return image

    def remove(
        self, reference: str, *, in_use: Collection[str] = (), force: bool = False
    ) -> builtins.list[Image]:
        """Forget a name, or with a digest an image with all its names; its tree goes with its
        last name. Returns what is gone from the list.

        in_use: digests that registered tools name. Calls that run at this moment lose the files
        they have not opened yet.

        Raises:
            ImageError: no such image; or it is in use and `force` is not given.
        """
        wanted = parse(reference)
        with disk_errors(), self._writable() as root, disk.locked(root):
            before, _ = self._completed(root)
            gone = [
                image
                for image in before.images
                if (image.digest == wanted.digest if wanted.digest else image.name == wanted.tagged)
            ]
            if not gone:
                raise ImageError(f"there is no image {reference!r}", "see `fumehood image list`")
            after = before.without(gone)
            lost = {item.digest for item in gone} - {item.digest for item in after.images}
            if not force and (used := sorted(lost & set(in_use))):
                raise ImageError(
                    f"a registered tool uses {used[0]}",
                    "remove the tool first, or remove the image with --force",
                )
            self._save(root, after)
            self._collect(root, after)
        return gone

    def unname(self, name: str) -> None:
        """Take a name away; its image stays, like one whose name moved."""
        with self._writable() as root, disk.locked(root):
            known, _ = self._completed(root)
            gone = [image for image in known.images if image.name == name]
            for image in gone:
                known = known.without(gone).with_(index.renamed(image, ""))
            self._save(root, known)

    def prune(self, in_use: Collection[str]) -> builtins.list[Image]:
        """Remove the images whose names moved, except those in use. Returns what is gone.

        in_use: see `remove`.
        """
        with disk_errors(), self._writable() as root, disk.locked(root):
            before, _ = self._completed(root)
            gone = [image for image in before.unnamed if image.digest not in in_use]
            after = before.without(gone)
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
        """Delete what crashes left, and what is no image of the index."""
        with disk_errors(), self._writable() as root, disk.locked(root):
            self._collect(root, self._completed(root)[0])

    # --- inside

    def _index(self, root: int | None = None) -> Index:
        if root is None:
            with self._opened(missing_is_empty=True) as opened:
                return self._index(opened)
        if root < 0:
            return Index()
        data = read_beneath(root, "index.json", MAX_INDEX_BYTES)
        return index.decode(data, self._bounds) if data is not None else Index()

    def _completed(self, root: int) -> tuple[Index, builtins.list[Problem]]:
        """The index, for a change, while the store is locked.

        Former versions forgot an image when its name moved, and kept its tree: such an image comes
        back, without a name, if its tree is what the tree's name promises. Otherwise it is taken
        away, and told: tools may be pinned to it.
        """
        known, problems = self._index(root), builtins.list[Problem]()
        if known.keeps_unnamed:
            return known, problems
        with _directory(root, _TREES) as trees:
            forgotten = sorted(set(os.listdir(trees)) - {image.hex for image in known.images})
            for name in forgotten:
                image, wrong = self._remembered(root, name)
                if image is None:
                    problems += wrong
                    disk.set_aside(trees, name, root)
                else:
                    known = known.with_(image)
        known = replace(known, keeps_unnamed=True)
        self._save(root, known)
        return known, problems

    def _remembered(self, root: int, name: str) -> tuple[Image | None, builtins.list[Problem]]:
        """The image that a tree is, by the digest that is its name; or what is wrong with it."""
        digest = f"sha256:{name}"
        if not oci.is_digest(digest):
            return None, []
        try:
            with _directory(root, f"{_TREES}/{name}") as tree:
                problems, found = check(tree, digest, os.fstat(root).st_uid)
                if problems or found is None:
                    return None, problems
                image, blobs = describe(tree, found, "", "its name moved")
        except ImageError as error:
            return None, [Problem(digest, error.entry, error.cause)]
        self._keep(root, blobs)
        return image, []

    def _keep(self, root: int, blobs: Iterable[bytes]) -> None:
        for blob in blobs:
            disk.write(root, f"{_BLOBS}/{oci.sha256(blob).removeprefix('sha256:')}", blob)

    def _save(self, root: int, new: Index) -> None:
        data = index.encode(new)
        if len(data) > MAX_INDEX_BYTES:
            raise ImageError(
                f"the store would have too many images: its index has {len(data)} bytes, more than "
                f"{MAX_INDEX_BYTES}",
                "make room with `fumehood image prune`, or `fumehood image remove`",
            )
        disk.write(root, "index.json", data)

    def _blob(self, root: int, digest: str) -> bytes:
        path = f"{_BLOBS}/{digest.removeprefix('sha256:')}"
        data = read_beneath(root, path, MAX_BLOB_BYTES)
        if data is None or oci.sha256(data) != digest:
            raise ImageError(f"the blob {digest} is missing or damaged", "import the image again")
        return data

    def _room(self, known: Index) -> int:
        """The bytes that an image may have. It may turn out to be an image that is here already,
        and then takes no more room."""
        kept = {image.digest: image.size for image in known.images}
        largest = max((image.size for image in known.images), default=0)
        return max(self._bounds.store_bytes - sum(kept.values()), largest)

    def _require_room(self, known: Index, new: Image) -> None:
        kept = {image.digest: image.size for image in known.with_(new).images}
        if sum(kept.values()) > self._bounds.store_bytes:
            raise ImageError(
                f"the images would take {sum(kept.values())} bytes together, more than "
                f"storage.images allows ({self._bounds.store_bytes})",
                "make room with `fumehood image prune` or `fumehood image remove`, or raise "
                "storage.images",
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
        try:
            listing = self._blob(root, image.listing).decode(errors="replace")
        except ImageError:
            listing = ""
        try:
            with _directory(root, f"{_TREES}/{image.hex}") as tree:
                owner = os.fstat(root).st_uid
                return check(tree, image.digest, owner, image, listing)[0]
        except ImageError as error:
            return [Problem(image.digest, error.entry, error.cause)]

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
