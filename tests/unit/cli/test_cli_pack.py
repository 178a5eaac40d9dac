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
