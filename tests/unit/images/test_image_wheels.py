"""Wheels become files of a derived image; hostile ones become errors, and nothing is executed."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import ImageError
from fumehood.images.bounds import DEFAULT
from fumehood.images.derive import derive
from fumehood.images.fetching import Fetcher
from fumehood.images.sources import Workplace
from fumehood.images.spool import Spool
from fumehood.images.store import Image, ImageStore
from fumehood.images.tree import Tree
from fumehood.images.wheel import Python
from fumehood.images.wheel import install as install_wheel
from support import fetch
from support.archives import DIRECTORY, FIFO, HARDLINK, SYMLINK, entry, tar
from support.wheels import FILES, INFO, NAME, SITE, b64, wheel


@pytest.fixture
def python(store: ImageStore, tmp_path: Path) -> str:
    """A tree that looks like an image with Python; nothing of it is ever run."""
    (tmp_path / "python.tar").write_bytes(
        tar(
            entry("usr/bin/python3", kind=SYMLINK, link="python3.11"),
            entry("usr/bin/python3.11", b"never run", mode=0o755),
            entry("usr/local/bin", kind=DIRECTORY),
        )
    )
    return store.import_(tmp_path / "python.tar", "python").digest


def unpack(store: ImageStore, tmp_path: Path, data: bytes) -> None:
    """Only our part of it: no pip."""
    (tmp_path / NAME).write_bytes(data)

    def fill(place: Workplace) -> Tree:
        tree = Tree(Spool(place.contents, DEFAULT), DEFAULT)
        install_wheel(tree, tmp_path / NAME, Python("3.11", SITE, "/usr/bin/python3"), DEFAULT)
        return tree

    store.add(fill, "derived", source="test")


def install(
    store: ImageStore, tmp_path: Path, data: bytes, fetcher: Fetcher = fetch.nearby
) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(data)
    text = f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"
    image = derive(store, "python", text, fetcher=fetcher, wheels=folder)
    assert store.pin("python", image.requirements) == image.digest
    return store.path(image.digest)


@pytest.fixture(autouse=True)
def _no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a host without a network."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/no-index")


def test_a_wheel_is_spread_as_an_installer_would(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    tree = install(store, tmp_path, wheel(), fetch.real())
    assert (tree / SITE / "lib/__init__.py").read_bytes() == FILES["lib/__init__.py"]
    assert (tree / "usr/local/share/x.txt").read_text() == "data"
    script = tree / "usr/local/bin/tool"
    assert script.read_text().startswith("#!/usr/bin/python3\n")
    assert stat.S_IMODE(script.stat().st_mode) == 0o555
    assert "from lib import main" in (tree / "usr/local/bin/lib-run").read_text()
    assert store.verify() == []
    ours, theirs = (path / "usr/bin/python3.11" for path in (tree, store.path(python)))
    assert ours.stat().st_ino == theirs.stat().st_ino, "the base is shared, not copied"


def test_the_second_time_nothing_is_asked(store: ImageStore, python: str, tmp_path: Path) -> None:
    data = wheel()
    install(store, tmp_path, data)
    text = f"# the same\nlib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}"
    assert derive(store, "python", text, fetcher=fetch.never).name.startswith(
        "python:requirements-"
    )


def test_a_wheel_once_used_is_there_without_a_network(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    data = wheel()
    install(store, tmp_path, data)
    store.remove(store.list()[-1].name)
    text = f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}"
    assert derive(store, "python", text, fetcher=fetch.nearby).requirements


def test_without_network_and_wheels_the_error_says_what_to_do(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    """A wheel with another hash is as good as none."""
    (tmp_path / NAME).write_bytes(wheel())
    with pytest.raises(ImageError, match="cannot be had") as caught:
        derive(
            store,
            "python",
            f"lib==1.0 --hash=sha256:{'a' * 64}",
            fetcher=fetch.real(),
            wheels=tmp_path,
        )
    assert "--wheels" in caught.value.remedy


def test_requirements_that_are_not_installed_cannot_be_pinned(
    store: ImageStore, python: str
) -> None:
    with pytest.raises(ImageError, match="not installed over python"):
        store.pin("python", "sha256:" + "0" * 64)
    with pytest.raises(ImageError, match="needs an image of its own"):
        store.pin("host", "sha256:" + "0" * 64)


def test_an_image_without_python_is_refused(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar(entry("usr/a", b"")))
    store.import_(tmp_path / "x.tar", "plain")
    with pytest.raises(ImageError, match="has no Python 3"):
        derive(store, "plain", f"lib==1.0 --hash=sha256:{'a' * 64}", fetcher=fetch.never)


def _record() -> str:
    return "\n".join(f"{name},sha256={b64(data)},1" for name, data in FILES.items())


HOSTILE: dict[str, tuple[str, bytes]] = {
    "dot dot": ("leads out", wheel({**FILES, "../../../etc/evil": b"x"})),
    "absolute": ("absolute name", wheel({**FILES, "/etc/evil": b"x"})),
    "out of the data folder": (
        "leads out",
        wheel({**FILES, "lib-1.0.data/data/../../../../etc/evil": b"x"}),
    ),
    "unknown scheme": ("no scheme", wheel({**FILES, "lib-1.0.data/evil/x": b"x"})),
    "over another file": (
        "is in the image already",
        wheel({**FILES, "lib-1.0.data/scripts/lib-run": b""}),
    ),
    "not in RECORD": ("is not in RECORD", wheel({**FILES, "lib/more.py": b""}, record=_record())),
    "another hash in RECORD": (
        "not what RECORD says",
        wheel(record=_record().replace(b64(b"data"), b64(b"other"))),
    ),
    "weak hash in RECORD": ("only sha256", wheel(record=_record().replace("sha256", "md5"))),
    "missing file": ("in RECORD and not in the wheel", wheel(record=_record() + "\nx,sha256=AA,1")),
    "no zip": ("no wheel", b"this is no zip archive at all"),
    "script that is none": (
        "malformed script",
        wheel({**FILES, f"{INFO}/entry_points.txt": b"[console_scripts]\n../x = lib:main\n"}),
    ),
    "script with code": (
        "malformed script",
        wheel({**FILES, f"{INFO}/entry_points.txt": b"[console_scripts]\nx = 1;import os\n"}),
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_wheel_is_refused_and_nothing_is_left(
    case: str, store: ImageStore, python: str, tmp_path: Path
) -> None:
    cause, data = HOSTILE[case]
    with pytest.raises(ImageError, match=cause):
        unpack(store, tmp_path, data)
    assert [item.name for item in store.list()] == ["python:latest"]
    assert os.listdir(store.directory / "trees") == [python[7:]]


def test_links_in_a_wheel_are_refused(store: ImageStore, python: str, tmp_path: Path) -> None:
    target = io.BytesIO(wheel())
    with zipfile.ZipFile(target, "a") as archive:
        info = zipfile.ZipInfo("lib/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/shadow")
    with pytest.raises(ImageError, match="is no plain file"):
        unpack(store, tmp_path, target.getvalue())


def test_a_directory_that_claims_gigabytes_is_not_read(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    data = bytearray(wheel())
    at = data.rindex(b"PK\5\6")
    data[at + 12 : at + 16] = (0xFFFFFFF0).to_bytes(4, "little")
    with pytest.raises(ImageError, match="a directory of more"):
        unpack(store, tmp_path, bytes(data))


# --- bytecode


CACHE = f"{SITE}/lib/__pycache__/__init__.cpython-311.pyc"


def compiled(store: ImageStore, tmp_path: Path, archive: bytes) -> Image:
    """Derive with a stand-in for the compiler, which is believed nothing."""
    data = wheel()
    (tmp_path / NAME).write_bytes(data)

    @contextmanager
    def compiler(bare: Image, python: Python) -> Iterator[io.BytesIO]:
        assert store.path(bare.digest).is_dir()
        assert (python.version, python.site) == ("3.11", SITE)
        yield io.BytesIO(archive)

    text = f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"
    return derive(store, "python", text, fetcher=fetch.nearby, wheels=tmp_path, compiler=compiler)


def test_bytecode_is_put_beside_its_source(store: ImageStore, python: str, tmp_path: Path) -> None:
    image = compiled(store, tmp_path, tar(entry(CACHE, b"code")))
    assert (store.path(image.digest) / CACHE).read_bytes() == b"code"
    assert [item.name for item in store.list()] == ["python:latest", image.name]
    assert len(os.listdir(store.directory / "trees")) == 2
    assert store.pin("python", image.requirements) == image.digest


@pytest.mark.parametrize(
    "entries",
    [
        [entry("usr/bin/evil", b"x")],
        [entry("../evil", b"x")],
        [entry(f"{SITE}/lib/__init__.py", b"x")],
        [entry(f"{SITE}/lib/__pycache__/other.cpython-311.pyc", b"x")],
        [entry(f"{SITE}/lib/__pycache__/__init__.py", b"x")],
        [entry(CACHE, kind=SYMLINK, link="/etc/passwd")],
        [entry(CACHE, kind=HARDLINK, link="usr/bin/python3.11")],
        [entry(CACHE, kind=FIFO)],
        [entry(CACHE, b"x"), entry(CACHE, b"y")],
        [entry("__pycache__/x.pyc", b"x")],
        [entry("x.pyc", b"x")],
        [entry("", b"x")],
    ],
)
def test_a_compiler_can_deliver_nothing_but_bytecode(
    store: ImageStore, python: str, tmp_path: Path, entries: list[Any]
) -> None:
    with pytest.raises(ImageError):
        compiled(store, tmp_path, tar(*entries))
    assert [item.name for item in store.list()] == ["python:latest"]
    assert os.listdir(store.directory / "trees") == [python[7:]]


# --- over a base whose name moved


def _update(store: ImageStore, tmp_path: Path) -> str:
    """`python` moves to another image; returns its digest."""
    tree = tmp_path / "updated"
    shutil.copytree(store.path(store.resolve("python").digest), tree, symlinks=True)
    (tree / "usr").chmod(0o755)
    (tree / "usr/updated").write_text("")
    return store.import_(tree, "python").digest


def test_the_same_libraries_over_an_updated_base_leave_the_former_image(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    archive = tar(entry(CACHE, b"code"))
    before = compiled(store, tmp_path, archive)
    updated = _update(store, tmp_path)
    after = compiled(store, tmp_path, archive)
    assert (before.base, after.base) == (python, updated)
    assert before.name != after.name
    assert python[7:19] in before.name
    for image in (before, after):
        assert store.resolve(image.name) == image
        assert store.pin(image.digest) == image.digest
    assert store.pin(python, before.requirements) == before.digest
    assert store.pin("python", after.requirements) == after.digest
    assert store.verify() == []


def test_compiling_takes_no_image_away_that_was_there_before(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    """The unfinished image may be one that tools are pinned to."""
    data = wheel()
    plain = store.resolve(f"sha256:{install(store, tmp_path, data).name}")
    archive, other = tmp_path / "again.tar", tmp_path / "other.tar"
    with archive.open("wb") as file:
        store.export_tar(plain.digest, file)
    store.remove(plain.digest)
    assert store.import_(archive, "own").digest == plain.digest
    other.write_bytes(tar(entry("usr/x", b"1")))
    store.import_(other, "own")
    compiled(store, tmp_path, tar(entry(CACHE, b"code")))
    assert store.pin(plain.digest) == plain.digest
    assert store.resolve(plain.digest).name == ""


def test_libraries_that_were_taken_away_are_made_again(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    archive = tar(entry(CACHE, b"code"))
    image = compiled(store, tmp_path, archive)
    (store.path(image.digest) / CACHE).chmod(0o644)
    assert {problem.digest for problem in store.quarantine()} == {image.digest}
    with pytest.raises(ImageError, match="is missing"):
        store.pin("python", image.requirements)
    assert compiled(store, tmp_path, archive).digest == image.digest
    assert store.pin("python", image.requirements) == image.digest
