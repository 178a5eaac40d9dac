"""The store: one digest for one tree however it came, nothing half-made, nobody else's."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import ImageError
from fumehood.images import contents, oci, spool
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.contents import Contents
from fumehood.images.sources import Workplace, from_tar
from fumehood.images.store import ImageStore
from fumehood.images.tree import Directory, Symlink, Tree
from support.archives import (
    DIRECTORY,
    HARDLINK,
    SYMLINK,
    digest,
    docker_save,
    entry,
    files,
    leftovers,
    oci_layout,
    tar,
)

LAYER = tar(
    entry("usr", kind=DIRECTORY),
    entry("usr/bin", kind=DIRECTORY),
    entry("usr/bin/" + "long-" * 30, b"#!/bin/sh\n", mode=0o755),
    entry("usr/again", kind=HARDLINK, link="usr/bin/" + "long-" * 30),
    entry("usr/empty"),
    entry("usr/ő", b"x" * 1000),
    entry("bin", kind=SYMLINK, link="usr/bin"),
    entry("usr/far", kind=SYMLINK, link="/" + "usr/" * 40 + "x"),
)


@pytest.fixture
def image(store: ImageStore, tmp_path: Path) -> str:
    (tmp_path / "layer.tar").write_bytes(LAYER)
    return store.import_(tmp_path / "layer.tar", "base").digest


def test_one_tree_has_one_digest_however_it_came(
    store: ImageStore, image: str, tmp_path: Path
) -> None:
    sources = {
        "again": LAYER,
        "zipped": gzip.compress(LAYER),
        "saved": docker_save(LAYER),
        "layers": docker_save(files(usr__gone=b"1"), tar(entry("usr/.wh.gone")), LAYER),
    }
    found = {image}
    for name, data in sources.items():
        (tmp_path / name).write_bytes(data)
        found.add(store.import_(tmp_path / name, name).digest)
    found.add(store.import_(oci_layout(tmp_path / "oci", LAYER), "oci").digest)
    found.add(store.import_(store.path(image), "folder").digest)
    assert found == {image}
    assert len(os.listdir(store.directory / "trees")) == 1
    assert len(store.list()) == 7


@pytest.mark.parametrize(
    "other",
    [
        tar(entry("usr/a", b"1", mtime=8)),
        tar(entry("usr/a", b"2")),
        tar(entry("usr/a", b"1", mode=0o755)),
        tar(entry("usr/b", b"1")),
        tar(entry("usr/a", kind=SYMLINK, link="1")),
        tar(entry("usr/a", b"1"), entry("usr/b", kind=DIRECTORY)),
    ],
)
def test_any_difference_makes_another_digest(
    store: ImageStore, tmp_path: Path, other: bytes
) -> None:
    for name, data in (("one", tar(entry("usr/a", b"1"))), ("two", other)):
        (tmp_path / name).write_bytes(data)
        store.import_(tmp_path / name, name)
    assert store.resolve("one").digest != store.resolve("two").digest


def test_the_exported_archive_is_the_layer_of_the_digest(store: ImageStore, image: str) -> None:
    sink = io.BytesIO()
    layer = store.export_tar(image, sink)
    assert digest(sink.getvalue()) == layer.digest == store.resolve("base").layer
    config = oci.make_config(layer.digest)
    assert digest(oci.make_manifest(config, layer.digest, layer.size)) == image


def test_what_docker_loads_is_the_same_image(store: ImageStore, image: str, tmp_path: Path) -> None:
    with (tmp_path / "docker.tar").open("wb") as file:
        identity = store.export_docker(image, file, "fumehood/base:x")
    assert identity == store.resolve("base").config
    assert store.import_(tmp_path / "docker.tar", "back").digest == image


def test_names_lead_to_digests(store: ImageStore, image: str) -> None:
    for reference in ("base", "base:latest", f"base@{image}", image):
        assert store.resolve(reference).digest == image
        assert store.pin(reference) == image
    assert store.pin("host") == "host"
    with pytest.raises(ImageError, match="there is no image"):
        store.resolve("other")
    with pytest.raises(ImageError, match="there is no image"):
        store.resolve("base@sha256:" + "0" * 64)


@pytest.fixture
def moved(store: ImageStore, image: str, tmp_path: Path) -> str:
    """The digest that `base` leads to now; it led to `image`."""
    (tmp_path / "new.tar").write_bytes(files(usr__new=b"1"))
    return store.import_(tmp_path / "new.tar", "base").digest


def test_an_image_whose_name_moved_stays(
    store: ImageStore, image: str, moved: str, tmp_path: Path
) -> None:
    """Tools are pinned to it: nothing but its own removal takes it away."""
    assert store.resolve("base").digest == moved
    assert [(item.name, item.digest) for item in store.list()] == [
        ("base:latest", moved),
        ("", image),
    ]
    store.import_(tmp_path / "new.tar", "other")
    store.remove("other")
    store.sweep()
    store.remove("base")
    assert store.resolve(image).digest == store.pin(image) == image
    assert store.path(image).is_dir()
    with store.directory.joinpath("blobs/sha256", store.resolve(image).listing[7:]).open() as file:
        assert file.readline()
    assert store.export_tar(image, io.BytesIO()).digest == store.resolve(image).layer
    assert store.remove(image)[0].digest == image
    assert leftovers(store.directory) == []


def test_an_image_whose_name_moved_is_verified(store: ImageStore, image: str, moved: str) -> None:
    _edit(store.path(image) / "usr/ő", "content")
    assert [(p.digest, p.path) for p in store.verify()] == [(image, "usr/ő")]
    assert store.verify("base") == []
    assert [p.digest for p in store.quarantine()] == [image]
    with pytest.raises(ImageError, match="is missing"):
        store.pin(image)
    assert store.pin("base") == moved


def test_an_image_whose_name_moved_gets_one_again(
    store: ImageStore, image: str, moved: str, tmp_path: Path
) -> None:
    store.import_(tmp_path / "layer.tar", "old")
    assert [(item.name, item.digest) for item in store.list()] == [
        ("base:latest", moved),
        ("old:latest", image),
    ]
    store.tag("old", "base")
    assert [item.name for item in store.list()] == ["base:latest", "old:latest", ""]
    assert store.resolve("base").digest == image


def test_images_whose_names_moved_are_pruned_unless_they_are_used(
    store: ImageStore, image: str, moved: str
) -> None:
    assert store.prune({image}) == []
    assert [item.digest for item in store.prune(())] == [image]
    assert [item.digest for item in store.list()] == [moved]
    assert os.listdir(store.directory / "trees") == [moved[7:]]


def _former(store: ImageStore) -> None:
    """What versions wrote that forgot an image with its name."""
    path = store.directory / "index.json"
    index = json.loads(path.read_text())
    del index["annotations"]
    index["manifests"] = [
        item for item in index["manifests"] if oci.REF_NAME in item["annotations"]
    ]
    path.write_text(json.dumps(index))


@pytest.mark.parametrize("first", ["remove", "import", "prune", "sweep", "quarantine"])
def test_what_a_former_store_forgot_comes_back_before_anything_is_deleted(
    store: ImageStore, image: str, moved: str, tmp_path: Path, first: str
) -> None:
    store.import_(tmp_path / "new.tar", "other")
    _former(store)
    assert store.resolve("base").digest == moved, "it can be read as it is"
    {
        "remove": lambda: store.remove("other"),
        "import": lambda: store.import_(tmp_path / "new.tar", "third"),
        "prune": lambda: store.prune({image}),
        "sweep": store.sweep,
        "quarantine": store.quarantine,
    }[first]()
    assert store.path(image).is_dir()
    found = store.resolve(image)
    assert (found.name, found.digest) == ("", image)
    assert store.verify() == []
    store.sweep()
    assert store.export_docker(image, io.BytesIO()) == found.config
    store.remove(image)
    assert image[7:] not in os.listdir(store.directory / "trees")


def test_what_a_former_store_forgot_and_somebody_changed_is_taken_away(
    store: ImageStore, image: str, moved: str
) -> None:
    _former(store)
    _edit(store.directory / "trees" / image[7:] / "usr/ő", "content")
    assert [p.digest for p in store.quarantine()] == [image]
    assert os.listdir(store.directory / "trees") == [moved[7:]]
    assert store.quarantine() == []


def test_what_a_crash_left_does_not_become_an_image(
    store: ImageStore, image: str, moved: str
) -> None:
    store.remove(image)
    (store.directory / "trees" / image[7:]).mkdir()
    store.sweep()
    assert [item.digest for item in store.list()] == [moved]
    assert os.listdir(store.directory / "trees") == [moved[7:]]


def test_an_index_without_end_is_refused_and_the_old_one_stays(
    store: ImageStore, image: str, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (store.directory / "index.json").stat().st_size
    monkeypatch.setattr("fumehood.images.store.MAX_INDEX_BYTES", size + 100)
    with pytest.raises(ImageError, match="too many images") as refused:
        store.tag("base", "more")
    assert "image prune" in refused.value.remedy
    assert len(store.list()) == 2


def test_removing_the_last_name_removes_the_tree(store: ImageStore, image: str) -> None:
    store.tag("base", "other:1")
    store.remove("base")
    assert store.resolve("other:1").digest == image
    assert store.verify() == []
    store.remove("other:1")
    assert leftovers(store.directory) == []


def test_removing_a_digest_removes_all_its_names(store: ImageStore, image: str) -> None:
    store.tag("base", "other")
    assert [item.name for item in store.remove(image)] == ["base:latest", "other:latest"]


def test_an_image_in_use_is_kept_unless_forced(store: ImageStore, image: str) -> None:
    with pytest.raises(ImageError, match="a registered tool uses"):
        store.remove("base", in_use={image})
    assert store.verify("base") == []
    store.tag("base", "spare")
    store.remove("base", in_use={image})
    store.remove("spare", in_use={image}, force=True)
    assert store.list() == []


def _edit(path: Path, change: str) -> None:
    parent = path.parent
    mode = parent.stat().st_mode
    parent.chmod(0o755)
    if change == "content":
        path.chmod(0o644)
        path.write_bytes(b"y" * 1000)
        path.chmod(0o444)
        os.utime(path, (7, 7))
    elif change == "mode":
        path.chmod(0o666)
    elif change == "time":
        os.utime(path, (8, 8))
    elif change == "missing":
        path.unlink()
    elif change == "extra":
        (parent / "extra").write_bytes(b"")
    elif change == "link":
        path.unlink()
        path.symlink_to("/etc/passwd")
    elif change == "fifo":
        path.unlink()
        os.mkfifo(path)
    os.utime(parent, (7, 7))
    parent.chmod(mode)


@pytest.mark.parametrize(
    ("change", "path", "what"),
    [
        ("content", "usr/ő", "another content"),
        ("mode", "usr/ő", "has the mode 0666"),
        ("time", "usr/ő", "another time"),
        ("missing", "usr/ő", "is missing"),
        ("extra", "usr/extra", "is not part of the image"),
        ("link", "usr/ő", "another kind"),
        ("fifo", "usr/ő", "neither file, directory nor link"),
    ],
)
def test_verify_names_what_was_changed(
    store: ImageStore, image: str, change: str, path: str, what: str
) -> None:
    _edit(store.path(image) / "usr/ő", change)
    problems = store.verify("base")
    assert any(p.path == path and what in p.what for p in problems), problems
    assert {problem.digest for problem in problems} == {image}


ODD = (("l", SYMLINK, "x\ty"), ("m", SYMLINK, "x\ny"), ("a\u2028b", b"0", ""), ("a\x85b", b"0", ""))


@pytest.fixture
def odd(store: ImageStore) -> str:
    """With names and targets that divide lines, or the parts of a line, for some readers; former
    versions took control characters in targets."""

    def fill(place: Workplace) -> Tree:
        layer = tar(
            entry("usr/a", b"1"), *(entry(f"usr/{n}") for n, kind, _ in ODD if kind == b"0")
        )
        tree = from_tar(io.BytesIO(layer), place, DEFAULT)
        usr = tree.find(["usr"])
        assert isinstance(usr, Directory)
        for name, kind, target in ODD:
            if kind == SYMLINK:
                usr.children[name] = Symlink(target, 7, 1)
        return tree

    return store.add(fill, "odd", source="test").digest


@pytest.mark.parametrize("name", [name for name, _, _ in ODD])
def test_a_changed_tree_with_odd_names_is_told_and_heals(
    store: ImageStore, image: str, odd: str, tmp_path: Path, name: str
) -> None:
    assert store.verify() == []
    path = store.path(odd) / "usr" / name
    os.utime(path, (8, 8), follow_symlinks=False)
    what = next(p.what for p in store.verify("odd") if p.path == f"usr/{name}")
    assert what.startswith("has another time")
    assert {p.digest for p in store.quarantine()} == {odd}
    assert store.path(image).is_dir()


@pytest.mark.parametrize("target", ["x\ty", "x\n", "\x7f"])
def test_a_link_to_a_name_with_control_characters_is_refused(
    store: ImageStore, tmp_path: Path, target: str
) -> None:
    (tmp_path / "x").write_bytes(tar(entry("usr/l", kind=SYMLINK, link=target)))
    with pytest.raises(ImageError, match="control character"):
        store.import_(tmp_path / "x", "x")


@pytest.mark.parametrize("name", ["evil\tfile\t0444", "evil\nusr", "evil\udcff"])
def test_what_somebody_puts_into_a_tree_is_told_whatever_its_name(
    store: ImageStore, image: str, name: str
) -> None:
    usr = store.path(image) / "usr"
    usr.chmod(0o755)
    (usr / name).write_bytes(b"")
    assert store.verify()
    assert {p.digest for p in store.quarantine()} == {image}


def test_a_tree_that_breaks_its_reader_is_taken_away_and_no_other(
    store: ImageStore, image: str, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tree: int, *given: Any, **named: Any) -> Contents:
        found = read(tree, *given, **named)
        if found.digest == image:
            raise ValueError("of this one only")
        return found

    read = contents.read
    monkeypatch.setattr(contents, "read", broken)
    assert ["ValueError" in p.what for p in store.verify()] == [True]
    assert [p.digest for p in store.quarantine()] == [image]
    assert store.path(moved).is_dir()


def test_a_host_that_is_short_of_descriptors_takes_no_image_away(
    store: ImageStore, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: Any, **__: Any) -> Contents:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(contents, "read", short)
        with pytest.raises(OSError, match="Too many open files"):
            store.quarantine()
    assert store.quarantine() == []
    assert store.path(image).is_dir()


def _substitute(store: ImageStore, victim: str, other: str, *keys: str) -> None:
    """The tree of one image under the digest of another, and what the index says of it."""
    path = store.directory / "index.json"
    index = json.loads(path.read_text())
    notes = {item["digest"]: item["annotations"] for item in index["manifests"]}
    for key in keys:
        notes[victim][f"fumehood.{key}"] = notes[other][f"fumehood.{key}"]
    path.write_text(json.dumps(index))


def test_another_images_tree_under_a_digest_is_told_whatever_the_index_says(
    store: ImageStore, image: str, moved: str
) -> None:
    """The digest that tools are pinned to is recomputed from the tree."""
    trees = store.directory / "trees"
    (trees / image[7:]).rename(trees / "away")
    shutil.copytree(trees / moved[7:], trees / image[7:], symlinks=True)
    _substitute(store, image, moved, "config", "layer", "listing", "sbom", "size")
    assert {p.digest for p in store.verify()} == {image}
    assert {p.digest for p in store.quarantine()} == {image}
    assert store.path(moved).is_dir()


@pytest.mark.parametrize("key", ["config", "layer", "size"])
def test_an_index_that_gives_an_image_what_is_anothers_is_told(
    store: ImageStore, image: str, moved: str, key: str
) -> None:
    """Docker goes by the configuration's digest."""
    store.tag("base", "second")
    _substitute(store, moved, image, key)
    assert any("the index says something else" in p.what for p in store.verify())
    assert moved in {p.digest for p in store.quarantine()}


