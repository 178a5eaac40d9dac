"""The store's index.json: which images there are, and which names lead to them. An OCI image
index, and so readable by others; what only we need is in annotations.

An image whose name moved to another one stays, without a name: tools are pinned to its digest.

Pure: the store reads and writes the bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import oci
from fumehood.images.bounds import Bounds
from fumehood.images.reference import Reference

_PREFIX: Final = "fumehood."
_KEEPS: Final = "fumehood.keeps-unnamed"
"""Marks an index that lists images without a name, too; former ones lost them."""


@dataclass(frozen=True, slots=True)
class Image:
    """One name of an image, or an image whose name moved.

    name: `python:latest`; empty of an image that has none any more.
    digest: of the OCI manifest, `sha256:…`.
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
    """All names, sorted, then the images without one. Every change makes a new index.

    keeps_unnamed: false where a former version wrote it, which forgot an image with its name.
    """

    images: tuple[Image, ...] = ()
    keeps_unnamed: bool = True

    def with_(self, image: Image) -> Index:
        """With a name more, or one that moved: the image that it led to stays. What a digest
        decides, and what was made of it, is the same under all names."""
        known = [
            renamed(item, "") if item.name == image.name != "" else item for item in self.images
        ]
        alike = [_alike(item, image) if item.digest == image.digest else item for item in known]
        return replace(self, images=_arranged([*alike, image]))

    def without(self, gone: Collection[Image]) -> Index:
        return replace(self, images=tuple(item for item in self.images if item not in gone))

    @property
    def unnamed(self) -> tuple[Image, ...]:
        """Those whose names moved."""
        return tuple(item for item in self.images if not item.name)

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


def encode(index: Index) -> bytes:
    """The document."""
    manifests = []
    for image in index.images:
        fields = asdict(image)
        name, digest, layer = fields.pop("name"), fields.pop("digest"), image.layer
        notes = {f"{_PREFIX}{key}": str(value) for key, value in fields.items() if value != ""}
        if name:
            notes[oci.REF_NAME] = name
        manifests.append(
            {
                "mediaType": oci.MANIFEST,
                "digest": digest,
                "size": len(oci.make_manifest(oci.make_config(layer), layer, image.size)),
                "platform": {"architecture": oci.architecture(), "os": "linux"},
                "annotations": notes,
            }
        )
    return oci.encode(
        {
            "schemaVersion": 2,
            "mediaType": oci.INDEX,
            "manifests": manifests,
            "annotations": {_KEEPS: "true"},
        }
    )


def decode(data: bytes, bounds: Bounds) -> Index:
    """Read the document; raises ImageError when it is not one of ours."""
    document = oci.Document(data, "index", bounds)
    images = []
    for item in document.descriptors("manifests"):
        notes = dict(item.annotations or {})
        try:
            values = {key.removeprefix(_PREFIX): value for key, value in notes.items()}
            name = values.pop(oci.REF_NAME, "")
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
    return Index(tuple(images), keeps_unnamed=document.at("annotations", _KEEPS) == "true")


def renamed(image: Image, name: str) -> Image:
    """The same image under another name."""
    return replace(image, name=name)


def _alike(image: Image, new: Image) -> Image:
    return replace(
        image, size=new.size, config=new.config, layer=new.layer, listing=new.listing, sbom=new.sbom
    )


def _arranged(images: Sequence[Image]) -> tuple[Image, ...]:
    """Names in order; without a name, only images that no name leads to, and each of them once."""
    named = {item.name: item for item in images if item.name}
    known = {item.digest for item in named.values()}
    unnamed = {item.digest: item for item in images if not item.name and item.digest not in known}
    return tuple(
        sorted([*named.values(), *unnamed.values()], key=lambda i: (not i.name, i.name, i.digest))
    )
