"""Compressed streams: told by their first bytes, bounded in every read, checked to their end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ImageError
from fumehood.images.streams import Decompressed, Hashed
from support.archives import digest

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


def unpack(data: bytes, piece: int = 65536) -> bytes:
    stream = Decompressed(io.BytesIO(data))
    found = b""
    while more := stream.read(piece):
        assert len(more) <= piece
        found += more
    return found


@pytest.mark.parametrize("kind", PACKERS)
@given(data=st.binary(max_size=3000), piece=st.integers(1, 4000))
def test_it_gives_back_what_was_packed(kind: str, data: bytes, piece: int) -> None:
    text = b"plain" + data
    assert unpack(PACKERS[kind](text), piece) == text


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_several_members_in_a_row_are_one(kind: str) -> None:
    pack = PACKERS[kind]
    assert unpack(pack(b"one ") + pack(b"") + pack(b"two") + bytes(16)) == b"one two"


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
@given(cut=st.integers(7, 60))
def test_a_cut_stream_is_an_error(kind: str, cut: int) -> None:
    packed = PACKERS[kind](bytes(range(256)) * 40)
    with pytest.raises(ImageError, match=r"ends in the middle|damaged"):
        unpack(packed[: max(6, len(packed) - cut)])


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_garbage_behind_is_an_error(kind: str) -> None:
    with pytest.raises(ImageError):
        unpack(PACKERS[kind](b"data") + b"garbage behind it")


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_a_bomb_comes_out_in_small_pieces(kind: str) -> None:
    stream = Decompressed(io.BytesIO(PACKERS[kind](bytes(8 << 20))))
    assert len(stream.read(1000)) <= 1000


def test_zstd_is_refused_with_a_way_out_where_python_lacks_it() -> None:
    if sys.version_info >= (3, 14):
        return
    with pytest.raises(ImageError, match="zstd") as caught:
        unpack(b"\x28\xb5\x2f\xfd" + bytes(20))
    assert "zstd -d" in caught.value.remedy


def test_a_hash_covers_exactly_what_was_read() -> None:
    stream = Hashed(io.BytesIO(b"abc"))
    while stream.read(2):
        pass
    assert (stream.digest, stream.size) == (digest(b"abc"), 3)
