"""The Unix socket at the front door: made safely, never taken from a supervisor that lives.

Who connects is what the kernel says (SO_PEERCRED, at connect time); nothing a peer sends is
believed about who it is. A connection ends with the process that made it: whoever holds its other
end then is somebody else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

from fumehood.errors import ConfigError, FumehoodError, OverQuota, Unauthorized
from fumehood.gateway import jsonrpc
from fumehood.gateway.bounds import Bounds, Shares
from fumehood.model.request import Caller

log = structlog.get_logger(__name__)

BACKLOG: Final = 128
LONGEST_PATH: Final = 107
"""bytes; `sun_path` holds 108 with the final NUL (unix(7))"""

SO_PEERPIDFD: Final = 77
"""asm-generic/socket.h; Python has no name for it"""
_UCRED = struct.Struct("3i")
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RETRY_SECONDS = 0.1


def listen(path: Path, group: str | None) -> socket.socket:
    """A listening socket at `path`, mode 0660 and of `group`, or 0600 when there is no group.

    It appears under its name only when it listens and has its final mode. A stale socket is
    replaced; one that a supervisor still answers on never is.

    Raises:
        ConfigError: the path, its folder or the group will not do, or is in use.
    """
    hidden = _hidden(path)
    if max(len(os.fsencode(path)), len(os.fsencode(hidden))) > LONGEST_PATH:
        raise ConfigError(
            f"the socket's path {path} is longer than {LONGEST_PATH} bytes",
            "choose a shorter one with --socket or FUMEHOOD_SOCKET",
        )
    gid = -1 if group is None else _gid(group)
    try:
        _check_folder(path.parent)
        with _locked(path):
            _make_way(path)
            return _bind(path, hidden, gid)
    except OSError as error:
        raise ConfigError(
            f"the socket {path} cannot be made: {error.strerror}",
            "see who owns its folder, or choose another with --socket or FUMEHOOD_SOCKET",
        ) from error


def close(listener: socket.socket, path: Path) -> None:
    """Stop listening, and remove `path` unless another supervisor has taken it over."""
    listener.close()
    with contextlib.suppress(OSError), _locked(path):
        if not _answers(path):
            path.unlink(missing_ok=True)


def peer(connection: socket.socket) -> Caller:
    """Who connected: UID, GID and PID at that time, from the kernel."""
    pid, uid, gid = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return Caller(uid=uid, gid=gid, pid=pid, name=_user_name(uid))


def peer_process(connection: socket.socket, caller: Caller) -> int:
    """A descriptor of the process that connected, which no later process can be taken for; -1
    where the kernel has none (SO_PEERPIDFD came with Linux 6.5).

    Raises:
        Unauthorized: that process has ended, or is not the one that SO_PEERCRED names.
    """
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return -1
        raise Unauthorized("the process that connected has ended", "connect yourself") from None
    if _pid_of(pidfd) == caller.pid:
        return pidfd
    os.close(pidfd)  # it is gone; its number may be another's by now
    raise Unauthorized("the process that connected has ended", "connect yourself")


def _pid_of(pidfd: int) -> int:
    """The process behind a descriptor; -1 once it was reaped."""
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line[4:])
    return -1


async def serve(
    listener: socket.socket,
    handle: Callable[[socket.socket, Caller], Awaitable[None]],
    *,
    bounds: Bounds,
    may_connect: Callable[[Caller], bool],
    refused: Callable[[Caller, str, FumehoodError], Awaitable[None]],
    accepting: anyio.CancelScope | None = None,
) -> None:
    """Accept until cancelled; `handle` owns and closes each connection it is given.

    accepting: cancelling it ends the accepting alone: the listener is closed, and what was
        accepted goes on.

    refused: records that somebody was turned away, in its own time.

    One who may not connect, or finds no room, gets one JSON-RPC error and is closed.
    """
    listener.setblocking(False)
    room = Shares(bounds.connections, bounds.connections_per_uid)

    async def attend(connection: socket.socket, caller: Caller, pidfd: int) -> None:
        try:
            async with anyio.create_task_group() as both:
                if pidfd >= 0:
                    both.start_soon(_until_ended, pidfd, caller, both.cancel_scope)
                await handle(connection, caller)
                both.cancel_scope.cancel()
        finally:
            connection.close()
            if pidfd >= 0:
                os.close(pidfd)
            room.give(caller.uid, 1)

    async def record(caller: Caller, error: FumehoodError) -> None:
        try:
            await refused(caller, "connection.refused", error)
        except FumehoodError as failure:  # nobody was let in for it
            log.warning("refusal not recorded", uid=caller.uid, error=str(failure))

    async with anyio.create_task_group() as group:
        with accepting or anyio.CancelScope():
            while True:
                connection = await _accept(listener)
                try:
                    caller = peer(connection)
                    if not may_connect(caller):
                        raise Unauthorized("you may not use this supervisor", "ask its operator")
                    if not room.take(caller.uid, 1):
                        raise OverQuota("no more connections are taken now", "close some, or retry")
                    try:
                        pidfd = peer_process(connection, caller)
                    except BaseException:
                        room.give(caller.uid, 1)
                        raise
                except FumehoodError as error:
                    _turn_away(connection, error)
                    group.start_soon(record, caller, error)
                except OSError as error:
                    log.warning("connection without credentials", error=str(error))
                    connection.close()
                else:
                    group.start_soon(attend, connection, caller, pidfd)
        listener.close()


async def _until_ended(pidfd: int, caller: Caller, scope: anyio.CancelScope) -> None:
    """End the connection with the process that made it: its calls end as if it had hung up."""
    await anyio.wait_readable(pidfd)
    log.debug("the process that connected has ended", uid=caller.uid, pid=caller.pid)
    scope.cancel()


async def _accept(listener: socket.socket) -> socket.socket:
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            await anyio.wait_readable(listener)
        except ConnectionAbortedError:
            await checkpoint()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            log.warning("no room for a connection", error=str(error))
            await anyio.sleep(_RETRY_SECONDS)  # it stays readable: waiting for that would spin
        else:
            await cancel_shielded_checkpoint()  # a cancellation here would lose the connection
            return connection


def _turn_away(connection: socket.socket, error: FumehoodError) -> None:
    with connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(jsonrpc.error_frame(None, jsonrpc.public(error)))
        connection.shutdown(socket.SHUT_WR)


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(
            f"the socket's group {group!r} does not exist",
            f"create it with `groupadd --system {group}`, or set socket_group",
        ) from None


def _check_folder(folder: Path) -> None:
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    found = folder.stat()
    shared = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    if shared or found.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"the socket's folder {folder} can be changed by others",
            f"make it yours or root's, and run `chmod go-w {folder}`",
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two supervisors starting at once must not both find the socket stale."""
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path.with_name(f".{path.name}.lock"), flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make_way(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} exists and is no socket", "move it away, or choose another path")
    if _answers(path):
        raise ConfigError(
            f"a supervisor already answers on {path}",
            "stop it, or choose another socket with --socket or FUMEHOOD_SOCKET",
        )
    path.unlink()
    log.info("stale socket removed", path=str(path))


def _answers(path: Path) -> bool:
    """Whether somebody listens there. What cannot be told counts as yes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True


def _hidden(path: Path) -> Path:
    return path.with_name(f".{os.getpid():x}")


def _bind(path: Path, hidden: Path, gid: int) -> socket.socket:
    hidden.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        listener.bind(os.fspath(hidden))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    try:
        if gid != -1:
            os.chown(hidden, -1, gid)
            hidden.chmod(0o660)
        listener.listen(BACKLOG)
        hidden.rename(path)
    except OSError:
        listener.close()
        hidden.unlink(missing_ok=True)
        raise
    return listener


@functools.lru_cache(maxsize=1024)
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
