"""What some bytes are, by their first bytes and not by what they are called: programs, archives,
documents that bring programs along, files that are two things at once.

Reads headers and directories only; must never unpack anything beyond its bounds.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

from fumehood.scan.decoding import BOMB_BYTES, BOMB_RATIO
from fumehood.scan.detector import Match, Severity

MAX_MEMBERS: Final = 10_000
"""Entries of an archive; more of them are a bomb of inodes."""

_TAIL: Final = 66_000
"""Bytes at the end in which an archive's directory ends (65,535 of comment, and its record)."""

# magic, format, severity of the finding that it is there at all; empty: no finding by itself.
_MAGIC: Final[tuple[tuple[bytes, str, Severity | None], ...]] = (
    (b"\x7fELF", "elf", "high"),
    (b"MZ", "pe", "high"),
    (b"\xfe\xed\xfa\xce", "mach-o", "high"),
    (b"\xfe\xed\xfa\xcf", "mach-o", "high"),
    (b"\xce\xfa\xed\xfe", "mach-o", "high"),
    (b"\xcf\xfa\xed\xfe", "mach-o", "high"),
    (b"\xca\xfe\xba\xbe", "java-class", "high"),
    (b"\0asm", "wasm", "medium"),
    (b"dex\n", "dex", "high"),
    (b"L\0\0\0\x01\x14\x02\0", "lnk", "high"),
    (b"ITSF", "chm", "high"),
    (b"MSCF", "cab", "medium"),
    (b"PK\x03\x04", "zip", "medium"),
    (b"PK\x05\x06", "zip", "medium"),
    (b"\x1f\x8b\x08", "gzip", "medium"),
    (b"BZh", "bzip2", "medium"),
    (b"\xfd7zXZ\0", "xz", "medium"),
    (b"(\xb5/\xfd", "zstd", "medium"),
    (b"7z\xbc\xaf'\x1c", "7z", "medium"),
    (b"Rar!\x1a\x07", "rar", "medium"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole", None),
    (b"%PDF-", "pdf", None),
    (b"{\\rtf", "rtf", None),
    (b"\x89PNG\r\n\x1a\n", "png", None),
    (b"\xff\xd8\xff", "jpeg", None),
    (b"GIF87a", "gif", None),
    (b"GIF89a", "gif", None),
    (b"RIFF", "riff", None),
    (b"SQLite format 3\0", "sqlite", None),
    (b"ID3", "mp3", None),
    (b"OggS", "ogg", None),
    (b"fLaC", "flac", None),
    (b"wOFF", "font", None),
    (b"wOF2", "font", None),
    (b"<?xml", "xml", None),
    (b"<svg", "svg", None),
    (b"<!DOCTYPE html", "html", None),
    (b"<html", "html", None),
)
_BEGINS: Final = frozenset((*(magic[:2] for magic, _, _ in _MAGIC), b"#!", b"\xef\xbb"))
_SEVERITY: Final = {form: severity for _, form, severity in _MAGIC}
_FIRST: Final = frozenset(magic[:1] for magic, _, _ in _MAGIC)
PROGRAMS: Final = frozenset(("elf", "pe", "mach-o", "java-class", "wasm", "dex", "lnk", "chm"))
ARCHIVES: Final = frozenset(("zip", "gzip", "bzip2", "xz", "zstd", "7z", "rar", "cab", "tar"))

# What a file with this ending is. Endings that say nothing (`.bin`, `.dat`, none) are left out.
_ENDINGS: Final[dict[str, frozenset[str]]] = {
    ".png": frozenset(("png",)), ".jpg": frozenset(("jpeg",)), ".jpeg": frozenset(("jpeg",)),
    ".gif": frozenset(("gif",)), ".webp": frozenset(("riff",)), ".wav": frozenset(("riff",)),
    ".pdf": frozenset(("pdf",)), ".zip": frozenset(("zip",)), ".gz": frozenset(("gzip",)),
    ".tgz": frozenset(("gzip",)), ".bz2": frozenset(("bzip2",)), ".xz": frozenset(("xz",)),
    ".7z": frozenset(("7z",)), ".rar": frozenset(("rar",)), ".tar": frozenset(("tar",)),
    ".docx": frozenset(("zip",)), ".xlsx": frozenset(("zip",)), ".pptx": frozenset(("zip",)),
    ".doc": frozenset(("ole", "rtf")), ".xls": frozenset(("ole",)), ".ppt": frozenset(("ole",)),
    ".sqlite": frozenset(("sqlite",)), ".mp3": frozenset(("mp3",)),
    ".svg": frozenset(("svg", "xml")),
}  # fmt: skip
_TEXT_ENDINGS: Final = frozenset(
    (".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".log", ".yaml", ".yml", ".xml", ".html",
     ".css", ".ini", ".toml", ".sql", ".svg", ".rst", ".diff", ".patch")
)  # fmt: skip
_SCRIPT: Final = re.compile(rb"#![ \t]*/[\w./-]*(?:/env[ \t]+(?:-\S+[ \t]+)*)?([\w.+-]+)")
_EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"
_PDF_ACTIVE: Final = re.compile(
    rb"/(?:JavaScript|JS|OpenAction|AA|Launch|EmbeddedFile|RichMedia)\b"
)
_RTF_OBJECT: Final = re.compile(rb"\\obj(?:ocx|emb|link|update)|\\objdata")
_OLE_MACRO: Final = (b"_VBA_PROJECT", "_VBA_PROJECT".encode("utf-16-le"), b"Attribut\0e VB_Name")
_MARKUP_SCRIPT: Final = re.compile(rb"(?i)<script[\s>]|\son(?:load|error|click)\s*=|javascript:")
_EMBEDDED: Final = re.compile(rb"(?i)<script[\s>]|<\?php\s")


class PayloadDetector:
    """What the whole of one text or file is."""

    name = "payload"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        # Most text is none of it, and says so with its first bytes.
        begin = data[:2]
        if (
            begin not in _BEGINS
            and begin[:1] not in b" \t\r\n"
            and data[257:262] != b"ustar"
            and _EICAR not in data
        ):
            return []
        return list(_inspect(data))


class NamedFile:
    """Whether a file is what the ending of its name says."""

    name = "payload"

    def __init__(self, file: str) -> None:
        self._file = file

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        return list(_mismatch(data, sniff(data), self._file))


def sniff(data: bytes) -> str:
    """The format by its first bytes; empty when none is known."""
    head = data[:16].lstrip(b"\xef\xbb\xbf \t\r\n") if data[:1] in b"\xef \t\r\n<" else data[:16]
    if head[:1] not in _FIRST:
        return "tar" if data[257:262] == b"ustar" else ""
    for magic, form, _ in _MAGIC:
        if head.startswith(magic) and (form != "pe" or _is_pe(data)):
            return form
    return "tar" if data[257:262] == b"ustar" else ""


def _inspect(data: bytes) -> Iterator[Match]:
    if not data:
        return
    form = sniff(data)
    end = min(len(data), 16)
    if form in PROGRAMS:
        yield Match(f"program-{form}", "payload", _SEVERITY[form] or "high", 0, end)
    elif form in ARCHIVES:
        yield Match(f"archive-{form}", "payload", "low", 0, end)
    if script := _SCRIPT.match(data):
        yield Match("script", "payload", "low", 0, script.end())
    yield from _active(data, form)
    if (at := data.find(_EICAR)) >= 0:
        yield Match("eicar-test-file", "payload", "high", at, at + len(_EICAR))


def _active(data: bytes, form: str) -> Iterator[Match]:
    """Documents that bring a program along, archives that are bombs, files that are two things."""
    if form == "pdf" and (active := _PDF_ACTIVE.search(data)):
        yield Match("document-active-pdf", "payload", "medium", *active.span())
    elif form == "rtf" and (embedded := _RTF_OBJECT.search(data)):
        yield Match("document-active-rtf", "payload", "medium", *embedded.span())
    elif form == "ole" and any(mark in data for mark in _OLE_MACRO):
        yield Match("document-macro", "payload", "high", 0, 8)
    elif form in ("svg", "xml") and b"<svg" in data[:4096]:
        active = _MARKUP_SCRIPT.search(data)
        if active is not None:
            yield Match("document-active-svg", "payload", "medium", *active.span())
    if form == "zip":
        yield from _archive(data)
    elif form and form not in ARCHIVES:
        yield from _polyglot(data, form)


def _polyglot(data: bytes, form: str) -> Iterator[Match]:
    tail = data[-_TAIL:]
    directory = tail.rfind(b"PK\x05\x06")
    if directory >= 0 and form not in ("ole", "sqlite") and zipfile.is_zipfile(io.BytesIO(data)):
        at = len(data) - len(tail) + directory
        yield Match("polyglot", "payload", "high", at, at + 4)
    found = _EMBEDDED.search(data) if form in ("png", "jpeg", "gif", "riff") else None
    if found is not None:
        yield Match("polyglot", "payload", "medium", *found.span(), confidence="medium")
    if form in ("png", "jpeg", "gif", "pdf") and (at := data.find(b"\x7fELF", 8)) >= 0:
        yield Match("polyglot", "payload", "high", at, at + 4, confidence="medium")


def _archive(data: bytes) -> Iterator[Match]:
    """By its directory alone: nothing is unpacked."""
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError):
        yield Match("archive-broken", "payload", "medium", 0, 4)
        return
    size = sum(member.file_size for member in members)
    large = size > BOMB_BYTES and size > BOMB_RATIO * len(data)
    if large or len(members) > MAX_MEMBERS or _overlaps(members):
        yield Match("decompression-bomb", "payload", "high", 0, 4)
    for rule, severity, fits in _MEMBERS:
        if count := sum(1 for member in members[:MAX_MEMBERS] if fits(member)):
            yield Match(rule, "payload", severity, 0, 4, count=count)


