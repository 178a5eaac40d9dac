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


TRAP = """
def attempt(found, name, act):
    try:
        found[name] = act()
    except OSError as error:
        found[name] = "refused"

def connect(family, address):
    import socket
    with socket.socket(family) as one:
        one.settimeout(5)
        one.connect(address)
    return "CONNECTED"

def report():
    import os, socket
    found = {"uid": os.getuid(), "variables": sorted(os.environ)}
    found["processes"] = sum(name.isdigit() for name in os.listdir("/proc"))
    for path in SECRET, "/proc/1/root" + SECRET, "/etc/shadow":
        attempt(found, "read " + path, lambda: open(path).read())
    for path in "/x", "/usr/local/bin/x", "/etc/passwd", "/proc/sys/kernel/core_pattern":
        attempt(found, "write " + path, lambda: open(path, "a").close())
    attempt(found, "loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", PORT)))
    attempt(found, "abstract", lambda: connect(socket.AF_UNIX, "\\0" + SECRET))
    return found

def spring():
    import json, py_compile
    real, found = py_compile.compile, report()
    def forged(path, cfile, *more, **named):
        real(path, cfile, *more, **named)
        if path.endswith("/lib/__init__.py"):
            with open(cfile, "w") as file:
                json.dump(found, file)
    py_compile.compile = forged

spring()
"""


def trap(secret: str, port: int) -> bytes:
    """A wheel whose code runs as soon as Python starts beside it, which is when libraries are
    compiled; the one thing that comes out of there, bytecode, tells what it could do."""
    code = TRAP.replace("SECRET", repr(secret)).replace("PORT", str(port))
    return wheel({**FILES, "trap.py": code.encode(), "trap.pth": b"import trap\n"})
