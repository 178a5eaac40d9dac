"""`fumehood audit deps`: every difference from the lock file and the version gates is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fumehood.cli import deps
from fumehood.cli.deps import Pin, compare, judged, pins
from fumehood.errors import UsageError
from support.cli import Cli

ROOT = Path(__file__).parents[3]
HASH = "a" * 64


def locked(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.lock"
    path.write_text(text)
    return path


def states(wanted: dict[str, Pin], present: dict[str, str]) -> dict[str, str]:
    return {part.name: part.state for part in compare(wanted, present)}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_our_own_lock_files_are_read_wholly_and_pin_everything(name: str) -> None:
    found = pins(ROOT / name)
    lines = (ROOT / name).read_text().splitlines()
    assert len(found) == sum("==" in line and line[0] != "#" for line in lines)
    assert all(pin.hashes for pin in found.values())


def test_each_kind_of_difference_has_its_name() -> None:
    wanted = {
        "same": Pin("1.0", 2), "older": Pin("2.0", 1), "gone": Pin("1.0", 1), "loose": Pin("1", 0),
    }  # fmt: skip
    present = {
        "same": "1.0", "older": "1.9", "loose": "1", "more": "3", "pip": "1", "fumehood": "0.1",
    }  # fmt: skip
    assert states(wanted, present) == {
        "same": "ok", "older": "different", "gone": "missing", "loose": "unpinned",
        "more": "extra", "pip": "bundled",
    }  # fmt: skip


def test_names_are_compared_as_indexes_do(tmp_path: Path) -> None:
    path = locked(tmp_path, f"Some_Thing.x==1.0 \\\n    --hash=sha256:{HASH}\n    # via y\n")
    assert pins(path) == {"some-thing-x": Pin("1.0", 1)}


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.com",
        "-e .",
        "-r other.txt",
        "name>=1.0",
        "name @ https://example.com/x.whl",
        "name==1.0 --hash=md5:00",
        "name==1.0 ; python_version < '3'",
        "name==1\nName==1",
        "name==1.0 \\",
    ],
)
def test_a_line_that_is_not_understood_is_never_skipped(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="line"):
        pins(locked(tmp_path, line))


def test_an_old_program_is_told_unless_its_fix_is_proven() -> None:
    old = judged("bubblewrap", "0.8.0-2", set())
    assert (old.state, old.wanted) == ("old", "0.10.0")
    assert "CVE-2024-42472" in old.note
    assert judged("bubblewrap", "0.8.0-2", {"CVE-2024-42472"}).state == "ok"


def test_the_exit_status_says_whether_there_is_a_difference(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deps, "installed", lambda: {"some": "1.0"})
    monkeypatch.setattr(deps, "system", lambda: [judged("libseccomp", "2.5.4", set())])
    path = locked(tmp_path, f"some==1.0 --hash=sha256:{HASH}\n")
    ended = cli("audit", "deps", "--lock", str(path))
    assert (ended.status, ended.out[:3]) == (0, "ok:")
    path.write_text(f"some==1.1 --hash=sha256:{HASH}\n")
    ended = cli("audit", "deps", "--lock", str(path), "--json")
    assert ended.status == 1
    found = json.loads(ended.out)
    assert found["ok"] is False
    assert found["parts"][0] == {
        "kind": "python", "name": "some", "installed": "1.0", "wanted": "1.1",
        "state": "different", "note": "",
    }  # fmt: skip


def test_this_interpreter_and_this_host_are_looked_at(cli: Cli) -> None:
    found = json.loads(cli("audit", "deps", "--json").out)
    named = {part["name"]: part for part in found["parts"]}
    assert named["pydantic"]["state"] == "ok"
    assert named["pytest"]["state"] == "extra"
    assert {named[name]["kind"] for name in ("bubblewrap", "libseccomp")} == {"system"}


def test_a_lock_file_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    assert cli("audit", "deps", "--lock", str(tmp_path / "none")).status == 2
