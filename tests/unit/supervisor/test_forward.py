"""Forwarding to real local receivers: nothing is lost, whatever goes down and when."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing
from pydantic import ValidationError

from fumehood.audit.chain import AuditLog
from fumehood.audit.folder import segment_name
from fumehood.audit.follow import Place as LogPlace
from fumehood.audit.record import digest
from fumehood.crypto.files import write_private
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.errors import ConfigError
from fumehood.model.forward import ForwardSpec
from fumehood.supervisor import cursor, forward
from fumehood.supervisor.cursor import Cursor, Vouch, write_cursor
from fumehood.supervisor.sinks import connector
from support.audit import KEYS
from support.forwarding import Place, quicken, spec
from support.hood import eventually
from support.receiver import Receiver

WAIT = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    quicken(monkeypatch)
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_every_record_arrives_in_order_across_segments_and_restarts(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(5, segment_bytes=500)
    first = place.forwarder()
    receiver.until(5)
    first.close()
    place.write(5, segment_bytes=500)
    second = place.forwarder()
    receiver.until(10)
    second.close()
    assert receiver.seqs == list(range(1, 11))
    assert second.status().behind == 0
    assert place.events == []


def test_a_receiver_that_is_down_gets_everything_once_it_is_back(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.down = True
    place = Place(tmp_path, spec(receiver.address))
    place.write(3)
    first = place.forwarder()
    with receiver.changed:
        assert receiver.changed.wait_for(lambda: receiver.tokens, WAIT)  # it was asked
    assert first.status().behind > 0
    first.close()  # a restart meanwhile
    place.write(2)
    second = place.forwarder()
    receiver.down = False
    receiver.until(5)
    second.close()
    assert sorted(set(receiver.seqs)) == [1, 2, 3, 4, 5]
    assert second.status().failing == ""


def test_a_log_that_is_moved_away_keeps_nobody_from_the_status(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(1)
    first = place.forwarder()
    receiver.until(1)
    (tmp_path / "audit").rename(tmp_path / "away")
    assert "no audit log can be read" in first.status().failing
    first.close()


def test_what_retention_removed_unsent_is_recorded_as_a_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(1)
    first = place.forwarder()
    receiver.until(1)
    first.close()
    place.write(6, segment_bytes=100)
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.prune(before="2100")
    second = place.forwarder()
    receiver.until(7)
    second.close()
    ((event, fields),) = place.events
    assert (event, fields["to"]) == (forward.GAP, 6)


def test_what_retention_removed_before_a_receiver_was_ever_reached_is_a_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.down = True
    place = Place(tmp_path, spec(receiver.address))
    place.write(6, segment_bytes=100)
    first = place.forwarder()
    eventually(lambda: "answered 503" in first.status().failing, WAIT, "it is told")
    first.close()
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.prune(before="2100")
    receiver.down = False
    forwarded_anew(place, receiver, 2)
    assert receiver.seqs == [6, 7]
    assert place.events == [(forward.GAP, {"from_segment": 1, "to": 5})]


def test_what_went_before_forwarding_was_set_up_is_no_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(6, segment_bytes=100)
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.prune(before="2100")
    forwarded_anew(place, receiver, 2)
    assert (receiver.seqs, place.events) == ([6, 7], [])


def test_a_cursor_that_says_nothing_is_a_gap_and_sending_begins_anew(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 2)
    write_private(tmp_path / "cursor", b"{", replace=True)
    forwarded_anew(place, receiver, 4)
    ((event, fields),) = place.events
    assert (event, str(fields["reason"]).startswith(cursor.UNKNOWN)) == (forward.GAP, True)
    assert receiver.seqs == [1, 2, 1, 2]


def test_what_retention_removed_once_it_was_sent_is_no_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 3)
    place.write(1, segment_bytes=1)
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.prune(before="2100")
    assert [path.name for path in (tmp_path / "audit").glob("*.jsonl")] == [segment_name(4)]
    assert forwarded_anew(place, receiver, 5).behind == 0
    assert (receiver.seqs, place.events) == ([1, 2, 3, 4, 5], [])


def test_a_segment_that_goes_from_the_middle_is_a_gap_and_sending_goes_on(
    tmp_path: Path, receiver: Receiver
) -> None:
    """While it runs: no start has looked at the log since."""
    place = Place(tmp_path, spec(receiver.address))
    place.write(1)
    running = place.forwarder()
    receiver.until(1)
    receiver.down = True
    place.write(6, segment_bytes=1)
    for number in (4, 5):
        (tmp_path / "audit" / segment_name(number)).unlink()
    receiver.down = False
    receiver.until(7)
    running.close()
    assert receiver.seqs == [1, 2, 3, 6, 7]
    assert place.events == [(forward.GAP, {"from_segment": 3, "after": 3, "to": 5})]
    again = place.forwarder()  # told once
    again.close()
    assert len(place.events) == 1


def test_a_record_that_goes_from_within_a_segment_is_a_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(6)
    segment = tmp_path / "audit" / segment_name(1)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join((*lines[:2], *lines[4:])))
    assert forwarded_anew(place, receiver, 4) == forward.Status(4, 0, "")
    assert receiver.seqs == [1, 2, 5, 6]
    assert place.events == [(forward.GAP, {"from_segment": 1, "after": 2, "to": 4})]


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
def test_a_record_that_another_does_not_follow_is_a_gap(
    tmp_path: Path, receiver: Receiver, segment_bytes: int
) -> None:
    """It was changed, or exchanged with others, before it was sent."""
    place = Place(tmp_path, spec(receiver.address))
    place.write(5, segment_bytes=segment_bytes)
    (path,) = (p for p in (tmp_path / "audit").glob("*.jsonl") if b'"seq":3,' in p.read_bytes())
    path.write_bytes(path.read_bytes().replace(b'"n":2', b'"n":7'))
    assert forwarded_anew(place, receiver, 5) == forward.Status(5, 0, "")
    assert receiver.seqs == [1, 2, 3, 4, 5]
    ((event, fields),) = place.events
    assert (event, fields["after"], fields["reason"]) == (forward.GAP, 3, cursor.UNLINKED)


def sent_to_the_end(place: Place, receiver: Receiver, count: int) -> None:
    place.write(count)
    running = place.forwarder()
    receiver.until(count)
    running.close()


def forwarded_anew(place: Place, receiver: Receiver, total: int) -> forward.Status:
    """What a forwarder that starts now says when the receiver has `total` records in all."""
    running = place.forwarder()
    with receiver.changed:
        assert receiver.changed.wait_for(lambda: len(receiver.seqs) >= total, WAIT), receiver.seqs
    running.close()
    return running.status()


def test_a_log_begun_anew_is_forwarded_from_its_beginning_and_recorded_as_a_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 5)
    (tmp_path / "audit").rename(tmp_path / "moved")
    place.write(2)  # shorter than what was sent of the other
    assert forwarded_anew(place, receiver, 7).behind == 0
    ((event, fields),) = place.events
    assert (event, fields["reason"], fields["after"]) == (forward.GAP, cursor.OTHER, 5)
    assert fields["earlier"]
    shutil.rmtree(tmp_path / "audit")
    place.write(4)  # longer
    assert forwarded_anew(place, receiver, 11).behind == 0
    assert [fields["reason"] for _, fields in place.events] == [cursor.OTHER] * 2
    assert receiver.seqs == [1, 2, 3, 4, 5, 1, 2, 1, 2, 3, 4]
    again = place.forwarder()  # told once
    again.close()
    assert len(place.events) == 2


@pytest.mark.parametrize("segment", [1, 77])
def test_a_cursor_beyond_the_log_is_a_gap(tmp_path: Path, receiver: Receiver, segment: int) -> None:
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 2)
    beyond = Cursor(LogPlace(segment, 76187))
    write_cursor(tmp_path / "cursor", beyond, place.vouch)
    assert forwarded_anew(place, receiver, 4) == forward.Status(2, 0, "")
    ((event, fields),) = place.events
    assert (event, fields["reason"]) == (forward.GAP, cursor.SHORTER)
    assert receiver.seqs == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "how", ["moved ahead", "without a MAC", "of another host", "no JSON object"]
)
def test_a_cursor_that_this_host_has_not_written_is_a_gap_and_all_is_sent(
    tmp_path: Path, receiver: Receiver, how: str
) -> None:
    """Moved to the end of what is not sent yet, it would have that left out."""
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 3)
    kept = json.loads((tmp_path / "cursor").read_bytes())
    place.write(2)
    (segment,) = (tmp_path / "audit").glob("segment-*.jsonl")
    last = segment.read_bytes().splitlines()[-1]
    end = {"offset": segment.stat().st_size, "seq": 5, "digest": digest(last)}
    if how == "of another host":
        other = Vouch(open_ring(tmp_path / "other", Periods()))
        write_cursor(
            tmp_path / "cursor", Cursor(LogPlace(1, end["offset"]), kept["chain"], 5), other
        )
    else:
        forged = kept | end
        if how == "without a MAC":
            del forged["mac"]
        text = json.dumps([forged] if how == "no JSON object" else forged)
        write_private(tmp_path / "cursor", text.encode(), replace=True)
    forwarded_anew(place, receiver, 8)
    ((event, fields),) = place.events
    assert (event, str(fields["reason"]).startswith(cursor.UNKNOWN)) == (forward.GAP, True)
    assert receiver.seqs == [1, 2, 3, 1, 2, 3, 4, 5]


def test_a_cursor_holds_when_its_key_was_followed_by_another(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 2)
    open_ring(tmp_path / "ring", Periods()).rotate("digest")
    place.write(2)
    forwarded_anew(place, receiver, 4)
    assert (receiver.seqs, place.events) == ([1, 2, 3, 4], [])


def test_a_log_that_does_not_hold_what_was_sent_is_a_gap(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    sent_to_the_end(place, receiver, 2)
    kept = cursor.read_cursor(tmp_path / "cursor", place.vouch)
    assert kept is not None
    write_cursor(tmp_path / "cursor", replace(kept, digest="0" * 96), place.vouch)
    forwarded_anew(place, receiver, 4)
    assert [fields["reason"] for _, fields in place.events] == [cursor.CHANGED]
    assert receiver.seqs == [1, 2, 1, 2]


def test_a_line_that_is_no_record_is_told_and_nothing_behind_it_is_sent(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(3)
    (segment,) = (tmp_path / "audit").glob("segment-*.jsonl")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"poison\n" + whole)
    running = place.forwarder()
    receiver.until(3)
    eventually(lambda: "no record at byte" in running.status().failing, WAIT, "it is told")
    eventually(lambda: place.events, WAIT, "it is on record")
    assert [event for event, _ in place.events] == [forward.FOREIGN]
    segment.write_bytes(whole)
    place.write(1)  # goes on by itself once the log is a log again
    receiver.until(4)
    running.close()
    assert receiver.seqs == [1, 2, 3, 4]
    assert running.status().failing == ""


def test_a_pipe_in_place_of_a_segment_is_told_and_holds_nothing(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(3)
    (segment,) = (tmp_path / "audit").glob("segment-*.jsonl")
    segment.unlink()
    os.mkfifo(segment)
    running = place.forwarder()
    eventually(lambda: "not a plain file" in running.status().failing, WAIT, "it is told")
    running.close()
    assert receiver.seqs == []


def test_a_segment_that_no_log_has_is_not_sent(tmp_path: Path, receiver: Receiver) -> None:
    place = Place(tmp_path, spec(receiver.address))
    place.write(2)
    (segment,) = (tmp_path / "audit").glob("segment-*.jsonl")
    forged = segment.read_bytes().replace(b'"seq":1,', b'"seq":666,', 1)
    (tmp_path / "audit" / "segment-0000000000000000.jsonl").write_bytes(forged)
    running = place.forwarder()
    receiver.until(2)
    running.close()
    assert receiver.seqs == [1, 2]
    (tmp_path / "audit" / "segment-0000000000000003.jsonl").write_bytes(forged)
    again = place.forwarder()
    eventually(lambda: "of segment 3" in again.status().failing, WAIT, "it is told")
    again.close()
    assert receiver.seqs == [1, 2]


def test_a_token_is_sent_and_its_file_must_be_private(tmp_path: Path, receiver: Receiver) -> None:
    token = tmp_path / "token"
    token.write_text("abc\n")
    token.chmod(0o600)
    place = Place(tmp_path, spec(receiver.address, token_file=str(token)))
    place.write(1)
    running = place.forwarder()
    receiver.until(1)
    running.close()
    assert receiver.tokens == {"Bearer abc"}
    token.chmod(0o644)
    with pytest.raises(ConfigError, match="0644"):
        connector(place.spec, "1")


def test_a_long_line_of_records_is_sent_in_parts_and_the_cursor_moves_with_each(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "BATCH_BYTES", 1000)
    moved: list[int] = []
    write = forward.write_cursor

    def written(path: Path, at: Cursor, vouch: Vouch) -> None:
        moved.append(at.place.offset)
        write(path, at, vouch)

    monkeypatch.setattr(forward, "write_cursor", written)
    place = Place(tmp_path, spec(receiver.address))
    place.write(12)
    running = place.forwarder()
    receiver.until(12)
    running.close()
    assert receiver.seqs == list(range(1, 13))
    assert len(moved) > 3
    assert moved == sorted(moved)
    assert running.status().behind == 0


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"to": "syslog://h"}, "no address to forward to"),
        ({"to": "http://example.org/x"}, "over TLS"),
        ({"to": "tls://h:x"}, "no address"),
        ({"to": "tls://h:1", "format": "otlp"}, "over HTTP"),
    ],
)
def test_what_could_not_be_forwarded_safely_is_refused(value: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ForwardSpec.model_validate(value)
