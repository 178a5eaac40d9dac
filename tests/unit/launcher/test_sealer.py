"""The sealer believes nothing it is sent, and names what it wrote itself."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.catalog.pins import stored_digest
from fumehood.errors import CatalogError, EngineError, ExitStatus
from fumehood.launcher import sealer, sealing
from fumehood.launcher.sealer import Vault
from fumehood.launcher.tool_trees import open_store
from fumehood.model.tree import (
    MAX_ENTRIES,
    MAX_FILES,
    MAX_PATH_BYTES,
    MAX_TREE_BYTES,
    ToolFile,
    check_files,
    tree_digest,
)
from fumehood.supervisor.sealing import Sealer

FILES = {
    "main.py": ToolFile(b"print()", executable=False),
    "a/b/run.sh": ToolFile(b"#!/bin/sh\n" * 300_000, executable=True),
}
SEAL = b'{"type":"Seal","replace":true}'
HEAD = struct.Struct("<HBQ")
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def memory(data: bytes, seals: int = SEALS) -> int:
    fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def one(path: bytes, data: bytes = b"x", *, executable: int = 0, size: int | None = None) -> bytes:
    told = len(data) if size is None else size
    return HEAD.pack(len(path), executable, told) + path + data


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir(mode=0o755)
    return tmp_path / "store"


def vault(store: Path, most_bytes: int = 1 << 40) -> Vault:
    return Vault(open_store(str(store)), most_bytes)


def keep(store: Path, fd: int) -> str:
    held = vault(store)
    try:
        return held.keep(fd)
    finally:
        os.close(fd)
        held.clear()


def test_a_tree_stands_whole_under_the_digest_of_what_was_written(store: Path) -> None:
    digest = keep(store, sealing.packed(FILES))
    assert digest == tree_digest(FILES)
    (tree,) = store.iterdir()
    assert tree.name == digest.removeprefix("sha384:")
    assert stored_digest(tree) == digest
    assert (tree / "a/b/run.sh").stat().st_mode & 0o7777 == 0o755
    assert (tree / "main.py").stat().st_mode & 0o7777 == 0o644


def test_what_stands_there_already_is_replaced_whole(store: Path) -> None:
    digest = keep(store, sealing.packed(FILES))
    program = store / digest.removeprefix("sha384:") / "main.py"
    program.write_bytes(b"evil()")
    (program.parent / "more").write_bytes(b"")
    assert keep(store, sealing.packed(FILES)) == digest
    assert stored_digest(program.parent) == digest
    assert len(list(store.iterdir())) == 1


def test_what_stands_there_already_may_have_to_stay(store: Path) -> None:
    """Sandboxes have it mounted; and the disk writes as much as for a new one."""
    digest = keep(store, sealing.packed(FILES))
    tree = store / digest.removeprefix("sha384:")
    before = tree.stat().st_ino
    held, fd = vault(store), sealing.packed(FILES)
    try:
        assert held.keep(fd, replace=False) == digest
    finally:
        os.close(fd)
    left = sorted(entry.name for entry in store.iterdir())
    assert (left[0][:5], left[1:]) == (".old-", [tree.name]), "deleting it would take its time"
    held.clear()
    assert (tree.stat().st_ino, [entry.name for entry in store.iterdir()]) == (before, [tree.name])


def test_sealers_that_delete_the_same_do_not_fail(store: Path) -> None:
    for number in range(20):
        for part in range(40):
            (store / f".old-{number:016x}" / f"{part}").mkdir(parents=True)
    with ThreadPoolExecutor(4) as at_once:
        for cleared in [at_once.submit(vault(store).clear) for _ in range(4)]:
            cleared.result(60)
    assert not list(store.iterdir())


HOSTILE = {
    "leads out": one(b"../evil"),
    "leads out deeper": one(b"a/../../evil"),
    "absolute": one(b"/etc/evil"),
    "the folder itself": one(b"."),
    "an empty part": one(b"a//b"),
    "a NUL": one(b"a\0b"),
    "a line": one(b"a\nb"),
    "not UTF-8": one(b"\xff"),
    "no name": one(b""),
    "twice": one(b"a") + one(b"a"),
    "a file as a folder": one(b"a") + one(b"a/b"),
    "deep": one(b"/".join([b"d"] * 17)),
    "a long name": one(b"n" * 256),
    "executable in another way": one(b"a", executable=2),
    "larger than it is": one(b"a", size=1 << 60),
    "cut in the head": one(b"a") + b"\0\0\0",
    "cut in the name": HEAD.pack(9, 0, 0) + b"short",
    "too many": b"".join(one(b"%d" % number, b"") for number in range(MAX_FILES + 1)),
}


@pytest.mark.parametrize("why", HOSTILE)
def test_hostile_files_are_refused_and_nothing_of_them_is_kept(store: Path, why: str) -> None:
    with pytest.raises(CatalogError):
        keep(store, memory(HOSTILE[why]))
    assert not list(store.iterdir())
    assert [entry.name for entry in store.parent.iterdir()] == ["store"]


def test_too_many_bytes_are_refused_before_any_is_written(store: Path) -> None:
    fd = os.memfd_create("huge", os.MFD_ALLOW_SEALING)
    os.truncate(fd, MAX_TREE_BYTES + HEAD.size + 2)
    os.pwrite(fd, HEAD.pack(1, 0, MAX_TREE_BYTES + 1) + b"a", 0)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    with pytest.raises(CatalogError, match="at most"):
        keep(store, fd)
    fd = os.memfd_create("vast", os.MFD_ALLOW_SEALING)
    os.truncate(fd, 1 << 40)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    with pytest.raises(CatalogError, match="at most"):
        keep(store, fd)
    assert not list(store.iterdir())


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW])
def test_what_could_change_while_it_is_read_is_not_read(store: Path, missing: int) -> None:
    with pytest.raises(CatalogError, match="sealed"):
        keep(store, memory(one(b"a"), SEALS & ~missing))
    reading, writing = os.pipe()
    os.close(writing)
    for fd in (reading, os.open("/dev/zero", os.O_RDONLY), os.open(store, os.O_RDONLY)):
        with pytest.raises(CatalogError, match="sealed"):
            keep(store, fd)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_is_files(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    store = tmp_path_factory.mktemp("noise") / "store"
    store.mkdir()
    try:
        digest = keep(store, memory(data))
    except CatalogError:
        assert not list(store.iterdir())
    else:
        assert stored_digest(store / digest.removeprefix("sha384:")) == digest


def test_more_than_the_store_may_take_is_refused_with_both_numbers(store: Path) -> None:
    small = vault(store, 100_000)
    fd = sealing.packed({"a": ToolFile(b"x" * 60_000, executable=False)})
    small.keep(fd)
    with pytest.raises(CatalogError, match="100000 for all tools"):
        small.keep(fd)
    os.close(fd)


def deep(files: int) -> dict[str, ToolFile]:
    """Empty files, each below folders of its own."""
    empty = ToolFile(b"", executable=False)
    return {f"{number:x}" + "/d" * 14 + "/f": empty for number in range(files)}


def test_folders_count_as_files_do_on_both_sides(store: Path) -> None:
    most = MAX_ENTRIES // 16
    check_files(deep(most))
    for check in (check_files, lambda files: keep(store, sealing.packed(files))):
        with pytest.raises(CatalogError, match=f"more than {MAX_ENTRIES} files and folders"):
            check(deep(most + 1))
    assert not list(store.iterdir())


def test_inodes_take_room_although_they_hold_no_bytes(store: Path) -> None:
    files = deep(MAX_ENTRIES // 16)
    small = vault(store, MAX_ENTRIES * 4096)
    fd = sealing.packed(files)
    with pytest.raises(CatalogError, match="for all tools"):
        small.keep(fd)
    os.close(fd)
    # and those that are there are seen
    keep(store, sealing.packed({f"f{n}": ToolFile(b"", executable=False) for n in range(1000)}))
    fd = sealing.packed({"a": ToolFile(b"", executable=False)})
    with pytest.raises(CatalogError, match="for all tools"):
        vault(store, 1000 * 4096).keep(fd)
    os.close(fd)


def test_sealers_at_once_do_not_share_the_same_room(store: Path) -> None:
    trees = [{"a": ToolFile(bytes([n]) * 200_000, executable=False)} for n in range(4)]
    refused = []
    together = threading.Barrier(len(trees))

    def seal(files: dict[str, ToolFile]) -> None:
        own, fd = vault(store, 300_000), sealing.packed(files)
        together.wait(10)
        try:
            own.keep(fd)
        except CatalogError as error:
            refused.append(error.cause)
        os.close(fd)

    threads = [threading.Thread(target=seal, args=(files,)) for files in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 3
    assert all("for all tools" in cause for cause in refused)
    assert len(list(store.iterdir())) == 1


def test_who_waits_for_the_lock_waits_only_while_somebody_waits_for_it(store: Path) -> None:
    holder = os.open(store, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    fd, asked = sealing.packed(FILES), iter([False, False, True])
    with pytest.raises(CatalogError, match="nobody waits"):
        vault(store).keep(fd, lambda: next(asked))
    os.close(holder)
    os.close(fd)


def test_nothing_is_left_when_who_asked_is_gone_and_what_a_killed_one_left_is_cleared(
    store: Path,
) -> None:
    (store / ".new-0123456789abcdef/half").mkdir(parents=True)
    (store / ".old-0123456789abcdef").mkdir()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = sealing.packed(FILES)
    sealing.send(ours, sealing.Seal(replace=True), fd)
    ours.close()
    sealer.serve(theirs, vault(store))
    theirs.close()
    assert not [entry for entry in store.iterdir() if len(entry.name) == 96]
    vault(store).keep(fd)
    os.close(fd)
    assert [entry.name for entry in store.iterdir()] == [tree_digest(FILES).removeprefix("sha384:")]


def test_another_folder_at_the_stores_path_is_not_used(store: Path) -> None:
    own = store.stat()
    given = sealing.Settings(str(store), own.st_dev, own.st_ino, 1 << 30, private=False)
    os.close(sealer._opened(given))
    store.rename(store.with_name("away"))
    store.mkdir(mode=0o755)
    with pytest.raises(EngineError, match="not the folder"):
        sealer._opened(given)


def test_only_entries_of_the_store_are_deleted_and_no_link_is_followed(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else/file").touch()
    link, tree, missing, half = "1" * 96, "2" * 96, "3" * 96, ".new-0123456789abcdef"
    (store / link).symlink_to(tmp_path / "else")
    (store / tree / "deep").mkdir(parents=True)
    (store / tree / "deep/link").symlink_to(tmp_path / "else")
    (store / half).touch()
    (store / "trees").mkdir()  # of somebody else, as a store of images has it
    for name in ("..", ".", "", "../else", "/etc", f"{tree}/deep", "a\0b", "trees", tree[1:]):
        with pytest.raises(CatalogError):
            vault(store).discard(name)
    for name in (link, tree, missing, half):
        vault(store).discard(name)
    assert [entry.name for entry in store.iterdir()] == ["trees"]
    assert (tmp_path / "else/file").exists()


def test_a_store_that_others_can_write_is_not_used(store: Path, tmp_path: Path) -> None:
    store.chmod(0o775)
    with pytest.raises(EngineError, match="can be written by others"):
        open_store(str(store))
    store.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(store, 65_534, 65_534)
        with pytest.raises(EngineError, match="can be written by others"):
            open_store(str(store))
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(EngineError, match="cannot be opened"):
        open_store(str(tmp_path / "link"))


# --- its words


@pytest.fixture
def channel(store: Path) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=sealer.serve, args=(theirs, vault(store)))
    thread.start()
    ours.settimeout(10)
    with ours:
        yield ours
        ours.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()
    theirs.close()


def asked(channel: socket.socket, data: bytes, *fds: int) -> dict[str, object]:
    socket.send_fds(channel, [data], fds)
    answer: dict[str, object] = json.loads(channel.recv(1 << 16))
    return answer


def test_words_that_it_does_not_know_are_refused_and_it_goes_on(
    channel: socket.socket, store: Path
) -> None:
    memory_fd = sealing.packed(FILES)
    hostile: list[tuple[bytes, tuple[int, ...]]] = [
        (b"\0", ()),
        (b"[" * 10_000, ()),
        (b'{"type":"Open"}', ()),
        (b'{"type":"Seal","replace":true,"path":"/etc"}', (memory_fd,)),
        (b'{"type":"Seal"}', (memory_fd,)),
        (b'{"type":"Seal","replace":1}', (memory_fd,)),
        (SEAL, ()),
        (SEAL, (memory_fd, memory_fd)),
        (b'{"type":"Discard","name":"../x"}', ()),
        (b'{"type":"Discard","name":"x"}', (memory_fd,)),
        (b'{"type":"Discard","name":"\\ud800"}', ()),
        (b'{"type":"Discard","name":"' + b"n" * 5_000 + b'"}', ()),
    ]
    for data, fds in hostile:
        assert asked(channel, data, *fds)["type"] == "Refused", data[:40]
    before = len(os.listdir("/proc/self/fd"))
    assert asked(channel, SEAL, memory_fd)["digest"] == tree_digest(FILES)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(memory_fd)
    assert len(list(store.iterdir())) == 1


# --- the supervisor's side


def test_a_sealer_that_ends_or_was_not_started_is_an_error_that_says_to_try_again() -> None:
    def dies(channel: socket.socket) -> None:
        assert channel

    with pytest.raises(CatalogError, match="just now"):
        Sealer(dies).seal(FILES, replace=False)

    def lies(channel: socket.socket) -> None:
        mine = channel.dup()
        mine.send(b'{"type":"Opened"}')
        mine.close()

    with pytest.raises(CatalogError, match="just now"):
        Sealer(lies).seal(FILES, replace=False)


def test_the_longest_name_fits() -> None:
    path = "/".join(["n" * 200] * 5)
    assert len(path) <= MAX_PATH_BYTES
    fd = sealing.packed({path: ToolFile(b"", executable=False)})
    assert list(sealing.index(fd)) == [path]
    os.close(fd)


KEEPER = """
import os, sys
from types import SimpleNamespace as Given
from fumehood.launcher import keeper
given = Given(engines=(), socket="", state="/", ceilings=Given(store=sys.argv[1]))
keeper.decode = lambda *_: given
keeper.Keeper.clean_up = lambda _: None
sys.exit(keeper.main([str(keeper._memory_file({})), str(os.dup(0)), str(os.dup(0))]))
"""


def test_a_keeper_whose_store_was_exchanged_starts_nothing_and_says_why(store: Path) -> None:
    store.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", KEEPER, str(store)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ExitStatus.ENGINE, done.stderr
    assert "can be written by others" in done.stderr
    assert "Traceback" not in done.stderr
