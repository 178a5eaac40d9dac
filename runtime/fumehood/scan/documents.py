"""Documents that bring a program along, or fetch one: PDF, RTF, OLE2, OOXML, ODF, SVG and XML.

Reads within bounds and unpacks within bounds; must never follow what a document refers to.
"""

from __future__ import annotations

import html
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from fumehood.scan.detector import Match, Severity

MAX_UNPACKED: Final = 4 * 1024 * 1024
"""Bytes of the packed parts of one document that are looked at."""
_MAX_PART: Final = 1024 * 1024
_MAX_PARTS: Final = 512
_HEAD: Final = 64 * 1024

# --- PDF

_PDF_ACTIVE: Final = re.compile(
    rb"/(?:JavaScript|JS(?=\s*[(<\d])|Launch|EmbeddedFiles?|RichMedia|GoToE|ImportData|XFA)"
    rb"(?![A-Za-z0-9])|/S\s*/SubmitForm\b|/OpenAction\s*<<[^>]{0,200}/S\s*/(?:URI|GoToR)\b"
)
_PDF_HEX: Final = re.compile(rb"#([0-9a-fA-F]{2})")
_PDF_STREAM: Final = re.compile(rb"stream\r?\n")


def pdf(data: bytes) -> Iterator[Match]:
    """What runs, fetches or carries something, also where names are written with `#` or objects
    are packed into streams (ISO 32000-1, 7.3.5 and 7.5.7)."""
    plain = data
    if b"#" in data:
        # A name is not longer for being read; places stay those of what was written.
        plain = _PDF_HEX.sub(lambda m: bytes((int(m[1], 16),)) + b"  ", data)
    found = _PDF_ACTIVE.search(plain) or _PDF_ACTIVE.search(_squeezed(plain))
    if found is not None:
        start = min(found.start(), len(data) - 1)
        yield _active("document-active-pdf", start, min(found.end(), len(data)))
        return
    for at, inner in pdf_streams(data, only=b"/ObjStm"):
        if _PDF_ACTIVE.search(inner):
            yield _active("document-active-pdf", at, min(at + 6, len(data)))
            return


def _squeezed(plain: bytes) -> bytes:
    """Without the room that codes in names have left."""
    return re.sub(rb"(?<=[A-Za-z])  (?=[A-Za-z])", b"", plain) if b"  " in plain else b""


def pdf_streams(data: bytes, only: bytes = b"") -> Iterator[tuple[int, bytes]]:
    """The packed streams that are no pictures: where each begins, and what it holds. only: those
    whose dictionary has this name."""
    left, at = MAX_UNPACKED, 0
    for _ in range(_MAX_PARTS * 4):
        begin = _PDF_STREAM.search(data, at)
        if begin is None or left <= 0:
            return
        at = begin.end()
        header = data[max(0, begin.start() - 512) : begin.start()]
        header = header[header.rfind(b"obj") + 1 :]
        if b"Flate" not in header or b"/Image" in header or only not in header:
            continue
        try:
            inner = zlib.decompressobj().decompress(data[at:], min(left, _MAX_PART))
        except zlib.error:
            continue
        left -= len(inner)
        yield begin.start(), inner


# --- RTF, OLE2

_RTF: Final = re.compile(
    rb"\\obj(?:ocx|emb|link|update|autlink|html)\b|\\objdata|\\ddeauto"
    rb"|\\\*\\template\s+(?:https?|ftp|file|\\\\)|(?i:INCLUDEPICTURE\s+\"?https?:)"
    rb"|\\fldinst[^}]{0,80}\bDDE"
)


def rtf(data: bytes) -> Iterator[Match]:
    if found := _RTF.search(data):
        yield _active("document-active-rtf", *found.span())


def _wide(text: str) -> bytes:
    return text.encode("utf-16-le")


_OLE_MACRO: Final = (
    b"_VBA_PROJECT", _wide("_VBA_PROJECT"), b"Attribut\0e VB_Name", _wide("PROJECTwm"),
    b"Attribute VB_Name",
)  # fmt: skip
_OLE_OBJECT: Final = (
    b"\x01\0O\0l\0e\x001\x000\0N\0a\0t\0i\0v\0e\0", _wide("Equation Native"),
    bytes.fromhex("02ce020000000000c000000000000046"),
)  # fmt: skip
_BIFF: Final = re.compile(rb"\x09\x08[\x08\x10]\0\0[\x05\x06]\x05\0", re.S)


