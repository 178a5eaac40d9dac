"""The audit log is searched also where its disk takes nothing: full, or mounted read-only."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from support.hood import command

RECORDS = 50
Stop = Callable[[Path], None]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state with a log, on a disk of its own of 2 MiB."""
    path = tmp_path / "state"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", path], check=True)
    try:
        write(path, RECORDS)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def write(state: Path, count: int) -> None:
    with AuditLog.open(state / "audit", RingCustody(open_ring(state, Periods()))) as log:
        for number in range(count):
            log.append("test", {"n": number}).result(10)


def fill(state: Path) -> None:
    with (state / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(4096))
    assert os.statvfs(state).f_bavail == 0


def read_only(state: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", state], check=True)


def audit(state: Path, *words: str) -> str:
    ended = subprocess.run(
        command("audit", *words),
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "FUMEHOOD_STATE": str(state)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def all_is_found(state: Path, count: int) -> None:
    exported = [json.loads(line) for line in audit(state, "export", "--format", "jsonl").split()]
    assert [record["n"] for record in exported] == [*range(RECORDS), *range(count - RECORDS)]
    (newest,) = json.loads(audit(state, "search", "--json", "--text", '"n":49'))
    assert newest["seq"] == RECORDS
    assert len(json.loads(audit(state, "search", "--json"))) == count
    assert json.loads(audit(state, "show", "3", "--json"))[0]["n"] == 2


@pytest.mark.parametrize("stop", [fill, read_only])
def test_without_an_index(state: Path, stop: Stop) -> None:
    stop(state)
    all_is_found(state, RECORDS)


@pytest.mark.parametrize("stop", [fill, read_only])
def test_with_a_whole_index_which_stays_as_it_is(state: Path, stop: Stop) -> None:
    audit(state, "search")
    index = state / "audit-index.sqlite3"
    before = index.read_bytes()
    stop(state)
    all_is_found(state, RECORDS)
    assert index.read_bytes() == before


@pytest.mark.parametrize("stop", [fill, read_only])
def test_with_an_index_that_does_not_go_as_far_as_the_log(state: Path, stop: Stop) -> None:
    audit(state, "search")
    write(state, 10)
    stop(state)
    all_is_found(state, RECORDS + 10)


@pytest.mark.parametrize("stop", [fill, read_only])
def test_with_a_damaged_index(state: Path, stop: Stop) -> None:
    audit(state, "search")
    with (state / "audit-index.sqlite3").open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))
    stop(state)
    all_is_found(state, RECORDS)
