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
from fumehood.catalog.rows import NO_ACCOUNT
from fumehood.catalog.store import ToolFile
from fumehood.errors import CatalogError
from fumehood.model.manifest import canonical
from fumehood.model.tree import tree_digest
from support.catalog import Filled, Here, catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

RANGE = (FIRST_ACCOUNT, 4)
FILES = {
    "main.py": ToolFile(b"print()", executable=False),
    "lib/run.sh": ToolFile(b"#!/bin/sh\n", executable=True),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Filled]:
    made = catalog_in(tmp_path, RANGE, own_uid=0)
    yield made
    made.close()


def states(catalog: Filled) -> dict[str, str]:
    return {tool.manifest.version: tool.state for tool in catalog.all()}


def test_a_pending_version_stands_beside_the_current_one_until_approved(
    catalog: Filled, tmp_path: Path
) -> None:
    one = catalog.put(manifest(), FILES)
    two = catalog.propose(
        manifest(version="2.0.0"), FILES, by="uid:7", notes=["description changed"]
    )
    assert (two.state, two.account, two.added_by, two.notes) == (
        "pending", NO_ACCOUNT, "uid:7", ("description changed",),
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


def test_a_tool_that_was_never_approved_has_no_account_and_cannot_be_got(catalog: Filled) -> None:
    for number in range(5):
        catalog.propose(manifest(name=f"new-{number}"), FILES, by=str(number))
    assert catalog.list() == []
    assert catalog.get("new-0") is None
    for number in range(4):  # all accounts of the range are still there
        assert catalog.approve(f"new-{number}", "1.0.0").account == FIRST_ACCOUNT + number


def test_going_back_to_an_earlier_version_and_forth(catalog: Filled) -> None:
    catalog.put(manifest(), FILES)
    catalog.put(manifest(version="2.0.0"), FILES)
    assert catalog.approve("word-count", "1.0.0").state == "active"
    assert states(catalog) == {"1.0.0": "active", "2.0.0": "superseded"}
    assert catalog.put(manifest(version="2.0.0"), FILES).state == "active"
    assert states(catalog) == {"1.0.0": "superseded", "2.0.0": "active"}
    with pytest.raises(CatalogError, match="no word-count 9"):
        catalog.approve("word-count", "9.0.0")


def test_a_version_of_an_older_fumehood_survives_being_superseded(
    catalog: Filled, tmp_path: Path
) -> None:
    """Its stored text has fewer defaults written out than ours would have."""
    tool = catalog.put(manifest(), FILES)
    catalog.close()
    shorter = canonical(manifest()).replace(b'"seccomp":"compute",', b"")
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        digest = tool_digest(shorter, tool.files)
        db.execute("UPDATE tools SET manifest = ?, digest = ?", (shorter, digest))
    db.close()
    newer = catalog_in(tmp_path, RANGE, own_uid=0)
    newer.put(manifest(version="2.0.0"), FILES)
    newer.approve("word-count", "1.0.0")
    newer.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert (again.problems, states(again)) == ((), {"1.0.0": "active", "2.0.0": "superseded"})
    again.close()


def test_old_versions_are_bounded_and_their_content_stays_known(catalog: Filled) -> None:
    for number in range(store.MAX_VERSIONS + 4):
        catalog.put(manifest(version=f"{number}.0.0"), {"main.py": ToolFile(b"%d" % number, False)})
    kept = states(catalog)
    assert len(kept) == store.MAX_VERSIONS
    assert "0.0.0" not in kept
    with pytest.raises(CatalogError, match="other content"):
        catalog.put(manifest(version="0.0.0"), FILES)


def test_pending_tools_are_bounded_for_each_and_in_all(catalog: Filled) -> None:
    for number in range(store.MAX_PENDING_EACH):
        catalog.propose(manifest(name=f"t-{number}"), FILES, by="uid:7")
    with pytest.raises(CatalogError, match="8 tools of yours are pending"):
        catalog.propose(manifest(name="more"), FILES, by="uid:7")
    catalog.propose(manifest(name="more"), FILES, by="uid:8")
    catalog.remove("t-0")
    catalog.propose(manifest(name="again"), FILES, by="uid:7")


def test_a_pending_version_occupies_nothing(catalog: Filled) -> None:
    catalog.propose(manifest(), FILES, by="uid:7")
    other = {"main.py": ToolFile(b"other", executable=False)}
    assert catalog.propose(manifest(), other, by="uid:8").state == "pending"
    asked = catalog.propose(manifest(), other, by="uid:0")
    assert (asked.state, asked.added_by) == ("pending", "uid:0")
    assert catalog.put(manifest(), FILES).state == "active"
    with pytest.raises(CatalogError, match="other content"):
        catalog.put(manifest(), other)


OTHER = {"main.py": ToolFile(b"other", executable=False)}


@pytest.mark.parametrize("files", [FILES, OTHER], ids=["the same content", "other content"])
@pytest.mark.parametrize("state", ["active", "superseded", "quarantined", "pending"])
def test_a_submission_takes_its_place_whatever_stands_under_its_name(
    catalog: Filled, tmp_path: Path, files: dict[str, ToolFile], state: str
) -> None:
    """And whatever it is, the disk has to write as much."""
    if state == "pending":
        catalog.propose(manifest(), FILES, by="uid:8")
    else:
        tool = catalog.put(manifest(), FILES)
    if state == "superseded":
        catalog.put(manifest(version="2.0.0"), FILES)
    elif state == "quarantined":
        catalog.quarantine("word-count", None, "for a test")
    before = states(catalog)
    here = catalog._shelves._sealer
    assert isinstance(here, Here)
    sealed = here.sealed
    told = catalog.propose(manifest(), files, by="uid:7")
    assert (told.state, told.added_by, told.notes) == ("pending", "uid:7", ())
    assert here.sealed == sealed + 1
    for number in range(store.MAX_PENDING_EACH - 1):
        catalog.propose(manifest(name=f"free-{number}"), FILES, by="uid:7")
    with pytest.raises(CatalogError, match="8 tools of yours are pending"):
        catalog.propose(manifest(name="one-more"), FILES, by="uid:7")
    if state != "pending":
        known = catalog.agreed_version("word-count", "1.0.0")
        assert known is not None
        assert (known.state, known.digest) == (before["1.0.0"], tool.digest)
    catalog.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert [one.added_by for one in again.submitted("word-count", "1.0.0")][-1] == "uid:7"
    again.close()


def test_a_submission_that_is_in_the_way_of_what_was_agreed_to_is_never_approved(
    catalog: Filled,
) -> None:
    catalog.put(manifest(), FILES)
    catalog.propose(manifest(), OTHER, by="uid:7")
    with pytest.raises(CatalogError, match="is the version that is called; uid:7 submitted it"):
        catalog.approve("word-count", "1.0.0")
    with pytest.raises(CatalogError, match="registered with other content"):
        catalog.approve("word-count", "1.0.0", "uid:7")
    catalog.quarantine("word-count", None, "for a test")
    catalog.propose(manifest(), FILES, by="uid:8")
    with pytest.raises(CatalogError, match="with this content already"):
        catalog.approve("word-count", "1.0.0", "uid:8")
    known = catalog.get("word-count")
    assert known is not None
    assert (known.state, known.notes) == ("quarantined", ("for a test",)), "nothing is washed off"
    assert catalog.remove("word-count", "1.0.0", "uid:7").tool.added_by == "uid:7"
    assert catalog.submitted("word-count", "1.0.0", "uid:7") == []
    with pytest.raises(CatalogError, match="which version"):
        catalog.remove("word-count", None, "uid:8")


def test_of_several_submissions_an_operator_says_which(catalog: Filled) -> None:
    catalog.propose(manifest(), FILES, by="uid:7")
    catalog.propose(manifest(), OTHER, by="uid:8")
    for act in (catalog.approve, catalog.remove):
        with pytest.raises(CatalogError, match="submitted by uid:7, uid:8") as refused:
            act("word-count", "1.0.0")
        assert "--by" in refused.value.remedy
    approved = catalog.approve("word-count", "1.0.0", "uid:8")
    assert (approved.state, approved.files) == ("active", tree_digest(OTHER))
    assert [one.added_by for one in catalog.submitted("word-count", "1.0.0")] == ["uid:7"]


def test_what_was_submitted_does_not_change_while_an_operator_reads_it(catalog: Filled) -> None:
    catalog.propose(manifest(), FILES, by="uid:7")
    assert catalog.propose(manifest(), FILES, by="uid:7").files == tree_digest(FILES)
    with pytest.raises(CatalogError, match="other content of yours is pending"):
        catalog.propose(manifest(), OTHER, by="uid:7")
    mine = catalog.propose(manifest(), OTHER, by="uid:7", replacing=True)
    assert mine.files == tree_digest(OTHER)
    assert len(catalog.submitted("word-count", "1.0.0")) == 1


def test_a_submission_is_over_once_its_content_is_agreed_to(catalog: Filled) -> None:
    catalog.propose(manifest(), FILES, by="uid:7")
    catalog.propose(manifest(), OTHER, by="uid:8")
    catalog.put(manifest(), FILES)
    assert [one.added_by for one in catalog.submitted("word-count", "1.0.0")] == ["uid:8"]


def test_one_version_is_removed_or_all(catalog: Filled) -> None:
    catalog.put(manifest(), FILES)
    catalog.put(manifest(version="2.0.0"), FILES)
    catalog.remove("word-count", "1.0.0")
    assert states(catalog) == {"2.0.0": "active"}
    for version in ("1.0.0", "3.0.0"):
        with pytest.raises(CatalogError, match="there is no word-count"):
            catalog.remove("word-count", version)
    with pytest.raises(CatalogError, match="is the version that is called"):
        catalog.remove("word-count", "2.0.0")
    catalog.remove("word-count")
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
    catalog: Filled, tmp_path: Path, tamper: object, said: str
) -> None:
    tool = catalog.put(manifest(), FILES)
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
    assert catalog.put_back(manifest(), FILES).state == "active"
    assert catalog.looks_sound(catalog.put(manifest(), FILES))


