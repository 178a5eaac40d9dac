"""A root file system as a value: layers are applied to it in memory, and only then is it written.

Archive paths are resolved in this tree and nowhere else. The kernel never sees a path from an
archive: `write` makes a fresh tree, one plain name at a time, each below a directory that it
made itself, so there is no link that could be followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from fumehood.errors import ImageError
from fumehood.images.bounds import Bounds, exceeded
from fumehood.images.layer import walk
from fumehood.images.spool import DIRECTORY_MODE, Spool, disk_errors
from fumehood.images.tar import Member

MOUNT_POINTS: Final = ("dev", "out", "proc", "sys", "tmp", "tool")
"""Sandboxes mount something here: what an image brings is dropped, an empty directory stays."""
MAX_NAME_BYTES: Final = 255
MAX_TARGET_BYTES: Final = 4095
WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
"""OCI image-spec v1.1, layer.md, "Whiteouts"."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class File:
    """`content` is a number in the spool; several files with one number are hard links."""

    content: int
    layer: int


@dataclass(slots=True)
class Symlink:
    target: str
    mtime: int
    layer: int


@dataclass(slots=True)
class Directory:
    """pruned: the last layer whose deletions were applied to all that is in it."""

    mtime: int = 0
    layer: int = 0
    pruned: int = 0
    children: dict[str, Node] = field(default_factory=dict)


Node = File | Symlink | Directory


class Source(Protocol):
    """Members one after the other, with the content of the one that came last."""

    def __iter__(self) -> Iterator[Member]: ...

    def content(self) -> Iterator[bytes]: ...


