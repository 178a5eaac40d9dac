"""The socket: its mode, its folder, who else is there, who connects."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.errors import ConfigError, Unauthorized
from fumehood.gateway import socket as front
from fumehood.kernel import pidfd as pidfd_module
from support.gateway import serving_in_thread


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fumehood.sock"


def test_a_socket_without_a_group_is_its_owners(path: Path) -> None:
    listener = front.listen(path, None)
    assert mode_of(path) == 0o600
    assert not os.get_inheritable(listener.fileno())
    front.close(listener, path)
    assert not path.exists()


def test_a_socket_of_a_group_is_open_to_the_group_and_nobody_else(path: Path) -> None:
    gid = os.getgid()
    before = os.umask(0)
    try:
        listener = front.listen(path, grp.getgrgid(gid).gr_name)
    finally:
        assert os.umask(before) == 0, "the umask is put back"
    assert mode_of(path) == 0o660
    assert path.stat().st_gid == gid
    front.close(listener, path)


def test_only_the_socket_and_its_lock_appear_in_the_folder(path: Path) -> None:
    listener = front.listen(path, None)
    assert sorted(p.name for p in path.parent.iterdir()) == [".fumehood.sock.lock", "fumehood.sock"]
    front.close(listener, path)


def test_a_missing_folder_is_made_for_its_owner_to_write(tmp_path: Path) -> None:
    path = tmp_path / "run" / "fumehood" / "s"
    listener = front.listen(path, None)
    assert mode_of(path.parent) & 0o022 == 0
    front.close(listener, path)


def test_a_stale_socket_is_replaced(path: Path) -> None:
    front.listen(path, None).close()
    assert path.exists()
    listener = front.listen(path, None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    front.close(listener, path)


def test_a_second_supervisor_is_told_and_the_first_one_lives(path: Path) -> None:
    listener = front.listen(path, None)
    with pytest.raises(ConfigError, match="already answers"):
        front.listen(path, None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    front.close(listener, path)


def test_a_supervisor_too_busy_to_accept_still_counts(path: Path) -> None:
    listener = front.listen(path, None)
    waiting = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            waiting.append(client)
            client.setblocking(False)
            client.connect(str(path))
    except BlockingIOError:
        pass
    with pytest.raises(ConfigError, match="already answers"):
        front.listen(path, None)
    for client in waiting:
        client.close()
    front.close(listener, path)


def test_of_many_that_start_at_once_on_a_stale_socket_one_wins(path: Path) -> None:
    front.listen(path, None).close()
    won: list[socket.socket] = []
    lost: list[ConfigError] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        try:
            won.append(front.listen(path, None))
        except ConfigError as error:
            lost.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    front.close(won[0], path)


def test_closing_leaves_the_socket_of_a_successor_alone(path: Path) -> None:
    old = front.listen(path, None)
    path.unlink()
    new = front.listen(path, None)
    front.close(old, path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    front.close(new, path)


def test_a_file_in_the_way_is_never_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        front.listen(path, None)
    assert path.read_text() == "precious"


def test_a_link_in_the_way_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(ConfigError, match="is no socket"):
        front.listen(path, None)
    assert target.read_text() == "precious"


def test_a_folder_that_others_can_change_will_not_do(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="changed by others") as caught:
        front.listen(folder / "s", None)
    assert "chmod go-w" in caught.value.remedy


def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="107 bytes") as caught:
        front.listen(tmp_path / ("x" * 108), None)
    assert "--socket" in caught.value.remedy


def test_a_group_that_does_not_exist(path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-group") as caught:
        front.listen(path, "no-such-group")
    assert "groupadd" in caught.value.remedy
    assert not path.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        front.listen(tmp_path / "file" / "s", None)


def test_the_peer_is_who_connected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        caller = front.peer(ours)
    assert (caller.uid, caller.gid, caller.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert caller.name


CONNECT_AND_PASS_ON = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
with socket.socket(fileno=int(sys.argv[2])) as given:
    socket.send_fds(given, [b"x"], [connection.fileno()])
    given.recv(1)
"""


def passed_on(path: Path) -> tuple[socket.socket, subprocess.Popen[bytes], socket.socket]:
    """A connection that another process made and handed to us, that process, and its leash."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", CONNECT_AND_PASS_ON, str(path), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
    _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=fd), process, ours


def test_a_connection_ends_with_the_process_that_made_it(path: Path) -> None:
    status = b'{"jsonrpc":"2.0","id":1,"method":"fumehood/status"}\n'
    with serving_in_thread(path):
        connection, process, leash = passed_on(path)
        connection.settimeout(30)
        with connection, leash:
            connection.sendall(status)
            assert b'"result"' in connection.recv(65536)
            leash.close()
            assert process.wait(30) == 0
            assert connection.recv(65536) == b""


def test_who_has_ended_before_it_is_accepted_is_nobody(path: Path) -> None:
    listener = front.listen(path, None)
    connection, process, leash = passed_on(path)
    leash.close()
    assert process.wait(30) == 0
    accepted, _ = listener.accept()
    with connection, accepted:
        caller = front.peer(accepted)
        with pytest.raises(Unauthorized, match="has ended"):
            front.peer_process(accepted, caller)
        with pytest.raises(Unauthorized, match="has ended"):  # its number was given out again
            front.peer_process(accepted, replace(caller, pid=os.getpid()))
    front.close(listener, path)


def test_the_process_of_a_peer_is_held_by_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        caller = front.peer(ours)
        pidfd = front.peer_process(ours, caller)
        assert not pidfd_module.has_ended(pidfd)
        os.close(pidfd)
        with pytest.raises(Unauthorized):
            front.peer_process(ours, replace(caller, pid=1))
