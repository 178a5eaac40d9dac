"""Trees come and go beside the catalog: a disk that takes its time keeps nothing else waiting, and
what is being registered is never deleted under it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.catalog import shelves
from fumehood.errors import CatalogError
from fumehood.model.tree import ToolFile, tree_digest
from support.catalog import Filled, Stuck, catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

RANGE = (FIRST_ACCOUNT, 4)
FILES = {"main.py": ToolFile(b"print()", executable=False)}
OTHER = {"main.py": ToolFile(b"other", executable=False)}
TREE = tree_digest(FILES)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Filled]:
    made = catalog_in(tmp_path, RANGE, own_uid=0)
    yield made
    made.close()


def names(tmp_path: Path) -> list[str]:
    return sorted(entry.name for entry in (tmp_path / "store").iterdir())


def stuck(catalog: Filled, tmp_path: Path) -> Stuck:
    disk = Stuck(tmp_path / "store")
    catalog._shelves._sealer = disk
    return disk


def test_whatever_the_disk_does_the_catalog_goes_on(catalog: Filled, tmp_path: Path) -> None:
    """While a tree is stored, and while one is deleted."""
    first = catalog.put(manifest(name="first"), OTHER)
    disk = stuck(catalog, tmp_path)
    thread = threading.Thread(target=catalog.put, args=(manifest(), FILES))
    thread.start()
    assert disk.asked.wait(30)
    assert catalog.recheck(first) is None
    catalog.quarantine("first", None, "for a test")
    assert catalog.approve("first", "1.0.0", tainted=True).state == "active"
    assert catalog.put(manifest(name="second"), OTHER).state == "active"
    assert catalog.get("word-count") is None, "nothing is registered whose files are not stored"
    disk.answer.set()
    thread.join(30)
    assert catalog.get("word-count") is not None

    catalog.remove("word-count")
    disk = stuck(catalog, tmp_path)
    thread = threading.Thread(target=catalog.collect, args=((),))
    thread.start()
    assert disk.asked.wait(30)
    assert catalog.recheck(first) is None
    assert catalog.put(manifest(name="third"), OTHER).state == "active"
    disk.answer.set()
    thread.join(30)
    assert names(tmp_path) == [tree_digest(OTHER).removeprefix("sha384:")]


def test_a_tree_that_is_being_registered_is_not_collected(catalog: Filled, tmp_path: Path) -> None:
    with catalog.holding(TREE):
        catalog.store(TREE, FILES)
        assert catalog.collect(()) == 0
        tool = catalog.add(manifest(), TREE, FILES)
    assert catalog.collect(()) == 0
    assert catalog.looks_sound(tool)


def test_what_was_stored_and_never_registered_is_collected(catalog: Filled, tmp_path: Path) -> None:
    with catalog.holding(TREE):
        catalog.store(TREE, FILES)
    assert names(tmp_path) == [TREE.removeprefix("sha384:")]
    assert catalog.collect(()) == 1
    assert names(tmp_path) == []
    with pytest.raises(CatalogError, match="not where they were stored"):
        catalog.add(manifest(), TREE, FILES)


def test_who_wants_what_is_just_being_deleted_waits_and_has_it_stored_anew(
    catalog: Filled, tmp_path: Path
) -> None:
    catalog.put(manifest(), FILES)
    catalog.remove("word-count")
    disk = stuck(catalog, tmp_path)
    deleting = threading.Thread(target=catalog.collect, args=((),))
    deleting.start()
    assert disk.asked.wait(30)
    adding = threading.Thread(target=catalog.put, args=(manifest(), FILES))
    adding.start()
    disk.answer.set()
    for thread in (deleting, adding):
        thread.join(30)
    tool = catalog.get("word-count")
    assert tool is not None
    assert catalog.looks_sound(tool)
    assert catalog.verify() == ()


def test_a_deletion_that_does_not_end_is_not_waited_for_without_end(
    catalog: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.put(manifest(), FILES)
    catalog.remove("word-count")
    disk = stuck(catalog, tmp_path)
    deleting = threading.Thread(target=catalog.collect, args=((),))
    deleting.start()
    assert disk.asked.wait(30)
    monkeypatch.setattr(shelves, "DROP_SECONDS", 0.01)
    with pytest.raises(CatalogError, match="just being deleted"):
        catalog.put(manifest(), FILES)
    disk.answer.set()
    deleting.join(30)


def test_what_sandboxes_may_have_mounted_is_not_replaced_by_the_same(
    catalog: Filled, tmp_path: Path
) -> None:
    tool = catalog.put(manifest(), FILES)
    tree = tmp_path / "store" / TREE.removeprefix("sha384:")
    before = tree.stat().st_ino
    catalog.propose(manifest(name="copied"), FILES)
    assert tree.stat().st_ino == before
    assert catalog.looks_sound(tool)
    (tree / "main.py").write_bytes(b"evil")
    catalog.propose(manifest(name="again"), FILES)
    assert tree.stat().st_ino != before, "what is not sound is"
    assert catalog.verify() == ()


CRASHING = """
import os, signal, sys
from pathlib import Path
from fumehood.catalog.store import Catalog, ToolFile
from support.catalog import catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

directory, point = Path(sys.argv[1]), sys.argv[2]
def dies(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

catalog = catalog_in(directory, (FIRST_ACCOUNT, 4), 0)
files = {"main.py": ToolFile(b"print()", executable=False)}
manifest = manifest()
tree = catalog.check(manifest, files)
with catalog.holding(tree):
    catalog.store(tree, files, afresh=point == "afresh")
    if point in ("stored", "afresh"):
        dies()
    if point == "listed":
        catalog._rows.put = dies
    if point == "written":
        catalog._rows.agree = dies
    catalog.submit(manifest, tree, files, by="uid:7")
    if point == "submitted":
        dies()
    catalog.approve("word-count", "1.0.0")
    if point == "collecting":
        catalog.remove("word-count")
if point == "collecting":
    catalog._shelves.drop = dies
    catalog.collect(())
"""


@pytest.mark.parametrize(
    ("point", "states"),
    [
        ("stored", []),
        ("afresh", []),
        ("listed", []),
        ("submitted", ["pending"]),
        ("written", ["pending"]),
        ("collecting", []),
    ],
)
def test_killed_between_a_tree_and_its_version_nothing_is_left_over(
    tmp_path: Path, point: str, states: list[str]
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path), point],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert names(tmp_path) == [TREE.removeprefix("sha384:")], "it stands there after the crash"
    again = catalog_in(tmp_path, RANGE, own_uid=0)
    assert again.verify() == ()
    assert [tool.state for tool in again.all()] == states
    assert len(names(tmp_path)) == len(states)
    again.close()
