"""Tar archives from strangers: read exactly, or refused by name; never more memory or time."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ImageError
from fumehood.images.bounds import Bounds
from fumehood.images.tar import Member, TarReader, _pax
from support.archives import DIRECTORY, FIFO, HARDLINK, SYMLINK, entry, tar

SMALL = Bounds(file_bytes=1 << 20, header_bytes=4096)


def read(data: bytes, bounds: Bounds = SMALL) -> list[tuple[Member, bytes]]:
    reader = TarReader(io.BytesIO(data), bounds)
    return [(member, b"".join(reader.content())) for member in reader]


def names(data: bytes) -> list[str]:
    return [member.name for member, _ in read(data)]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_common_format_is_read(form: int) -> None:
    long = "/".join(["directory"] * 9) + "/name"
    data = tar(
        entry("a", b"x" * 513, mode=0o755),
        entry("d", kind=DIRECTORY),
        entry(long, b"deep"),
        entry("s", kind=SYMLINK, link="a"),
        entry("h", kind=HARDLINK, link="a"),
        form=form,
    )
    found = read(data)
    assert [(m.kind, m.name.rstrip("/")) for m, _ in found] == [
        ("file", "a"), ("directory", "d"), ("file", long), ("symlink", "s"), ("hardlink", "h"),
    ]  # fmt: skip
    assert found[0][1] == b"x" * 513
    assert found[0][0].executable
    assert not found[2][0].executable
    assert found[2][1] == b"deep"
    assert (found[0][0].mtime, found[3][0].link) == (7, "a")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_and_script_survive(form: int) -> None:
    name = "ő" * 100 + "/" + "n" * 200
    assert names(tar(entry(name, b"1"), form=form)) == [name]


def test_what_is_not_taken_is_skipped() -> None:
    reader = TarReader(io.BytesIO(tar(entry("a", b"1" * 5000), entry("b", b"2"))), SMALL)
    assert [member.name for member in reader] == ["a", "b"]


@given(st.integers(0, 6000))
def test_a_truncated_archive_is_an_error_wherever_it_ends(length: int) -> None:
    whole = tar(entry("a", b"1" * 700), entry("ü" * 120, b"2" * 1500))
    if length < whole.index(bytes(1024)):
        with pytest.raises(ImageError):
            read(whole[:length])


@given(st.binary(max_size=2048))
def test_garbage_is_an_error_or_empty(data: bytes) -> None:
    try:
        read(data)
    except ImageError:
        return
    assert not data.strip(b"\0")


@given(st.data())
def test_no_flipped_byte_makes_it_crash(data: st.DataObject) -> None:
    whole = bytearray(tar(entry("a/b", b"1" * 30), entry("ü" * 90, b"2")))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        read(bytes(whole))


def patched(data: bytes, at: int, field: bytes) -> bytes:
    """The first header with a field replaced and its checksum made right."""
    block = bytearray(data[:512])
    block[at : at + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


@pytest.mark.parametrize(
    ("at", "field", "cause"),
    [
        (124, b"\xff" * 12, "size is no number"),
        (124, b"\x80" + b"\xff" * 11, "a file of more"),
        (124, b"77777777777\0", "a file of more"),
        (124, b"-0000000001\0", "size is no number"),
        (156, b"S", "unknown or sparse"),
        (156, b"V", "unknown or sparse"),
        (0, b"\xff\xfe\0", "not UTF-8"),
    ],
)
def test_a_hostile_header_is_refused(at: int, field: bytes, cause: str) -> None:
    with pytest.raises(ImageError, match=cause):
        read(patched(tar(entry("a", b"1")), at, field))


def test_a_link_with_content_is_refused() -> None:
    """Readers disagree whether the content is there: what one skips another takes as headers."""
    data = patched(tar(entry("a", b"1" * 512)), 156, b"1")
    with pytest.raises(ImageError, match="is a hardlink with content"):
        read(data)


def test_a_fifo_is_told_as_one() -> None:
    assert read(tar(entry("f", kind=FIFO)))[0][0].kind == "fifo"


def test_a_huge_extended_header_is_not_read() -> None:
    with pytest.raises(ImageError, match="an extended header of more than 4096 bytes"):
        read(tar(entry("n" * 5000, b"")))


@pytest.mark.parametrize(
    "record",
    [b"5 a=b\n", b"99 path=x\n", b"0 path=x\n", b"-9 path=x\n", b"11 path=xy", b"x\n", b"7 =xy\n",
     b" 9 path=x\n", b"00000000000000000011 path=xy\n"],
)  # fmt: skip
def test_a_malformed_extended_header_is_refused(record: bytes) -> None:
    header = patched(tar(entry("PaxHeader", record)), 156, b"x")
    with pytest.raises(ImageError):
        read(header)


@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_sparse_files_are_refused(kind: bytes) -> None:
    record = b"22 GNU.sparse.major=1\n"
    with pytest.raises(ImageError, match="sparse"):
        read(patched(tar(entry("PaxHeader", record)), 156, kind))


def test_a_size_in_an_extended_header_is_bounded_too() -> None:
    inner = tar(entry("a", b""))
    record = b"22 size=9999999999999\n"
    header = patched(tar(entry("PaxHeader", record)), 156, b"x")[:1024]
    with pytest.raises(ImageError, match="a file of more"):
        read(header + inner)


def test_times_before_1970_and_after_2242_are_clamped() -> None:
    found = read(tar(entry("a", mtime=-5), entry("b", mtime=2**60)))
    assert [member.mtime for member, _ in found] == [0, 2**33 - 1]


def test_something_after_the_end_mark_is_refused() -> None:
    data = tar(entry("a", b"1"))
    with pytest.raises(ImageError, match="goes on after its end mark"):
        read(data + tar(entry("hidden", b"2")))


def test_zeros_after_the_end_mark_are_padding() -> None:
    assert names(tar(entry("a", b"1")) + bytes(20 * 512)) == ["a"]


def record(key: str, value: str) -> bytes:
    """One record of a pax header; its length counts itself."""
    body = f" {key}={value}\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return f"{length}{body}".encode()


def extension(kind: bytes, content: bytes) -> bytes:
    """One extended header and its content, without an end mark."""
    data = patched(tar(entry("././@Header", content)), 156, kind)
    return data[: 512 + -(-len(content) // 512) * 512]


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_entry_has_each_extended_header_once(kind: bytes) -> None:
    content = record("comment", "c" * 3000) if kind in b"xg" else b"name\0"
    one = extension(kind, content)
    assert len(read(one + tar(entry("a", b"1")))) == 1
    with pytest.raises(ImageError, match=f"two extended headers of the type '{kind.decode()}'"):
        read(one + one + tar(entry("a", b"1")))


def test_a_flood_of_extended_headers_is_not_read_to_its_end() -> None:
    flood = b"".join(extension(b"x", record(f"key{number}", "v" * 500_000)) for number in range(16))
    stream = io.BytesIO(flood + tar(entry("a", b"1")))
    with pytest.raises(ImageError, match="two extended headers"):
        list(TarReader(stream, Bounds()))
    assert stream.tell() <= 1 << 20, "no more than the first, and what one read takes ahead"


def test_all_kinds_together_are_one_entrys_and_counted() -> None:
    before = (
        extension(b"g", record("comment", "c"))
        + extension(b"x", record("mtime", "9"))
        + extension(b"K", b"target\0")
        + extension(b"L", b"long\0")
    )
    member = read(before + tar(entry("s", kind=SYMLINK, link="a")))[0][0]
    assert (member.name, member.link, member.mtime) == ("long", "target", 9)
    contents = len(record("comment", "c") + record("mtime", "9") + b"target\0long\0")
    assert member.headers == 4 * 512 + contents
    assert read(tar(entry("a"), entry("b")))[1][0].headers == 0


def test_extended_headers_are_bounded_together() -> None:
    one = extension(b"x", record("comment", "c" * 1000)) + tar(entry("a"))[:512]
    bounds = Bounds(headers_bytes=10_000)
    assert len(read(one * 6 + bytes(1024), bounds)) == 6
    with pytest.raises(ImageError, match="extended headers of more than 10000 bytes"):
        read(one * 7 + bytes(1024), bounds)


def test_entries_are_bounded_by_the_reader_too() -> None:
    """Not all that reads an archive looks at each entry: directories of npm's are skipped."""
    with pytest.raises(ImageError, match="more than 3 files"):
        read(tar(*(entry(f"d{number}", kind=DIRECTORY) for number in range(4))), Bounds(entries=3))


def test_only_records_that_are_used_are_kept() -> None:
    names = [f"key{number}" for number in range(50)]
    content = b"".join(record(name, "v") for name in (*names, "path", "mtime"))
    assert _pax(content) == {b"path": b"v", b"mtime": b"v"}


def test_an_archive_that_ends_after_an_extended_header_is_refused() -> None:
    for kind, content in ((b"x", record("comment", "c")), (b"L", b"name\0")):
        with pytest.raises(ImageError, match="ends after an extended header"):
            read(extension(kind, content) + bytes(1024))
    assert read(extension(b"g", record("comment", "c")) + bytes(1024)) == []  # git archive's
