"""Digests of trees, and the trees that are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.catalog.pins import stored_digest, tool_digest
from fumehood.errors import CatalogError
from fumehood.model.tree import MAX_FILES, ToolFile, check_files, tree_digest
from support.refusals import refused

parts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5)
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
files = st.builds(ToolFile, st.binary(max_size=20), st.booleans())
trees = st.dictionaries(paths, files, max_size=5)


def stored(directory: Path, tree: dict[str, ToolFile]) -> Path:
    directory.mkdir(mode=0o755)
    for path, file in tree.items():
        target = directory / path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(0o755 if file.executable else 0o644)
    return directory


TREE = {
    "main.py": ToolFile(b"print()", executable=False),
    "bin/x": ToolFile(b"#!", executable=True),
}


@given(trees, trees)
def test_different_trees_have_different_digests(
    one: dict[str, ToolFile], two: dict[str, ToolFile]
) -> None:
    assert (tree_digest(one) == tree_digest(two)) == (one == two)


@given(trees)
def test_the_order_of_files_does_not_count(tree: dict[str, ToolFile]) -> None:
    assert tree_digest(dict(reversed(list(tree.items())))) == tree_digest(tree)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": b"bc"}, {"ab": b"c"}),
        ({"a": b""}, {"a": b"\0"}),
        ({"a": b"", "b": b""}, {"a": b"b"}),
        ({"a/b": b""}, {"a": b""}),
    ],
)
def test_names_and_contents_cannot_run_into_each_other(
    one: dict[str, bytes], two: dict[str, bytes]
) -> None:
    digests = {
        tree_digest({path: ToolFile(data, executable=False) for path, data in tree.items()})
        for tree in (one, two)
    }
    assert len(digests) == 2


def test_a_tools_digest_covers_manifest_and_tree() -> None:
    digests = {
        tool_digest(manifest, tree)
        for manifest in (b"{}", b"{ }")
        for tree in (None, "sha384:" + "0" * 96, "sha384:" + "1" * 96)
    }
    assert len(digests) == 6


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../b",
        "/etc/passwd",
        "//x",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "a\\b",
        "a\0b",
        "a\nb",
        "x\u202ey",
        "a/" * 16 + "b",
        "n" * 256,
        "\u00e9" * 128,
        "ab/" * 400 + "c",
    ],
    ids=lambda path: repr(path)[:20],
)
def test_paths_that_lead_out_or_are_spelled_twice_are_refused(path: str) -> None:
    with pytest.raises(CatalogError):
        check_files({path: ToolFile(b"", executable=False)})


@given(st.dictionaries(st.text(), files, max_size=3))
def test_whatever_is_let_in_stays_inside(tree: dict[str, ToolFile]) -> None:
    if refused(CatalogError, lambda: check_files(tree)) is None:
        for path in tree:
            assert os.path.normpath(os.path.join("/store/x", path)) == f"/store/x/{path}"


def test_a_name_is_not_a_file_and_a_folder() -> None:
    file = ToolFile(b"", executable=False)
    with pytest.raises(CatalogError, match="something that is a file"):
        check_files({"a": file, "a/b/c": file})


def test_number_and_size_of_files_are_bounded() -> None:
    with pytest.raises(CatalogError, match=f"at most {MAX_FILES}"):
        check_files({f"f{i}": ToolFile(b"", executable=False) for i in range(MAX_FILES + 1)})
    half = ToolFile(bytes((32 << 20) + 1), executable=False)
    with pytest.raises(CatalogError, match="bytes; at most"):
        check_files({"a": half, "b": half})


def test_a_stored_tree_is_read_back_to_its_digest(tmp_path: Path) -> None:
    assert stored_digest(stored(tmp_path / "t", TREE)) == tree_digest(TREE)


def change_content(tree: Path) -> None:
    (tree / "main.py").write_bytes(b"evil()")


def add_a_file(tree: Path) -> None:
    (tree / "extra").write_bytes(b"")
    (tree / "extra").chmod(0o644)


def remove_a_file(tree: Path) -> None:
    (tree / "main.py").unlink()


def swap_executable(tree: Path) -> None:
    (tree / "main.py").chmod(0o755)


def make_writable(tree: Path) -> None:
    (tree / "main.py").chmod(0o666)


def make_setuid(tree: Path) -> None:
    (tree / "bin/x").chmod(0o4755)


def make_folder_writable(tree: Path) -> None:
    (tree / "bin").chmod(0o777)


def link_a_file(tree: Path) -> None:
    (tree / "main.py").unlink()
    (tree / "main.py").symlink_to("/etc/passwd")


def add_a_link_to_a_folder(tree: Path) -> None:
    (tree / "etc").symlink_to("/etc")


def replace_the_folder_by_a_link(tree: Path) -> None:
    (tree / "bin").rename(tree.parent / "moved")
    (tree / "bin").symlink_to(tree.parent / "moved")


def add_a_fifo(tree: Path) -> None:
    os.mkfifo(tree / "fifo", 0o644)


def add_a_hard_link(tree: Path) -> None:
    (tree / "copy.py").hardlink_to(tree / "main.py")


def add_an_empty_folder(tree: Path) -> None:
    (tree / "empty").mkdir(mode=0o755)


@pytest.mark.parametrize(
    "tamper",
    [
        change_content, add_a_file, remove_a_file, swap_executable, make_writable, make_setuid,
        make_folder_writable, link_a_file, add_a_link_to_a_folder, replace_the_folder_by_a_link,
        add_a_fifo, add_a_hard_link, add_an_empty_folder,
    ],
)  # fmt: skip
def test_a_tree_that_was_tampered_with_is_seen(tmp_path: Path, tamper: object) -> None:
    tree = stored(tmp_path / "t", TREE)
    assert callable(tamper)
    tamper(tree)
    error = refused(Exception, lambda: stored_digest(tree))
    if error is None:
        assert stored_digest(tree) != tree_digest(TREE)
    else:
        assert isinstance(error, CatalogError | OSError)
