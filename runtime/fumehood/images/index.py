"""The store's index.json: which names lead to which image. An OCI image index, and so readable by
others; what only we need is in annotations.

Pure: the store reads and writes the bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import oci
from fumehood.images.bounds import Bounds
from fumehood.images.reference import Reference

_PREFIX: Final = "fumehood."


@dataclass(frozen=True, slots=True)
class Image:
    """One name of an image.

    name: `python:latest`. digest: of the OCI manifest, `sha256:…`.
    size: bytes of the root file system as an archive. imported: RFC 3339, UTC.
    config: digest of the OCI configuration, which is Docker's image ID.
    layer: digest of the root file system as an archive (`diff_id`).
    listing, sbom: digests of the blobs with one line per file, and with what is in it.
    base, requirements: of a derived image: the digest below, and the key of what was added.
    """

    name: str
    digest: str
    size: int
    imported: str
    source: str
    config: str
    layer: str
    listing: str
    sbom: str
    base: str = ""
    requirements: str = ""

    @property
    def hex(self) -> str:
        """The name of its tree in the store."""
        return self.digest.removeprefix("sha256:")

    @property
    def blobs(self) -> tuple[str, ...]:
        return (self.digest, self.config, self.listing, self.sbom)


@dataclass(frozen=True, slots=True)
class Index:
    """All names, sorted. Every change makes a new index."""

    images: tuple[Image, ...] = ()

    def with_(self, image: Image) -> Index:
        others = [item for item in self.images if item.name != image.name]
        return replace(self, images=tuple(sorted([*others, image], key=lambda item: item.name)))

    def without(self, names: frozenset[str]) -> Index:
        return replace(self, images=tuple(i for i in self.images if i.name not in names))

    def find(self, reference: Reference) -> Image | None:
        """A digest decides where there is one; a name beside it is for people."""
        for image in self.images:
            if reference.digest:
                if image.digest == reference.digest:
                    return image
            elif image.name == reference.tagged:
                return image
        return None

    def derived(self, base: str, requirements: str) -> Image | None:
        """The image that adds these requirements to that base."""
        for image in self.images:
            if image.base == base and image.requirements == requirements:
                return image
        return None


def encode(index: Index, manifest_sizes: dict[str, int]) -> bytes:
    """The document. manifest_sizes: bytes of each manifest by digest."""
    manifests = []
    for image in index.images:
        fields = asdict(image)
        name, digest = fields.pop("name"), fields.pop("digest")
        notes = {f"{_PREFIX}{key}": str(value) for key, value in fields.items() if value != ""}
        manifests.append(
            {
                "mediaType": oci.MANIFEST,
                "digest": digest,
                "size": manifest_sizes[digest],
                "platform": {"architecture": oci.architecture(), "os": "linux"},
                "annotations": {oci.REF_NAME: name, **notes},
            }
        )
    return oci.encode({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": manifests})


def decode(data: bytes, bounds: Bounds) -> Index:
    """Read the document; raises ImageError when it is not one of ours."""
    document = oci.Document(data, "index", bounds)
    images = []
    for item in document.descriptors("manifests"):
        notes = dict(item.annotations or {})
        try:
            values = {key.removeprefix(_PREFIX): value for key, value in notes.items()}
            name = values.pop(oci.REF_NAME)
            size = int(values.pop("size"))
            images.append(Image(name=name, digest=item.digest, size=size, **values))
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(
                f"the store's index is damaged: {item.digest}",
                "import the images again under a new state directory",
                detail=str(error),
            ) from None
        if not all(oci.is_digest(blob) for blob in images[-1].blobs):
            raise ImageError(f"the store's index is damaged: {item.digest} names no blobs")
    return Index(tuple(images))


def renamed(image: Image, name: str) -> Image:
    """The same image under another name."""
    return replace(image, name=name)
