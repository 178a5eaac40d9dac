"""Unpacks Python wheels into a tree without running anything of them.

A wheel is a zip archive with a record of its files' hashes (packaging.python.org, "Binary
distribution format"). Everything goes below /usr/local, replaces nothing that is there, and is
refused unless RECORD accounts for it. Python's own installer would also compile bytecode: that
is left out, because it would mean to run a compiler on a stranger's files outside a sandbox.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images.bounds import Bounds, exceeded
from fumehood.images.streams import CHUNK
from fumehood.images.tree import Tree, split

MAX_WHEEL_BYTES: Final = 2 << 30
MAX_DIRECTORY_BYTES: Final = 64 << 20
MAX_SCRIPTS: Final = 200
_END: Final = struct.Struct("<4s4H2LH")
"""End of central directory record (APPNOTE 4.3.16)."""
_SCRIPT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}\Z")
_OBJECT = re.compile(r"(?P<module>[A-Za-z_][\w.]*)\s*:\s*(?P<attribute>[A-Za-z_][\w.]*)")


@dataclass(frozen=True, slots=True)
class Python:
    """An image's Python, as its tree tells. All paths relative to the image's root.

    version: such as `3.11`. site: where distributions go. interpreter: absolute, for scripts.
    """

    version: str
    site: str
    interpreter: str


def install(tree: Tree, path: Path, python: Python, bounds: Bounds) -> None:
    """Unpack one wheel into the tree.

    Raises:
        ImageError: naming the wheel and the file.
    """
    try:
        with path.open("rb") as file:
            _check_end(file.fileno(), path)
            with zipfile.ZipFile(file) as archive:
                _Wheel(archive, path.name, python, bounds).install(tree)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise ImageError(f"{path.name} is no sound wheel: {error}") from None


def _check_end(fd: int, path: Path) -> None:
    """zipfile reads the whole directory into memory, however long it claims to be."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, 65535 + _END.size, max(0, size - 65535 - _END.size))
    at = tail.rfind(b"PK\5\6")
    if size > MAX_WHEEL_BYTES or at < 0 or len(tail) - at < _END.size:
        raise ImageError(f"{path.name} is no wheel, or larger than {MAX_WHEEL_BYTES} bytes")
    length = _END.unpack_from(tail, at)[5]
    if length > MAX_DIRECTORY_BYTES:
        raise exceeded("a directory of more", MAX_DIRECTORY_BYTES, "bytes", entry=path.name)