def test_a_change_that_keeps_size_and_time_is_seen(catalog: Filled, tmp_path: Path) -> None:
    tool = catalog.put(manifest(), FILES)
    path = tmp_path / "store" / (tool.files or "").removeprefix("sha384:") / "main.py"
    before = path.stat()
    path.write_bytes(b"PRINT()")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not catalog.looks_sound(tool)
    assert catalog.recheck(tool) is not None


def test_a_touched_tree_that_is_the_same_is_read_once_more_and_goes_on(
    catalog: Filled, tmp_path: Path
) -> None:
    tool = catalog.put(manifest(), FILES)
    tree = tmp_path / "store" / (tool.files or "").removeprefix("sha384:")
    os.utime(tree / "main.py")
    assert not catalog.looks_sound(tool)
    assert catalog.recheck(tool) is None
    assert catalog.looks_sound(tool)


def test_an_approval_of_changed_files_is_refused(catalog: Filled, tmp_path: Path) -> None:
    tool = catalog.propose(manifest(), FILES)
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


def test_a_catalog_of_the_first_schema_is_taken_over(catalog: Filled, tmp_path: Path) -> None:
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


def test_what_was_pending_in_the_third_schema_stands_apart_from_then_on(
    catalog: Filled, tmp_path: Path
) -> None:
    catalog.put(manifest(), FILES)
    catalog.propose(manifest(version="2.0.0"), OTHER, by="uid:7")
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("INSERT INTO tools SELECT * FROM submissions")
        db.execute("INSERT INTO versions SELECT name, version, digest FROM submissions")
        db.execute("DROP TABLE submissions")
        db.execute("DROP TABLE removed")
        db.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")
    db.close()
    taken = catalog_in(tmp_path, RANGE, own_uid=0)
    assert states(taken) == {"1.0.0": "active", "2.0.0": "pending"}
    assert taken.put(manifest(version="2.0.0"), FILES).state == "active", "it occupied nothing"
    assert [one.added_by for one in taken.submitted("word-count", "2.0.0")] == ["uid:7"]
    taken.close()


