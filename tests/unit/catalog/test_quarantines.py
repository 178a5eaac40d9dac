"""A quarantine outlives the version that is removed, until somebody approves what comes again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.catalog import quarantines
from fumehood.catalog.store import ToolFile
from fumehood.errors import CatalogError
from fumehood.model.manifest import Manifest
from support.catalog import Filled, catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

RANGE = (FIRST_ACCOUNT, 4)
FILES = {"main.py": ToolFile(b"print()", executable=False)}
OTHER = {"main.py": ToolFile(b"other", executable=False)}
NO_FILES = {"run__files": None, "run__command": ["cat"]}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Filled]:
    made = catalog_in(tmp_path, RANGE, own_uid=0)
    yield made
    made.close()


def removed(
    catalog: Filled, made: Manifest | None = None, files: dict[str, ToolFile] | None = None
) -> None:
    """A version that was agreed to, quarantined and removed."""
    made, files = made or manifest(), FILES if files is None else files
    catalog.put(made, files)
    catalog.quarantine(made.name, made.version, "for a test")
    assert catalog.remove(made.name).quarantine_kept == (made.version,)


def refused(catalog: Filled, made: Manifest, files: dict[str, ToolFile] = FILES) -> str:
    with pytest.raises(CatalogError) as refusal:
        catalog.put(made, files)
    return str(refusal.value)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
def test_what_was_quarantined_is_not_active_again_by_being_removed(
    catalog: Filled, tmp_path: Path, version: str
) -> None:
    removed(catalog)
    catalog.close()
    catalog = catalog_in(tmp_path, RANGE, own_uid=0)
    catalog.verify()  # its tree is collected, what is known of it is not
    assert "1.0.0 was quarantined and removed: for a test" in refused(
        catalog, manifest(version=version)
    )
    catalog.propose(manifest(version=version), FILES)
    with pytest.raises(CatalogError, match="removed: for a test") as refusal:
        catalog.approve("word-count", version)
    assert f"approve {version} with --accept quarantined" in refusal.value.remedy
    assert catalog.approve("word-count", version, tainted=True).state == "active"
    assert catalog.removed() == []
    assert catalog.put(manifest(version="1.0.2"), FILES).state == "active", "it is over"
    catalog.close()


def test_other_content_is_as_new(catalog: Filled) -> None:
    removed(catalog)
    assert catalog.put(manifest(), OTHER).state == "active"
    assert [one.manifest.version for one in catalog.removed()] == ["1.0.0"], "nobody approved it"
    assert "for a test" in refused(catalog, manifest(version="2.0.0"))


@pytest.mark.parametrize("standing", [False, True], ids=["removed", "standing"])
def test_of_a_tool_without_files_its_command_is_what_was_quarantined(
    catalog: Filled, *, standing: bool
) -> None:
    catalog.put(manifest(**NO_FILES), {})
    bad = manifest(version="1.1.0", run__files=None, run__command=["tac"])
    catalog.put(bad, {})
    catalog.quarantine("word-count", "1.1.0", "for a test")
    catalog.approve("word-count", "1.0.0")
    if not standing:
        catalog.remove("word-count", "1.1.0")
    text = {"description": "Another text about it."}
    again = manifest(version="1.2.0", run__files=None, run__command=["tac"], **text)
    assert "1.1.0 " in refused(catalog, again, {})
    assert catalog.put(manifest(version="1.3.0", **NO_FILES), {}).state == "active"


def test_of_a_tool_only_what_was_quarantined_is_remembered(catalog: Filled) -> None:
    catalog.put(manifest(), OTHER)
    catalog.put(manifest(version="1.1.0"), FILES)
    catalog.quarantine("word-count", "1.1.0", "for a test")
    catalog.approve("word-count", "1.0.0")
    assert catalog.remove("word-count").quarantine_kept == ("1.1.0",)
    assert catalog.put(manifest(), OTHER).state == "active"
    assert "1.1.0 was quarantined" in refused(catalog, manifest(version="1.1.0"))


def test_one_version_that_is_removed_is_remembered_too(catalog: Filled) -> None:
    catalog.put(manifest(), OTHER)
    catalog.put(manifest(version="1.1.0"), FILES)
    catalog.quarantine("word-count", "1.1.0", "for a test")
    catalog.approve("word-count", "1.0.0")
    assert catalog.remove("word-count", "1.1.0").quarantine_kept == ("1.1.0",)
    assert "1.1.0 was quarantined" in refused(catalog, manifest(version="1.2.0"))
    with pytest.raises(CatalogError, match=r"1\.1\.0 was quarantined and removed"):
        catalog.approve("word-count", "1.1.0")
    catalog.propose(manifest(version="1.1.0"), FILES)
    catalog.remove("word-count", "1.1.0")
    assert len(catalog.removed()) == 1, "what was only submitted takes nothing along"


def test_the_files_are_known_to_compare_with_when_their_tree_is_gone(
    catalog: Filled, tmp_path: Path
) -> None:
    removed(catalog)
    assert catalog.collect(()) == 1
    assert list((tmp_path / "store").iterdir()) == []
    (kept,) = catalog.removed()
    assert (kept.state, kept.notes, list(catalog.listing(kept) or ())) == (
        "removed", ("for a test",), ["main.py"],
    )  # fmt: skip
    assert catalog.sealed(kept).sealed == "", "there is nothing to be changed"
    submitted = catalog.propose(manifest(version="1.0.1"), FILES)
    assert catalog.removed_before(submitted) == kept
    catalog.approve("word-count", "1.0.1", tainted=True)
    catalog.remove("word-count")
    catalog.collect(())
    assert catalog.listing(kept) is None, "and not for longer"


def test_the_same_files_under_another_name_are_another_tool(catalog: Filled) -> None:
    removed(catalog)
    tool = catalog.put(manifest(name="another"), FILES)
    assert tool.state == "active"
    assert catalog.quarantined_elsewhere("another", tool.files) == "word-count 1.0.0"
    assert catalog.quarantined_elsewhere("word-count", tool.files) is None


@pytest.mark.parametrize("bound", ["MAX_EACH", "MAX_ALL"])
def test_without_room_to_remember_more_nothing_is_removed(
    catalog: Filled, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(quarantines, bound, 1)
    removed(catalog)
    name = "word-count" if bound == "MAX_EACH" else "other"
    catalog.put(manifest(name=name, version="2.0.0"), OTHER)
    catalog.quarantine(name, None, "again")
    with pytest.raises(CatalogError, match="no room") as refusal:
        catalog.remove(name)
    assert "nobody can call it" in refusal.value.remedy
    known = catalog.get(name)
    assert known is not None
    assert (known.state, known.notes) == ("quarantined", ("again",))
    catalog.propose(manifest(version="3.0.0"), FILES)
    catalog.approve("word-count", "3.0.0", tainted=True)
    catalog.remove(name, "2.0.0" if name == "word-count" else None)
    assert [one.notes for one in catalog.removed()] == [("again",)]


def test_a_row_that_differs_from_its_digest_is_remembered_as_quarantined(
    catalog: Filled, tmp_path: Path
) -> None:
    catalog.put(manifest(), FILES)
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        text = db.execute("SELECT manifest FROM tools").fetchone()[0]
        db.execute("UPDATE tools SET manifest = ?", (text.replace(b"/tool/main.py", b"-c"),))
    db.close()
    changed = catalog_in(tmp_path, RANGE, own_uid=0)
    assert changed.remove("word-count").quarantine_kept == ("1.0.0",)
    assert "differs from its digest" in refused(changed, manifest())
    changed.close()


def test_one_that_cannot_be_read_is_remembered_by_its_digests(
    catalog: Filled, tmp_path: Path
) -> None:
    removed(catalog)
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("UPDATE removed SET declared = x'00'")
    db.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert again.removed() == []
    assert again.problems == ("word-count 1.0.0, quarantined and removed, is unreadable",)
    for version in ("1.0.0", "1.0.1"):
        assert "for a test; differs" in refused(again, manifest(version=version))
    again.close()


@pytest.mark.parametrize("files", [FILES, {}])
@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
def test_what_is_quarantined_and_cannot_be_read_is_not_active_again_by_coming_again(
    catalog: Filled, tmp_path: Path, version: str, files: dict[str, ToolFile]
) -> None:
    parts = {} if files else NO_FILES
    catalog.put(manifest(**parts), files)
    catalog.put(manifest(name="sound"), FILES)
    catalog.quarantine("word-count", None, "for a test")
    catalog = unread(catalog, tmp_path)
    assert "1.0.0 is quarantined, and so is what comes again" in catalog.problems[0]
    again = manifest(version=version, **parts)
    assert "1.0.0 is quarantined" in refused(catalog, again, files)
    other = manifest(version="9.0.0", run__command=["other"], run__files=None)
    assert "1.0.0 is quarantined" in refused(catalog, other, {})
    catalog.propose(again, files)
    with pytest.raises(CatalogError, match="nobody can say what was"):
        catalog.approve("word-count", version)
    pending = catalog.version("word-count", version)
    assert pending is not None
    assert catalog.ending(pending) == ("1.0.0",)
    assert catalog.approve("word-count", version, tainted=True).state == "active"
    assert catalog.put(manifest(version="2.0.0", **parts), files).state == "active"
    catalog.close()
    catalog = catalog_in(tmp_path, RANGE, own_uid=0)
    assert (catalog.problems, catalog.removed()) == ((), [])
    catalog.close()


def test_what_an_operator_accepts_in_its_place_does_not_end_what_cannot_be_read(
    catalog: Filled, tmp_path: Path
) -> None:
    catalog.put(manifest(), FILES)
    catalog.quarantine("word-count", None, "for a test")
    catalog = unread(catalog, tmp_path)
    catalog.propose(manifest(version="2.0.0"), OTHER)
    assert catalog.approve("word-count", "2.0.0", tainted=True).state == "active"
    assert catalog.put(manifest(version="2.0.1"), OTHER).state == "active"
    for version in ("1.0.0", "3.0.0"):
        assert "1.0.0 was quarantined and removed" in refused(catalog, manifest(version=version))
    catalog.close()


def test_the_same_files_elsewhere_are_told_of_one_that_cannot_be_read(
    catalog: Filled, tmp_path: Path
) -> None:
    made = catalog.put(manifest(), FILES)
    catalog.quarantine("word-count", None, "for a test")
    catalog = unread(catalog, tmp_path)
    assert catalog.quarantined_elsewhere("twin", made.files) == "word-count 1.0.0"
    catalog.close()


def unread(catalog: Filled, folder: Path) -> Filled:
    """The catalog, opened again after the row of word-count was damaged."""
    catalog.close()
    with sqlite3.connect(folder / "catalog.sqlite3") as db:
        db.execute("UPDATE tools SET manifest = x'ff' WHERE name = 'word-count'")
    db.close()
    return catalog_in(folder, RANGE, own_uid=0)


def test_a_catalog_of_the_fourth_schema_is_taken_over(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    catalog.quarantine("word-count", None, "for a test")
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("DROP TABLE removed")
        db.execute("UPDATE meta SET value = '4' WHERE key = 'schema'")
    db.close()
    taken = catalog_in(tmp_path, RANGE, own_uid=0)
    taken.remove("word-count")
    assert "for a test" in refused(taken, manifest())
    taken.close()


CRASHING = """
import os, signal, sys
from pathlib import Path
from support.catalog import catalog_in
from support.manifests import FIRST_ACCOUNT

catalog = catalog_in(Path(sys.argv[1]), (FIRST_ACCOUNT, 4), 0)
left = int(sys.argv[2])

def count(_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

catalog._db.set_trace_callback(count)
catalog.remove("word-count")
"""


@pytest.mark.parametrize("statement", [*range(1, 11), 100])
def test_killed_between_any_two_statements_of_a_removal_the_quarantine_holds(
    tmp_path: Path, statement: int
) -> None:
    first = catalog_in(tmp_path, RANGE, own_uid=0)
    first.put(manifest(), FILES)
    first.quarantine("word-count", None, "for a test")
    first.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path), str(statement)],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == (0 if statement == 100 else -signal.SIGKILL), ended.stderr.decode()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    there = again.get("word-count")
    assert bool(there) != bool(again.removed()), "the one or the other, and never none"
    assert "quarantined" in refused(again, manifest())
    assert all(tool.state == "quarantined" for tool in again.list())
    again.close()
