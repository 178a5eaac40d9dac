"""Withheld output on disk: nothing of it in plain text, bounded, and gone when it is old."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.errors import KeyringError, UnknownInvocation
from fumehood.model.ids import uuid7
from fumehood.model.outcome import Artifact
from fumehood.model.result import Finding, Result
from fumehood.supervisor.withheld import Withheld
from support.scan import admitted, outcome

WHY = Finding("yara", "scanner", "high", "output", "withhold")


def store(place: Path, most: int = 1 << 20, days: int = 7) -> Withheld:
    ring = open_ring(place, Periods())
    return Withheld(place / "withheld", ring, most_bytes=most, days=days)


def keep(
    kept: Withheld, stdout: bytes, stderr: bytes = b"", files: tuple[Artifact, ...] = ()
) -> str:
    call = admitted()
    name = uuid7()
    call = replace(call, request=replace(call.request, invocation=name))
    result = Result(name, "sample", "1", "d", "withheld", message="why", findings=(WHY,))
    assert kept.keep(call, outcome(stdout, stderr, artifacts=files), result) is bool(
        stdout or stderr or files
    )
    return name


def test_what_was_kept_comes_back_whole_and_stands_nowhere_in_plain_text(tmp_path: Path) -> None:
    files = (Artifact("a\x1b[0m.bin", b"\0file\xff"), Artifact("gone", b"", "symlink"))
    name = keep(store(tmp_path), b"the output \xff", b"the errors", files)
    back = store(tmp_path).open(name)
    assert (back.stdout, back.stderr) == (b"the output \xff", b"the errors")
    assert [(a.name, a.data) for a in back.artifacts] == [("a\\x1b[0m.bin", b"\0file\xff")]
    assert back.about["findings"] == ["scanner:yara:output"]
    assert (back.about["tool"], back.about["uid"]) == ("sample", 1000)
    (path,) = (tmp_path / "withheld").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    stored = path.read_bytes()
    for text in (b"the output", b"the errors", b"sample", b"yara"):
        assert text not in stored
    assert json.loads(stored)["alg"] == "AES-256-GCM"


def test_nothing_written_is_nothing_kept(tmp_path: Path) -> None:
    keep(store(tmp_path), b"")
    assert store(tmp_path).listed() == []


def test_a_file_under_another_name_or_changed_does_not_open(tmp_path: Path) -> None:
    kept = store(tmp_path)
    name, other = keep(kept, b"mine"), uuid7()
    folder = tmp_path / "withheld"
    (folder / f"{name}.json").rename(folder / f"{other}.json")
    with pytest.raises(KeyringError, match="does not open"):
        kept.open(other)
    (folder / f"{other}.json").write_text("x")
    with pytest.raises(KeyringError, match="changed on disk"):
        kept.open(other)


@pytest.mark.parametrize("name", ["", "x", "../keys/ring", "../../etc/passwd", uuid7(), "A" * 36])
def test_whatever_is_not_kept_is_unknown_in_the_same_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownInvocation) as unknown:
        store(tmp_path).open(name)
    assert unknown.value.cause == "no output of such an invocation is kept"


def test_the_oldest_goes_when_there_is_no_more_room(tmp_path: Path) -> None:
    kept = store(tmp_path, most=100_000)
    names = []
    for number in range(6):
        names.append(keep(kept, bytes(20_000)))
        path = tmp_path / "withheld" / f"{names[-1]}.json"
        os.utime(path, (time.time() + number, time.time() + number))
    listed = kept.listed()
    assert [item["invocation"] for item in listed] == names[-len(listed) :]
    assert 2 <= len(listed) < 6
    assert sum(item["bytes"] for item in listed) <= 100_000


@pytest.mark.parametrize("most", [0, 1000])
def test_what_is_larger_than_all_the_room_is_not_kept(tmp_path: Path, most: int) -> None:
    kept = store(tmp_path, most=most)
    call = admitted()
    result = Result("i", "sample", "1", "d", "withheld", findings=(WHY,))
    assert not kept.keep(call, outcome(bytes(900)), result)
    assert kept.listed() == []


def test_what_is_old_is_gone(tmp_path: Path) -> None:
    kept = store(tmp_path, days=2)
    old, young = keep(kept, b"old"), keep(kept, b"young")
    past = time.time() - 2 * 86_400 - 1
    os.utime(tmp_path / "withheld" / f"{old}.json", (past, past))
    with pytest.raises(UnknownInvocation):
        kept.open(old)
    assert [item["invocation"] for item in kept.listed()] == [young]
    assert not (tmp_path / "withheld" / f"{old}.json").exists()


def test_without_its_key_it_is_erased(tmp_path: Path) -> None:
    name = keep(store(tmp_path), b"mine")
    ring = open_ring(tmp_path, Periods())
    (key,) = (entry.id for entry in ring.entries() if entry.purpose == "content")
    ring.revoke(key)
    with pytest.raises(KeyringError):
        store(tmp_path).open(name)