def test_a_false_entry_is_told_also_beside_a_right_one(
    store: ImageStore, image: str, moved: str
) -> None:
    for name in ("aaa", "zzz"):
        store.tag("base", name)
    path = store.directory / "index.json"
    index = json.loads(path.read_text())
    index["manifests"][1]["annotations"]["fumehood.config"] = store.resolve(image).config
    path.write_text(json.dumps(index))
    assert any("the index says something else" in p.what for p in store.verify())


def test_importing_again_heals_what_the_index_says_under_every_name(
    store: ImageStore, image: str, moved: str, tmp_path: Path
) -> None:
    store.tag("base", "second")
    _substitute(store, moved, image, "config")
    store.import_(tmp_path / "new.tar", "base")
    assert store.verify() == []


def test_the_digest_of_a_tree_is_for_ever() -> None:
    """Tools are pinned to it: written down once, from what the first version gave."""
    config = oci.make_config("sha256:" + "1" * 64).replace(oci.architecture().encode(), b"amd64")
    manifest = oci.make_manifest(config, "sha256:" + "1" * 64, 1024)
    assert (
        oci.sha256(manifest)
        == "sha256:e948f04307bac72994d0bb73dda849fbd077ba831e7dd65a954393baf2e14d61"
    )


def test_importing_again_heals_a_changed_tree(
    store: ImageStore, image: str, tmp_path: Path
) -> None:
    _edit(store.path(image) / "usr/ő", "content")
    store.import_(tmp_path / "layer.tar", "base")
    assert store.verify() == []


