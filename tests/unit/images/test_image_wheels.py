"""Wheels become files of a derived image; hostile ones become errors, and nothing is executed."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import stat
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images.bounds import DEFAULT
from fumehood.images.derive import derive
from fumehood.images.sources import Workplace
from fumehood.images.spool import Spool
from fumehood.images.store import ImageStore
from fumehood.images.tree import Tree
from fumehood.images.wheel import Python
from fumehood.images.wheel import install as install_wheel
from support.archives import DIRECTORY, SYMLINK, entry, tar

SITE = "usr/local/lib/python3.11/dist-packages"
NAME = "lib-1.0-py3-none-any.whl"
INFO = "lib-1.0.dist-info"
FILES: dict[str, bytes] = {
    "lib/__init__.py": b"def main(): return 0\n",
    "lib-1.0.data/scripts/tool": b"#!python -E\nprint()\n",
    "lib-1.0.data/data/share/x.txt": b"data",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": b"[console_scripts]\nlib-run = lib:main\n",
}


def wheel(files: Mapping[str, bytes] = FILES, *, record: str | None = None) -> bytes:
    target = io.BytesIO()
    lines = [f"{name},sha256={_b64(data)},{len(data)}" for name, data in files.items()]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
        text = record if record is not None else "\n".join([*lines, f"{INFO}/RECORD,,"])
        archive.writestr(f"{INFO}/RECORD", text)
    return target.getvalue()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


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


def install(store: ImageStore, tmp_path: Path, data: bytes) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(data)
    text = f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"
    image = derive(store, "python", text, wheels=folder)
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
    tree = install(store, tmp_path, wheel())
    assert (tree / SITE / "lib/__init__.py").read_bytes() == FILES["lib/__init__.py"]
    assert (tree / "usr/local/share/x.txt").read_text() == "data"
    script = tree / "usr/local/bin/tool"
    assert script.read_text().startswith("#!/usr/bin/python3\n")
    assert stat.S_IMODE(script.stat().st_mode) == 0o555
    assert "from lib import main" in (tree / "usr/local/bin/lib-run").read_text()
    assert store.verify() == []
    ours, theirs = (path / "usr/bin/python3.11" for path in (tree, store.path(python)))
    assert ours.stat().st_ino == theirs.stat().st_ino, "the base is shared, not copied"


def test_the_second_time_nothing_is_asked(
    store: ImageStore, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = wheel()
    install(store, tmp_path, data)
    monkeypatch.setattr(subprocess, "run", None)
    text = f"# the same\nlib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}"
    assert derive(store, "python", text).name.startswith("python:requirements-")


def test_a_wheel_once_used_is_there_without_a_network(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    data = wheel()
    install(store, tmp_path, data)
    store.remove(store.list()[-1].name)
    text = f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}"
    assert derive(store, "python", text).requirements


def test_without_network_and_wheels_the_error_says_what_to_do(
    store: ImageStore, python: str, tmp_path: Path
) -> None:
    """A wheel with another hash is as good as none."""
    (tmp_path / NAME).write_bytes(wheel())
    with pytest.raises(ImageError, match="cannot be had") as caught:
        derive(store, "python", f"lib==1.0 --hash=sha256:{'a' * 64}", wheels=tmp_path)
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
        derive(store, "plain", f"lib==1.0 --hash=sha256:{'a' * 64}")


def _record() -> str:
    return "\n".join(f"{name},sha256={_b64(data)},1" for name, data in FILES.items())


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
        wheel(record=_record().replace(_b64(b"data"), _b64(b"other"))),
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