def test_files_of_a_version_are_known_by_their_digests(catalog: Filled) -> None:
    tool = catalog.put(manifest(), FILES)
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

    def opened() -> Filled:
        return catalog_in(tmp_path, RANGE, profile=lambda name: profiles.get(name, ""))

    made = opened()
    tool = made.put(manifest(), FILES)
    made.put(manifest(name="other"), FILES)
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
    assert made.approve("word-count", tool.manifest.version, tainted=True).state == "active"
    made.close()
    made = opened()
    assert made.verify() == (), "what is quarantined stays so, what was approved is pinned anew"
    assert [one.state for one in made.list()] == ["quarantined", "active"]
    made.approve("other", "1.0.0", tainted=True)
    del profiles["compute"]
    made.close()
    made = opened()
    assert all("is gone" in one.notes[0] for one in made.verify())
    made.close()


def test_what_was_registered_before_profiles_were_pinned_is_pinned_at_the_next_start(
    catalog: Filled, tmp_path: Path
) -> None:
    catalog.put(manifest(), FILES)
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("DROP TABLE profile_pins")
    db.close()
    for digest, states in (("sha384:a", ["active"]), ("sha384:b", ["quarantined"])):
        made = catalog_in(tmp_path, RANGE, profile=lambda _, digest=digest: digest)  # type: ignore[misc]
        made.verify()
        assert [one.state for one in made.list()] == states
        made.close()


