"""The catalog: what is kept, what is refused, and what survives a crash or a tamperer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fumehood.catalog.pins import stored_digest, tool_digest
from fumehood.catalog.store import ToolFile
from fumehood.errors import CatalogError, ManifestError
from fumehood.model.manifest import canonical
from support.catalog import Filled, catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

RANGE = (FIRST_ACCOUNT, 4)
FILES = {
    "main.py": ToolFile(b"print()", executable=False),
    "lib/run.sh": ToolFile(b"#!/bin/sh\n", executable=True),
}
OTHER = {"main.py": ToolFile(b"other", executable=False)}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Filled]:
    made = catalog_in(tmp_path, RANGE, own_uid=0)
    yield made
    made.close()


def again(catalog: Filled, directory: Path, accounts: tuple[int, int] | None = RANGE) -> Filled:
    catalog.close()
    return catalog_in(directory, accounts, own_uid=1234, wait=0.1)


def test_a_tool_is_pinned_stored_and_found(catalog: Filled, tmp_path: Path) -> None:
    tool = catalog.put(manifest(), FILES)
    assert catalog.get("word-count") == tool
    assert catalog.list() == [tool]
    assert (tool.account, tool.state) == (FIRST_ACCOUNT, "active")
    assert tool.digest.startswith("sha384:")
    assert tool.files is not None
    tree = tmp_path / "store" / tool.files.removeprefix("sha384:")
    assert stored_digest(tree) == tool.files
    assert (tree / "lib").stat().st_mode & 0o7777 == 0o755
    assert (tree / "lib/run.sh").stat().st_mode & 0o7777 == 0o755
    assert (tree / "main.py").stat().st_mode & 0o7777 == 0o644


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o077)
    try:
        made = catalog_in(tmp_path / "state", RANGE, own_uid=0)
        assert made.put(manifest(), FILES).files is not None
        assert made.verify() == ()
        made.close()
    finally:
        os.umask(previous)
    assert (tmp_path / "state/catalog.sqlite3").stat().st_mode & 0o7777 == 0o600


def test_nothing_is_found_of_what_was_never_added(catalog: Filled) -> None:
    assert catalog.get("none") is None
    assert catalog.list() == []
    with pytest.raises(CatalogError, match="no tool 'none'"):
        catalog.remove("none")


def test_a_tool_may_have_no_files(catalog: Filled, tmp_path: Path) -> None:
    tool = catalog.put(manifest(run__files=None, run__command=["wc"]), {})
    assert tool.files is None
    assert list((tmp_path / "store").iterdir()) == []


def test_the_same_again_changes_nothing(catalog: Filled) -> None:
    assert catalog.put(manifest(), FILES) is catalog.put(manifest(), FILES)


@pytest.mark.parametrize("change", ["files", "manifest", "executable"])
def test_other_content_under_a_known_version_is_refused(catalog: Filled, change: str) -> None:
    first = catalog.put(manifest(), FILES)
    other, files = manifest(), dict(FILES)
    if change == "manifest":
        other = manifest(description="Another one.")
    elif change == "files":
        files["main.py"] = ToolFile(b"evil()", executable=False)
    else:
        files["main.py"] = ToolFile(b"print()", executable=True)
    with pytest.raises(CatalogError, match="registered with other content"):
        catalog.put(other, files)
    assert catalog.get("word-count") == first


def test_a_new_version_replaces_the_current_one_and_the_old_may_come_back(catalog: Filled) -> None:
    first = catalog.put(manifest(), FILES)
    second = catalog.put(manifest(version="1.1.0"), OTHER)
    assert catalog.get("word-count") == second
    assert second.account == first.account
    with pytest.raises(CatalogError, match=r"1\.0\.0 is registered with other content"):
        catalog.put(manifest(), OTHER)
    assert catalog.put(manifest(), FILES).digest == first.digest


def test_all_of_it_survives_a_restart(catalog: Filled, tmp_path: Path) -> None:
    tools = [catalog.put(manifest(name=name), FILES) for name in ("a", "b")]
    reopened = again(catalog, tmp_path)
    assert reopened.list() == tools
    assert reopened.verify() == ()
    assert reopened.problems == ()
    reopened.close()


def test_an_account_is_never_given_to_a_second_name(catalog: Filled, tmp_path: Path) -> None:
    assert catalog.put(manifest(name="a"), FILES).account == FIRST_ACCOUNT
    catalog.remove("a")
    assert catalog.put(manifest(name="b"), FILES).account == FIRST_ACCOUNT + 1
    reopened = again(catalog, tmp_path)
    assert reopened.put(manifest(name="c"), FILES).account == FIRST_ACCOUNT + 2
    assert reopened.put(manifest(name="a"), FILES).account == FIRST_ACCOUNT
    reopened.close()


def test_when_all_accounts_are_taken_it_says_what_to_raise(catalog: Filled) -> None:
    for name in "abcd":
        catalog.put(manifest(name=name), FILES)
        catalog.remove(name)
    with pytest.raises(CatalogError, match=r"all 4 service accounts.*accounts\.count"):
        catalog.put(manifest(name="e"), FILES)
    assert catalog.get("e") is None


def test_a_moved_range_gives_new_accounts_and_remembers_the_old(
    catalog: Filled, tmp_path: Path
) -> None:
    catalog.put(manifest(name="a"), FILES)
    catalog.put(manifest(name="b"), FILES)
    moved = again(catalog, tmp_path, (FIRST_ACCOUNT + 1, 4))
    accounts = {tool.manifest.name: tool.account for tool in moved.list()}
    assert accounts == {"a": FIRST_ACCOUNT + 2, "b": FIRST_ACCOUNT + 1}
    back = again(moved, tmp_path)
    assert {tool.account for tool in back.list()} == {FIRST_ACCOUNT, FIRST_ACCOUNT + 1}
    back.close()


def test_rootless_every_tool_runs_as_the_user(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    rootless = again(catalog, tmp_path, None)
    assert [tool.account for tool in rootless.list()] == [1234]
    rootless.close()


def test_a_tampered_tool_is_quarantined_until_it_is_registered_again(
    catalog: Filled, tmp_path: Path
) -> None:
    tool = catalog.put(manifest(), FILES)
    catalog.put(manifest(name="sound"), OTHER)
    assert tool.files is not None
    main = tmp_path / "store" / tool.files.removeprefix("sha384:") / "main.py"
    main.write_bytes(b"evil()")
    reopened = again(catalog, tmp_path)
    assert [bad.manifest.name for bad in reopened.verify()] == ["word-count"]
    reopened = again(reopened, tmp_path)
    states = {one.manifest.name: one.state for one in reopened.list()}
    assert states == {"word-count": "quarantined", "sound": "active"}
    assert reopened.put_back(manifest(), FILES).state == "active"
    assert main.read_bytes() == b"print()"
    assert reopened.verify() == ()
    reopened.close()


def test_a_store_that_lost_a_tree_is_seen(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    next((tmp_path / "store").iterdir()).rename(tmp_path / "elsewhere")
    assert [bad.state for bad in catalog.verify()] == ["quarantined"]


def test_a_link_in_place_of_a_tree_is_not_followed(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    tree = next((tmp_path / "store").iterdir())
    tree.rename(tmp_path / "elsewhere")
    tree.symlink_to(tmp_path / "elsewhere")
    assert [bad.state for bad in catalog.verify()] == ["quarantined"]
    assert catalog.put_back(manifest(), FILES).state == "active"
    assert not tree.is_symlink()
    assert (tmp_path / "elsewhere/main.py").exists()


def test_a_changed_row_is_quarantined(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        text = db.execute("SELECT manifest FROM tools").fetchone()[0]
        db.execute("UPDATE tools SET manifest = ?", (text.replace(b"/tool/main.py", b"-c"),))
    db.close()
    changed = catalog_in(tmp_path, RANGE, own_uid=0)
    assert [tool.state for tool in changed.list()] == ["quarantined"]
    assert "differs from its digest" in changed.problems[0]
    changed.close()


def test_a_tool_of_an_older_fumehood_may_be_registered_again_unchanged(
    catalog: Filled, tmp_path: Path
) -> None:
    tool = catalog.put(manifest(), FILES)
    catalog.close()
    shorter = canonical(manifest()).replace(b'"seccomp":"compute",', b"")
    digest = tool_digest(shorter, tool.files)
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("UPDATE tools SET manifest = ?, digest = ?", (shorter, digest))
        db.execute("UPDATE versions SET digest = ?", (digest,))
    db.close()
    newer = catalog_in(tmp_path, RANGE, own_uid=0)
    assert newer.problems == ()
    assert newer.put(manifest(), FILES).digest == digest
    with pytest.raises(CatalogError, match="other content"):
        newer.put(manifest(seccomp="strict"), FILES)
    newer.close()


def test_a_row_that_cannot_be_read_is_left_out_and_told(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    catalog.put(manifest(name="sound"), FILES)
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("UPDATE tools SET manifest = x'ff' WHERE name = 'word-count'")
    db.close()
    damaged = catalog_in(tmp_path, RANGE, own_uid=0)
    assert [tool.manifest.name for tool in damaged.list()] == ["sound"]
    assert "word-count is left out, register it again" in damaged.problems[0]
    assert damaged.put(manifest(), FILES).state == "active"
    damaged.close()


def test_trees_are_deleted_only_when_nothing_runs_from_them(
    catalog: Filled, tmp_path: Path
) -> None:
    old = catalog.put(manifest(), FILES)
    catalog.put(manifest(version="1.1.0"), OTHER)
    assert catalog.collect(()) == 0, "the version before is kept"
    catalog.remove("word-count", "1.0.0")
    assert len(list((tmp_path / "store").iterdir())) == 2
    assert old.files is not None
    assert catalog.collect({old.files}) == 0
    assert catalog.collect(()) == 1
    assert len(list((tmp_path / "store").iterdir())) == 1
    catalog.remove("word-count")
    assert catalog.collect(()) == 1


def test_what_a_power_cut_left_is_swept_at_start(catalog: Filled, tmp_path: Path) -> None:
    catalog.put(manifest(), FILES)
    for name in (".new-0123456789abcdef", ".old-0123456789abcdef", "ab" * 48):
        (tmp_path / "store" / name / "deep").mkdir(parents=True)
    (tmp_path / "store" / "file").write_bytes(b"")
    (tmp_path / "store" / "link").symlink_to("/etc")
    assert catalog.verify() == ()
    # what no sealer can have made is somebody's whose folder stands in the store's place
    names = {entry.name for entry in (tmp_path / "store").iterdir()}
    assert {"file", "link"} < names
    assert len(names) == 3


def test_a_second_supervisor_is_told_so(catalog: Filled, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="another supervisor uses this catalog"):
        catalog_in(tmp_path, RANGE, own_uid=0, wait=0.05)
    assert catalog.put(manifest(), FILES)


def test_a_catalog_of_another_schema_is_left_alone(catalog: Filled, tmp_path: Path) -> None:
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
        db.execute("UPDATE meta SET value = '9'")
    db.close()
    with pytest.raises(CatalogError, match="another schema than 5"):
        catalog_in(tmp_path, RANGE, own_uid=0)


def test_a_damaged_catalog_says_what_to_do_and_hides_the_path_from_callers(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite3").write_bytes(b"not a database" * 1000)
    with pytest.raises(CatalogError, match="cannot be read or written") as caught:
        catalog_in(tmp_path, RANGE, own_uid=0)
    assert str(tmp_path) not in str(caught.value)
    assert str(tmp_path) in caught.value.detail


def test_a_link_in_place_of_the_database_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CatalogError, match="cannot be read or written"):
        catalog_in(tmp_path, RANGE, own_uid=0)
    assert not (tmp_path / "elsewhere").exists()


def test_a_refused_tool_leaves_nothing(catalog: Filled, tmp_path: Path) -> None:
    bad = [
        (manifest(), {"../../etc/cron.d/x": FILES["main.py"]}),
        (manifest(), {"/etc/x": FILES["main.py"]}),
        (manifest(inputSchema={"type": "object", "$ref": "http://x"}), FILES),
        (manifest(run__files=None), FILES),
    ]
    for made, files in bad:
        with pytest.raises((CatalogError, ManifestError)):
            catalog.put(made, files)
    assert catalog.list() == []
    assert list((tmp_path / "store").iterdir()) == []
    assert catalog.put(manifest(name="next"), FILES).account == FIRST_ACCOUNT


CRASHING = """
import os, signal, sys
from pathlib import Path
from fumehood.catalog import store
from support.catalog import Filled, catalog_in
from support.manifests import FIRST_ACCOUNT, manifest

