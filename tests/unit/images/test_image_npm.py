"""Node packages become files of a derived image; what is not exactly what a lock file names is an
error, and nothing is executed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import ImageError
from fumehood.images import npm, npm_lock
from fumehood.images.bounds import DEFAULT
from fumehood.images.derive import derive
from fumehood.images.fetching import Fetch
from fumehood.images.requirements import key_of
from fumehood.images.store import Image, ImageStore
from support import fetch
from support.archives import FIFO, HARDLINK, SYMLINK, entry, tar


def archive(name: str, *more: Any, version: str = "1.0.0") -> bytes:
    """A package as npm packs it."""
    description = json.dumps({"name": name, "version": version, "main": "index.js"}).encode()
    entries = [
        entry("package/package.json", description),
        entry("package/index.js", b"module.exports = 7\n"),
        entry("package/bin/run", b"#!/usr/bin/node\n", mode=0o755),
        *more,
    ]
    return gzip.compress(tar(*entries))


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def package(data: bytes, **more: object) -> dict[str, object]:
    return {"version": "1.0.0", "integrity": integrity(data), **more}


def lock(packages: dict[str, object], version: int = 3) -> str:
    return json.dumps({"name": "tool", "lockfileVersion": version, "packages": packages})


@pytest.fixture
def node(store: ImageStore, tmp_path: Path) -> str:
    """A tree that looks like an image with Node; nothing of it is ever run."""
    (tmp_path / "node.tar").write_bytes(tar(entry("usr/bin/node", b"never run", mode=0o755)))
    return store.import_(tmp_path / "node.tar", "node").digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "packages"
    place.mkdir()
    return place


class Asked:
    """In the sandbox's place: notes what would be run, and delivers nothing."""

    def __init__(self) -> None:
        self.runs: list[Fetch] = []

    def __call__(self, wanted: Fetch) -> None:
        self.runs.append(wanted)


def derive_lib(store: ImageStore, data: bytes, folder: Path, **more: Any) -> Image:
    """An image with one package whose archive is in the folder, or is not."""
    text = lock({"node_modules/lib": package(data)})
    return derive(store, "node", text, **({"fetcher": fetch.never, "wheels": folder} | more))


def test_packages_stand_where_node_looks_for_them(
    store: ImageStore, node: str, folder: Path
) -> None:
    outer, inner = archive("outer"), archive("@scope/inner", version="2.0.0")
    (folder / "a.tgz").write_bytes(outer)
    (folder / "b.tgz").write_bytes(inner)
    text = lock(
        {
            "": {"name": "tool"},
            "node_modules/outer": package(outer, hasInstallScript=True),
            "node_modules/outer/node_modules/@scope/inner": package(inner, version="2.0.0"),
            "node_modules/for-tests": {"version": "1.0.0", "dev": True},
        }
    )
    image = derive(store, "node", text, fetcher=fetch.never, wheels=folder)
    tree = store.path(image.digest)
    assert (tree / "node_modules/outer/index.js").read_text() == "module.exports = 7\n"
    assert (tree / "node_modules/outer/node_modules/@scope/inner/package.json").exists()
    assert not (tree / "node_modules/for-tests").exists()
    assert stat.S_IMODE((tree / "node_modules/outer/bin/run").stat().st_mode) == 0o555
    assert store.verify() == []
    assert store.pin("node", key_of(text)) == image.digest
    purls = {part["purl"] for part in json.loads(store.sbom(image))["components"] if "purl" in part}
    assert {"pkg:npm/outer@1.0.0", "pkg:npm/%40scope/inner@2.0.0"} <= purls


def test_the_second_time_nobody_is_asked(store: ImageStore, node: str, folder: Path) -> None:
    data = archive("lib")
    (folder / "lib.tgz").write_bytes(data)
    text = lock({"node_modules/lib": package(data)})
    first = derive(store, "node", text, fetcher=fetch.never, wheels=folder)
    assert derive(store, "node", f"\n{text}\n", fetcher=fetch.never).digest == first.digest
    store.remove(first.name)
    assert (
        derive(store, "node", text, fetcher=fetch.never).digest == first.digest
    )  # from what was kept


def test_npm_is_asked_for_what_is_missing_and_runs_no_script(store: ImageStore, node: str) -> None:
    text = lock({"node_modules/alias": package(archive("lib"), name="lib")})
    asked = Asked()
    with pytest.raises(ImageError, match="another hash"):
        derive(store, "node", text, fetcher=asked)
    (run,) = asked.runs
    assert Path(run.argv[0]).name == "npm"
    assert run.argv[1] == "pack"
    assert "--ignore-scripts" in run.argv
    assert run.argv[-2:] == ("--", "lib@1.0.0")


def test_without_npm_and_packages_the_error_says_what_to_do(
    store: ImageStore, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm, "find", lambda name: None)
    with pytest.raises(ImageError, match="npm is not installed") as caught:
        derive(
            store, "node", lock({"node_modules/lib": package(archive("lib"))}), fetcher=fetch.never
        )
    assert "--wheels" in caught.value.remedy


def test_an_archive_with_another_hash_is_as_good_as_none(
    store: ImageStore, node: str, folder: Path
) -> None:
    (folder / "lib.tgz").write_bytes(archive("lib", entry("package/x", b"changed")))
    with pytest.raises(ImageError, match="another hash"):
        derive_lib(store, archive("lib"), folder, fetcher=Asked())
    assert [image.name for image in store.list()] == ["node:latest"]


