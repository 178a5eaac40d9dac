"""What stands encoded in some bytes: base64, hexadecimal, gzip, zlib, bzip2, xz, zip, tar.

Finds such parts and gives what they hold, bounded in size and ratio; must never run for longer
than its bounds allow, whatever a compressed stream claims.
"""

from __future__ import annotations

import binascii
import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from fumehood.scan import archives, documents, formats
from fumehood.scan.patterns import PatternDetector, Rule

MAX_DEPTH: Final = 2
"""Encodings within each other that are undone."""

MAX_INFLATED: Final = 16 * 1024 * 1024
"""Bytes that one compressed stream may become; more of it are not looked at."""

BOMB_RATIO: Final = 200
"""A stream that is larger by more than this, and larger than `BOMB_BYTES`, is a bomb: text
compresses to a tenth, a log of one repeated line to a hundredth (deflate's limit is 1,032)."""
BOMB_BYTES: Final = 4 * 1024 * 1024
_FED: Final = 16 * 1024
"""Bytes of a stream that are unpacked at once: by so many its ratio may be told too small."""
_PROBED: Final = 64 * 1024
"""Bytes of output by which it is told from noise that begins like one."""

MAX_MEMBERS: Final = 256
MAX_MEMBER: Final = 1024 * 1024
"""Members of an archive that are looked into, and bytes of each."""

MAX_BEFORE: Final = 4096
"""Bytes before the first text in a base64 token that are taken into it."""

_TAIL: Final = 66_000
"""Bytes in which an archive's directory ends (65,535 of comment, and its record)."""

