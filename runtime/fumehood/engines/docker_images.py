"""Root file systems that Docker must have before a container can be made of them.

`host` is made here; every other image comes from the image store by digest, and Docker's own ID
of it proves that it has the same tree. Docker's registry is never asked.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fumehood.engines import docker_image
from fumehood.engines.docker_api import Api
from fumehood.engines.docker_create import LABEL_DIGEST
from fumehood.engines.docker_link import Link
from fumehood.errors import EngineError, FumehoodError
from fumehood.images.store import ImageStore
from fumehood.kernel import rootfs

HOST: Final = "host"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Image:
    """A root file system as Docker has it. environment: names that the image sets."""

    identity: str
    environment: tuple[str, ...]


@dataclass(slots=True)
class DockerImages:
    """What the daemon has, for all threads of the launcher. store: of images, empty for none."""

    link: Link
    store: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _known: dict[str, Image] = field(default_factory=dict)
    _generation: int = -1

    def get(self, api: Api, name: str) -> Image:
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

    def _load_host(self, api: Api) -> Image:
        data, digest = docker_image.archive(rootfs.alternatives())
        label = f"{LABEL_DIGEST}={digest}"
        held = api.images_labelled(label)
        identity = held[0] if held else api.import_image(data, label)
        for other in api.images_labelled(LABEL_DIGEST):
            if other != identity:  # of an earlier state of this host
                api.remove_image(other)
        return self._inspected(api, identity)

    def _load(self, api: Api, name: str) -> Image:
        if not self.store or not _DIGEST.match(name):
            raise EngineError(f"there is no image {name[:80]!r}", control="image")
        store = ImageStore(Path(self.store))
        try:
            wanted = store.resolve(name).config
            if api.image(wanted) is None:
                self._transfer(api, lambda file: store.export_docker(name, file))
        except FumehoodError as error:
            if isinstance(error, EngineError):
                raise
            raise EngineError(
                "the image cannot be loaded into Docker", error.remedy, control="image",
                detail=error.cause,
            ) from error  # fmt: skip
        return self._inspected(api, wanted)

    def _transfer(self, api: Api, write: Callable[[IO[bytes]], object]) -> None:
        """By way of a file: the daemon's side may be slower than the time limit of a read."""
        with tempfile.TemporaryFile() as file:
            write(file)
            file.seek(0)
            api.load_image(file)

    def _inspected(self, api: Api, identity: str) -> Image:
        environment = api.image(identity)
        if environment is None:
            raise EngineError("Docker does not have the image it loaded", control="image")
        return Image(identity, environment)