directory, point = Path(sys.argv[1]), int(sys.argv[2])
count = 0

def armed(name):
    original = getattr(os, name)
    def call(*args, **kwargs):
        global count
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return call

catalog = catalog_in(directory, (FIRST_ACCOUNT, 4), 0)
for name in ("fsync", "fchmod", "rename", "mkdir", "open"):
    setattr(os, name, armed(name))
files = {f"d{i}/f": store.ToolFile(b"x" * i, executable=False) for i in range(3)}
catalog.put(manifest(version="2.0.0"), files)
"""


@pytest.mark.parametrize("point", [*range(1, 40, 2), 40, 60])
def test_killed_at_any_point_the_catalog_opens_whole(tmp_path: Path, point: int) -> None:
    first = catalog_in(tmp_path, RANGE, own_uid=0)
    first.put(manifest(), FILES)
    first.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path), str(point)],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr.decode()
    reopened = catalog_in(tmp_path, RANGE, own_uid=0)
    assert reopened.verify() == ()
    (tool,) = reopened.list()
    assert tool.state == "active"
    assert tool.manifest.version == ("1.0.0" if ended.returncode else "2.0.0")
    assert len(list((tmp_path / "store").iterdir())) == (1 if ended.returncode else 2)
    reopened.close()


names = st.sampled_from(["a", "b", "c", "d", "e"])
steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "reopen", "collect"]), names, st.integers(0, 2)),
    max_size=12,
)


@settings(max_examples=25)
@given(steps)
def test_any_sequence_keeps_accounts_apart_and_trees_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("catalog")
    catalog = catalog_in(directory, RANGE, own_uid=0)
    owners: dict[int, str] = {}
    expected: set[str] = set()
    for step, name, version in steps:
        if step == "add":
            files = {"main.py": ToolFile(b"%d" % version, executable=False)}
            try:
                tool = catalog.put(manifest(name=name, version=f"{version}.0.0"), files)
            except CatalogError:
                assert len(set(owners.values())) == RANGE[1], "refused with accounts left"
                continue
            assert owners.setdefault(tool.account, name) == name
            expected.add(name)
        elif step == "remove" and name in expected:
            catalog.remove(name)
            expected.discard(name)
        elif step == "reopen":
            catalog = again(catalog, directory)
            assert catalog.verify() == ()
        elif step == "collect":
            catalog.collect(())
        assert {tool.manifest.name for tool in catalog.list()} == expected
    assert catalog.verify() == ()
    catalog.close()


def test_files_beyond_the_quota_are_refused_with_both_numbers_and_fit_after_a_removal(
    tmp_path: Path,
) -> None:
    catalog = catalog_in(tmp_path, RANGE, own_uid=0, most_bytes=100_000)
    big = {"main.py": ToolFile(b"x" * 60_000, False)}
    other = {"main.py": ToolFile(b"y" * 60_000, False)}
    catalog.put(manifest(name="first"), big)
    with pytest.raises(CatalogError, match="100000 for all tools") as refused:
        catalog.put(manifest(name="second"), other)
    assert "storage.tools" in refused.value.remedy
    assert catalog.get("second") is None
    catalog.remove("first")
    catalog.collect(())
    assert catalog.put(manifest(name="second"), other).state == "active"


def test_files_that_are_gone_are_told_as_gone(catalog: Filled, tmp_path: Path) -> None:
    tool = catalog.put(manifest(), FILES)
    assert catalog.sealed(tool).sealed != "missing"
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    assert catalog.sealed(tool).sealed == "missing"
