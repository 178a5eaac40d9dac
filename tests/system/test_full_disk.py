"""A full disk: calls are refused with a reason, none is answered unrecorded, and it recovers."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import FumehoodError
from support.hood import Hood, eventually, hood
from support.ledger import Ledger, records

ACCOUNTS = {"first": 1_959_000_000, "count": 50}
CALLS = 12
"""Their records fill more than the page that a full tmpfs may still have room in."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A daemon's place whose state is a disk of its own, of 16 MiB."""
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "state").mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=10000", "none", path / "state"],
            check=True,
        )
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", path / "state"], check=True)


def fill(place: Path) -> Path:
    """Take all that is free; the file that holds it."""
    ballast = place / "state" / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def call_in_thread(running: Hood, tool: str, ends: list[Any]) -> threading.Thread:
    def call() -> None:
        try:
            ends.append(running.call(tool))
        except FumehoodError as error:
            ends.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_calls_are_refused_before_the_disk_is_full_and_taken_again_afterwards(place: Path) -> None:
    config = {"accounts": ACCOUNTS, "storage": {"free": "4MiB"}}
    with hood(place, config=config) as running:
        running.register(None, "echo", command=["cat"])
        assert running.call("echo")["status"] == "ok"
        ballast = place / "state" / "ballast"
        ballast.write_bytes(b"\0" * (13 << 20))
        eventually(lambda: running.call("echo")["status"] == "rejected", 10, "it is noticed")
        refused = running.call("echo")
        assert refused["message"].startswith("the host is short of disk")
        assert refused["retry_after"] > 0
        assert running.status()["refusing"].startswith("disk: ")
        with pytest.raises(FumehoodError, match="short of disk"):
            running.register(None, "more", command=["cat"])
        ballast.unlink()
        eventually(lambda: running.call("echo")["status"] == "ok", 10, "it recovers by itself")
        assert running.status()["refusing"] == ""
        assert running.cli("audit", "verify").returncode == 0
        assert running.stop() == 0
    Ledger.of(place / "state").check()
    events = [record["event"] for record in records(place / "state")]
    assert events.count("admission.closed") == events.count("admission.opened") == 1


def test_a_disk_that_fills_during_calls_loses_no_record_and_answers_nothing_unrecorded(
    place: Path,
) -> None:
    config = {"accounts": ACCOUNTS, "storage": {"free": "64KiB"}, "warm": 0}
    with hood(place, config=config) as running:
        running.register(None, "nap", command=["sleep", "4"], limits={"timeout": "60s"})
        running.register(None, "echo", command=["cat"])
        ends: list[Any] = []
        threads = [call_in_thread(running, "nap", ends) for _ in range(CALLS)]
        eventually(lambda: len(Ledger.of(place / "state").launched) == CALLS, 30, "they run")
        ballast = fill(place)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller waits in silence"
        failed = [end for end in ends if isinstance(end, FumehoodError)]
        answered = [end for end in ends if isinstance(end, dict)]
        assert failed, "the records fitted after all"
        assert {error.cause for error in failed} == {
            "the call could not be recorded, so it has no answer"
        }
        assert all("may have run" in error.remedy for error in failed)
        refused = running.call("echo")
        assert (refused["status"], refused["retry_after"] > 0) == ("rejected", True)
        ballast.unlink()
        eventually(lambda: running.call("echo")["status"] == "ok", 15, "it recovers by itself")
        ledger = Ledger.of(place / "state")
        ledger.check()
        naps = [name for name in ledger.launched if ledger.statuses[name] == "ok"]
        assert len(naps) >= CALLS
        assert {end["invocation"] for end in answered} <= set(naps)
        assert running.cli("audit", "verify").returncode == 0
        assert running.stop() == 0
    Ledger.of(place / "state").check()
