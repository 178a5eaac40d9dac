"""A disk that fills up during an import: one error, and nothing of the image is left on it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import entry, tar
from support.hood import command

MIB = 1 << 20


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a disk of its own, of 4 MiB."""
    path = tmp_path / "state"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def images(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("image", *words),
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "FUMEHOOD_STATE": str(state)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def used(state: Path) -> int:
    found = os.statvfs(state)
    return (found.f_blocks - found.f_bfree) * found.f_bsize


@pytest.mark.parametrize("files", [1, 64], ids=["one-file", "many-files"])
def test_an_import_that_fills_the_disk_leaves_nothing(
    state: Path, tmp_path: Path, files: int
) -> None:
    small, large = tmp_path / "small.tar", tmp_path / "large.tar"
    small.write_bytes(tar(entry("usr/a", b"1")))
    part = os.urandom(8 * MIB // files)
    large.write_bytes(tar(*(entry(f"usr/{number}", part) for number in range(files))))
    assert images(state, "import", str(small)).returncode == 0
    before = used(state)
    done = images(state, "import", str(large), "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert (error["code"], "is full" in error["cause"]) == ("image", True)
    assert error["remedy"]
    # A directory of tmpfs keeps what its names once took: at most a page for each of a few.
    assert used(state) - before <= MIB // 8
    listed = json.loads(images(state, "list", "--json").stdout)
    assert [image["name"] for image in listed] == ["small:latest"]
    assert images(state, "verify").returncode == 0
    small.write_bytes(tar(entry("usr/a", bytes(MIB))))
    assert images(state, "import", str(small), "--name", "next").returncode == 0
