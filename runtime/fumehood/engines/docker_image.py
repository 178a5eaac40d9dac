"""The image `host` for Docker: a root file system of a few links and files, to which the host's
own /usr is bound read-only. The same skeleton that bubblewrap's sandboxes have.

Standard library only; nothing here talks to Docker.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Final

from fumehood.kernel import proc

_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DIRECTORIES: Final = ("dev", "etc", "etc/alternatives", "out", "proc", "sys", "tmp", "tool", "usr")
_FILES: Final = {
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hostname": "",
    "etc/hosts": "",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "etc/resolv.conf": "",
}


def archive(alternatives: dict[str, str]) -> tuple[bytes, str]:
    """The root file system as a tar archive, and `sha256:<hex>` of it; equal hosts, equal bytes.

    alternatives: Debian's links into /usr, as `kernel.rootfs.alternatives` reads them.
    """
    links = {name: os.readlink(f"/{name}") for name in _LINKS if Path("/", name).is_symlink()}
    plain = [name for name in _LINKS if name not in links and Path("/", name).is_dir()]
    links["etc/localtime"] = "/usr/share/zoneinfo/UTC"
    links |= {f"etc/alternatives/{name}": target for name, target in alternatives.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted((*_DIRECTORIES, *plain)):
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
        for name, text in sorted(_FILES.items()):
            entry = _entry(name, tarfile.REGTYPE, 0o644)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        for name, target in sorted(links.items()):
            entry = _entry(name, tarfile.SYMTYPE, 0o777)
            entry.linkname = target
            tar.addfile(entry)
    data = buffer.getvalue()
    return data, "sha256:" + hashlib.sha256(data).hexdigest()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 0
    return entry


def binds() -> dict[str, str]:
    """What is bound into a container of the image `host`: target to source. File systems that
    are mounted below /usr are named one by one, since Docker leaves recursive binds writable."""
    tops = ["/usr", *(f"/{name}" for name in _LINKS if _is_own_directory(f"/{name}"))]
    found = {}
    for mount in proc.mounts("self"):
        if any(mount.target.startswith(f"{top}/") for top in tops):
            found[mount.target] = mount.target
    return {**{top: top for top in tops}, **found}


def _is_own_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
