"""What some bytes are, by their first bytes; must never read more of them than a header."""

from __future__ import annotations

import re
from typing import Final

from fumehood.scan.detector import Severity

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
    (b"BC\xc0\xde", "llvm", "high"),
    (b"\x1bLua", "lua", "medium"),
    (b"FWS", "swf", "high"),
    (b"CWS", "swf", "high"),
    (b"ZWS", "swf", "high"),
    (b"L\0\0\0\x01\x14\x02\0", "lnk", "high"),
    (b"ITSF", "chm", "high"),
    (b"MSCF", "cab", "medium"),
    (b"PK\x03\x04", "zip", "medium"),
    (b"PK\x05\x06", "zip", "medium"),
    (b"\x1f\x8b\x08", "gzip", "medium"),
    (b"BZh", "bzip2", "medium"),
    (b"\xfd7zXZ\0", "xz", "medium"),
    (b"(\xb5/\xfd", "zstd", "medium"),
    (b'\x04"M\x18', "lz4", "medium"),
    (b"LZIP\x01", "lzip", "medium"),
    (b"7z\xbc\xaf'\x1c", "7z", "medium"),
    (b"Rar!\x1a\x07", "rar", "medium"),
    (b"!<arch>\n", "ar", "medium"),
    (b"\xed\xab\xee\xdb", "rpm", "medium"),
    (b"070701", "cpio", "medium"),
    (b"070702", "cpio", "medium"),
    (b"hsqs", "squashfs", "medium"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole", None),
    (b"\xe4R\\{\x8c\xd8\xa7M\xae\xb1Sx\xd0)\x96\xd3", "onenote", None),
    (b"%PDF-", "pdf", None),
    (b"{\\rt", "rtf", None),
    (b"\x89PNG\r\n\x1a\n", "png", None),
    (b"\xff\xd8\xff", "jpeg", None),
    (b"GIF87a", "gif", None),
    (b"GIF89a", "gif", None),
    (b"RIFF", "riff", None),
    (b"BM", "bmp", None),
    (b"II*\0", "tiff", None),
    (b"MM\0*", "tiff", None),
    (b"\0\0\x01\0", "ico", None),
    (b"SQLite format 3\0", "sqlite", None),
    (b"ID3", "mp3", None),
    (b"OggS", "ogg", None),
    (b"fLaC", "flac", None),
    (b"wOFF", "font", None),
    (b"wOF2", "font", None),
    (b"\x80\x02", "pickle", None),
    (b"\x80\x03", "pickle", None),
    (b"\x80\x04", "pickle", None),
    (b"\x80\x05", "pickle", None),
    (b"\xac\xed\0\x05", "java-object", None),
    (b"\0\x01\0\0\0\xff\xff\xff\xff\x01", "dotnet-object", None),
    (b"<?xml", "xml", None),
    (b"<svg", "svg", None),
    (b"<!DOCTYPE html", "html", None),
    (b"<!doctype html", "html", None),
    (b"<html", "html", None),
)
SEVERITY: Final = {form: severity for _, form, severity in _MAGIC} | {
    "pyc": "medium", "msi": "high", "iso": "medium",
}  # fmt: skip
_FIRST: Final = frozenset(magic[:1] for magic, _, _ in _MAGIC)
BEGINS: Final = frozenset((*(magic[:2] for magic, _, _ in _MAGIC), b"#!", b"\xef\xbb"))
PROGRAMS: Final = frozenset(
    ("elf", "pe", "mach-o", "java-class", "wasm", "dex", "lnk", "chm", "llvm", "lua", "swf", "pyc",
     "msi")
)  # fmt: skip
ARCHIVES: Final = frozenset(
    ("zip", "gzip", "bzip2", "xz", "zstd", "lz4", "lzip", "7z", "rar", "cab", "tar", "ar", "rpm",
     "cpio", "squashfs", "iso")
)  # fmt: skip
IMAGES: Final = frozenset(("png", "jpeg", "gif", "bmp", "tiff", "ico", "riff"))
_MARKUP: Final = frozenset(("xml", "svg", "html"))

# Bytes of which a letter or two are words of a text: what else must be true.
_ISO_AT: Final = 32_769
_MSI: Final = bytes.fromhex("84100c0000000000c000000000000046")
_MAX_OFFSET: Final = 4096
"""Bytes to a PE header from the beginning of its file."""
_PYC: Final = re.compile(rb"(?s)..\r\n[\x00-\x03]\0\0\0.{8}[\xe3\x63]\0\0\0\0")


def sniff(data: bytes) -> str:
    """The format by its first bytes; empty when none is known."""
    head = data[:16]
    if head[:1] in b"\xef \t\r\n<":
        head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:16]
    if head[:1] in _FIRST:
        for magic, form, _ in _MAGIC:
            if head.startswith(magic) and (form in _MARKUP or _holds(data, form)):
                return _exact(data, form)
    if data[2:4] == b"\r\n" and _PYC.match(data):
        return "pyc"
    if is_tar(data):
        return "tar"
    return "iso" if data[_ISO_AT : _ISO_AT + 5] == b"CD001" else ""


def is_tar(data: bytes) -> bool:
    """POSIX and GNU by their magic, older ones by the sum over their first header."""
    if len(data) < 512:
        return False
    if data[257:262] == b"ustar":
        return True
    digits = data[148:156].strip(b" \0")
    if not digits.isdigit() or data[0] == 0 or len(digits) > 6:
        return False
    wanted = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    return f"{wanted:o}".encode() == digits.lstrip(b"0")


def is_pe(data: bytes, at: int = 0) -> bool:
    """Whether a program for Windows begins at `at`, its DOS part at least."""
    header = at + int.from_bytes(data[at + 60 : at + 64], "little")
    if at < header <= at + _MAX_OFFSET and data[header : header + 4] == b"PE\0\0":
        return True
    return data[at : at + 4] == b"MZ\x90\0"


def _holds(data: bytes, form: str) -> bool:
    """Whether what begins like `form` is more than a word of a text."""
    match form:
        case "pe":
            return is_pe(data)
        case "bmp":
            return len(data) > 26 and data[6:10] == bytes(4) and data[14:18] in _BMP_HEADERS
        case "swf":
            return data[3:4] < b"\x40" and len(data) > 8 and not data[3:8].isalnum()
        case "bzip2":
            return data[3:4].isdigit() and data[4:10] in (b"1AY&SY", b"\x17rE8P\x90")
        case "cpio":
            return data[6:14].isalnum() and len(data) > 110
        case "ico":
            return data[4:5] != b"\0" and data[5:6] == b"\0"
        case "pickle":
            return data.endswith(b".")
    return True


_BMP_HEADERS: Final = tuple(bytes((size, 0, 0, 0)) for size in (12, 40, 52, 56, 64, 108, 124))


def _exact(data: bytes, form: str) -> str:
    """Of formats that begin alike."""
    if form == "java-class" and data[4:6] == b"\0\0" and data[6:8] < b"\0\x2d":
        return "mach-o"  # of several architectures: their number; Java's versions begin at 45
    if form == "ole" and _MSI in data[:65_536]:
        return "msi"
    if form == "xml" and b"<svg" in data[:4096]:
        return "svg"
    return form
