"""The operator's profiles: found beside the shipped ones, and believed only when they are safe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fumehood.errors import EngineError
from fumehood.kernel import profile_files
from fumehood.resources import profile_directory

SHIPPED = str(profile_directory())
TEXT = (profile_directory() / "strict.json").read_bytes()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "profiles"
    folder.mkdir(mode=0o755)
    (folder / "mine-1.json").write_bytes(TEXT)
    (folder / "mine-1.json").chmod(0o644)
    (folder / ".mine-2-abc").write_bytes(b"half")
    return folder


def test_both_are_found_by_name(own: Path) -> None:
    found = profile_files.find(SHIPPED, str(own))
    assert list(found) == ["compute", "mine-1", "network", "strict"]
    assert found["mine-1"] == str(own / "mine-1.json")
    assert profile_files.load(SHIPPED, str(own), "mine-1").name == "mine-1"
    with pytest.raises(LookupError):
        profile_files.load(SHIPPED, str(own), "other")


def test_no_folder_of_the_operators_is_fine() -> None:
    assert list(profile_files.find(SHIPPED)) == ["compute", "network", "strict"]


def test_a_shipped_name_is_refused(own: Path) -> None:
    (own / "compute.json").write_bytes(TEXT)
    with pytest.raises(EngineError, match="the name of a shipped profile"):
        profile_files.find(SHIPPED, str(own))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda own: own.chmod(0o775), "others may write"),
        (lambda own: (own / "mine-1.json").chmod(0o666), "others may write"),
        (lambda own: (own / "link.json").symlink_to(own / "mine-1.json"), "no plain file"),
        (lambda own: (own / "folder.json").mkdir(), "no plain file"),
        (lambda own: os.chown(own / "mine-1.json", 1234, 0), "belongs to UID 1234"),
        (lambda own: os.chown(own, 1234, 0), "belongs to UID 1234"),
    ],
    ids=["folder", "file", "link", "no-file", "owner", "folder-owner"],
)
def test_what_others_could_have_written_is_refused(
    own: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(own)
    with pytest.raises(EngineError, match=message) as caught:
        profile_files.find(SHIPPED, str(own))
    assert caught.value.control == "seccomp"


def test_a_link_instead_of_the_folder_is_refused(own: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(own)
    with pytest.raises(EngineError, match="no plain folder"):
        profile_files.find(SHIPPED, str(tmp_path / "link"))
