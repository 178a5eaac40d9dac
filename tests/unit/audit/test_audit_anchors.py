"""A record is believed by where the chain leads on from it, whatever stands around it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fumehood.audit import anchors
from fumehood.audit.anchors import Anchors
from fumehood.audit.chain import AuditLog
from fumehood.audit.find import find
from fumehood.audit.record import Position
from fumehood.model.ids import uuid7
from support.audit import KEYS, SIGNER, fill

ONE = uuid7()


@dataclass
class Running:
    """A log that is open, as its own process sees it."""

    directory: Path
    log: AuditLog

    def anchors(self) -> Anchors:
        return Anchors(
            self.directory, self.log.chain, lambda: self.log.last, lambda: [SIGNER.public]
        )

    @property
    def segments(self) -> list[Path]:
        return sorted(self.directory.glob("segment-*.jsonl"))

    def lines(self) -> list[bytes]:
        return [line for path in self.segments for line in path.read_bytes().splitlines()]


@pytest.fixture(params=[1024, 1 << 20], ids=["many segments", "one segment"])
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    with AuditLog.open(tmp_path / "audit", KEYS, segment_bytes=request.param) as log:
        for number in range(12):
            name = ONE if number == 4 else uuid7()
            log.append("invocation.ended", {"invocation": name, "n": number}).result(10)
        yield Running(tmp_path / "audit", log)


def test_every_record_holds_while_the_log_grows(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "EVERY", 3)
    held = running.anchors()
    lines = running.lines()
    assert [held.holds(line) for line in lines] == [True] * len(lines)
    assert [running.anchors().holds(line) for line in reversed(lines)] == [True] * len(lines)
    running.log.append("more", {}).result(10)
    assert [held.holds(line) for line in running.lines()] == [True] * (len(lines) + 1)


def forge(path: Path, number: int, replace: Callable[[bytes], bytes], *, links: int = 1) -> bytes:
    """Change a record of a segment, and mend `links` records behind it; the changed line."""
    lines = path.read_bytes().splitlines()
    changed = lines[number] = replace(lines[number])
    for at in range(number + 1, min(number + 1 + links, len(lines))):
        head, _, rest = lines[at].partition(b'"prev":"')
        digest = hashlib.sha384(lines[at - 1]).hexdigest().encode()
        lines[at] = head + b'"prev":"' + digest + rest[96:]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return changed


@pytest.mark.parametrize("links", [0, 1, 100])
def test_a_forged_record_does_not_hold_however_the_chain_behind_it_is_mended(
    running: Running, links: int
) -> None:
    path = next(path for path in running.segments if ONE.encode() in path.read_bytes())
    lines = path.read_bytes().splitlines()
    number = next(at for at, line in enumerate(lines) if ONE.encode() in line)
    changed = forge(path, number, lambda line: line.replace(b'"n":4', b'"n":9'), links=links)
    assert running.anchors().holds(changed) is False
    found = find(running.directory, ONE, holds=running.anchors().holds)
    assert (found.records, found.broken) == ((), 1)


def test_a_record_behind_the_last_one_is_not_told(running: Running) -> None:
    lines = running.lines()
    name = uuid7()
    planted = lines[-1].replace(b'{"seq":', b'{"seq":9', 1)
    planted = planted[: planted.index(b'"invocation":"')] + (
        f'"invocation":"{name}","n":11,"mac":"{"0" * 96}"}}'.encode()
    )
    (running.directory / f"segment-{10**15:016d}.jsonl").write_bytes(planted + b"\n")
    assert find(running.directory, name).records, "it is told where nobody is asked"
    assert running.anchors().holds(planted) is None
    found = find(running.directory, name, holds=running.anchors().holds)
    assert (found.records, found.broken) == ((), 0)


def test_a_finished_segment_of_another_log_does_not_hold(tmp_path: Path, running: Running) -> None:
    """Signed by this host, too, and in the right place."""
    fill(tmp_path / "other", 12, segment_bytes=1024)
    other = sorted((tmp_path / "other").glob("segment-*"))
    for path in other:
        shutil.copy(path, running.directory / path.name)
    line = other[0].read_bytes().splitlines()[0]
    assert running.anchors().holds(line) is False


def test_without_signed_ends_the_chain_is_followed_to_the_last_record(running: Running) -> None:
    for path in running.directory.glob("segment-*.sig"):
        path.unlink()
    held = running.anchors()
    assert [held.holds(line) for line in running.lines()] == [True] * len(running.lines())


def test_what_is_proven_is_remembered_within_bounds(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "MAX_KNOWN", 5)
    held = running.anchors()
    for line in running.lines():
        assert held.holds(line)
    assert len(held._known) == 5


@pytest.mark.parametrize("line", [b"", b"{}", b"x" * 1000])
def test_what_is_no_record_does_not_hold(running: Running, line: bytes) -> None:
    assert running.anchors().holds(line) is False


def test_a_record_that_stands_nowhere_does_not_hold(running: Running) -> None:
    line = running.lines()[2]
    assert running.anchors().holds(line.replace(b'"n":', b'"m":')) is False
    gone = Anchors(running.directory, running.log.chain, lambda: Position(99, "0" * 96), list)
    assert gone.holds(line) is False, "what should vouch for it is not on the way"