class _Wheel:
    def __init__(self, archive: zipfile.ZipFile, name: str, python: Python, bounds: Bounds) -> None:
        self._archive = archive
        self._name = name
        self._python = python
        self._bounds = bounds
        distribution = "-".join(name.split("-")[:2])
        self._information = f"{distribution}.dist-info"
        self._data = f"{distribution}.data"
        self._record = self._read_record()

    def install(self, tree: Tree) -> None:
        seen: set[str] = set()
        for item in self._archive.infolist():
            if item.is_dir():
                continue
            self._check(item, seen)
            target, executable, is_script = self._target(item.filename)
            content = self._content(item)
            if is_script:
                content = self._with_interpreter(content)
            mode = item.external_attr >> 16
            number = tree.spool.add(
                content, executable=executable or bool(mode & 0o111), mtime=_MTIME
            )
            self._put(tree, target, number)
        missing = sorted(set(self._record) - seen)
        if missing:
            raise self._wrong(missing[0], "is in RECORD and not in the wheel")
        for name, text in self._entry_points():
            number = tree.spool.add([text.encode()], executable=True, mtime=_MTIME)
            self._put(tree, f"usr/local/bin/{name}", number)

    def _put(self, tree: Tree, target: str, number: int) -> None:
        try:
            tree.put(target, number)
        except ImageError as error:
            raise ImageError(f"{self._name}: {error.cause}", error.remedy, entry=target) from None

    def _check(self, item: zipfile.ZipInfo, seen: set[str]) -> None:
        name = item.filename
        split(name, self._bounds)
        if name in seen:
            raise self._wrong(name, "is there twice")
        seen.add(name)
        kind = stat.S_IFMT(item.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise self._wrong(name, "is no plain file")
        if item.flag_bits & 0x1 or item.compress_type not in _METHODS:
            raise self._wrong(name, "is encrypted or compressed in a rare way")
        if item.file_size > self._bounds.file_bytes:
            raise exceeded("a file of more", self._bounds.file_bytes, "bytes", entry=name)
        if name not in self._record and name not in self._unrecorded:
            raise self._wrong(name, "is not in RECORD")

    @property
    def _unrecorded(self) -> frozenset[str]:
        """RECORD cannot hold its own hash, and signatures are not in it."""
        names = ("RECORD", "RECORD.jws", "RECORD.p7s")
        return frozenset(f"{self._information}/{name}" for name in names)

    def _content(self, item: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes, checked against RECORD at their end; zipfile checks length and CRC."""
        digest = hashlib.sha256()
        size = 0
        with self._archive.open(item) as file:
            while data := file.read(CHUNK):
                size += len(data)
                if size > item.file_size:
                    raise self._wrong(item.filename, "is longer than it says")
                digest.update(data)
                yield data
        wanted = self._record.get(item.filename)
        if wanted is not None and wanted != digest.digest():
            raise self._wrong(item.filename, "is not what RECORD says")

    def _target(self, name: str) -> tuple[str, bool, bool]:
        """Where a file goes, whether it is a program, and whether it is a script of a wheel."""
        if not name.startswith(f"{self._data}/"):
            return f"{self._python.site}/{name}", False, False
        _, scheme, rest = (*name.split("/", 2), "", "")[:3]
        place = {
            "purelib": self._python.site,
            "platlib": self._python.site,
            "scripts": "usr/local/bin",
            "headers": f"usr/local/include/python{self._python.version}/{self._name.split('-')[0]}",
            "data": "usr/local",
        }.get(scheme)
        if place is None or not rest:
            raise self._wrong(name, "belongs to no scheme that is known")
        return f"{place}/{rest}", scheme == "scripts", scheme == "scripts"

    def _with_interpreter(self, content: Iterator[bytes]) -> Iterator[bytes]:
        first = True
        for data in content:
            if first and data.startswith(b"#!python"):
                end = data.find(b"\n") % (len(data) + 1)
                yield f"#!{self._python.interpreter}".encode() + data[end:]
            else:
                yield data
            first = False

    def _entry_points(self) -> Iterator[tuple[str, str]]:
        """`console_scripts` (packaging.python.org, "Entry points specification")."""
        path = f"{self._information}/entry_points.txt"
        if path not in self._record:
            return
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
        parser.optionxform = str  # type: ignore[method-assign,assignment]  # names are case-sensitive
        try:
            parser.read_string(self._text(path))
        except configparser.Error as error:
            raise self._wrong(path, f"cannot be read: {error.message}") from None
        scripts = parser["console_scripts"] if parser.has_section("console_scripts") else {}
        if len(scripts) > MAX_SCRIPTS:
            raise self._wrong(path, f"has more than {MAX_SCRIPTS} scripts")
        for name, value in scripts.items():
            found = _OBJECT.match(value)
            if found is None or _SCRIPT_NAME.match(name) is None:
                raise self._wrong(path, f"has the malformed script {name[:64]!r}")
            yield (
                name,
                _SCRIPT.format(
                    interpreter=self._python.interpreter,
                    module=found["module"],
                    top=found["attribute"].split(".")[0],
                    attribute=found["attribute"],
                ),
            )

    def _read_record(self) -> dict[str, bytes]:
        record: dict[str, bytes] = {}
        path = f"{self._information}/RECORD"
        for row in csv.reader(io.StringIO(self._text(path))):
            if len(row) < 2 or not row[1]:
                continue
            algorithm, _, digest = row[1].partition("=")
            if algorithm != "sha256":
                raise self._wrong(row[0], f"has a {algorithm[:16]} hash; only sha256 is taken")
            try:
                record[row[0]] = base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4))
            except ValueError:
                raise self._wrong(row[0], "has a malformed hash in RECORD") from None
        return record

    def _text(self, path: str) -> str:
        try:
            item = self._archive.getinfo(path)
        except KeyError:
            raise self._wrong(path, "is missing") from None
        if item.file_size > self._bounds.document_bytes:
            raise exceeded("a document of more", self._bounds.document_bytes, "bytes", entry=path)
        with self._archive.open(item) as file:
            data = file.read(self._bounds.document_bytes + 1)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self._wrong(path, "is not UTF-8") from None

    def _wrong(self, name: str, why: str) -> ImageError:
        return ImageError(f"{self._name}: {name[:256]!r} {why}", entry=name)


_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MTIME = 0
_SCRIPT = """#!{interpreter}
import sys
from {module} import {top}
sys.exit({attribute}())
"""