def test_verify_sees_damaged_and_missing_blobs(store: ImageStore, image: str) -> None:
    found = store.resolve("base")
    (store.directory / "blobs/sha256" / found.config[7:]).unlink()
    (store.directory / "blobs/sha256" / found.sbom[7:]).write_bytes(b"{}")
    assert [found.config in p.what or found.sbom in p.what for p in store.verify()] == [True] * 2


def test_verify_sees_a_missing_tree(store: ImageStore, image: str) -> None:
    os.rename(store.path(image), store.directory / "trees" / ("0" * 64))
    assert "is missing from the image store" in store.verify()[0].what


def test_a_full_disk_leaves_nothing(
    store: ImageStore, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = leftovers(store.directory)
    written = 0

    def write(fd: int, data: memoryview) -> int:
        nonlocal written
        written += len(data)
        if written > 1500:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    real = os.write
    (tmp_path / "big.tar").write_bytes(files(usr__a=b"1" * 1000, usr__b=b"2" * 1000))
    monkeypatch.setattr(spool.os, "write", write)
    with pytest.raises(ImageError, match="disk with the image store is full"):
        store.import_(tmp_path / "big.tar", "big")
    assert leftovers(store.directory) == before
    assert [item.name for item in store.list()] == ["base:latest"]


def test_a_killed_import_is_swept_by_the_next(
    store: ImageStore, image: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = (
        "import sys; from pathlib import Path; from fumehood.images.store import ImageStore;"
        "from fumehood.images import sources;"
        "s = ImageStore(Path(sys.argv[1]));"
        "s.add(lambda p: (print('ready', flush=True), sys.stdin.read()), 'x', source='x')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(store.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    store.sweep()
    assert any(name.startswith("new-") for name in os.listdir(store.directory)), "it still works"
    process.kill()
    process.communicate()
    store.sweep()
    assert not any(name.startswith("new-") for name in os.listdir(store.directory))
    assert store.verify() == []


def test_imports_at_the_same_time_all_arrive(store: ImageStore, tmp_path: Path) -> None:
    def work(number: int) -> None:
        path = tmp_path / f"{number}.tar"
        path.write_bytes(files(usr__a=b"%d" % (number % 3)))
        store.import_(path, f"image:{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list()) == 8
    assert len(os.listdir(store.directory / "trees")) == 3
    assert store.verify() == []


def test_a_change_waits_for_the_one_before(store: ImageStore, image: str) -> None:
    lock = os.open(store.directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    worker = threading.Thread(target=store.tag, args=("base", "later"))
    worker.start()
    worker.join(0.1)
    assert worker.is_alive()
    assert [item.name for item in store.list()] == ["base:latest"], "reading waits for nobody"
    os.close(lock)
    worker.join()
    assert store.resolve("later").digest == image


def test_a_store_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images").symlink_to(tmp_path / "elsewhere")
    store = ImageStore(tmp_path / "images")
    for use in (store.list, store.sweep):
        with pytest.raises(ImageError, match="image store"):
            use()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_store_that_others_can_write_is_refused(store: ImageStore, image: str) -> None:
    store.directory.chmod(0o775)
    with pytest.raises(ImageError, match="can be written by others"):
        store.resolve("base")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"manifests": [{}]}', b'{"manifests": 7}'])
def test_a_damaged_index_is_an_error(store: ImageStore, image: str, text: bytes) -> None:
    (store.directory / "index.json").write_bytes(text)
    with pytest.raises(ImageError, match="index"):
        store.list()


def test_an_empty_store_has_nothing(store: ImageStore) -> None:
    assert (store.list(), store.verify()) == ([], [])
    with pytest.raises(ImageError, match="there is no image"):
        store.resolve("x")


@pytest.mark.parametrize(
    "source", ["/nonexistent", "/dev/null", "docker:-x", "docker:", "docker://--evil"]
)
def test_a_source_that_is_none(store: ImageStore, source: str) -> None:
    with pytest.raises(ImageError):
        store.import_(source, "x")
    assert leftovers(store.directory) == []


@pytest.mark.parametrize("data", [b"", b"\0" * 10240, tar(), tar(entry("tmp/x", b"1"))])
def test_an_image_without_anything_in_it_is_refused(
    store: ImageStore, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ImageError, match=r"is empty|ends in the middle"):
        store.import_(tmp_path / "x", "x")


def test_a_folder_is_read_without_following_links(store: ImageStore, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr").mkdir(parents=True)
    (root / "usr/a").write_text("1")
    os.link(root / "usr/a", root / "usr/b")
    (root / "etc").symlink_to("/etc")
    (root / "proc").mkdir()
    (root / "proc/hidden").write_text("1")
    tree = store.path(store.import_(root, "x").digest)
    assert os.readlink(tree / "etc") == "/etc"
    assert (tree / "usr/a").stat().st_ino == (tree / "usr/b").stat().st_ino
    assert list((tree / "proc").iterdir()) == []


def test_a_socket_in_a_folder_is_refused(store: ImageStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="'pipe' is a device"):
        store.import_(tmp_path, "x")


def test_a_name_that_is_not_utf8_is_refused(store: ImageStore, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff"))).write_text("1")
    with pytest.raises(ImageError, match="not UTF-8"):
        store.import_(root, "x")


def test_the_index_is_an_oci_index(store: ImageStore, image: str) -> None:
    index = json.loads((store.directory / "index.json").read_text())
    found = index["manifests"][0]
    manifest = (store.directory / "blobs/sha256" / found["digest"][7:]).read_bytes()
    assert (found["digest"], found["size"]) == (digest(manifest), len(manifest))
    assert found["annotations"][oci.REF_NAME] == "base:latest"
    assert json.loads(manifest)["layers"][0]["mediaType"] == oci.LAYER


def test_all_images_together_are_bounded_and_what_is_refused_leaves_nothing(
    directory: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(tar(entry(f"usr/{name}", b"x" * 50_000)))
    store = ImageStore(directory, Bounds(store_bytes=100_000))
    first = store.import_(tmp_path / "one", "one")
    store.import_(tmp_path / "one", "again")  # the same image counts once
    with pytest.raises(ImageError, match=r"storage\.images allows") as refused:
        store.import_(tmp_path / "two", "two")
    assert "image remove" in refused.value.remedy
    assert [image.digest for image in store.list()] == [first.digest] * 2
    assert os.listdir(directory / "trees") == [first.hex]
    store.remove("again")
    with pytest.raises(ImageError, match=r"storage\.images allows"):
        store.import_(tmp_path / "two", "one")  # what was under the name stays, and counts
    store.remove("one")
    store.import_(tmp_path / "two", "one")
    assert [image.name for image in store.list()] == ["one:latest"]


def test_what_storage_images_has_no_room_for_is_not_unpacked(
    directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").write_bytes(tar(entry("usr/one", b"x" * 50_000)))
    store = ImageStore(directory, Bounds(store_bytes=100_000))
    store.import_(tmp_path / "one", "one")
    large = io.BytesIO(tar(*(entry(f"usr/{i}", bytes(50_000)) for i in range(100))))

    def fill(place: Workplace) -> Tree:
        try:
            return from_tar(large, place, DEFAULT)
        finally:
            spooled.extend(
                os.stat(name, dir_fd=place.archive).st_size for name in os.listdir(place.archive)
            )

    spooled: list[int] = []
    with pytest.raises(ImageError, match=r"more than the \d+ bytes that storage\.images allows"):
        store.add(fill, "two", source="test")
    assert sum(spooled) <= 100_000
    assert large.tell() < len(large.getvalue())
    assert [image.name for image in store.list()] == ["one:latest"]


def test_a_layer_is_not_unpacked_without_room_either(directory: Path, tmp_path: Path) -> None:
    """The archive fits, and each layer does; all layers together do not."""
    layers = [files(**{f"usr__{i}": bytes(60_000)}) for i in range(4)]
    packed = oci_layout(tmp_path / "oci", *layers)
    store = ImageStore(directory, Bounds(store_bytes=100_000))
    with pytest.raises(ImageError, match=r"that storage\.images allows") as refused:
        store.import_(packed, "x")
    assert refused.value.entry == "usr/1"
    assert leftovers(directory) == []