class Tree:
    """The root file system that the layers so far make."""

    def __init__(self, spool: Spool, bounds: Bounds) -> None:
        self.root = Directory()
        self.spool = spool
        self._bounds = bounds
        self._layer = 0
        self._entries = 0
        self._bytes = 0
        self._headers = 0

    # --- applying layers

    def apply(self, source: Source, *, whiteouts: bool) -> None:
        """Put one layer on top.

        whiteouts: the names `.wh.…` delete, as in OCI and Docker layers; elsewhere they are
            refused, since others would take them for deletions.

        Raises:
            ImageError: naming the entry. The tree is then useless.
        """
        self._layer += 1
        for member in source:
            self._count(member.name, member.size, member.headers)
            parts = split(member.name, self._bounds)
            if parts and parts[0] in MOUNT_POINTS:
                continue
            if parts and parts[-1].startswith(WHITEOUT):
                if not whiteouts:
                    raise _refused(member.name, "has a name that means a deletion")
                self._white_out(parts)
            else:
                self._add(member, parts, source)

    def _count(self, name: str, size: int = 0, headers: int = 0) -> None:
        """Also what is dropped later was unpacked and costs time."""
        self._entries += 1
        self._bytes += size
        self._headers += headers
        if self._entries > self._bounds.entries:
            raise exceeded("more", self._bounds.entries, "files", entry=name)
        if self._headers > self._bounds.headers_bytes:
            raise exceeded(
                "extended headers of more", self._bounds.headers_bytes, "bytes", entry=name
            )
        self._bounds.require_bytes(self._bytes, entry=name)

    def _add(self, member: Member, parts: list[str], source: Source) -> None:
        if member.kind == "directory":
            self._add_directory(member, parts)
            return
        if not parts:
            raise _refused(member.name, "would replace the root directory")
        parent = self._directory(parts[:-1], member.name)
        existing = parent.children.get(parts[-1])
        if existing is not None and self._touched(existing):
            raise _refused(member.name, "is there twice")
        if member.kind == "file":
            number = self.spool.add(
                source.content(), executable=member.executable, mtime=member.mtime
            )
            parent.children[parts[-1]] = File(number, self._layer)
        elif member.kind == "symlink":
            check_target(parts, member.link)
            parent.children[parts[-1]] = Symlink(member.link, member.mtime, self._layer)
        elif member.kind == "hardlink":
            parent.children[parts[-1]] = self._hard_link(member)
        else:
            raise _refused(member.name, f"is a {member.kind}", "images hold files and links only")

    def _touched(self, node: Node) -> bool:
        """Whether this very layer made the node, or something below it."""
        if node.layer == self._layer:
            return True
        if not isinstance(node, Directory):
            return False
        return any(self._touched(child) for child in node.children.values())

    def _add_directory(self, member: Member, parts: list[str]) -> None:
        if not parts:
            self.root.mtime = member.mtime
            return
        parent = self._directory(parts[:-1], member.name)
        existing = parent.children.get(parts[-1])
        if isinstance(existing, Directory):
            existing.mtime, existing.layer = member.mtime, self._layer
            return
        if existing is not None and existing.layer == self._layer:
            raise _refused(member.name, "is there twice")
        parent.children[parts[-1]] = Directory(member.mtime, self._layer)

    def _directory(self, parts: list[str], path: str) -> Directory:
        """The directory at `parts`, made where missing; never through a link."""
        current = self.root
        for name in parts:
            child = current.children.get(name)
            if child is None:
                self._count(path)
                child = current.children[name] = Directory(0, self._layer)
            if not isinstance(child, Directory):
                what = "a link" if isinstance(child, Symlink) else "a file"
                raise _refused(path, f"lies below {name!r}, which is {what}")
            current = child
        return current

    def _hard_link(self, member: Member) -> Node:
        node = self.find(split(member.link, self._bounds))
        if isinstance(node, File):
            return File(node.content, self._layer)
        if isinstance(node, Symlink):
            return Symlink(node.target, node.mtime, self._layer)
        raise _refused(
            member.name, f"is a hard link to {member.link!r}, which is no file of the image"
        )

    def find(self, parts: list[str]) -> Node | None:
        """The node at a path, following no link."""
        node: Node | None = self.root
        for name in parts:
            if not isinstance(node, Directory):
                return None
            node = node.children.get(name)
        return node

    def _white_out(self, parts: list[str]) -> None:
        """Delete what layers below have; what this layer brings itself stays (layer.md)."""
        parent = self.find(parts[:-1])
        if not isinstance(parent, Directory):
            return
        if parts[-1] == OPAQUE:
            self._prune_all(parent)
        elif not parts[-1].startswith(WHITEOUT * 2):  # aufs's own records
            self._prune(parent, parts[-1].removeprefix(WHITEOUT))

    def _prune_all(self, directory: Directory) -> None:
        """Once in a layer: what is added afterwards is the layer's own. So each node is looked at
        once by this, however many deletions name it or what is above it."""
        if directory.pruned == self._layer:
            return
        directory.pruned = self._layer
        for name in list(directory.children):
            self._prune(directory, name)

    def _prune(self, parent: Directory, name: str) -> None:
        node = parent.children.get(name)
        if isinstance(node, Directory):
            self._prune_all(node)
            if node.children or node.layer == self._layer:
                return
        if node is not None and node.layer != self._layer:
            del parent.children[name]

    def adopt(self, directory: int) -> None:
        """Begin with a finished tree of the store: its files are linked, not copied."""
        for entry, _ in walk(directory, self._bounds):
            parts = entry.path.split("/")
            if parts[0] in MOUNT_POINTS:
                continue
            self._count(entry.path, entry.size)
            parent = self._directory(parts[:-1], entry.path)
            if entry.kind == "directory":
                parent.children[parts[-1]] = Directory(entry.mtime)
            elif entry.kind == "symlink":
                parent.children[parts[-1]] = Symlink(entry.target, entry.mtime, 0)
            elif entry.kind == "hardlink":
                parent.children[parts[-1]] = self.find(entry.target.split("/")) or Directory()
            else:
                number = self.spool.adopt(entry.path.encode(), directory, entry.size)
                parent.children[parts[-1]] = File(number, 0)

    def put(self, path: str, content: int) -> None:
        """Add a file of the spool, and the directories above it, where nothing is yet.

        Raises:
            ImageError: something is there, or the path leads through a link.
        """
        parts = split(path, self._bounds)
        self._count(path)
        parent = self._directory(parts[:-1], path)
        if not parts or parts[-1] in parent.children:
            raise _refused(path, "is in the image already")
        parent.children[parts[-1]] = File(content, self._layer)

    def remove(self, path: str) -> None:
        """Remove a file or a whole directory; a path that is not there is fine."""
        parts = split(path, self._bounds)
        parent = self.find(parts[:-1])
        if parts and isinstance(parent, Directory):
            parent.children.pop(parts[-1], None)

    # --- writing

    def finish(self) -> None:
        """Give it the places where sandboxes mount."""
        for name in MOUNT_POINTS:
            self.root.children[name] = Directory()
        self.root.children.setdefault("usr", Directory())
        if len(self.root.children) == len(MOUNT_POINTS) + 1 and not _has_children(self.root, "usr"):
            raise ImageError("the image is empty", "give a root file system with programs in it")

    def write(self, directory: int) -> None:
        """Make the tree below an empty directory, given by its descriptor."""
        with disk_errors():
            self._write(self.root, directory)

    def _write(self, node: Directory, fd: int) -> None:
        for text, child in node.children.items():
            name = text.encode()  # whatever the locale
            if isinstance(child, File):
                self.spool.place(child.content, name, fd)
            elif isinstance(child, Symlink):
                os.symlink(child.target.encode(), name, dir_fd=fd)
                times = (child.mtime, child.mtime)
                os.utime(name, times, dir_fd=fd, follow_symlinks=False)
            else:
                os.mkdir(name, 0o700, dir_fd=fd)
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    self._write(child, inner)
                    os.fchmod(inner, DIRECTORY_MODE)
                    os.utime(inner, (child.mtime, child.mtime))
                finally:
                    os.close(inner)