@pytest.mark.parametrize(
    "trap",
    [
        entry("package/../../../etc/passwd", b"x"),
        entry("package/link", kind=SYMLINK, link="/etc/passwd"),
        entry("package/hard", kind=HARDLINK, link="package/index.js"),
        entry("package/fifo", kind=FIFO),
        entry("package/.wh.index.js", b""),
        entry("package/index.js", b"twice"),
        entry("alone", b"x"),
    ],
    ids=["climbs", "symlink", "hard-link", "fifo", "whiteout", "twice", "no-folder"],
)
def test_a_hostile_archive_is_refused_and_nothing_is_left(
    store: ImageStore, node: str, folder: Path, trap: Any
) -> None:
    data = archive("lib", trap)
    (folder / "lib.tgz").write_bytes(data)
    with pytest.raises(ImageError, match=r"lib@1\.0\.0"):
        derive_lib(store, data, folder)
    assert [image.name for image in store.list()] == ["node:latest"]
    assert store.verify() == []


def test_a_bomb_stops_at_the_bound(store: ImageStore, node: str, folder: Path) -> None:
    data = archive("lib", entry("package/zeros", bytes(4 << 20)))
    assert len(data) < 64 << 10
    (folder / "lib.tgz").write_bytes(data)
    small = replace(DEFAULT, bytes=1 << 20)
    with pytest.raises(ImageError, match="has more than 1048576 bytes"):
        derive_lib(store, data, folder, bounds=small)


def test_a_link_in_the_folder_is_not_followed(
    store: ImageStore, node: str, folder: Path, tmp_path: Path
) -> None:
    data = archive("lib")
    (tmp_path / "elsewhere").write_bytes(data)
    (folder / "lib.tgz").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="cannot be read"):
        derive_lib(store, data, folder)


def test_an_image_without_node_or_with_packages_of_its_own_is_refused(
    store: ImageStore, folder: Path, tmp_path: Path
) -> None:
    data = archive("lib")
    (folder / "lib.tgz").write_bytes(data)
    text = lock({"node_modules/lib": package(data)})
    (tmp_path / "x.tar").write_bytes(tar(entry("usr/bin/python3", b"")))
    store.import_(tmp_path / "x.tar", "plain")
    with pytest.raises(ImageError, match="the image has no Node"):
        derive(store, "plain", text, fetcher=fetch.never, wheels=folder)
    (tmp_path / "y.tar").write_bytes(
        tar(entry("usr/bin/node", b""), entry("node_modules/lib/index.js", b""))
    )
    store.import_(tmp_path / "y.tar", "full")
    with pytest.raises(ImageError, match="has a /node_modules already"):
        derive(store, "full", text, fetcher=fetch.never, wheels=folder)


# --- the lock file

GOOD = package(b"x")


@pytest.mark.parametrize(
    ("packages", "cause"),
    [
        ({}, "0 packages"),
        ({"node_modules/a": {"version": "1.0.0"}}, "no SHA-512"),
        ({"node_modules/a": package(b"x", integrity="sha1-aaaa")}, "no SHA-512"),
        ({"node_modules/a": package(b"x", version="git+ssh://x")}, "no version of a registry"),
        ({"node_modules/a": package(b"x", version="-1")}, "no version of a registry"),
        ({"node_modules/a": package(b"x", link=True)}, "workspaces and links"),
        ({"packages/a": GOOD}, "workspaces and links"),
        ({"node_modules/../a": GOOD}, "workspaces and links"),
        ({"node_modules/-a": GOOD}, "workspaces and links"),
        ({"node_modules/a": package(b"x", name="--registry")}, "malformed name"),
        ({"node_modules/a": package(b"x", name=7)}, "malformed name"),
        ({"node_modules/a": []}, "is no object"),
        ({"node_modules/a": package(b"x", os=["win32"])}, "another kind of machine"),
        ({"node_modules/a": package(b"x", cpu=["!x64", "!arm64"])}, "another kind of machine"),
    ],
)
def test_anything_else_is_refused(packages: dict[str, object], cause: str) -> None:
    with pytest.raises(ImageError, match=cause):
        npm_lock.parse(lock(packages))


@pytest.mark.parametrize(
    "text",
    [
        '{"lockfileVersion": 1, "packages": {}}',
        '{"lockfileVersion": 3}',
        '{"lockfileVersion": 3, "packages": []}',
        '{"lockfileVersion": 3, "lockfileVersion": 3, "packages": {}}',
        '{"lockfileVersion"',
    ],
)
def test_a_document_that_is_no_lock_file_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match=r"package-lock\.json"):
        npm_lock.parse(text)


def test_optional_packages_of_other_machines_are_left_out() -> None:
    found = npm_lock.parse(
        lock(
            {
                "node_modules/here": package(b"x", optional=True, os=["linux", "darwin"]),
                "node_modules/mac": package(b"y", optional=True, os=["darwin"]),
                "node_modules/musl": package(b"z", optional=True, libc=["musl"]),
                "node_modules/bundled": {"inBundle": True},
            }
        )
    )
    assert [item.path for item in found] == ["node_modules/here"]


def test_the_key_is_of_what_is_installed_and_nothing_else() -> None:
    text = lock({"node_modules/a": package(b"x", resolved="somewhere")})
    same = lock({"node_modules/a": package(b"x", license="MIT"), "": {}}, version=2)
    other = lock({"node_modules/a": package(b"y")})
    assert key_of(text) == key_of(same) != key_of(other)


def test_no_other_file_is_taken_for_a_lock() -> None:
    assert not npm_lock.is_lock("lib==1.0 --hash=sha256:00  # lockfileVersion")
    assert not npm_lock.is_lock(json.dumps({"name": "a-manifest"}))