def ole(data: bytes) -> Iterator[Match]:
    """Compound files ([MS-CFB]): Word, Excel, PowerPoint before 2007, mail, macros on their own."""
    if any(mark in data for mark in _OLE_MACRO) or _has_macro_sheet(data):
        yield Match("document-macro", "payload", "high", 0, 8)
    if any(mark in data for mark in _OLE_OBJECT):
        yield _active("document-object", 0, 8)
    if _wide("EncryptedPackage") in data:
        yield Match("archive-encrypted", "payload", "medium", 0, 8)


def _has_macro_sheet(data: bytes) -> bool:
    """BOUNDSHEET records of type 1: macros of Excel 4 ([MS-XLS], 2.4.28)."""
    begin = _BIFF.search(data)
    at = begin.start() if begin else len(data)
    for _ in range(4096):
        kind, size = data[at : at + 2], int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == b"\x85\0" and data[at + 9 : at + 10] == b"\x01":
            return True
        if kind in (b"", b"\x0a\0"):
            return False
        at += 4 + size
    return False


# --- OOXML, ODF

_EXTERNAL: Final = re.compile(rb"<(?:\w+:)?Relationship\s[^>]{0,2000}>")
_FETCHED: Final = re.compile(
    rb"(?i)Type\s*=\s*[\"'][^\"']*/(?:attachedTemplate|oleObject|frame|subDocument|aFChunk|"
    rb"externalLinkPath|customUI|package|control)[\"']"
)
_FAR: Final = re.compile(
    rb"(?i)Target\s*=\s*[\"']\s*(?:https?:|ftp:|mhtml:|file:/{2,5}(?![A-Za-z]:|/)[\w.-]+/|\\\\|"
    rb"ms-\w+:|script:)"
)
_DDE: Final = re.compile(
    rb"(?i)\bDDE(?:AUTO)?\s+[\"'\\\w]|<(?:\w+:)?ddeLink\b[^>]{0,200}"
    rb"ddeService\s*=\s*[\"'](?!Excel|Word)"
)
_INSTRUCTION: Final = re.compile(
    rb"<(?:\w+:)?instrText[^>]*>([^<]*)<|<(?:\w+:)?fldSimple[^>]*\binstr\s*=\s*[\"']([^\"']*)|"
    rb"(<(?:\w+:)?ddeLink\b[^>]*>)"
)
_MACRO_TYPE: Final = re.compile(rb"(?i)macroEnabled|vbaProject|macrosheet")
_ODF_SCRIPT: Final = re.compile(
    rb"vnd\.sun\.star\.script:|<script:(?:event-listener|module|script)\b[^>]*(?:macro|script)"
    rb"|macro:///"
)


def office(archive: zipfile.ZipFile, size: int) -> Iterator[Match]:
    """Parts of a document in a zip archive of `size` bytes, with what they say: 0:4 is its place.

    Nothing when it is an archive of another kind.
    """
    names = {member.filename for member in archive.infolist()[:10_000]}
    is_ooxml, is_odf = "[Content_Types].xml" in names, "META-INF/manifest.xml" in names
    if not is_ooxml and not (is_odf and "content.xml" in names):
        return
    end = min(4, size)
    told: dict[str, Severity] = {}
    for name in sorted(names):
        lower = name.lower()
        if "/macrosheets/" in lower or lower.endswith("vbaproject.bin"):
            told["document-macro"] = "high"
        if lower.startswith(("basic/", "scripts/")) and not lower.endswith("/") and is_odf:
            told["document-macro"] = "high"
        if "/activex/" in lower and lower.endswith(".bin"):
            told["document-object"] = "medium"
    for name, text in _parts(archive, names):
        told |= _said(name, text)
    for rule, severity in told.items():
        yield Match(rule, "payload", severity, 0, end)