def _has_children(root: Directory, name: str) -> bool:
    node = root.children.get(name)
    return not isinstance(node, Directory) or bool(node.children)


def split(path: str, bounds: Bounds) -> list[str]:
    """The plain names of a path of an archive, which is relative and stays inside.

    Raises:
        ImageError: absolute, `..`, too long, too deep, or with characters nobody can see.
    """
    if path.startswith("/"):
        raise ImageError(f"{path[:256]!r} is an absolute name", "write it relative", entry=path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageError(f"{path[:256]!r} leads out of the image with `..`", entry=path)
    if len(path.encode()) > bounds.path_bytes or len(parts) > bounds.depth:
        raise exceeded(
            "a deeper path", bounds.depth, f"names or {bounds.path_bytes} bytes", entry=path[:256]
        )
    for part in parts:
        if len(part.encode()) > MAX_NAME_BYTES:
            raise exceeded("a longer name", MAX_NAME_BYTES, "bytes", entry=path[:256])
        if _has_controls(part):
            raise ImageError(f"{path[:256]!r} has a control character in its name", entry=path)
    return parts


def check_target(parts: list[str], target: str) -> None:
    """A link may point anywhere in the image, absolute names included: only sandboxes, whose root
    is the image, ever follow it. One that climbs above the root is refused all the same."""
    name = "/".join(parts)
    if not target or len(target.encode()) > MAX_TARGET_BYTES:
        raise ImageError(f"{name!r} is a link to nothing, or to too long a name", entry=name)
    if _has_controls(target):  # a listing has a line for each entry, divided by tabs
        raise ImageError(f"{name!r} is a link to a name with a control character", entry=name)
    depth = 0 if target.startswith("/") else len(parts) - 1
    for step in target.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(step, 1)
        if depth < 0:
            raise ImageError(f"{name!r} is a link out of the image: {target!r}", entry=name)


def _has_controls(text: str) -> bool:
    return any(character < " " or character == "\x7f" for character in text)


def _refused(path: str, why: str, remedy: str = "") -> ImageError:
    return ImageError(f"{path[:256]!r} {why}", remedy, entry=path)
