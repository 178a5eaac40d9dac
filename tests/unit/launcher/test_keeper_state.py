"""The keeper sees where the state's path leads; the supervisor's mount of it goes along with it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.launcher.keeper import MOVED, Keeper, Settings


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


@contextlib.contextmanager
def looks(state: Path) -> Iterator[Callable[[], bytes]]:
    """Has a keeper look; what it says."""
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(Settings)}
    made = Keeper(Settings(**{**values, "engines": (), "socket": "", "state": str(state)}), -1, -1)
    control, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setblocking(False)
    made._control = control

    def look() -> bytes:
        made._look()
        with contextlib.suppress(BlockingIOError):
            return line.recv(100)
        return b""

    with control, line:
        yield look


@pytest.mark.parametrize("back", ["nothing", "another", "a file", "the same"])
def test_a_state_that_is_elsewhere_is_told(state: Path, back: str) -> None:
    with looks(state) as look:
        assert look() == b""
        away = state.rename(state.with_name("away"))
        if back == "another":
            state.mkdir()
        elif back == "a file":
            state.touch()
        elif back == "the same":
            away.rename(state)
        assert look() == (b"" if back == "the same" else MOVED.encode())


def test_a_disk_that_cannot_say_is_no_move(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_path: str) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    with looks(state) as look:
        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", fails)
            assert look() == b""
        state.rename(state.with_name("away"))
        assert look() == MOVED.encode()


def test_a_link_that_leads_elsewhere_is_told(state: Path) -> None:
    link, other = state.with_name("link"), state.with_name("other")
    other.mkdir()
    link.symlink_to(state)
    with looks(link) as look:
        assert look() == b""
        link.unlink()
        link.symlink_to(other)
        assert look() == MOVED.encode()
