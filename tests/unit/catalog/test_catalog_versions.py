"""Versions side by side: which one is called, who agreed to it, and what became of its files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.catalog import store
from fumehood.catalog.pins import tool_digest
from fumehood.catalog.store import Catalog, ToolFile
from fumehood.errors import CatalogError
from fumehood.model.manifest import canonical
from fumehood.model.tree import tree_digest
from support.catalog import catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

RANGE = (FIRST_ACCOUNT, 4)
FILES = {
    "main.py": ToolFile(b"print()", executable=False),
    "lib/run.sh": ToolFile(b"#!/bin/sh\n", executable=True),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = catalog_in(tmp_path, RANGE, own_uid=0)
    yield made
    made.close()


def states(catalog: Catalog) -> dict[str, str]:
    return {tool.manifest.version: tool.state for tool in catalog.all()}


def test_a_pending_version_stands_beside_the_current_one_until_approved(
    catalog: Catalog, tmp_path: Path
) -> None:
    one = catalog.add(manifest(), FILES)
    two = catalog.add(
        manifest(version="2.0.0"), FILES, by="uid:7", pending=True, notes=["description changed"]
    )
    assert (two.state, two.account, two.added_by, two.notes) == (
        "pending", store.NO_ACCOUNT, "uid:7", ("description changed",),
    )  # fmt: skip
    assert catalog.get("word-count") == one
    catalog.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert again.version("word-count", "2.0.0") == two
    approved = again.approve("word-count", "2.0.0")
    assert (approved.state, approved.account) == ("active", one.account)
    assert again.get("word-count") == approved
    assert states(again) == {"1.0.0": "superseded", "2.0.0": "active"}
    again.close()


def test_a_tool_that_was_never_approved_has_no_account_and_cannot_be_got(catalog: Catalog) -> None:
    for number in range(5):
        catalog.add(manifest(name=f"new-{number}"), FILES, pending=True, by=str(number))
    assert catalog.list() == []
    assert catalog.get("new-0") is None
    for number in range(4):  # all accounts of the range are still there
        assert catalog.approve(f"new-{number}", "1.0.0").account == FIRST_ACCOUNT + number


def test_going_back_to_an_earlier_version_and_forth(catalog: Catalog) -> None:
    catalog.add(manifest(), FILES)
    catalog.add(manifest(version="2.0.0"), FILES)
    assert catalog.approve("word-count", "1.0.0").state == "active"
    assert states(catalog) == {"1.0.0": "active", "2.0.0": "superseded"}
    assert catalog.add(manifest(version="2.0.0"), FILES).state == "active"
    assert states(catalog) == {"1.0.0": "superseded", "2.0.0": "active"}
    with pytest.raises(CatalogError, match="no word-count 9"):
        catalog.approve("word-count", "9.0.0")


def test_a_version_of_an_older_fumehood_survives_being_superseded(
    catalog: Catalog, tmp_path: Path
) -> None:
    """Its stored text has fewer defaults written out than ours would have."""
    tool = catalog.add(manifest(), FILES)
    catalog.close()
    shorter = canonical(manifest()).replace(b'"seccomp":"compute",', b"")
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        digest = tool_digest(shorter, tool.files)
        db.execute("UPDATE tools SET manifest = ?, digest = ?", (shorter, digest))
    db.close()
    newer = catalog_in(tmp_path, RANGE, own_uid=0)
    newer.add(manifest(version="2.0.0"), FILES)
    newer.approve("word-count", "1.0.0")
    newer.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert (again.problems, states(again)) == ((), {"1.0.0": "active", "2.0.0": "superseded"})
    again.close()


def test_old_versions_are_bounded_and_their_content_stays_known(catalog: Catalog) -> None:
    for number in range(store.MAX_VERSIONS + 4):
        catalog.add(manifest(version=f"{number}.0.0"), {"main.py": ToolFile(b"%d" % number, False)})
    kept = states(catalog)
    assert len(kept) == store.MAX_VERSIONS
    assert "0.0.0" not in kept
    with pytest.raises(CatalogError, match="other content"):
        catalog.add(manifest(version="0.0.0"), FILES)


def test_pending_tools_are_bounded_for_each_and_in_all(catalog: Catalog) -> None:
    for number in range(store.MAX_PENDING_EACH):
        catalog.add(manifest(name=f"t-{number}"), FILES, pending=True, by="uid:7")
    with pytest.raises(CatalogError, match="8 tools of yours are pending"):
        catalog.add(manifest(name="more"), FILES, pending=True, by="uid:7")
    catalog.add(manifest(name="more"), FILES, pending=True, by="uid:8")
    catalog.remove("t-0")
    catalog.add(manifest(name="again"), FILES, pending=True, by="uid:7")


def test_a_pending_version_occupies_nothing(catalog: Catalog) -> None:
    catalog.add(manifest(), FILES, pending=True, by="uid:7")
    other = {"main.py": ToolFile(b"other", executable=False)}
    with pytest.raises(CatalogError, match="other content"):
        catalog.add(manifest(), other, pending=True, by="uid:8")
    asked = catalog.add(manifest(), other, pending=True, by="uid:0", operator=True)
    assert (asked.state, asked.added_by) == ("pending", "uid:0")
    assert catalog.add(manifest(), FILES).state == "active"
    with pytest.raises(CatalogError, match="other content"):
        catalog.add(manifest(), other, operator=True)


def test_one_version_is_removed_or_all(catalog: Catalog) -> None:
    catalog.add(manifest(), FILES)
    catalog.add(manifest(version="2.0.0"), FILES)
    catalog.remove("word-count", "1.0.0")
    assert states(catalog) == {"2.0.0": "active"}
    for version in ("1.0.0", "3.0.0"):
        with pytest.raises(CatalogError, match="there is no tool"):
            catalog.remove("word-count", version)
    catalog.remove("word-count", "2.0.0")
    assert states(catalog) == {}


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda tree: (tree / "main.py").write_bytes(b"evil"), "changed main.py"),
        (lambda tree: (tree / "new").write_bytes(b""), "cannot be read|added new"),
        (lambda tree: (tree / "lib/run.sh").unlink(), "empty folder|removed lib/run.sh"),
        (lambda tree: (tree / "main.py").chmod(0o755), r"\+x main.py"),
        (lambda tree: (tree / "main.py").chmod(0o4755), "mode of"),
    ],
)
def test_what_changed_is_seen_before_a_call_and_named(
    catalog: Catalog, tmp_path: Path, tamper: object, said: str
) -> None:
    tool = catalog.add(manifest(), FILES)
    assert catalog.looks_sound(tool)
    tree = tmp_path / "store" / (tool.files or "").removeprefix("sha384:")
    assert callable(tamper)
    tamper(tree)
    assert not catalog.looks_sound(tool)
    bad = catalog.recheck(tool)
    assert bad is not None
    assert bad.state == "quarantined"
    assert re.search(said, bad.notes[0])
    got = catalog.get("word-count")
    assert got == bad
    assert catalog.add(manifest(), FILES).state == "active"
    assert catalog.looks_sound(catalog.add(manifest(), FILES))


def test_a_change_that_keeps_size_and_time_is_seen(catalog: Catalog, tmp_path: Path) -> None:
    tool = catalog.add(manifest(), FILES)
    path = tmp_path / "store" / (tool.files or "").removeprefix("sha384:") / "main.py"
    before = path.stat()
    path.write_bytes(b"PRINT()")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not catalog.looks_sound(tool)
    assert catalog.recheck(tool) is not None


def test_a_touched_tree_that_is_the_same_is_read_once_more_and_goes_on(
    catalog: Catalog, tmp_path: Path
) -> None:
    tool = catalog.add(manifest(), FILES)
    tree = tmp_path / "store" / (tool.files or "").removeprefix("sha384:")
    os.utime(tree / "main.py")
    assert not catalog.looks_sound(tool)
    assert catalog.recheck(tool) is None
    assert catalog.looks_sound(tool)


def test_an_approval_of_changed_files_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    tool = catalog.add(manifest(), FILES, pending=True)
    tree = tmp_path / "store" / (tool.files or "").removeprefix("sha384:")
    (tree / "main.py").write_bytes(b"evil")
    with pytest.raises(CatalogError, match="not what was registered"):
        catalog.approve("word-count", "1.0.0")


SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE tools (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, digest TEXT NOT NULL, files TEXT,
    state TEXT NOT NULL, added TEXT NOT NULL, manifest BLOB NOT NULL
) STRICT;
CREATE TABLE versions (
    name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE accounts (uid INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE INDEX accounts_by_name ON accounts (name);
INSERT INTO meta VALUES ('schema', '1');
"""


