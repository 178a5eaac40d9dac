"""A tool's folder is packed whole and bounded, or refused with the name of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fumehood.cli import pack
from fumehood.errors import ManifestError, UsageError

MANIFEST = """\
name: test
version: 1.0.0
description: A test.
inputSchema: {type: object}
run: {command: [cat], files: .}
"""


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    path = tmp_path / "tool" / "tool.yaml"
    path.parent.mkdir()
    path.write_text(MANIFEST)
    return path


def test_files_come_with_their_bytes_and_whether_they_are_executable(tool: Path) -> None:
    (tool.parent / "sub").mkdir()
    script = tool.parent / "sub" / "run.sh"
    script.write_text("true\n")
    script.chmod(0o755)
    package = pack.load(tool)
    assert package.name == "test"
    assert package.manifest == MANIFEST
    assert package.files == {
        "sub/run.sh": (b"true\n", True),
        "tool.yaml": (MANIFEST.encode(), False),
    }


@pytest.mark.parametrize("name", ["__pycache__", ".git", "sub/__pycache__"])
def test_caches_and_repositories_are_left_out(tool: Path, name: str) -> None:
    (tool.parent / name).mkdir(parents=True)
    (tool.parent / name / "x").write_text("x")
    assert set(pack.load(tool).files) == {"tool.yaml"}


@pytest.mark.parametrize("target", ["tool.yaml", "/etc/shadow", "."])
def test_a_link_is_refused_by_name(tool: Path, target: str) -> None:
    (tool.parent / "link").symlink_to(target)
    with pytest.raises(UsageError, match="link is a link"):
        pack.load(tool)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tool: Path) -> None:
    os.mkfifo(tool.parent / "fifo")
    with pytest.raises(UsageError, match="fifo is no regular file"):
        pack.load(tool)


def test_the_folder_itself_may_be_no_link(tool: Path, tmp_path: Path) -> None:
    tool.write_text(MANIFEST.replace("files: .", "files: elsewhere"))
    (tmp_path / "other").mkdir()
    (tool.parent / "elsewhere").symlink_to(tmp_path / "other")
    with pytest.raises(UsageError, match="elsewhere"):
        pack.load(tool)


@pytest.mark.parametrize("files", ["src/keys", "a/src/keys", "src/keys/deep"])
def test_no_link_on_the_way_to_the_folder_is_followed(
    tool: Path, tmp_path: Path, files: str
) -> None:
    """O_NOFOLLOW alone looks at the last name: an author would have root pack what only root may
    read."""
    (tmp_path / "rootonly" / "keys" / "deep").mkdir(parents=True)
    (tmp_path / "rootonly" / "keys" / "deep" / "id").write_text("secret")
    (tool.parent / "a").mkdir()
    for link in (tool.parent / "src", tool.parent / "a" / "src"):
        link.symlink_to(tmp_path / "rootonly")
    tool.write_text(MANIFEST.replace("files: .", f"files: {files}"))
    with pytest.raises(UsageError, match="src is a link"):
        pack.load(tool)


def test_a_folder_within_a_folder_is_packed(tool: Path) -> None:
    (tool.parent / "src" / "main").mkdir(parents=True)
    (tool.parent / "src" / "main" / "x").write_text("x")
    tool.write_text(MANIFEST.replace("files: .", "files: src/main"))
    assert pack.load(tool).files == {"x": (b"x", False)}


def test_the_way_to_the_manifest_is_the_callers_own_word(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(tool.parent)
    assert set(pack.load(tmp_path / "current" / "tool.yaml").files) == {"tool.yaml"}


def test_a_manifest_that_is_a_link_is_not_read(tool: Path, tmp_path: Path) -> None:
    """What it leads to may be the caller's alone, and a refusal shows the line that is wrong."""
    (tmp_path / "shadow").write_text("root:secret\n")
    tool.unlink()
    tool.symlink_to(tmp_path / "shadow")
    with pytest.raises(UsageError, match=r"tool\.yaml is a link") as caught:
        pack.load(tool)
    assert "secret" not in str(caught.value)


def test_a_manifest_that_is_a_pipe_waits_for_no_writer(tool: Path) -> None:
    tool.unlink()
    os.mkfifo(tool)
    with pytest.raises(UsageError, match=r"tool\.yaml is no regular file"):
        pack.load(tool)


def test_too_many_bytes_are_refused_by_name(tool: Path) -> None:
    with (tool.parent / "big").open("wb") as file:
        file.truncate(pack.MAX_BYTES + 1)
    with pytest.raises(UsageError, match=r"big: .* 10 MiB"):
        pack.load(tool)


def test_too_many_files_are_refused(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "MAX_FILES", 3)
    for i in range(3):
        (tool.parent / f"f{i}").touch()
    with pytest.raises(UsageError, match="more than 3 files"):
        pack.load(tool)


def test_a_name_that_is_not_utf8_is_refused(tool: Path) -> None:
    with open(os.fsencode(tool.parent) + b"/\xff", "wb"):
        pass
    with pytest.raises(UsageError, match="not UTF-8"):
        pack.load(tool)


def test_a_folder_that_is_too_deep_is_refused(tool: Path) -> None:
    (tool.parent / "/".join("d" * 40)).mkdir(parents=True)
    with pytest.raises(UsageError, match="32 folders"):
        pack.load(tool)


def test_a_manifest_without_files_packs_none(tool: Path) -> None:
    tool.write_text(MANIFEST.replace(", files: .", ""))
    assert pack.load(tool).files == {}


def test_a_bad_manifest_is_refused_before_anything_is_sent(tool: Path) -> None:
    tool.write_text(MANIFEST + "nmae: x\n")
    with pytest.raises(ManifestError, match=r"tool\.yaml, line 6: nmae"):
        pack.load(tool)


@pytest.mark.parametrize(
    ("name", "says"), [("nothing.yaml", "No such file"), ("", "tool/tool.yaml")]
)
def test_what_is_no_manifest_is_named(tool: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        pack.load(tool.parent / name)
    assert says in str(caught.value)
