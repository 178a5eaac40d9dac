"""Root file systems that Docker must have before a container can be made of them.

`host` is made here; every other image comes from the image store by digest, and Docker's own ID
of it proves that it has the same tree. Docker's registry is never asked.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fumehood.engines import docker_image
from fumehood.engines.docker_api import Api, HeldImage
from fumehood.engines.docker_create import LABEL_DIGEST
from fumehood.engines.docker_link import Link
from fumehood.errors import EngineError, FumehoodError
from fumehood.images.store import ImageStore
from fumehood.kernel import rootfs

HOST: Final = "host"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(slots=True)
class DockerImages:
    """What the daemon has, for all threads of the launcher. store: of images, empty for none."""

    link: Link
    store: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _known: dict[str, HeldImage] = field(default_factory=dict)
    _generation: int = -1

    def get(self, api: Api, name: str) -> HeldImage:
        """The image of a plan, loaded first when the daemon does not have it.

        Raises:
            EngineError: the store has no such image, or Docker ended up with another tree.
        """
        with self._lock_of(name):  # loading one image holds up no tool of another
            found = self._known.get(name)
            if found is None or api.image(found.identity) is None:  # somebody may have removed it
                found = self._load_host(api) if name == HOST else self._load(api, name)
                self._known[name] = found
            return found

    def _lock_of(self, name: str) -> threading.Lock:
        with self._lock:
            if self._generation != self.link.generation:
                self._known.clear()
                self._generation = self.link.generation
            return self._locks.setdefault(name, threading.Lock())

    def has(self, tree: str) -> bool:
        """Whether the image store has the tree of a digest (64 hex digits) now."""
        return bool(self.store) and os.path.isdir(f"{self.store}/trees/{tree}")

    def _load_host(self, api: Api) -> HeldImage:
        """The label only finds it: an image that somebody committed of a container of ours
        inherits it, and anybody can give it to another tree."""
        data, digest = docker_image.archive(rootfs.alternatives())
        found = None
        for identity, label in api.images_labelled(LABEL_DIGEST).items():
            held = api.image(identity)
            if held is None or not _is_skeleton(held, label):
                continue  # somebody else's
            if label == digest:
                found = found or held
            elif not held.tags:  # of an earlier state of this host
                api.remove_image(identity)
        if found is None:
            found = api.image(api.import_image(data, f"{LABEL_DIGEST}={digest}"))
        if found is None or found.layers != (digest,):
            raise EngineError("Docker does not have the image it loaded", control="image")
        return found

    def _load(self, api: Api, name: str) -> HeldImage:
        if not self.store or not _DIGEST.match(name):
            raise EngineError(f"there is no image {name[:80]!r}", control="image")
        store = ImageStore(Path(self.store))
        try:
            wanted = store.resolve(name).config
            found = api.image(wanted)
            if found is None:
                self._transfer(api, lambda file: store.export_docker(name, file))
                found = api.image(wanted)
        except FumehoodError as error:
            if isinstance(error, EngineError):
                raise
            raise EngineError(
                "the image cannot be loaded into Docker", error.remedy, control="image",
                detail=error.cause,
            ) from error  # fmt: skip
        if found is None:
            raise EngineError("Docker does not have the image it loaded", control="image")
        if found.volumes:
            raise EngineError("the image declares volumes", control="image", detail=wanted)
        api.tag(wanted, self._repository, name.removeprefix("sha256:"))
        return found

    def _transfer(self, api: Api, write: Callable[[IO[bytes]], object]) -> None:
        """By way of a file: the daemon's side may be slower than the time limit of a read."""
        self.forget_removed(api)  # before there is need of more room
        with tempfile.TemporaryFile() as file:
            write(file)
            file.seek(0)
            api.load_image(file)

    # --- copies of images that the store no longer has

    @property
    def _repository(self) -> str:
        """What our copies are tagged as, apart from those of another store on this host."""
        place = os.path.realpath(self.store).encode()
        return f"fumehood/{hashlib.sha256(place).hexdigest()[:12]}"

    def forget_removed(self, api: Api) -> None:
        """Remove our copies of images that were removed from the store. Only our own tag is taken
        away: a copy that somebody else tagged as well, or uses, stays."""
        if not self.store:
            return
        for tag in api.tags(self._repository):
            if not self.has(tag.rpartition(":")[2]):
                api.remove_image(tag)


def _is_skeleton(held: HeldImage, label: str) -> bool:
    """Whether it is what `_load_host` made under this label, here or on an earlier state of this
    host: the one layer that the label names, and no settings."""
    return held.plain and held.layers == (label,)
