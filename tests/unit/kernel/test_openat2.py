"""Artifacts are collected from trees that a hostile program wrote."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fumehood.kernel import openat2
from fumehood.kernel.openat2 import Found

MIB = 1 << 20


def collected(root: Path, *, files: int = 64, most: int = MIB) -> dict[str, Found]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = openat2.collect(fd, max_files=files, max_bytes=most)
    finally:
        os.close(fd)
    for item in found:
        if item.fd >= 0:
            os.close(item.fd)
    return {item.name: item for item in found}


def test_regular_files_are_found_in_folders_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/b").write_text("three")
    found = collected(tmp_path)
    assert {name: item.size for name, item in found.items()} == {"a": 3, "deep/er/b": 5}


def _symlink(root: Path) -> None:
    (root / "x").symlink_to("/etc/passwd")


def _symlinked_folder(root: Path) -> None:
    (root / "x").symlink_to("/etc")


def _hard_link(root: Path) -> None:
    (root.parent / "other").write_text("not yours")
    os.link(root.parent / "other", root / "x")


def _fifo(root: Path) -> None:
    os.mkfifo(root / "x")


def _sparse(root: Path) -> None:
    with (root / "x").open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_symlink, "symlink"),
        (_symlinked_folder, "symlink"),
        (_hard_link, "hard_link"),
        (_fifo, "not_regular"),
        (_sparse, "too_large"),
    ],
)
def test_what_is_no_plain_file_is_named_and_left(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    root = tmp_path / "out"
    root.mkdir()
    make(root)
    found = collected(root)
    assert found["x"].refused == reason
    assert found["x"].fd == -1


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"esc\x1b[0m"])
def test_a_name_that_is_no_printable_text_is_refused(tmp_path: Path, name: bytes) -> None:
    fd = os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT | os.O_WRONLY)
    os.close(fd)
    ((shown, item),) = collected(tmp_path).items()
    assert item.refused == "name"
    assert shown.isprintable()


def test_a_tree_of_a_thousand_folders_ends(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    found = collected(tmp_path)
    assert [item.refused for item in found.values()] == ["too_deep"]
    # pytest removes old folders by recursion, and would fail later at one this deep.
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_many_files_are_cut_off_with_one_word(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}").touch()
    found = collected(tmp_path, files=64)
    assert len(found) == 65
    assert found["…"].refused == "too_many"


def test_the_budget_counts_all_files_together(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * 600)
    found = collected(tmp_path, most=1300)
    assert [found[name].refused for name in "abc"] == ["", "", "too_large"]
