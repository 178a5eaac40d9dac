"""`run.requirements` for Node: a package-lock.json, of which every package has a hash. Pure.

npm's format of lock files (docs: package-lock.json, versions 2 and 3), in its strictest part:
packages of a registry with a SHA-512, each in a `node_modules`. Workspaces, git and file
dependencies are refused, since nothing says what is in them.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fumehood.errors import ImageError, NotStrictJSON
from fumehood.images import oci
from fumehood.model import strict_json

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_PACKAGES: Final = 2000
FORMAT: Final = 1
"""Of derived images; raised when what is made from the same packages changes."""

_NAME = r"(?:@[A-Za-z0-9][A-Za-z0-9._~-]{0,100}/)?[A-Za-z0-9][A-Za-z0-9._~-]{0,200}"
_NAMES = re.compile(rf"{_NAME}\Z")
_PATH = re.compile(rf"node_modules/{_NAME}(?:/node_modules/{_NAME}){{0,20}}\Z")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,80}\Z")
_SHA512 = re.compile(r"sha512-([A-Za-z0-9+/]{86}==)\Z")
_CPU = {"x86_64": "x64", "aarch64": "arm64"}
_REMEDY = "write it with `npm install --package-lock-only` (npm 7 or later)"


@dataclass(frozen=True, slots=True)
class Package:
    """path: where it goes, such as `node_modules/a/node_modules/b`. sha512: hex, of its archive."""

    path: str
    name: str
    version: str
    sha512: str

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"


def is_lock(text: str) -> bool:
    """Whether a requirements file is npm's; Python's begins with no brace, and no manifest has
    this key."""
    return text.lstrip()[:1] == "{" and '"lockfileVersion"' in text


def parse(text: str) -> tuple[Package, ...]:
    """Read a package-lock.json: what a tool needs when it runs, on this machine.

    Raises:
        ImageError: naming the package.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ImageError(f"package-lock.json: more than {MAX_BYTES} bytes")
    try:
        document = strict_json.loads(text.encode())
    except NotStrictJSON as error:
        raise ImageError(f"package-lock.json: {error.cause}", _REMEDY) from None
    packages = document.get("packages") if isinstance(document, dict) else None
    if document.get("lockfileVersion") not in (2, 3) or not isinstance(packages, dict):
        raise ImageError("package-lock.json: not of version 2 or 3", _REMEDY)
    found = tuple(_packages(packages))
    if not 1 <= len(found) <= MAX_PACKAGES:
        raise ImageError(
            f"package-lock.json: {len(found)} packages; 1 to {MAX_PACKAGES} are allowed"
        )
    return found


def key(packages: tuple[Package, ...]) -> str:
    """What they come to, as a digest: equal packages over an equal base make one image."""
    lines = [f"{item.path} {item.spec} {item.sha512}" for item in packages]
    return oci.sha256(oci.encode({"format": FORMAT, "npm": lines}))


def _packages(entries: Mapping[str, Any]) -> Iterator[Package]:
    for path, entry in sorted(entries.items()):
        if path == "":
            continue  # the tool itself
        if not isinstance(entry, dict):
            raise _wrong(path, "is no object")
        if entry.get("dev") is True or entry.get("inBundle") is True:
            continue  # not needed to run; or inside another package's archive
        if not _fits(path, entry):
            continue
        yield _package(path, entry)


def _package(path: str, entry: Mapping[str, Any]) -> Package:
    if _PATH.match(path) is None or entry.get("link"):
        raise _wrong(path, "is no package in node_modules: workspaces and links are refused")
    name = entry.get("name", path.rpartition("node_modules/")[2])
    version, integrity = entry.get("version"), entry.get("integrity")
    if not isinstance(name, str) or _NAMES.match(name) is None:
        raise _wrong(path, "has a malformed name")
    if not isinstance(version, str) or _VERSION.match(version) is None:
        raise _wrong(path, "has no version of a registry: git and file dependencies are refused")
    for word in integrity.split() if isinstance(integrity, str) else ():
        if (match := _SHA512.match(word)) is not None:
            return Package(path, name, version, _hex(path, match[1]))
    raise _wrong(path, "has no SHA-512 under `integrity`")


def _hex(path: str, text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        raise _wrong(path, "has a malformed hash") from None


def _fits(path: str, entry: Mapping[str, Any]) -> bool:
    """Whether it is for this machine; only an optional package may be for another."""
    machine = os.uname().machine
    wanted = {"os": "linux", "cpu": _CPU.get(machine, machine), "libc": "glibc"}
    fits = all(_allows(entry.get(kind), value) for kind, value in wanted.items())
    if not fits and entry.get("optional") is not True:
        raise _wrong(path, "is for another kind of machine")
    return fits


def _allows(listed: object, value: str) -> bool:
    """npm's lists: names, or names that must not be, each with a `!`."""
    names = [listed] if isinstance(listed, str) else listed
    if not isinstance(names, list) or not names or names == ["any"]:
        return True
    refused = {str(name)[1:] for name in names if str(name).startswith("!")}
    taken = {str(name) for name in names if not str(name).startswith("!")}
    return value not in refused and (not taken or value in taken)


def _wrong(path: str, why: str) -> ImageError:
    return ImageError(f"package-lock.json: {path[:256]!r} {why}", _REMEDY)
