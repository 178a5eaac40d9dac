"""Archives as strangers make them: tar files entry by entry, OCI layouts, `docker save` files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from fumehood.images import oci

FILE, DIRECTORY, SYMLINK, HARDLINK = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
)
FIFO, DEVICE = tarfile.FIFOTYPE, tarfile.CHRTYPE


def entry(
    name: str,
    data: bytes = b"",
    *,
    kind: bytes = FILE,
    link: str = "",
    mode: int = 0o644,
    mtime: int = 7,
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, mtime
    info.size = len(data) if kind == FILE else 0
    return info, data


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def files(**contents: bytes) -> bytes:
    """A layer of plain files; `__` in a name stands for `/`."""
    return tar(*(entry(name.replace("__", "/"), data) for name, data in contents.items()))


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers: Iterable[bytes], **changes: object) -> bytes:
    document: dict[str, object] = {
        "architecture": oci.architecture(),
        "os": "linux",
        "config": {"User": "root", "Entrypoint": ["/evil"], "Volumes": {"/v": {}}},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    return json.dumps(document | changes).encode()


def docker_save(*layers: bytes, configuration: bytes | None = None) -> bytes:
    document = configuration if configuration is not None else config(layers)
    names = [f"{digest(layer)[7:19]}/layer.tar" for layer in layers]
    listing = [{"Config": "config.json", "RepoTags": ["x:y"], "Layers": names}]
    return tar(
        entry("manifest.json", json.dumps(listing).encode()),
        entry("config.json", document),
        *(entry(name, layer) for name, layer in zip(names, layers, strict=True)),
    )


def oci_layout(
    directory: Path, *layers: bytes, configuration: bytes | None = None, zipped: bool = True
) -> Path:
    """An OCI layout with one image; returns `directory`."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    document = configuration if configuration is not None else config(layers)
    packed = [gzip.compress(layer, mtime=0) if zipped else layer for layer in layers]
    suffix = "+gzip" if zipped else ""
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": blob(document, oci.CONFIG),
        "layers": [blob(layer, oci.LAYER + suffix) for layer in packed],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [blob(json.dumps(manifest).encode(), oci.MANIFEST)],
    }
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


def leftovers(directory: Path) -> list[str]:
    """What stands in a store beside its fixed parts."""
    if not directory.exists():
        return []
    fixed = {"blobs", "trees", "wheels", "index.json"}
    return sorted(
        [name for name in os.listdir(directory) if name not in fixed]
        + os.listdir(directory / "trees")
        + os.listdir(directory / "blobs" / "sha256")
    )
