"""Gives a manifest the digest of its image when a tool is registered: tags move, digests do not;
and sees whether that image is still there when the tool is approved.

Must never guess: a name that leads nowhere is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fumehood.errors import ImageError, ManifestError
from fumehood.images import requirements
from fumehood.images.reference import HOST
from fumehood.images.store import ImageStore
from fumehood.model.manifest import Manifest


class HasData(Protocol):
    """A file of a tool."""

    @property
    def data(self) -> bytes: ...


def pin(store: Path | None, manifest: Manifest, files: Mapping[str, HasData]) -> Manifest:
    """The manifest with `run.image` as NAME@sha256:…, or as it is when that is `host`.

    With `run.requirements` the digest is that of the image derived for them, which must be there.

    Raises:
        ManifestError: there is no such image, or the requirements are missing or malformed.
    """
    run = manifest.run
    if run.image == HOST and run.requirements is None:
        return manifest
    field = "run.image" if run.requirements is None else "run.requirements"
    if store is None:
        raise ManifestError(
            f"{field}: this daemon has no image store", "import an image first", field=field
        )
    try:
        digest = ImageStore(store).pin(run.image, _key(run.requirements, files))
    except ImageError as error:
        raise ManifestError(f"{field}: {error.cause}", error.remedy, field=field) from error
    name = "" if run.image.startswith("sha256:") else run.image.partition("@")[0] + "@"
    return manifest.model_copy(update={"run": run.model_copy(update={"image": f"{name}{digest}"})})


def check_image(store: Path | None, manifest: Manifest) -> None:
    """Whether the image that a manifest was pinned to is in the store.

    Raises:
        ManifestError: it is not.
    """
    root = manifest.run.root
    if root == HOST:
        return
    remedy = f"import {manifest.run.image} again, or register the version anew"
    if store is None:
        raise ManifestError("run.image: this daemon has no image store", remedy, field="run.image")
    try:
        ImageStore(store).path(root)
    except ImageError as error:
        raise ManifestError(f"run.image: {error.cause}", remedy, field="run.image") from error


def _key(path: str | None, files: Mapping[str, HasData]) -> str:
    if path is None:
        return ""
    file = files.get(path)
    if file is None:
        raise ImageError(f"run.files has no {path!r}", "put it beside the tool's program")
    try:
        text = file.data.decode()
    except UnicodeDecodeError as error:
        raise ImageError(f"{path!r} is not UTF-8 at byte {error.start}") from None
    return requirements.key_of(text)
