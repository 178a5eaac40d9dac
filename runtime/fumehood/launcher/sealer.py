"""The sealer: stores the files of tools where neither who registered them nor the supervisor can
change them.

Privileged and small, standard library only. The keeper starts one for each errand of the
supervisor, and it ends with that. It sees the store and nothing else of the host, holds no
capability, believes nothing it is sent, and names each tree by what it wrote itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import resource
import secrets
import select
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from typing import Final

from fumehood.errors import CatalogError, EngineError, ExitStatus, ProtocolError
from fumehood.kernel import fsverity, libc, rootfs
from fumehood.launcher import messages as m
from fumehood.launcher import sealing
from fumehood.launcher.entry import code_paths, keep_descriptors
from fumehood.launcher.tool_trees import DIRECTORY, open_store
from fumehood.model.codec import decode
from fumehood.model.tree import (
    DIRECTORY_MODE,
    FILE_MODE,
    MAX_TREE_BYTES,
    PROGRAM_MODE,
    STORED,
    Entry,
    check_bounds,
    check_paths,
    entries_digest,
    folders_of,
)

BLOCK: Final = 4096
MAX_DESCRIPTORS: Final = 64
LOCK_SECONDS: Final = 30.0
"""For another sealer to end. Who can read the store can hold its lock, too, and must not be waited
for without end."""
_PLACE: Final = "/store"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Vault:
    """The store, by a descriptor of its directory. most_bytes: see `sealing.Settings`."""

    def __init__(self, directory: int, most_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes

    def keep(
        self, fd: int, gone: Callable[[], bool] = lambda: False, *, replace: bool = True
    ) -> str:
        """Store the files in a memfd: written and synced under another name, then renamed to the
        digest of what was written.

        Args:
            replace: in place of what stands there; or else that stays. Either takes as long as
                where nothing stands: what is not wanted is left for `clear`.
            gone: whether nobody waits for it any more; asked before each file and folder.

        Raises:
            CatalogError: not files as they may be, too many bytes, or nobody waits any more.
            OSError
        """
        files = sealing.index(fd)
        check_bounds(len(files), sum(file.size for file in files.values()))
        check_paths(files.keys())
        # One at a time: the room that was found is still there when it is taken.
        with self._locked(gone):
            self._tidy()
            try:
                self._check_room(files)
            except CatalogError:
                self.clear()
                self._check_room(files)
            new = f".new-{secrets.token_hex(8)}"
            os.mkdir(new, 0o700, dir_fd=self._directory)
            try:
                digest = self._write(new, fd, files, gone)
                name = digest.removeprefix("sha384:")
                if replace or not self._has(name):
                    self._put_aside(name)
                    os.rename(new, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                else:
                    self._put_aside(new)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True, dir_fd=self._directory)
                raise
            os.fsync(self._directory)
        return digest

    def discard(self, name: str, gone: Callable[[], bool] = lambda: False) -> None:
        """Delete one entry, whatever stands under a name of ours; links are not followed. Raises
        CatalogError, OSError."""
        if not STORED.fullmatch(name):
            raise CatalogError("this is not the name of an entry of the store")
        with self._locked(gone):
            old = self._put_aside(name)
        if old:
            self._delete(old)

    def clear(self) -> None:
        """Delete what was put aside, by this sealer or by one that was killed; raises OSError."""
        for name in os.listdir(self._directory):
            if name.startswith(".old-"):
                self._delete(name)

    @contextlib.contextmanager
    def _locked(self, gone: Callable[[], bool]) -> Iterator[None]:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CatalogError(
                        "another tool's files are being stored", "try again"
                    ) from None
            _check_wanted(gone)
            time.sleep(0.02)  # flock(2) knows no limit of time, and nobody may be waiting any more
        try:
            yield
        finally:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def _tidy(self) -> None:
        """What a sealer began that was killed; under the lock none is at it any more."""
        for name in os.listdir(self._directory):
            if name.startswith(".new-"):
                self._put_aside(name)

    def _put_aside(self, name: str) -> str:
        """Under which name it is to be deleted, empty when there is nothing: a half-deleted tree
        must not stand under a digest."""
        if not self._has(name):
            return ""
        old = f".old-{secrets.token_hex(8)}"
        os.rename(name, old, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        return old

    def _delete(self, old: str) -> None:
        """Without the lock: another sealer may be at the same, and then has it gone as well."""
        while self._has(old):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(old, dir_fd=self._directory).st_mode):
                    shutil.rmtree(old, dir_fd=self._directory)
                else:
                    os.unlink(old, dir_fd=self._directory)

    def _has(self, name: str) -> bool:
        try:
            os.lstat(name, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        return True

    def _check_room(self, files: dict[str, sealing.Packed]) -> None:
        taken = sum(_allocated(self._directory))
        # Whole blocks of content, and an inode with its name, which no st_blocks counts.
        wanted = sum(-(-file.size // BLOCK) * BLOCK + BLOCK for file in files.values())
        wanted += 2 * BLOCK * (len(folders_of(files)) + 1)
        if taken + wanted > self._most_bytes:
            raise CatalogError(
                f"the tool's files need {wanted} bytes; of {self._most_bytes} for all tools "
                f"{taken} are taken",
                "remove tools, or have the operator raise storage.tools",
            )

    def _write(
        self, new: str, fd: int, files: dict[str, sealing.Packed], gone: Callable[[], bool]
    ) -> str:
        """Everything on disk below `new`, with its final modes; the digest of it."""
        top = os.open(new, DIRECTORY, dir_fd=self._directory)
        try:
            folders = folders_of(files)
            for folder in folders:
                _check_wanted(gone)
                os.mkdir(folder, 0o700, dir_fd=top)
            entries: dict[str, Entry] = {}
            for path, file in files.items():
                _check_wanted(gone)
                entries[path] = _write_file(top, path, fd, file)
            for folder in [*reversed(folders), "."]:
                os.chmod(folder, DIRECTORY_MODE, dir_fd=top)
            # Once, in place of an fsync for each: those took a minute for 60,000 folders.
            libc.syncfs(top)
            _check_wanted(gone)
            return entries_digest(entries)
        finally:
            os.close(top)


def _check_wanted(gone: Callable[[], bool]) -> None:
    if gone():
        raise CatalogError("nobody waits for this any more")


def _write_file(top: int, path: str, source: int, file: sealing.Packed) -> Entry:
    """One file, not synced yet; what was hashed is what was written."""
    content = hashlib.sha384()
    with os.fdopen(os.open(path, _NEW, 0o600, dir_fd=top), "wb") as out:
        for piece in sealing.content(source, file):
            content.update(piece)
            out.write(piece)
        out.flush()
        # Explicitly: the umask decides about the mode that open gives.
        os.fchmod(out.fileno(), PROGRAM_MODE if file.executable else FILE_MODE)
    written = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:  # where the file system has it; elsewhere that the file is root's is all there is
        fsverity.enable(written, sealing.content(source, file))
    finally:
        os.close(written)
    return Entry(content.digest(), file.executable)


def _allocated(directory: int) -> Iterator[int]:
    """Bytes on disk of everything below, a block for each inode among them; links are counted, not
    followed."""
    for _, folders, names, fd in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
        for name in (*folders, *names):
            with contextlib.suppress(FileNotFoundError):
                yield os.lstat(name, dir_fd=fd).st_blocks * 512 + BLOCK


# --- the process


def main(argv: list[str]) -> int:
    """`sealer CHANNEL_FD SETTINGS_FD`: serve one errand, until the other end closes."""
    keep_descriptors(int(word) for word in argv)
    channel = socket.socket(fileno=int(argv[0]))
    with os.fdopen(int(argv[1]), "rb") as file:
        given = decode(sealing.Settings, json.load(file))
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        store = _shut_in(given) if given.private else _opened(given)
    except (EngineError, OSError) as error:
        # What is closed with something unread in it resets the other end, which reads no answer.
        m.close_all(_received(channel)[1])
        cause = "the store of the tools' files cannot be used"
        with contextlib.suppress(OSError):  # nobody waits for it any more
            sealing.send(channel, sealing.Refused(cause, "the daemon's log tells why", repr(error)))
        return ExitStatus.ENGINE
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, MAX_TREE_BYTES),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
    ):
        resource.setrlimit(kind, (most, most))
    os.umask(0o077)
    serve(channel, Vault(store, given.most_bytes))
    return 0


def _opened(given: sealing.Settings) -> int:
    """The store that the keeper holds, not what was moved to its path since. Raises EngineError."""
    store = open_store(given.store)
    found = os.fstat(store)
    if (found.st_dev, found.st_ino) != (given.device, given.inode):
        os.close(store)
        raise EngineError(
            f"{given.store} is not the folder that it was at the start",
            "see who moved it, move it back, and start again",
            control="engine",
        )
    return store


def _shut_in(given: sealing.Settings) -> int:
    """As root: nothing of the host but the store can be written, and no capability is left. From
    the descriptor that was bound one could still walk upwards: it is exchanged for one within."""
    rootfs.private_namespace()
    store = _opened(given)
    binds = [rootfs.Bind(path) for path in code_paths()]
    binds.append(rootfs.Bind(f"/proc/self/fd/{store}", _PLACE, read_only=False))
    rootfs.enter(binds, tmp_bytes=4096)
    os.close(store)
    os.setgroups([])
    libc.limit_capabilities(frozenset())
    return os.open(_PLACE, DIRECTORY)


def serve(channel: socket.socket, vault: Vault) -> None:
    """Answer each word with one, until end of file; then delete what was put aside meanwhile, for
    which nobody waits."""
    _serve(channel, vault)
    with contextlib.suppress(OSError):  # the catalog finds it when it collects
        vault.clear()


def _serve(channel: socket.socket, vault: Vault) -> None:
    while True:
        data, descriptors = _received(channel)
        if not data:
            return
        try:
            answer = _answer(data, descriptors, vault, lambda: _hung_up(channel))
        finally:
            m.close_all(descriptors)
        try:
            sealing.send(channel, answer)
        except OSError:  # nobody waits for it any more
            return


def _received(channel: socket.socket) -> tuple[bytes, list[int]]:
    try:
        return m.receive(channel)
    except (ProtocolError, OSError):
        return b"", []


def _hung_up(channel: socket.socket) -> bool:
    waiting = select.poll()
    waiting.register(channel, select.POLLRDHUP)
    return bool(waiting.poll(0))


def _answer(
    data: bytes, descriptors: list[int], vault: Vault, gone: Callable[[], bool]
) -> sealing.Done | sealing.Refused:
    try:
        match m.unpack(data, sealing.TO_SEALER):
            case sealing.Seal(replace) if len(descriptors) == 1:
                return sealing.Done(vault.keep(descriptors[0], gone, replace=replace))
            case sealing.Discard(name) if not descriptors:
                vault.discard(name, gone)
                return sealing.Done("")
            case _:
                return sealing.Refused("a wrong number of descriptors came with this", "", "")
    except (CatalogError, EngineError, ProtocolError) as error:
        return sealing.Refused(error.cause[:512], error.remedy[:512], "")
    except (OSError, ValueError) as error:  # ValueError: a name that no system call takes
        return sealing.Refused(
            "the tool's files cannot be stored",
            "the log tells why; see whether there is space",
            repr(error)[:512],
        )
