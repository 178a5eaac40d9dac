"""Python wheels made by hand, sound unless told otherwise."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import zipfile
from collections.abc import Mapping

SITE = "usr/local/lib/python3.11/dist-packages"
NAME = "lib-1.0-py3-none-any.whl"
INFO = "lib-1.0.dist-info"
FILES: dict[str, bytes] = {
    "lib/__init__.py": b"def main(): return 0\n",
    "lib-1.0.data/scripts/tool": b"#!python -E\nprint()\n",
    "lib-1.0.data/data/share/x.txt": b"data",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": b"[console_scripts]\nlib-run = lib:main\n",
}


def wheel(files: Mapping[str, bytes] = FILES, *, record: str | None = None) -> bytes:
    target = io.BytesIO()
    lines = [f"{name},sha256={b64(data)},{len(data)}" for name, data in files.items()]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
        text = record if record is not None else "\n".join([*lines, f"{INFO}/RECORD,,"])
        archive.writestr(f"{INFO}/RECORD", text)
    return target.getvalue()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
