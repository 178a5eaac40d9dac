"""The digest by which fs-verity knows a file, and what is answered where there is none.

The digests below are those of fsverity-utils 1.5 (`fsverity digest`) for the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.errors import EngineError
from fumehood.kernel import fsverity

KNOWN = {
    0: "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95",
    1: "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551",
    4096: "258b680fa93e3bfc1586d9b439d29a2172bd0db550fe7da1272fd8120d801182",
    4097: "0328cc6ed983dc0df3103b9651098ab305e4adfae46a1a5814b6602b0630293d",
    128 * 4096: "e1389416027616e5a91f01961c0d159871f5c6afaf577d6e3b9d815f916fbde0",
    128 * 4096 + 1: "00023924223dbf3c1f1095d9f0fb02546dc2d8ea7032445ad216eab168faa3bb",
    3_000_000: "97cb7ae6bf72cab9c4cdc0876f03beda2f7ab496374625b1b4c34027abfe8f87",
}


def content(size: int) -> Iterator[bytes]:
    data = bytes(number * 7 % 251 for number in range(251 * 8))
    whole = (data * (size // len(data) + 1))[:size]
    yield from (whole[at : at + 1000] for at in range(0, size, 1000))


@pytest.mark.parametrize("size", KNOWN)
def test_the_digest_is_that_of_the_kernels_own_tools(size: int) -> None:
    assert fsverity.digest(content(size)).hex() == KNOWN[size]


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"".join(content(5000)))
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


def kernel(monkeypatch: pytest.MonkeyPatch, holds: bytes, lacks: int = 0) -> list[int]:
    """A kernel that answers as linux/fsverity.h says; none of those at hand has fs-verity."""
    asked = []

    def ioctl(_fd: int, request: int, argument: bytes | bytearray) -> int:
        asked.append(request)
        if lacks:
            raise OSError(lacks, os.strerror(lacks))
        if request == fsverity.FS_IOC_ENABLE_VERITY:
            assert argument[:16] == bytes.fromhex("01000000010000000010000000000000")
            assert len(argument) == 128
        else:
            assert isinstance(argument, bytearray)
            assert argument[2:4] == b"\x40\0"
            argument[:4] = b"\x01\0\x20\0"
            argument[4:36] = holds
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return asked


def test_a_file_is_frozen_and_what_the_kernel_holds_is_read_back(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = kernel(monkeypatch, fsverity.digest(content(5000)))
    assert fsverity.enable(fd, content(5000))
    assert asked == [fsverity.FS_IOC_ENABLE_VERITY, fsverity.FS_IOC_MEASURE_VERITY]
    with pytest.raises(EngineError, match="other content"):
        fsverity.enable(fd, content(4999))


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EOPNOTSUPP])
def test_where_there_is_none_that_is_said(
    fd: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    kernel(monkeypatch, b"", number)
    assert not fsverity.enable(fd, content(5000))
    assert fsverity.measured(fd) is None


def test_any_other_failure_is_none_of_these(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, b"", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        fsverity.enable(fd, content(5000))
    with pytest.raises(OSError, match="Input/output"):
        fsverity.measured(fd)


def test_the_real_kernel_freezes_a_file_or_says_that_it_cannot(tmp_path: Path) -> None:
    """Whichever it is here, no file of ours is left, and a frozen one refuses to be written."""
    if not fsverity.available(str(tmp_path)):
        assert not list(tmp_path.iterdir())
        return
    path = tmp_path / "frozen"
    path.write_bytes(b"fumehood")
    with path.open("rb") as file:
        assert fsverity.enable(file.fileno(), [b"fumehood"])
    with pytest.raises(PermissionError):
        path.write_bytes(b"evil")