MIN_TEXT: Final = 12
"""Bytes of text in a row that are worth being looked at."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
# What four characters of base64 can be when they stand for three bytes of ASCII text (0x09 to
# 0x0D, 0x20 to 0x7E): one in eleven of random ones. Five in a row are no identifier and no digest.
_QUAD: Final = r"[CDI-Za-f][AC-HQS-Xgi-nwyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
# What compressed streams, archives and programs begin with.
_BEGINNINGS: Final = (
    r"(?:H4sI|eJ[w-z]|eN[o-r]|eAE|Qlpo|/Td6WFo|UEsDB|f0VMR|TVqQ|TVpQ|JVBERi0|0M8R4KGx|yv66v"
    r"|TAAAAAEUAg|N3q8rycc|UmFyIRoH|gA[SW]V)[A-Za-z0-9+/_-]{16,}"
)
_HEX_TEXT: Final = r"(?:[2-7][0-9a-fA-F]|0[9aAdD]){12,}"
_HEX_BEGINNINGS: Final = r"(?:1f8b08|789c|78da|504b0304|7f454c46|4d5a9000)[0-9a-fA-F]{24,}"
_CANDIDATES: Final = PatternDetector(
    "decoding",
    (
        Rule("base64", "low", f"(?:{_QUAD}){{5}}|{_BEGINNINGS}"),
        Rule("hex", "low", f"{_HEX_TEXT}|{_HEX_BEGINNINGS}"),
    ),
    # Hexadecimal is a run of 16, too. In base64 of ASCII text `-` and `_` stand at fourth places
    # only, so that a UUID, whose longest run has 12, passes for none of these. What is full of `>`,
    # `?` and `~`, more than one in 25, may have neither; whatever tells that from a UUID costs four
    # times more.
    gate=(r"[A-Za-z0-9+/]{16}", r"(?:[A-Za-z0-9+/]{3}[_-]){2}[A-Za-z0-9+/]{3}", _BEGINNINGS),
)
_DUMPS: Final = PatternDetector(
    "decoding-dumps",
    (
        Rule(
            "hexdump",
            "low",
            r"^[0-9a-fA-F]{6,8}:?[ \t]+(?:[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})?[ ]{1,2}){4}",
        ),
    ),
)
# Bytes of text one by one: `67 68 70`, `67:68:70`, `0x67, 0x68, 0x70`, over lines, too.
_SINGLE: Final = PatternDetector(
    "decoding-apart",
    (
        Rule(
            "hex-apart",
            "low",
            r"(?:[02-7][0-9a-fA-F][ :-]){11}|(?:[02-7][0-9a-fA-F][,:] ){11}"
            r"|(?:0x[02-7][0-9a-fA-F],[ ]?){11}",
        ),
    ),
)
MAX_APART: Final = 256 * 1024
"""Bytes of a text in which such are looked for: without a literal in it, the pattern costs as much
as all others together."""
# To its end; over lines as MIME (RFC 2045, 6.8) and PEM wrap it.
_TOKEN: Final = re.compile(
    rb"[A-Za-z0-9+/]{60,76}(?:(?:\r?\n|\\n)[ \t]{0,8}[A-Za-z0-9+/]{60,76})*"
    rb"(?:(?:\r?\n|\\n)[ \t]{0,8}[A-Za-z0-9+/]{2,76})?(?![A-Za-z0-9+/_-])={0,2}"
    rb"|[A-Za-z0-9+/_-]+={0,2}"
)
_USUAL: Final = 60
"""From this length on `_TOKEN` takes lines for one."""
_DIGITS: Final = re.compile(rb"[0-9a-fA-F]+")
_DUMP: Final = re.compile(
    rb"(?m)(?:^[0-9a-fA-F]{6,8}:?[ \t]+(?:[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})?[ ]{1,2}){1,16}"
    rb"[^\n]{0,40}(?:\n|\Z))+"
)
_DUMP_LINE: Final = re.compile(
    rb"(?m)^[0-9a-fA-F]{6,8}:?[ \t]+((?:[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})?[ ]{1,2}){1,16})"
)
_APART: Final = re.compile(
    rb"(?:(?:0x)?[0-9a-fA-F]{2}(?:[:,-]\s?|[ \r\n]{1,3}))+(?:0x)?[0-9a-fA-F]{2}(?![0-9a-fA-F])"
)
_BYTE: Final = re.compile(rb"[0-9a-fA-F]{2}(?![0-9a-fA-Fx])")
_LINE: Final = re.compile(
    rb"[ \t]{0,16}(?P<text>[A-Za-z0-9+/_-]{2,76}={0,2})[ \t]{0,2}\r?(?:\n|\Z)"
)
MIN_LINE: Final = 16
MAX_LINES: Final = 65_536
"""Lines of one wrapped text."""
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_NO_SPACE: Final = b" \t\r\n"
_TEXT: Final = bytes(range(0x20, 0x7F)) + b"\t\n\r"
_RUNS: Final = re.compile(rb"[\x20-\x7e\t\r\n]{%d,}" % MIN_TEXT)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Blob:
    """`start:end` of some bytes hold `data`, encoded by `step`.

    bomb: it holds far more. partial: it holds more than `data`, which nobody looks at. raw: all
    that it holds, where `data` is only the text in it, and the whole has a format.
    """

    start: int
    end: int
    step: str
    data: bytes
    bomb: bool = False
    partial: bool = False
    raw: bytes = b""


def _blob(start: int, end: int, step: str, inner: bytes) -> Blob | None:
    """None when nothing in it is worth looking at."""
    seen = _worth_looking(inner)
    raw = inner if seen != inner and formats.sniff(inner) in _KEPT else b""
    return Blob(start, end, step, seen, raw=raw) if seen or raw else None


def load(cache: Path | None) -> None:
    """Compile the patterns now, so that no invocation waits for it."""
    _CANDIDATES.load(cache)
    _DUMPS.load(cache)
    _SINGLE.load(cache)


def blobs(data: bytes) -> Iterator[Blob]:
    """Everything encoded in `data` that holds text or is itself compressed."""
    if (inflated := compressed(data)) is not None:
        yield inflated
        return
    form = formats.sniff(data)
    if form == "tar":
        yield from _tar_members(data)
        return
    if form == "zip" or (form in formats.IMAGES and b"PK\x05\x06" in data[-_TAIL:]):
        yield from _members(data)
    if form == "pdf":
        for at, inner in documents.pdf_streams(data):
            if blob := _blob(at, at + 6, "pdf", inner):
                yield blob
    if form == "zip":
        return
    apart = _SINGLE.occurring(data) if len(data) <= MAX_APART else []
    for rule in (*_CANDIDATES.occurring(data), *_DUMPS.occurring(data), *apart):
        yield from _READERS[rule.name](data, rule)


def _base64(data: bytes, rule: Rule) -> Iterator[Blob]:
    at = reach = 0
    while (found := rule.compiled.search(data, at)) is not None:
        place = found.start()
        before = data[max(at, place - MAX_BEFORE) : place]
        # Whole groups of four to the left: what stands there may be no ASCII.
        start = place - (len(before) - len(before.rstrip(_ALPHABET))) // 4 * 4
        token = _TOKEN.match(data, start)
        at = max(token.end() if token else 0, found.end())
        inner = _from_base64(data[start:at])
        if inner and (blob := _blob(start, at, "base64", inner)):
            yield blob
        if place >= reach:
            # Also behind lines that hold nothing: each of them would look at all the others.
            reach, wrapped = _wrapped(data, place)
            if wrapped is not None:
                yield wrapped


def _wrapped(data: bytes, place: int) -> tuple[int, Blob | None]:
    """Lines of one length around a place, and a shorter one behind them: as `base64 -w` and
    `fold` print them, whatever the length. And where they end."""
    start = data.rfind(b"\n", max(0, place - 96), place) + 1
    first = _LINE.match(data, start)
    if first is None or not first.start("text") <= place < first.end("text"):
        return place, None
    size = len(first["text"])
    if not MIN_LINE <= size < _USUAL:
        return place, None
    start = _first_line(data, start, size)
    lines: list[bytes] = []
    end = start
    while len(lines) < MAX_LINES and (line := _LINE.match(data, end)) is not None:
        text = line["text"]
        if len(text) > size or (len(text) < size and (len(lines) * size + len(text)) % 4):
            break  # a word that follows
        lines.append(line["text"])
        end = line.end()
        if len(line["text"]) < size:
            break
    if len(lines) < 2:
        return end, None
    inner = _from_base64(b"".join(lines))
    stop = end - data[start:end].endswith(b"\n")
    return end, _blob(start, stop, "base64", inner) if inner else None


def _first_line(data: bytes, start: int, size: int) -> int:
    """Where the first of the lines of this length begins that end at `start`."""
    for _ in range(MAX_LINES):
        before = data.rfind(b"\n", max(0, start - 98), max(0, start - 1)) + 1
        line = _LINE.match(data, before, start) if start else None
        if line is None or line.end() != start or len(line["text"]) != size:
            break
        start = before
    return start


def _hex(data: bytes, rule: Rule) -> Iterator[Blob]:
    at = 0
    while (found := rule.compiled.search(data, at)) is not None:
        digits = _DIGITS.match(data, found.start())
        at = max(digits.end() if digits else 0, found.end())
        if blob := _blob(found.start(), at, "hex", _from_hex(data[found.start() : at])):
            yield blob


def compressed(data: bytes) -> Blob | None:
    """The whole of `data`, when it is one compressed stream."""
    for step, magic, make in _STREAMS:
        if data.startswith(magic):
            return _inflated(data, step, make)
    return None


def _inflated(
    data: bytes, step: str, make: Callable[[], _Decompressor], most: int = MAX_INFLATED
) -> Blob | None:
    """Of `data` the streams at its beginning, one behind the other as `cat a.gz b.gz` and their
    readers have it, up to `most` bytes; of one that is broken what comes before the fault."""
    taken = _unpacked(data, step, make, most)
    if taken.broken and not taken.size:
        return None
    if taken.size > BOMB_BYTES and taken.size > BOMB_RATIO * taken.read:
        return Blob(0, len(data), step, b"", bomb=True)
    blob = _blob(0, len(data), step, b"".join(taken.parts)) or Blob(0, len(data), step, b"")
    if taken.broken:
        # Two bytes begin a stream of zlib: noise that they begin holds no text.
        return blob if len(blob.data) >= MIN_TEXT else None
    return replace(blob, partial=taken.more) if blob.data or blob.raw or taken.more else None


@dataclass(slots=True)
class _Taken:
    """What came out of streams: `size` bytes, of `read` ones. more: they hold more than that."""

    parts: list[bytes]
    size: int = 0
    read: int = 0
    more: bool = False
    broken: bool = False


def _unpacked(data: bytes, step: str, make: Callable[[], _Decompressor], most: int) -> _Taken:
    taken = _Taken([])
    left = MAX_MEMBERS
    stream, begun = make(), 0
    try:
        # In pieces: how many bytes of one made the output no decompressor tells in the same way.
        while taken.read < len(data) and taken.size < most:
            piece = data[taken.read : taken.read + _FED]
            taken.parts.append(stream.decompress(piece, most - taken.size))
            taken.size += len(taken.parts[-1])
            taken.read += len(piece)
            if stream.eof:
                taken.read -= len(stream.unused_data)
                left -= 1
                if not left or not data.startswith(_MAGIC_OF[step], taken.read):
                    break
                stream, begun = make(), taken.read
    except _FAULTS:
        taken.broken = True
        last = _before_fault(data[begun : taken.read + _FED], make, taken.read - begun, most)
        taken.parts.append(last[: most - taken.size])
        taken.size += len(taken.parts[-1])
        return taken
    taken.more = not left or (taken.size >= most and not (stream.eof and taken.read >= len(data)))
    return taken


def _before_fault(data: bytes, make: Callable[[], _Decompressor], good: int, most: int) -> bytes:
    """What the bytes behind `good` make before the one that is wrong: a decompressor that fails
    gives nothing of the piece that it was fed."""
    stream = make()
    parts: list[bytes] = []
    try:
        stream.decompress(data[:good], most)
        parts.extend(stream.decompress(data[at : at + 1], most) for at in range(good, len(data)))
    except _FAULTS:
        pass
    return b"".join(parts)


_FAULTS: Final = (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError)


def _members(data: bytes) -> Iterator[Blob]:
    """What a zip archive holds, a document of the office kind among them."""
    left = MAX_INFLATED
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [member for member in archive.infolist() if not member.is_dir()]
    except _BROKEN:  # `payload` tells of it
        for inner in archives.remains(data, MAX_MEMBER):
            if left > 0 and (blob := _blob(0, len(data), "zip", inner)):
                left -= len(inner)
                yield blob
        return
    partial = len(members) > MAX_MEMBERS
    for member in members[:MAX_MEMBERS]:
        if member.flag_bits & 1:
            continue  # `payload` tells of it
        most = min(left, MAX_MEMBER)
        try:
            with archive.open(member) as file:
                inner = file.read(most)
                partial |= bool(file.read(1))
        except _BROKEN:
            partial = True
            continue
        left -= len(inner)
        if blob := _blob(0, len(data), "zip", inner):
            yield blob
    if partial:
        yield Blob(0, len(data), "zip", b"", partial=True)


def _tar_members(data: bytes) -> Iterator[Blob]:
    """Members that are no plain text: text stands in the archive as it is, and is searched with
    it."""
    left = MAX_MEMBERS
    for entry in archives.tar_entries(data):
        inner = data[entry.start : entry.end]
        if not formats.sniff(inner) and not inner.startswith(tuple(_MAGIC)):
            continue
        left -= 1
        if not left:
            yield Blob(0, len(data), "tar", b"", partial=True)
            return
        if blob := _blob(entry.start, entry.end, "tar", inner):
            yield blob


_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError,
    NotImplementedError, lzma.LZMAError,
)  # fmt: skip
_STREAMS: Final = (
    ("gzip", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
    ("zlib", (b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x78\x5e"), lambda: zlib.decompressobj(15)),
    ("bzip2", b"BZh", bz2.BZ2Decompressor),
    ("xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=64 * 1024 * 1024)),
)
COMPRESSED: Final = frozenset(step for step, _, _ in _STREAMS)
_MAGIC_OF: Final = {step: magic for step, magic, _ in _STREAMS}


def _only_looks_compressed(data: bytes) -> bool:
    """Two bytes make a beginning of zlib: noise has them often, and is no text to search."""
    for step, magic, make in _STREAMS:
        if data.startswith(magic):
            taken = _unpacked(data, step, make, _PROBED)
            return taken.broken and _RUNS.search(b"".join(taken.parts)) is None
    return False


def _worth_looking(data: bytes) -> bytes:
    """`data` when it is text or compressed; the text in it when it is binary; else nothing."""
    if data.startswith(tuple(_MAGIC)) and not _only_looks_compressed(data):
        return data
    strange = len(data.translate(None, _TEXT))
    if strange == 0:
        return data if len(data) >= MIN_TEXT else b""
    if strange * 4 <= len(data) * 3:
        try:
            data.decode()
        except UnicodeDecodeError:
            pass
        else:
            return data
    if strange * 2 > len(data) and len(data) < 4 * MIN_TEXT:
        return b""
    return b"\n".join(_RUNS.findall(data))


_MAGIC: Final = (
    b"\x1f\x8b\x08", b"\x78\x9c", b"\x78\xda", b"BZh", b"\xfd7zXZ\x00", b"PK\x03\x04", b"\x7fELF",
    b"MZ\x90\0",
)  # fmt: skip
"""What is worth a look though it is no text: what can be unpacked, and programs."""
_KEPT: Final = (formats.PROGRAMS | formats.ARCHIVES | formats.IMAGES) - frozenset(
    ("gzip", "bzip2", "xz")
) | frozenset(("ole", "pdf", "pickle", "onenote", "java-object", "dotnet-object"))
"""The same by what formats say of themselves: what `payload` has something to tell of."""


def _from_base64(text: bytes) -> bytes:
    body = text.translate(_URL_SAFE, _NO_SPACE).replace(b"\\n", b"").rstrip(b"=")
    if len(body) % 4 == 1:
        body = body[:-1]
    try:
        return binascii.a2b_base64(body + b"=" * (-len(body) % 4))
    except binascii.Error:
        return b""


def _dumped(data: bytes, _rule: Rule) -> Iterator[Blob]:
    """Dumps as `xxd` and `hexdump -C` print them: what is split over their lines is whole here."""
    for found in _DUMP.finditer(data):
        digits = b"".join(line[1] for line in _DUMP_LINE.finditer(found[0]))
        digits = digits.translate(None, b" ")
        if len(digits) >= 2 * MIN_TEXT and (seen := _worth_looking(_from_hex(digits))):
            yield Blob(found.start(), found.end(), "hexdump", seen)


def _from_hex(digits: bytes) -> bytes:
    return binascii.unhexlify(digits[: len(digits) & ~1])


def _apart(data: bytes, rule: Rule) -> Iterator[Blob]:
    at = 0
    while (found := rule.compiled.search(data, at)) is not None:
        run = _APART.match(data, found.start())
        at = max(run.end() if run else 0, found.end())
        text = _from_hex(b"".join(_BYTE.findall(found[0])))
        if run is None or text.translate(None, _TEXT):
            continue  # the magic of a file, as `readelf` prints it
        if seen := _worth_looking(_from_hex(b"".join(_BYTE.findall(run[0])))):
            yield Blob(*run.span(), "hex", seen)


_READERS: Final = {"base64": _base64, "hex": _hex, "hexdump": _dumped, "hex-apart": _apart}
