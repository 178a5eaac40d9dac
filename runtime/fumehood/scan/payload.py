"""What some bytes are, by their first bytes and not by what they are called: programs, archives,
documents that bring programs along, files that are two things at once.

Reads headers and directories, and small parts of documents; must never unpack anything beyond its
bounds.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

from fumehood.scan import archives, documents, pickled
from fumehood.scan.archives import MAX_ENTRIES, Entry
from fumehood.scan.decoding import BOMB_BYTES, BOMB_RATIO
from fumehood.scan.detector import Match, Severity
from fumehood.scan.formats import (
    ARCHIVES,
    BEGINS,
    IMAGES,
    PROGRAMS,
    SEVERITY,
    is_pe,
    is_tar,
    sniff,
)

_TAIL: Final = 66_000
"""Bytes at the end in which an archive's directory ends (65,535 of comment, and its record)."""

# What a file with this ending is. Endings that say nothing (`.bin`, `.dat`, none) are left out.
_ENDINGS: Final[dict[str, frozenset[str]]] = {
    ".png": frozenset(("png",)), ".jpg": frozenset(("jpeg",)), ".jpeg": frozenset(("jpeg",)),
    ".gif": frozenset(("gif",)), ".webp": frozenset(("riff",)), ".wav": frozenset(("riff",)),
    ".pdf": frozenset(("pdf",)), ".zip": frozenset(("zip",)), ".gz": frozenset(("gzip",)),
    ".tgz": frozenset(("gzip",)), ".bz2": frozenset(("bzip2",)), ".xz": frozenset(("xz",)),
    ".7z": frozenset(("7z",)), ".rar": frozenset(("rar",)), ".tar": frozenset(("tar",)),
    ".bmp": frozenset(("bmp",)), ".ico": frozenset(("ico", "png")), ".tif": frozenset(("tiff",)),
    ".tiff": frozenset(("tiff",)), ".xlsm": frozenset(("zip",)), ".docm": frozenset(("zip",)),
    ".odt": frozenset(("zip",)), ".ods": frozenset(("zip",)), ".odp": frozenset(("zip",)),
    ".jar": frozenset(("zip",)), ".whl": frozenset(("zip",)), ".zst": frozenset(("zstd",)),
    ".docx": frozenset(("zip",)), ".xlsx": frozenset(("zip",)), ".pptx": frozenset(("zip",)),
    ".doc": frozenset(("ole", "rtf")), ".xls": frozenset(("ole",)), ".ppt": frozenset(("ole",)),
    ".sqlite": frozenset(("sqlite",)), ".mp3": frozenset(("mp3",)),
    ".svg": frozenset(("svg", "xml")),
}  # fmt: skip
_TEXT_ENDINGS: Final = frozenset(
    (".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".log", ".yaml", ".yml", ".xml", ".html",
     ".css", ".ini", ".toml", ".sql", ".svg", ".rst", ".diff", ".patch")
)  # fmt: skip
_NO_TEXT: Final = (
    PROGRAMS | ARCHIVES | IMAGES | frozenset(("pdf", "ole", "sqlite", "mp3", "ogg", "flac", "rtf"))
)
_SCRIPT: Final = re.compile(rb"#![ \t]*/[\w./-]*(?:/env[ \t]+(?:-\S+[ \t]+)*)?([\w.+-]+)")
_EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"
# A picture whose width and height are a comment, or an assignment, of JavaScript.
_GIF_SCRIPT: Final = re.compile(rb"GIF8[79]a(?:/\*|\s*=)")
_ELF: Final = re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01")
_OTHER: Final = (b"Rar!\x1a\x07", b"7z\xbc\xaf'\x1c", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_EMBEDDED: Final = re.compile(rb"(?i)<script[\s>]|<\?php\s")


class PayloadDetector:
    """What the whole of one text or file is."""

    name = "payload"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        # Most text is none of it, and says so with its first bytes.
        begin = data[:2]
        if (
            begin not in BEGINS
            and begin[:1] not in _BEGINNINGS
            and data[2:4] != b"\r\n"
            and not is_tar(data)
            and data[32_769:32_774] != b"CD001"
            and _EICAR not in data
        ):
            return []
        return list(_inspect(data))


_BEGINNINGS: Final = tuple(bytes((byte,)) for byte in b" \t\r\n<\x80(c")
"""Of markup behind white space, and of pickles."""


class NamedFile:
    """Whether a file is what the ending of its name says."""

    name = "payload"

    def __init__(self, file: str) -> None:
        self._file = file

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        return list(_mismatch(data, sniff(data), self._file))


def _inspect(data: bytes) -> Iterator[Match]:
    if not data:
        return
    form = sniff(data)
    end = min(len(data), 16)
    if form in PROGRAMS:
        yield Match(f"program-{form}", "payload", SEVERITY[form] or "high", 0, end)
    elif form in ARCHIVES:
        yield Match(f"archive-{form}", "payload", "low", 0, end)
    if script := _SCRIPT.match(data):
        yield Match("script", "payload", "low", 0, script.end())
    yield from _active(data, form)
    if (at := data.find(_EICAR)) >= 0:
        yield Match("eicar-test-file", "payload", "high", at, at + len(_EICAR))


def _active(data: bytes, form: str) -> Iterator[Match]:
    """Documents that bring a program along, archives that are bombs, files that are two things."""
    if form in _READERS:
        yield from _READERS[form](data)
    elif data.lstrip(b"\xef\xbb\xbf \t\r\n")[:2] in (b"<?", b"<!", b"<s"):
        yield from documents.markup(
            data, "svg" if b"<svg" in data[:4096] and form != "html" else ""
        )
    if (found := pickled.find(data)) is not None:
        yield found
    if form == "zip":
        yield from _archive(data)
    elif form == "tar":
        yield from _tar(data)
    elif form and form not in ARCHIVES:
        yield from _polyglot(data, form)


_READERS: Final[dict[str, Callable[[bytes], Iterator[Match]]]] = {
    "pdf": documents.pdf,
    "rtf": documents.rtf,
    "ole": documents.ole,
    "svg": lambda data: documents.markup(data, "svg"),
    "xml": lambda data: documents.markup(data, "xml"),
}


def _polyglot(data: bytes, form: str) -> Iterator[Match]:
    tail = data[-_TAIL:]
    directory = tail.rfind(b"PK\x05\x06")
    if directory >= 0 and form not in ("ole", "sqlite") and zipfile.is_zipfile(io.BytesIO(data)):
        at = len(data) - len(tail) + directory
        yield Match("polyglot", "payload", "high", at, at + 4)
    found = _EMBEDDED.search(data) if form in IMAGES else None
    if found is None and form == "gif":
        found = _GIF_SCRIPT.match(data)
    if found is not None:
        yield Match("polyglot", "payload", "medium", *found.span(), confidence="medium")
    if form in IMAGES or form == "pdf":
        program = _appended(data)
        if program is not None:
            yield Match("polyglot", "payload", "high", *program, confidence="medium")


def _appended(data: bytes) -> tuple[int, int] | None:
    """A program or an archive somewhere in a picture."""
    if found := _ELF.search(data, 8):
        return found.span()
    for magic in _OTHER:
        if (at := data.find(magic, 8)) >= 0:
            return at, at + len(magic)
    at = 8
    while (at := data.find(b"MZ", at)) >= 0:
        if is_pe(data, at):
            return at, at + 2
        at += 2
    return None


def _archive(data: bytes) -> Iterator[Match]:
    """By its directory, and the parts of a document in it."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except archives.BROKEN:
        yield Match("archive-broken", "payload", "medium", 0, 4)
        return
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    large = size > BOMB_BYTES and size > BOMB_RATIO * len(data)
    if large or len(members) > MAX_ENTRIES or _overlaps(members):
        yield Match("decompression-bomb", "payload", "high", 0, 4)
        return
    told = set()
    for found in documents.office(archive, len(data)):
        told.add(found.rule)
        yield found
    for rule, severity, fits in _MEMBERS:
        count = sum(1 for member in members if fits(member))
        if count and rule not in told:
            yield Match(rule, "payload", severity, 0, 4, count=count)


def _tar(data: bytes) -> Iterator[Match]:
    entries = list(archives.tar_entries(data))
    end = min(len(data), 16)
    # A sparse file says a size that it does not have here (GNU and pax).
    size = sum(entry.size for entry in entries if entry.kind not in "123456")
    if len(entries) >= MAX_ENTRIES or (size > BOMB_BYTES and size > BOMB_RATIO * len(data)):
        yield Match("decompression-bomb", "payload", "high", 0, end)
    for rule, severity, fits in _ENTRIES:
        if count := sum(1 for entry in entries if fits(entry)):
            yield Match(rule, "payload", severity, 0, end, count=count)


def _entry_leaves(entry: Entry) -> bool:
    path, link = _path(entry.name), _path(entry.link)
    if entry.kind in "12":
        # A hard link's target counts from the archive's root, a symbolic one's from its folder.
        inside = [*path.parts[:-1], *link.parts] if entry.kind == "2" else [*link.parts]
        if _is_absolute(link) or _goes_up(inside):
            return True
    return _is_absolute(path) or ".." in path.parts


def _goes_up(parts: list[str]) -> bool:
    depth = 0
    for part in parts:
        depth += -1 if part == ".." else part != "."
        if depth < 0:
            return True
    return False


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _is_absolute(path: PurePosixPath) -> bool:
    return path.is_absolute() or any(part[1:2] == ":" for part in path.parts[:1])


def _overlaps(members: list[zipfile.ZipInfo]) -> bool:
    """Several entries for the same bytes: how a bomb of 42 KB becomes 5 GB without nesting."""
    places = [member.header_offset for member in members]
    return len(set(places)) < len(places)


def _leaves_folder(member: zipfile.ZipInfo) -> bool:
    path = _path(member.filename)
    return _is_absolute(path) or ".." in path.parts or member.external_attr >> 28 == 0xA


def _is_macro(member: zipfile.ZipInfo) -> bool:
    return member.filename.lower().endswith("vbaproject.bin")


def _names_program(name: str) -> bool:
    """Windows runs it; or a script that pretends to be a document."""
    lower = name.lower()
    return lower.endswith(_RUN) or _DISGUISED.search(lower) is not None


_RUN: Final = (
    ".exe", ".dll", ".scr", ".com", ".pif", ".cpl", ".vbs", ".vbe", ".jse", ".wsf", ".wsh", ".hta",
    ".lnk", ".msi", ".jar", ".so", ".dylib",
)  # fmt: skip
_DISGUISED: Final = re.compile(
    r"\.(?:pdf|docx?|xlsx?|pptx?|txt|jpe?g|png|csv)[ _]{0,64}\.(?:js|bat|cmd|ps1|sh|py|jar)\Z"
)


def _is_program(member: zipfile.ZipInfo) -> bool:
    return _names_program(member.filename)


def _is_encrypted(member: zipfile.ZipInfo) -> bool:
    return bool(member.flag_bits & 1)


_MEMBERS: Final[tuple[tuple[str, Severity, Callable[[zipfile.ZipInfo], bool]], ...]] = (
    ("archive-path", "high", _leaves_folder),
    ("document-macro", "high", _is_macro),
    ("archive-program", "medium", _is_program),
    ("archive-encrypted", "medium", _is_encrypted),
)
_ENTRIES: Final[tuple[tuple[str, Severity, Callable[[Entry], bool]], ...]] = (
    ("archive-path", "high", _entry_leaves),
    ("archive-program", "medium", lambda entry: _names_program(entry.name)),
    ("archive-special", "medium", lambda e: e.kind in "346" or bool(e.mode & 0o6000)),
)


def _mismatch(data: bytes, form: str, name: str) -> Iterator[Match]:
    ending = PurePosixPath(name.lower()).suffix
    wanted = _ENDINGS.get(ending)
    end = min(len(data), 16)
    if wanted is not None and form not in wanted and (form or ending != ".svg"):
        severity: Severity = "high" if form in PROGRAMS else "medium"
        yield Match("type-mismatch", "payload", severity, 0, end)
    elif ending in _TEXT_ENDINGS and form in _NO_TEXT:
        yield Match("type-mismatch", "payload", "high", 0, end)