@pytest.mark.parametrize("called", ["1.2.0", "1.1.0"])
@pytest.mark.parametrize("of", ["this version", "an earlier one"])
def test_of_quarantined_versions_the_one_called_last_is_known_after_a_restart(
    catalog: Filled, tmp_path: Path, called: str, of: str
) -> None:
    """New versions are compared with it, and what it was is what callers knew."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        catalog.put(manifest(version=version), FILES)
    catalog.approve("word-count", called)
    catalog.quarantine("word-count", None, "for a test")
    before = catalog.get("word-count"), catalog.agreed("word-count")
    catalog.close()
    if of == "an earlier one":
        with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
            db.execute("DROP TABLE current")
        db.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    after = again.get("word-count"), again.agreed("word-count")
    if of == "this version":
        assert after == before
    else:
        assert [one and one.manifest.version for one in after] == ["1.2.0"] * 2
    assert len(again.all()) == 3
    again.close()


def test_a_submission_reads_nothing_of_what_stands_under_its_name(
    catalog: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every version that is parsed again it would take longer, and tell of them."""
    catalog.put(manifest(), FILES)
    catalog.propose(manifest(version="1.1.0"), FILES, by="uid:8")

    def read(*_: object) -> None:
        raise AssertionError("a submission read the rows of its name")

    with monkeypatch.context() as patched:
        patched.setattr(catalog._rows, "read", read)
        catalog.propose(manifest(version="1.1.0"), OTHER, by="uid:7")
        again = catalog.propose(manifest(version="1.1.0"), FILES, by="uid:8")
    known = catalog.get("word-count"), catalog.submitted("word-count", "1.1.0")
    assert (again.added_by, again.files) == ("uid:8", tree_digest(FILES))
    assert [one.added_by for one in known[1]] == ["uid:8", "uid:7"]
    catalog.close()
    reopened = catalog_in(tmp_path, RANGE, own_uid=0)
    found = reopened.get("word-count"), reopened.submitted("word-count", "1.1.0")
    assert found == known
    reopened.close()


@pytest.mark.parametrize("notes", ["", "[", "null", "{}", "[1]", '"text"', "[" * 100_000])
def test_damaged_notes_of_one_version_leave_the_catalog_usable(
    catalog: Filled, tmp_path: Path, notes: str
) -> None:
    catalog.put(manifest(), FILES)
    catalog.put(manifest(version="2.0.0"), FILES)
    catalog.quarantine("word-count", "2.0.0", "for a test")
    catalog.put(manifest(name="gone"), OTHER)
    catalog.quarantine("gone", None, "for a test")
    catalog.remove("gone")
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("UPDATE tools SET notes = ?", (notes,))
        db.execute("UPDATE removed SET notes = ?", (notes,))
    db.close()
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert again.problems == ()
    assert states(again) == {"1.0.0": "superseded", "2.0.0": "quarantined"}
    assert [one.notes for one in (*again.all(), *again.removed())] == [
        ("what was noted of it cannot be read",)
    ] * 3
    with pytest.raises(CatalogError, match="was quarantined and removed"):
        again.put(manifest(name="gone", version="1.0.1"), OTHER)
    again.close()