def _said(name: str, text: bytes) -> dict[str, Severity]:
    if name.endswith("[Content_Types].xml"):
        return {"document-macro": "high"} if _MACRO_TYPE.search(text) else {}
    if name.endswith(".rels"):
        far = any(
            _FETCHED.search(found[0]) and _FAR.search(html.unescape(found[0].decode()).encode())
            for found in _EXTERNAL.finditer(text)
            if found[0].isascii()
        )
        return {"document-external": "high"} if far else {}
    told: dict[str, Severity] = {}
    if b"instr" in text or b"ddeLink" in text:
        parts = (b"".join(found.groups(b"")) for found in _INSTRUCTION.finditer(text))
        # Fields are split over any number of runs.
        if _DDE.search(b"".join(parts).replace(b"&quot;", b'"')):
            told["document-dde"] = "high"
    if _ODF_SCRIPT.search(text):
        told["document-macro"] = "high"
    return told


def _parts(archive: zipfile.ZipFile, names: set[str]) -> Iterator[tuple[str, bytes]]:
    """Those that can say such things."""
    left = MAX_UNPACKED
    wanted = [n for n in sorted(names) if n.endswith(".rels") or n == "[Content_Types].xml"]
    wanted += sorted(
        n for n in names
        if n.endswith(".xml") and not n.startswith(("docProps/", "[")) and "/theme/" not in n
    )  # fmt: skip
    for name in wanted[:_MAX_PARTS]:
        if left <= 0:
            return
        try:
            with archive.open(name) as file:
                text = file.read(min(left, _MAX_PART))
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            ValueError,
            RuntimeError,
            KeyError,
        ):
            continue
        left -= len(text)
        yield name, text


# --- markup

_SVG_SCRIPT: Final = re.compile(
    rb"(?i)<(?:\w+:)?script[\s>/]|[\s\"'/]on[a-z]{3,20}\s*=\s*[\"']"
    rb"|(?:java|vb)script:|data:text/html|<(?:iframe|embed|object)[\s>]"
)
_ENTITY: Final = re.compile(
    rb"<!ENTITY\s+(?:%\s+)?[\w.:-]+\s+(?:SYSTEM|PUBLIC\s+(?:\"[^\"]*\"|'[^']*'))\s+[\"']"
    rb"(?:(?:file|https?|ftp|php|expect|jar|gopher|data|netdoc|dict|ldap)://?|/|[A-Za-z]:[\\/]|\\\\)"
)
_PUBLIC_DTD: Final = re.compile(rb"PUBLIC\s+[\"'][-+]//[^\"']*[\"']\s+[\"'][^\"']*[\"']\Z")
_NESTED: Final = re.compile(
    rb"<!ENTITY\s+[\w.-]+\s+(?:\"(?:&[\w.-]+;\s*){4,}\"|'(?:&[\w.-]+;\s*){4,}')"
)
_LARGE: Final = re.compile(rb"(&[\w.-]+;)(?:\s*\1){999}")
_FOREIGN: Final = re.compile(
    rb"(?i)<!DOCTYPE\s+\w+\s+SYSTEM\s+[\"'](?:file|https?|ftp|php|expect)://?"
    rb"|<xi:include[^>]{0,200}href\s*=\s*[\"'](?:file:|https?:|/)"
    rb"|<(?:msxsl|ms|lxslt):script[\s>]|xmlns:\w+\s*=\s*[\"'](?:xalan://)?java(?:\.lang|:)"
    rb"|<!DOCTYPE\s[^>\[]{0,200}\[[^\]]{0,2000}<!ENTITY\s+%\s+[\w.-]+\s+SYSTEM"
)


def markup(data: bytes, form: str) -> Iterator[Match]:
    """XML and SVG. What HTML does with scripts is what HTML is for."""
    head = data[:_HEAD]
    if form == "svg" and (found := _SVG_SCRIPT.search(data)):
        yield _active("document-active-svg", *found.span())
    if b"<!" not in head and b"include" not in head and b"script" not in head:
        return
    for found in _ENTITY.finditer(head):
        declared = head[found.start() : head.find(b">", found.end())]
        if _PUBLIC_DTD.search(declared) is None:
            yield Match("document-entity", "payload", "high", *found.span())
            return
    if (found := _FOREIGN.search(head)) is not None:
        yield Match("document-entity", "payload", "medium", *found.span())
    elif len(_NESTED.findall(head)) > 2 or (b"<!ENTITY" in head and _LARGE.search(head)):
        yield Match("document-entity", "payload", "high", 0, 5)


def _active(rule: str, start: int, end: int) -> Match:
    return Match(rule, "payload", "medium", start, end)