def test_a_catalog_of_the_first_schema_is_taken_over(catalog: Catalog, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    made = manifest(run__files=None, run__command=["cat"])
    digest = tool_digest(canonical(made), None)
    with sqlite3.connect(old / "catalog.sqlite3") as db:
        db.executescript(SCHEMA_1)
        row = ("word-count", "1.0.0", digest, None, "active", "2026-01-01", canonical(made))
        db.execute("INSERT INTO tools VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO versions VALUES ('word-count', '1.0.0', ?)", (digest,))
        db.execute("INSERT INTO accounts VALUES (?, 'word-count')", (FIRST_ACCOUNT + 2,))
    db.close()
    taken = catalog_in(old, RANGE, own_uid=0)
    (tool,) = taken.list()
    assert (tool.digest, tool.account, tool.state) == (digest, FIRST_ACCOUNT + 2, "active")
    assert taken.verify() == ()
    taken.close()


def test_files_of_a_version_are_known_by_their_digests(catalog: Catalog) -> None:
    tool = catalog.add(manifest(), FILES)
    listing = catalog.listing(tool)
    assert listing is not None
    assert {path: entry[0] for path, entry in listing.items()} == {
        "main.py": "-", "lib/run.sh": "x",
    }  # fmt: skip
    assert tool.files == tree_digest(FILES)
    assert json.dumps(listing)


def test_a_profile_that_became_another_one_quarantines_what_was_agreed_to_with_it(
    tmp_path: Path,
) -> None:
    profiles = {"compute": "sha384:" + "a" * 96}

    def opened() -> Catalog:
        return catalog_in(tmp_path, RANGE, profile=lambda name: profiles.get(name, ""))

    made = opened()
    tool = made.add(manifest(), FILES)
    made.add(manifest(name="other"), FILES)
    made.close()
    made = opened()
    assert made.verify() == ()
    made.close()
    profiles["compute"] = "sha384:" + "b" * 96
    made = opened()
    bad = made.verify()
    assert {one.manifest.name for one in bad} == {"word-count", "other"}
    (note,) = bad[0].notes
    assert note.startswith("its seccomp profile compute changed: sha384:bbbb")
    assert made.approve("word-count", tool.manifest.version).state == "active"
    made.close()
    made = opened()
    assert made.verify() == (), "what is quarantined stays so, what was approved is pinned anew"
    assert [one.state for one in made.list()] == ["quarantined", "active"]
    made.approve("other", "1.0.0")
    del profiles["compute"]
    made.close()
    made = opened()
    assert all("is gone" in one.notes[0] for one in made.verify())
    made.close()


def test_what_was_registered_before_profiles_were_pinned_is_pinned_at_the_next_start(
    catalog: Catalog, tmp_path: Path
) -> None:
    catalog.add(manifest(), FILES)
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("DROP TABLE profile_pins")
    db.close()
    for digest, states in (("sha384:a", ["active"]), ("sha384:b", ["quarantined"])):
        made = catalog_in(tmp_path, RANGE, profile=lambda _, digest=digest: digest)  # type: ignore[misc]
        made.verify()
        assert [one.state for one in made.list()] == states
        made.close()
