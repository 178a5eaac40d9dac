"""Artifacts are saved below the directory that was named, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fumehood.cli.artifacts import Block, find, save
from fumehood.errors import UsageError


def resource(name: str, **content: str) -> dict[str, object]:
    return {"type": "resource", "resource": {"uri": f"fumehood:///id/out/{name}", **content}}


def test_only_resources_of_ours_are_artifacts() -> None:
    content = [
        {"type": "text", "text": "hello"},
        resource("a.txt", text="é"),
        resource("sub/b%20c.bin", blob="AAE="),
        {"type": "resource", "resource": {"uri": "https://example.org/out/x", "text": ""}},
        {"type": "resource", "resource": {"uri": "fumehood:///id/in/x", "text": ""}},
    ]
    assert find(content) == (Block("a.txt", "é".encode()), Block("sub/b c.bin", b"\0\1"))


def test_files_and_folders_are_made(tmp_path: Path) -> None:
    paths = save([Block("a", b"1"), Block("b/c/d", b"2")], tmp_path / "new", force=False)
    assert [path.read_bytes() for path in paths] == [b"1", b"2"]
    assert paths[1] == tmp_path / "new" / "b" / "c" / "d"


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../../up", "a//b", ".", "", "a/", "x\x1b[2J", "a\nb", "x" * 256],
)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError):
        save([Block("fine", b""), Block(name, b"")], tmp_path / "out", force=True)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "up").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_link_in_the_way_of_a_folder_is_not_followed(tmp_path: Path, *, force: bool) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(outside)
    with pytest.raises(UsageError):
        save([Block("sub/file", b"x")], out, force=force)
    assert not list(outside.iterdir())


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        save([Block("a", b"theirs")], tmp_path, force=False)
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_force_replaces_a_link_instead_of_writing_through_it(tmp_path: Path) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_bytes(b"mine")
    out.mkdir()
    (out / "a").symlink_to(victim)
    save([Block("a", b"theirs")], out, force=True)
    assert victim.read_bytes() == b"mine"
    assert (out / "a").read_bytes() == b"theirs"
    assert os.listdir(out) == ["a"]