def _overlaps(members: list[zipfile.ZipInfo]) -> bool:
    """Several entries for the same bytes: how a bomb of 42 KB becomes 5 GB without nesting."""
    places = [member.header_offset for member in members]
    return len(set(places)) < len(places)


def _leaves_folder(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = member.external_attr >> 28 == 0xA
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1] or is_link


def _is_macro(member: zipfile.ZipInfo) -> bool:
    return member.filename.lower().endswith("vbaproject.bin")


def _is_program(member: zipfile.ZipInfo) -> bool:
    return member.filename.lower().endswith(
        (".exe", ".dll", ".scr", ".com", ".bat", ".cmd", ".ps1", ".vbs", ".js", ".jse", ".hta",
         ".lnk", ".msi", ".jar", ".so", ".dylib")
    )  # fmt: skip


def _is_encrypted(member: zipfile.ZipInfo) -> bool:
    return bool(member.flag_bits & 1)


_MEMBERS: Final[tuple[tuple[str, Severity, Callable[[zipfile.ZipInfo], bool]], ...]] = (
    ("archive-path", "high", _leaves_folder),
    ("document-macro", "high", _is_macro),
    ("archive-program", "medium", _is_program),
    ("archive-encrypted", "medium", _is_encrypted),
)


def _mismatch(data: bytes, form: str, name: str) -> Iterator[Match]:
    ending = PurePosixPath(name.lower()).suffix
    wanted = _ENDINGS.get(ending)
    end = min(len(data), 16)
    if wanted is not None and form not in wanted and (form or ending != ".svg"):
        severity: Severity = "high" if form in PROGRAMS else "medium"
        yield Match("type-mismatch", "payload", severity, 0, end)
    elif ending in _TEXT_ENDINGS and (form in PROGRAMS or form in ARCHIVES):
        yield Match("type-mismatch", "payload", "high", 0, end)


def _is_pe(data: bytes) -> bool:
    at = int.from_bytes(data[60:64], "little")
    return len(data) > 64 and data[at : at + 4] == b"PE\0\0"
