"""Files that are no text: what would hide something in a text is nothing in them, and whatever is
told of them is true."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from fumehood.model.outcome import Artifact
from fumehood.model.result import Result, Timing
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.decide import Policies
from fumehood.scan.detectors import searcher
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.redact import Fingerprints
from fumehood.scan.search import Searcher
from fumehood.scan.single import look
from support.scan import KEY, admitted, github_token, outcome, plan


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    lines = b"".join(b"\0" + bytes((x * y * 7) % 256 for x in range(96)) for y in range(32))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("notes/read.txt")
        entry.size = 11
        archive.addfile(entry, io.BytesIO(b"plain words"))
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sheet1.csv", "a,b\n1,2\n" * 40)
    return out.getvalue()


def _sqlite(folder: Path) -> bytes:
    path = folder / "x.db"
    with sqlite3.connect(path) as database:
        database.execute("create table t (a, b)")
        database.execute("insert into t values (1, 'two')")
    return path.read_bytes()


def _files(folder: Path) -> dict[str, bytes]:
    sound = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 836, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000,
                        2, 16, b"data", 800)  # fmt: skip
    return {
        "plot.png": _png(),
        "src.tar": _tar(),
        "data.zip": _zip(),
        "log.gz": gzip.compress(b"a line of a log\n" * 20),
        "x.db": _sqlite(folder),
        "a.wav": sound + b"".join(struct.pack("<h", n * 37 % 3000) for n in range(400)),
        "numbers.bin": struct.pack("<64d", *(n / 7 for n in range(64))),
    }


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    return searcher(tmp_path_factory.mktemp("rules"), ScanSpec())


@pytest.fixture(scope="module")
def whole(search: Searcher) -> Pipeline:
    return Pipeline(fingerprint_key=KEY, search=search)


def release(pipeline: Pipeline, name: str, data: bytes) -> tuple[Result, bytes]:
    left = outcome(artifacts=(Artifact(name, data),))
    result = pipeline.release(admitted(), plan(), left, timing=Timing(), check_output=None)
    (block,) = result.content
    held = block["resource"]
    return result, base64.b64decode(held["blob"]) if "blob" in held else held["text"].encode()


def test_an_ordinary_file_leaves_as_it_is_and_nothing_is_told_of_it(
    whole: Pipeline, search: Searcher, tmp_path: Path
) -> None:
    told = {}
    for name, data in _files(tmp_path).items():
        result, left = release(whole, name, data)
        report = look(data, name, search, Policies().of(""), Fingerprints(b"q" * 48))
        told[name] = [f.rule for f in (*result.findings, *report.findings)]
        assert (left, report.released) == (data, data), name
    assert told == {name: [] for name in told}


def test_a_secret_in_such_a_file_is_cut_out_all_the_same(whole: Pipeline, tmp_path: Path) -> None:
    token = github_token()
    data = _files(tmp_path)["numbers.bin"] + b"\0token " + token.encode() + b"\0"
    result, left = release(whole, "numbers.bin", data)
    assert token.encode() not in left
    assert [f.rule for f in result.findings] == ["github-pat"]


def test_text_that_is_no_utf_8_is_told_and_not_said_to_be_changed(whole: Pipeline) -> None:
    data = "Größe und Maß\n".encode("latin-1") * 20
    result, left = release(whole, "notes.txt", data)
    assert left == data
    assert {(f.rule, f.action) for f in result.findings} == {("invalid-utf8", "flag")}
    assert "made visible" not in result.findings[0].message


def test_a_nul_does_not_make_a_text_a_file_of_which_nothing_is_told(whole: Pipeline) -> None:
    data = "a line\nhidden \u202e and \u200b\u200b\u200b\u200b\u200b\0\n".encode()
    result, left = release(whole, "notes.txt", data)
    assert left == data
    assert {f.action for f in result.findings if f.kind == "hidden_text"} == {"flag"}
    assert {"bidi-control", "control-character"} <= {f.rule for f in result.findings}
