"""What of a compressed stream is too much to look at is told, and does not pass as if seen."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable

import pytest

from fumehood.scan import tokens
from fumehood.scan.payload import PayloadDetector
from fumehood.scan.search import Budget, Searcher
from support.scan import github_token, letters

SEARCHER = Searcher([tokens.detector()], [], payload=PayloadDetector())
MIB = 1 << 20


def rules(data: bytes) -> set[str]:
    return {match.rule for match in SEARCHER.find(data, Budget(seconds=60), clean=True)}


@pytest.fixture(scope="module")
def zeros() -> bytes:
    return gzip.compress(bytes(200 * MIB))


@pytest.mark.parametrize(
    "wrapped", [bytes, base64.b64encode, gzip.compress, lambda data: base64.b64encode(data) + b"\n"]
)
def test_a_bomb_larger_than_what_is_unpacked_is_a_bomb(
    zeros: bytes, wrapped: Callable[[bytes], bytes]
) -> None:
    assert "decompression-bomb" in rules(wrapped(zeros))


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_a_bomb_of_each_kind_is_one(compress: Callable[[bytes], bytes]) -> None:
    assert "decompression-bomb" in rules(compress(bytes(40 * MIB)))


@pytest.mark.parametrize("size", [15, 17])
def test_what_is_behind_the_bound_is_told(size: int) -> None:
    token = github_token()
    noise = letters(size * MIB // 64, "0123456789abcdef") * 64
    text = "\n".join(noise[at : at + 64] for at in range(0, len(noise), 64)) + "\n" + token
    packed = base64.b64encode(gzip.compress(text.encode(), 1))
    assert rules(packed) & {"prefixed-token", "decoded-in-part"} == {
        "prefixed-token" if size == 15 else "decoded-in-part"
    }


def test_streams_behind_each_other_are_all_looked_at() -> None:
    token = github_token().encode()
    assert "prefixed-token" in rules(gzip.compress(b"hello world\n") + gzip.compress(token))
    assert "decoded-in-part" in rules(gzip.compress(b"hello\n") * 300 + gzip.compress(token))


def archive(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return data.getvalue()


def test_members_of_an_archive_that_are_not_looked_at_are_told() -> None:
    token = github_token().encode()
    assert "decoded-in-part" in rules(archive(a=b"hello world\n" * MIB + token))
    assert "decoded-in-part" in rules(archive(**{f"m{n}": b"x" for n in range(300)}))
    broken = archive(a=b"first member", b=token).replace(b"first member", b"other bytes!", 1)
    assert rules(broken) >= {"decoded-in-part", "prefixed-token"}


def test_what_is_unpacked_to_its_end_is_not_told_as_a_part() -> None:
    assert rules(gzip.compress(b"hello world, this is all\n" * 40)) == {"archive-gzip"}
    assert rules(archive(a=b"hello world, this is all")) == {"archive-zip"}
