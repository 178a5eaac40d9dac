"""Layers on top of each other: what OCI's layer.md says of deletions, and of what replaces what."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images import oci
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.spool import Spool
from fumehood.images.store import ImageStore
from fumehood.images.tar import TarReader
from fumehood.images.tree import Directory, Tree
from support.archives import (
    DIRECTORY,
    HARDLINK,
    SYMLINK,
    config,
    digest,
    docker_save,
    entry,
    files,
    oci_layout,
    tar,
)


def content(store: ImageStore, name: str = "x") -> dict[str, str]:
    tree = store.path(store.resolve(name).digest)
    return {
        str(path.relative_to(tree)): path.read_text()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def load(store: ImageStore, tmp_path: Path, *layers: bytes) -> dict[str, str]:
    (tmp_path / "saved.tar").write_bytes(docker_save(*layers))
    store.import_(tmp_path / "saved.tar", "x")
    return content(store)


BASE = files(usr__a=b"1", usr__b=b"2", usr__d__c=b"3", usr__d__e=b"4")


def test_a_later_layer_replaces_files(store: ImageStore, tmp_path: Path) -> None:
    assert load(store, tmp_path, BASE, files(usr__a=b"new"))["usr/a"] == "new"


def test_a_whiteout_deletes_a_file_or_a_whole_directory(store: ImageStore, tmp_path: Path) -> None:
    gone = tar(entry("usr/.wh.a"), entry("usr/.wh.d"))
    assert load(store, tmp_path, BASE, gone) == {"usr/b": "2"}


def test_a_whiteout_spares_what_its_own_layer_brings(store: ImageStore, tmp_path: Path) -> None:
    both = tar(entry("usr/a", b"new"), entry("usr/.wh.a"), entry("usr/.wh.b"), entry("usr/b", b"n"))
    assert load(store, tmp_path, BASE, both) == {
        "usr/a": "new", "usr/b": "n", "usr/d/c": "3", "usr/d/e": "4",
    }  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_directory_hides_what_was_below(
    store: ImageStore,
    tmp_path: Path,
    first: bool,  # noqa: FBT001
) -> None:
    mark, own = entry("usr/d/.wh..wh..opq"), entry("usr/d/own", b"5")
    opaque = tar(*((mark, own) if first else (own, mark)))
    assert load(store, tmp_path, BASE, opaque) == {"usr/a": "1", "usr/b": "2", "usr/d/own": "5"}


def test_a_directory_with_new_files_survives_its_own_whiteout(
    store: ImageStore, tmp_path: Path
) -> None:
    layer = tar(entry("usr/d/new", b"5"), entry("usr/.wh.d"))
    assert load(store, tmp_path, BASE, layer) == {"usr/a": "1", "usr/b": "2", "usr/d/new": "5"}


def test_deletions_look_at_each_node_once_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """300,000 entries, half of them links and half marks, were 22 thousand million looks."""
    looks: list[str] = []
    prune = Tree._prune

    def counted(tree: Tree, parent: Directory, name: str) -> None:
        looks.append(name)
        prune(tree, parent, name)

    monkeypatch.setattr(Tree, "_prune", counted)
    links = [entry(f"usr/d/{i}", kind=SYMLINK, link="x") for i in range(100)]
    marks = [entry(name) for name in ("usr/d/.wh..wh..opq", "usr/.wh.d", ".wh.usr") * 100]
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        tree = Tree(Spool(fd, DEFAULT), DEFAULT)
        for _ in range(3):
            tree.apply(TarReader(io.BytesIO(tar(*links, *marks)), DEFAULT), whiteouts=True)
    finally:
        os.close(fd)
    directory = tree.find(["usr", "d"])
    assert isinstance(directory, Directory)
    assert len(directory.children) == 100
    assert len(looks) <= 3 * (len(links) + len(marks))


def test_an_opaque_directory_can_be_deleted_and_filled_by_the_same_layer(
    store: ImageStore, tmp_path: Path
) -> None:
    marks = ("usr/d/.wh..wh..opq", "usr/.wh.d", "usr/d/.wh..wh..opq")
    layer = tar(entry(marks[0]), entry(marks[1]), entry("usr/d/own", b"5"), entry(marks[2]))
    later = tar(entry("usr/.wh.d"))
    kept = {"usr/a": "1", "usr/b": "2"}
    assert load(store, tmp_path, BASE, layer) == kept | {"usr/d/own": "5"}
    assert load(store, tmp_path, BASE, layer, later) == kept


def test_a_whiteout_of_nothing_is_nothing(store: ImageStore, tmp_path: Path) -> None:
    layer = tar(entry("nowhere/.wh.a"), entry("usr/.wh.none"), entry("usr/a/.wh.x"))
    assert len(load(store, tmp_path, BASE, layer)) == 4


def test_a_directory_replaces_a_link_of_a_lower_layer(store: ImageStore, tmp_path: Path) -> None:
    link = tar(entry("usr/l", kind=SYMLINK, link="/etc"), entry("etc/passwd", b"root"))
    layer = tar(entry("usr/l", kind=DIRECTORY), entry("usr/l/passwd", b"mine"))
    found = load(store, tmp_path, link, layer)
    assert (found["usr/l/passwd"], found["etc/passwd"]) == ("mine", "root")


def test_a_layer_may_not_write_through_a_link_of_a_lower_layer(
    store: ImageStore, tmp_path: Path
) -> None:
    link = tar(entry("usr/l", kind=SYMLINK, link="/etc"), entry("etc/passwd", b"root"))
    with pytest.raises(ImageError, match="lies below 'l', which is a link"):
        load(store, tmp_path, link, files(usr__l__passwd=b"evil"))


def test_a_file_replaces_a_directory_of_a_lower_layer(store: ImageStore, tmp_path: Path) -> None:
    assert load(store, tmp_path, BASE, files(usr__d=b"file"))["usr/d"] == "file"


def test_a_hard_link_may_name_a_file_of_a_lower_layer(store: ImageStore, tmp_path: Path) -> None:
    layer = tar(entry("usr/link", kind=HARDLINK, link="usr/a"))
    assert load(store, tmp_path, BASE, layer)["usr/link"] == "1"


def test_equal_layers_may_be_links_as_docker_once_wrote_them(
    store: ImageStore, tmp_path: Path
) -> None:
    listing = [{"Config": "c.json", "RepoTags": None, "Layers": ["1/layer.tar", "2/layer.tar"]}]
    saved = tar(
        entry("manifest.json", json.dumps(listing).encode()),
        entry("c.json", config([BASE, BASE])),
        entry("1/layer.tar", BASE),
        entry("2/layer.tar", kind=SYMLINK, link="../1/layer.tar"),
    )
    (tmp_path / "s.tar").write_bytes(saved)
    store.import_(tmp_path / "s.tar", "x")
    assert len(content(store)) == 4


def test_a_layer_that_links_to_itself_is_missing(store: ImageStore, tmp_path: Path) -> None:
    listing = [{"Config": "c.json", "Layers": ["l"]}]
    saved = tar(
        entry("manifest.json", json.dumps(listing).encode()),
        entry("c.json", config([BASE])),
        entry("l", kind=SYMLINK, link="l"),
    )
    (tmp_path / "s.tar").write_bytes(saved)
    with pytest.raises(ImageError, match="lacks"):
        store.import_(tmp_path / "s.tar", "x")


def test_deletions_outside_layers_are_refused(store: ImageStore, tmp_path: Path) -> None:
    """Docker would take the name for a deletion when it loads the image from us."""
    (tmp_path / "x.tar").write_bytes(tar(entry("usr/.wh.a", b"")))
    with pytest.raises(ImageError, match="means a deletion"):
        store.import_(tmp_path / "x.tar", "x")


# --- documents that lie


def refused(store: ImageStore, tmp_path: Path, saved: bytes, cause: str) -> None:
    (tmp_path / "saved.tar").write_bytes(saved)
    with pytest.raises(ImageError, match=cause):
        store.import_(tmp_path / "saved.tar", "x")
    assert store.list() == []


def test_a_layer_that_is_not_what_the_configuration_says(store: ImageStore, tmp_path: Path) -> None:
    refused(
        store,
        tmp_path,
        docker_save(BASE, configuration=config([files(usr__a=b"other")])),
        "is not what its digest promises",
    )


@pytest.mark.parametrize(
    ("configuration", "cause"),
    [
        (config([BASE], architecture="s390x"), "the image is for s390x"),
        (config([BASE], os="windows"), "is for 'windows'"),
        (config([BASE, BASE]), "1 layers and digests of 2"),
        (config([BASE], rootfs={}), "diff_ids is not a list of texts"),
        (b"[]", "architecture is not a text"),
        (b"{", "is no JSON"),
        (b'{"os": "linux", "os": "linux"}', "same key twice"),
        (b"[" * 5000, "is no JSON"),
    ],
)
def test_a_configuration_that_cannot_be_right(
    store: ImageStore, tmp_path: Path, configuration: bytes, cause: str
) -> None:
    refused(store, tmp_path, docker_save(BASE, configuration=configuration), cause)


@pytest.mark.parametrize(
    ("listing", "cause"),
    [
        (b"{}", "a list of images"),
        (b"[{}, {}]", "holds 2 images"),
        (b'[{"Config": "../../etc/passwd", "Layers": []}]', "lacks"),
        (b'[{"Config": "config.json", "Layers": [7]}]', "Layers is not a list of texts"),
        (b"nope", "is no JSON"),
    ],
)
def test_a_listing_that_cannot_be_right(
    store: ImageStore, tmp_path: Path, listing: bytes, cause: str
) -> None:
    saved = tar(entry("manifest.json", listing), entry("config.json", config([BASE])))
    refused(store, tmp_path, saved, cause)


def test_too_many_layers(tmp_path: Path) -> None:
    layers = [files(usr__a=b"%d" % number) for number in range(5)]
    refused(
        ImageStore(tmp_path / "images", Bounds(layers=4)),
        tmp_path,
        docker_save(*layers),
        "5 layers",
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_an_oci_layout_is_read(
    store: ImageStore,
    tmp_path: Path,
    zipped: bool,  # noqa: FBT001
) -> None:
    store.import_(oci_layout(tmp_path / "oci", BASE, zipped=zipped), "x")
    assert len(content(store)) == 4


@pytest.mark.parametrize("victim", ["config", "layer", "manifest"])
def test_a_blob_of_a_layout_that_was_changed_is_refused(
    store: ImageStore, tmp_path: Path, victim: str
) -> None:
    layout = oci_layout(tmp_path / "oci", BASE, zipped=False)
    index = json.loads((layout / "index.json").read_text())
    manifest = layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]
    document = json.loads(manifest.read_text())
    path = {
        "manifest": manifest,
        "config": layout / "blobs/sha256" / document["config"]["digest"][7:],
        "layer": layout / "blobs/sha256" / document["layers"][0]["digest"][7:],
    }[victim]
    path.write_bytes(path.read_bytes().replace(b"1", b"7"))
    with pytest.raises(ImageError):
        store.import_(layout, "x")
    assert store.list() == []


def test_a_blob_that_is_a_link_to_the_host_is_not_followed(
    store: ImageStore, tmp_path: Path
) -> None:
    layout = oci_layout(tmp_path / "oci", BASE)
    for blob in (layout / "blobs/sha256").iterdir():
        copy = tmp_path / blob.name
        blob.rename(copy)
        blob.symlink_to(copy)
    with pytest.raises(ImageError, match="the image lacks"):
        store.import_(layout, "x")


def test_an_index_of_indexes_ends(store: ImageStore, tmp_path: Path) -> None:
    layout = oci_layout(tmp_path / "oci", BASE)
    blobs = layout / "blobs/sha256"
    data = (layout / "index.json").read_bytes()
    for _ in range(4):
        (blobs / digest(data)[7:]).write_bytes(data)
        inner = {"mediaType": oci.INDEX, "digest": digest(data), "size": len(data)}
        data = json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode()
    (layout / "index.json").write_bytes(data)
    with pytest.raises(ImageError, match="indexes only"):
        store.import_(layout, "x")


def test_the_variant_for_this_machine_is_taken_and_attestations_are_not(
    store: ImageStore, tmp_path: Path
) -> None:
    layout = oci_layout(tmp_path / "oci", BASE)
    index = json.loads((layout / "index.json").read_text())
    mine = index["manifests"][0] | {"platform": {"architecture": oci.architecture(), "os": "linux"}}
    others = [
        mine | {"digest": "sha256:" + "0" * 64, "platform": {"architecture": name, "os": name}}
        for name in ("s390x", "unknown")
    ]
    (layout / "index.json").write_text(json.dumps({"manifests": [*others, mine]}))
    store.import_(layout, "x")
    assert len(content(store)) == 4
