"""Archives that want out of their tree, or want more than they may: refused, with nothing left.

Each case goes through the front door (`ImageStore.import_`), as a plain tar and as a layer.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fumehood.errors import ImageError
from fumehood.images.store import ImageStore
from support.archives import (
    DEVICE,
    DIRECTORY,
    FIFO,
    HARDLINK,
    SYMLINK,
    docker_save,
    entry,
    leftovers,
    tar,
)

Entry = tuple[tarfile.TarInfo, bytes]


def extended(name: str, size: int) -> Entry:
    """An entry after a pax header with `size` bytes that nobody asked for."""
    info, data = entry(name)
    info.pax_headers = {f"comment.{name}": "x" * size}
    return info, data


HOSTILE: dict[str, tuple[str, list[Entry]]] = {
    "absolute name": ("absolute name", [entry("/etc/evil", b"x")]),
    "dot dot": ("leads out", [entry("../evil", b"x")]),
    "dot dot inside": ("leads out", [entry("usr/../../evil", b"x")]),
    "dot dot directory": ("leads out", [entry("usr/..", kind=DIRECTORY)]),
    "the root as a file": ("would replace the root", [entry("./", kind=SYMLINK, link="/")]),
    "relative link out": ("link out of the image", [entry("a", kind=SYMLINK, link="../../etc")]),
    "relative link out from below": (
        "link out of the image",
        [entry("usr/lib/a", kind=SYMLINK, link="../../../etc/shadow")],
    ),
    "absolute link out": ("link out of the image", [entry("a", kind=SYMLINK, link="/../x")]),
    "link to nothing": ("link to nothing", [entry("a", kind=SYMLINK, link="")]),
    "write through a link": (
        "lies below 'usr', which is a link",
        [entry("usr", kind=SYMLINK, link="/etc"), entry("usr/passwd", b"x")],
    ),
    "directory through a link": (
        "lies below 'a', which is a link",
        [entry("a", kind=SYMLINK, link="."), entry("a/b", kind=DIRECTORY)],
    ),
    "directory over a link": (
        "is there twice",
        [entry("a", kind=SYMLINK, link="/"), entry("a", kind=DIRECTORY), entry("a/b", b"x")],
    ),
    "hard link out": ("leads out", [entry("a", kind=HARDLINK, link="../../etc/shadow")]),
    "absolute hard link": ("absolute name", [entry("a", kind=HARDLINK, link="/etc/shadow")]),
    "hard link to nothing": (
        "no file of the image",
        [entry("a", kind=HARDLINK, link="etc/shadow")],
    ),
    "hard link to a directory": (
        "no file of the image",
        [entry("d", kind=DIRECTORY), entry("a", kind=HARDLINK, link="d")],
    ),
    "hard link through a link": (
        "no file of the image",
        [
            entry("etc/real", b"x"),
            entry("l", kind=SYMLINK, link="etc"),
            entry("a", kind=HARDLINK, link="l/real"),
        ],
    ),
    "device": ("is a device", [entry("usr/sda", kind=DEVICE)]),
    "fifo": ("is a fifo", [entry("usr/pipe", kind=FIFO)]),
    "the same file twice": ("is there twice", [entry("a", b"1"), entry("a", b"2")]),
    "the same file in disguise": ("is there twice", [entry("a/b", b"1"), entry("./a//b", b"2")]),
    "a file over a directory": ("is there twice", [entry("a/b", b"1"), entry("a", b"2")]),
    "below a file": ("which is a file", [entry("a", b"1"), entry("a/b", b"2")]),
    "control characters": ("control character", [entry("a\x1b]0;x", b"1")]),
    "newline": ("control character", [entry("a\nb", b"1")]),
    "too deep": ("a deeper path", [entry("/".join("abcdefghijk"), b"1")]),
    "too long a name": ("a longer name", [entry("n" * 256, b"1")]),
    "too many files": ("more than 50 files", [entry(f"f{i}", b"") for i in range(60)]),
    "too many implied directories": (
        "more than 50 files",
        [entry(f"{i}/a/b/c/d", b"") for i in range(20)],
    ),
    "too much in extended headers": (
        "extended headers of more than 65536 bytes",
        [extended(f"f{i}", 3000) for i in range(30)],
    ),
    "too much in extended headers of what is dropped": (
        "extended headers of more than 65536 bytes",
        [extended(f"tmp/f{i}", 3000) for i in range(30)],
    ),
    "too large a file": ("a file of more", [entry("a", bytes(600_000))]),
    "too much together": (
        "more than 1048576 bytes",
        [entry(f"f{i}", bytes(500_000)) for i in range(3)],
    ),
    "too much that is dropped": (
        "more than 1048576 bytes",
        [entry(f"tmp/f{i}", bytes(500_000)) for i in range(3)],
    ),
}


@pytest.mark.parametrize("shape", ["tar", "tar.gz", "docker"])
@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_by_name_and_nothing_is_left(
    case: str, shape: str, small: ImageStore, directory: Path, tmp_path: Path
) -> None:
    cause, entries = HOSTILE[case]
    data = tar(*entries)
    packed = {"tar": data, "tar.gz": gzip.compress(data), "docker": docker_save(data)}[shape]
    archive = tmp_path / "archive"
    archive.write_bytes(packed)
    # In a `docker save` file of 600 kB the layer itself is the file that is too large.
    with pytest.raises(ImageError, match=f"{cause}|a file of more"):
        small.import_(archive, "evil")
    assert leftovers(directory) == []
    assert sorted(os.listdir(tmp_path)) == ["archive", "state"]
    assert small.list() == []


def test_a_compressed_bomb_stops_at_the_bound(small: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar.gz"
    with gzip.open(archive, "wb") as file, tarfile.open(fileobj=file, mode="w|") as bomb:
        for number in range(64):
            bomb.addfile(*_zeros(f"f{number}", 1 << 18))
    assert archive.stat().st_size < 100_000
    with pytest.raises(ImageError, match="more than 1048576 bytes"):
        small.import_(archive, "bomb")


def _zeros(name: str, size: int) -> tuple[tarfile.TarInfo, object]:
    import io

    info = tarfile.TarInfo(name)
    info.size = size
    return info, io.BytesIO(bytes(size))


def test_many_hard_links_cost_entries_not_bytes(small: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "links.tar"
    links = [entry(f"usr/l{i}", kind=HARDLINK, link="usr/a") for i in range(30)]
    archive.write_bytes(tar(entry("usr/a", bytes(400_000)), *links))
    image = small.import_(archive, "links")
    found = os.stat(small.path(image.digest) / "usr/l7")
    assert found.st_nlink == 31
    assert small.verify() == []


def test_setuid_and_writing_bits_do_not_survive(store: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "modes.tar"
    archive.write_bytes(
        tar(
            entry("usr/su", b"#!", mode=0o6755),
            entry("usr/open", b"x", mode=0o666),
            entry("usr/secret", b"x", mode=0o600),
            entry("usr/d", kind=DIRECTORY, mode=0o1777),
        )
    )
    tree = store.path(store.import_(archive, "modes").digest)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tree / "usr").iterdir()}
    assert modes == {"su": 0o555, "open": 0o444, "secret": 0o444, "d": 0o555}
    assert {path.lstat().st_uid for path in tree.rglob("*")} == {os.geteuid()}


def test_what_lies_under_a_mount_point_is_dropped(store: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "mounts.tar"
    archive.write_bytes(
        tar(
            entry("usr/a", b"x"),
            entry("dev/sda", kind=DEVICE),
            entry("tmp", kind=SYMLINK, link="/etc"),
            entry("out/fifo", kind=FIFO),
            entry("tool", b"a file where a directory must be"),
        )
    )
    tree = store.path(store.import_(archive, "mounts").digest)
    for name in ("dev", "proc", "sys", "tmp", "out", "tool"):
        assert (tree / name).is_dir()
        assert not (tree / name).is_symlink()
        assert not list((tree / name).iterdir())


NAMES = st.sampled_from(["a", "b", "usr", "..", ".", "", "tmp", "a b", ".wh.a", ".wh..wh..opq"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
KINDS = st.sampled_from([tarfile.REGTYPE, DIRECTORY, SYMLINK, HARDLINK, FIFO])


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    layers=st.lists(
        st.lists(st.tuples(PATHS, KINDS, PATHS, st.binary(max_size=4)), max_size=6),
        min_size=1,
        max_size=3,
    ),
    plain=st.booleans(),
)
def test_no_archive_touches_anything_outside_its_tree(
    layers: list[list[tuple[str, bytes, str, bytes]]],
    plain: bool,  # noqa: FBT001
    small: ImageStore,
    directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    archive = tmp_path_factory.mktemp("archive") / "x.tar"
    packed = [
        tar(*(entry(name, data, kind=kind, link=link) for name, kind, link, data in layer))
        for layer in layers
    ]
    archive.write_bytes(packed[0] if plain else docker_save(*packed))
    outside = sorted(os.listdir(directory.parent.parent))
    try:
        image = small.import_(archive, "x")
    except ImageError:
        pass
    else:
        assert small.verify("x") == []
        assert _all_below(small.path(image.digest))
        small.remove("x")
    finally:
        after = set(os.listdir(directory.parent.parent)) - {"state"}
        assert after == set(outside) - {"state"}
    assert leftovers(directory) == []


def _all_below(tree: Path) -> bool:
    """Every link of the tree, followed as a sandbox would, ends inside it."""
    for path in tree.rglob("*"):
        if path.is_symlink():
            target = os.readlink(path)
            base = tree if target.startswith("/") else path.parent
            joined = os.path.normpath(f"{base}/{target.lstrip('/')}")
            if not f"{joined}/".startswith(f"{tree}/"):
                return False
    return True


def test_the_root_can_be_told_as_a_directory(store: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(tar(entry("./", kind=DIRECTORY), entry("./usr/a", b"x")))
    assert (store.path(store.import_(archive, "r").digest) / "usr/a").read_bytes() == b"x"
