"""OCI documents: those we write are canonical, those we read are checked field by field.

image-spec v1.1: manifest.md, config.md, image-index.md, descriptor.md. Pure.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fumehood.errors import ImageError, NotStrictJSON
from fumehood.images.bounds import Bounds
from fumehood.model import strict_json

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"

REF_NAME: Final = "org.opencontainers.image.ref.name"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What an OCI document says of another blob. architecture: empty when it does not tell."""

    media_type: str
    digest: str
    size: int
    architecture: str = ""
    annotations: Mapping[str, str] | None = None


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    return _DIGEST.match(text) is not None


def architecture() -> str:
    """This host's, as OCI calls it (Go's GOARCH)."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def encode(document: object) -> bytes:
    """The one form of a document of ours."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def make_config(layer_digest: str) -> bytes:
    """What runs is decided by plans: no user, entry point, volume or health check is kept.

    This and `make_manifest` can never write anything else of the same tree: its digest follows.
    """
    return encode(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }
    )


def make_manifest(config: bytes, layer_digest: str, layer_size: int) -> bytes:
    """The manifest whose digest names the image."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": sha256(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer_size}],
        }
    )


class Document:
    """A JSON object from an archive; every access names what is missing."""

    def __init__(self, data: bytes, what: str, bounds: Bounds) -> None:
        if len(data) > bounds.document_bytes:
            raise ImageError(f"the image's {what} has more than {bounds.document_bytes} bytes")
        try:
            self.value: object = strict_json.loads(data)
        except NotStrictJSON as error:
            raise ImageError(f"the image's {what} is no JSON: {error.cause}") from None
        self._what = what

    def at(self, *path: str) -> object:
        """The value at a path of keys, or None."""
        value = self.value
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def text(self, *path: str) -> str:
        value = self.at(*path)
        if not isinstance(value, str):
            raise self.wrong(".".join(path), "a text")
        return value

    def texts(self, *path: str) -> list[str]:
        value = self.at(*path)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(".".join(path), "a list of texts")
        return value

    def descriptors(self, *path: str) -> list[Descriptor]:
        value = self.at(*path)
        if not isinstance(value, list):
            raise self.wrong(".".join(path), "a list of descriptors")
        return [self._descriptor(item) for item in value]

    def descriptor(self, *path: str) -> Descriptor:
        return self._descriptor(self.at(*path))

    def _descriptor(self, raw: object) -> Descriptor:
        if not isinstance(raw, dict):
            raise self.wrong("descriptor", "an object")
        kind, digest, size = raw.get("mediaType"), raw.get("digest"), raw.get("size")
        if not isinstance(digest, str) or not is_digest(digest):
            raise self.wrong("digest", "a sha256 digest")
        if type(size) is not int or size < 0:
            raise self.wrong("size", "a number of bytes")
        platform, notes = raw.get("platform"), raw.get("annotations")
        arch = platform.get("architecture") if isinstance(platform, dict) else ""
        annotations = (
            {key: text for key, text in notes.items() if isinstance(text, str)}
            if isinstance(notes, dict)
            else {}
        )
        return Descriptor(
            media_type=kind if isinstance(kind, str) else "",
            digest=digest,
            size=size,
            architecture=arch if isinstance(arch, str) else "",
            annotations=annotations,
        )

    def wrong(self, field: str, expected: str) -> ImageError:
        return ImageError(f"the image's {self._what} is malformed: {field} is not {expected}")
