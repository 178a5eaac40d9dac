"""Denied calls are booked to the sandbox that made them, at a bounded cost, or not at all."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest

from fumehood.kernel.audit_stream import Kauditd, Record, Stream
from fumehood.launcher import denials
from fumehood.launcher.denials import LATE, MISSED, NO_ERRORS, NOT_ALL, SHARED, Denials
from fumehood.model.outcome import SyscallCount, Syscalls

X86_64, I386 = 0xC000003E, 0x40000003
KILL, ERRNO, LOG = 0x80000000, 0x00050000, 0x7FFC0000
ONE, TWO = 1_900_000_001, 1_900_000_002


class FakeStream:
    """What the kernel would send."""

    def __init__(self) -> None:
        self.waiting: deque[Record] = deque()
        self.overflows = 0
        self.malformed = 0
        self.fd = 99
        self.reads = 0

    def send(
        self, uid: int, number: int = 321, *, count: int = 1, arch: int = X86_64, action: int = KILL
    ) -> None:
        self.waiting.extend([Record(uid, 1, arch, number, action)] * count)

    def read(self, most: int) -> list[Record]:
        self.reads += 1
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def wait(self, seconds: float) -> bool:
        return bool(self.waiting)


class FakeSender:
    def __init__(self) -> None:
        self.idle = True

    def sleeps(self) -> bool:
        return self.idle


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream()


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def book(stream: FakeStream, sender: FakeSender) -> Denials:
    return Denials(cast(Stream, stream), sender=cast(Kauditd, sender))


def test_each_sandbox_gets_its_own(book: Denials, stream: FakeStream) -> None:
    book.started("a", ONE)
    book.started("b", TWO)
    stream.send(ONE, count=2)
    stream.send(TWO, 102, arch=I386)
    stream.send(0)
    first = book.ended("a", killed=True)
    assert first.seen == (SyscallCount("bpf", "x86_64", "kill", 2),)
    assert (first.kills_visible, first.denials_visible, first.complete) == (True, False, True)
    assert first.reason == NO_ERRORS
    assert book.ended("b", killed=False).seen == (SyscallCount("socketcall", "i386", "kill", 1),)


def test_what_came_before_the_start_belongs_to_somebody_else(
    book: Denials, stream: FakeStream
) -> None:
    book.started("a", ONE)
    book.ended("a", killed=False)
    stream.send(ONE)
    book.started("b", ONE)
    assert book.ended("b", killed=False).seen == ()


def test_a_shared_account_says_nothing_of_either(book: Denials, stream: FakeStream) -> None:
    book.started("a", ONE)
    book.started("b", ONE)
    stream.send(ONE, count=5)
    for name in ("a", "b"):
        told = book.ended(name, killed=False)
        assert (told.seen, told.kills_visible, told.reason) == ((), False, SHARED)
    book.started("c", ONE)
    stream.send(ONE)
    assert book.ended("c", killed=False).seen[0].count == 1


def test_kinds_of_calls_are_bounded_and_the_rest_is_counted(
    book: Denials, stream: FakeStream
) -> None:
    book.started("a", ONE)
    for number in range(denials.MAX_KINDS + 10):
        stream.send(ONE, number)
    told = book.ended("a", killed=False)
    assert (len(told.seen), told.others) == (denials.MAX_KINDS, 10)


def test_a_flood_is_read_no_faster_than_the_bound_and_said_to_be_incomplete(
    book: Denials, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("fumehood.launcher.denials.time.monotonic", lambda: now)
    book.started("a", ONE)
    stream.send(ONE, count=3 * denials.RECORDS_PER_SECOND)
    book.receive()
    assert book.paused_until == pytest.approx(now + 1.0)
    reads = stream.reads
    book.receive()
    assert stream.reads == reads, "paused: not even looked at"
    told = book.ended("a", killed=False)
    assert told.seen[0].count == denials.RECORDS_PER_SECOND
    assert not told.complete
    assert told.reason.startswith(MISSED)
    book.started("b", TWO)
    now += 1.5
    stream.waiting.clear()
    stream.send(TWO)
    book.receive()
    assert book.ended("b", killed=False).seen[0].count == 1


def test_who_starts_after_a_flood_is_told_nothing_of_it_and_that_it_is_incomplete(
    book: Denials, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("fumehood.launcher.denials.time.monotonic", lambda: now)
    book.started("a", ONE)
    stream.send(ONE, count=denials.RECORDS_PER_SECOND + 500)
    book.ended("a", killed=False)
    book.started("b", ONE)
    stream.send(ONE, 250)
    now += 1.0
    told = book.ended("b", killed=False)
    assert told.seen == (SyscallCount("keyctl", "x86_64", "kill", 1),)
    assert (told.complete, told.reason) == (False, f"{MISSED}; {NO_ERRORS}")


def test_an_overflow_makes_only_those_incomplete_that_ran_then(
    book: Denials, stream: FakeStream
) -> None:
    book.started("a", ONE)
    stream.overflows += 1
    book.started("b", TWO)
    assert not book.ended("a", killed=False).complete
    assert book.ended("b", killed=False).complete


def test_an_end_waits_for_the_kernels_sender(book: Denials, sender: FakeSender) -> None:
    book.started("a", ONE)
    sender.idle = False
    assert not book.settled("a")
    assert book.settled("never started")
    sender.idle = True
    assert book.settled("a")
    late = book.ended("a", killed=False, late=True)
    assert not late.complete
    assert late.reason.startswith(LATE)


def test_a_record_that_did_not_come_may_still_where_the_sender_is_not_visible(
    stream: FakeStream,
) -> None:
    """Nobody may conclude from it that the tool sent itself the signal."""
    book = Denials(cast(Stream, stream))
    book.started("a", ONE)
    assert not book.ended("a", killed=True).complete
    book.started("b", ONE)
    assert book.ended("b", killed=False).complete
    book.started("c", ONE)
    stream.send(ONE)
    assert book.ended("c", killed=True).complete


def test_without_a_stream_it_says_why() -> None:
    book = Denials(None, "no")
    assert book.fd == -1
    book.started("a", ONE)
    book.receive()
    assert book.settled("a")
    told = book.ended("a", killed=True)
    assert (told.kills_visible, told.reason) == (False, "no")


def test_rootless_nothing_is_tried() -> None:
    assert Denials.open(rootless=True).ended("a", killed=False).reason == denials.ROOTLESS


def test_a_running_sandbox_is_told_of_as_its_count_doubles(
    book: Denials, stream: FakeStream
) -> None:
    book.started("a", ONE)
    told = []
    for _ in range(1_000):
        stream.send(ONE)
        stream.send(0)
        book.receive()
        told += book.news()
    assert told == [("a", 2**n, 2**n) for n in range(10)], "the first kill at once"
    book.ended("a", killed=False)
    assert book.news() == []


def test_nothing_is_told_of_two_that_share_an_account(book: Denials, stream: FakeStream) -> None:
    book.started("a", ONE)
    book.started("b", ONE)
    stream.send(ONE, count=50)
    book.receive()
    assert book.news() == []


def test_kills_of_strangers_keep_nobody_from_hearing_of_our_own(
    book: Denials, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("fumehood.launcher.denials.time.monotonic", lambda: now)
    stream.send(65_534, count=3 * denials.RECORDS_PER_SECOND)  # while nothing of ours ran
    book.started("a", ONE)
    stream.send(65_534, count=denials.RECORDS_PER_SECOND)
    stream.send(ONE, count=3)
    told = book.ended("a", killed=True)
    assert (told.seen[0].count, told.complete) == (3, True)
    assert book.paused_until < now


def test_a_flood_of_strangers_is_bounded_too(
    book: Denials, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("fumehood.launcher.denials.time.monotonic", lambda: now)
    book.started("a", ONE)
    stream.send(65_534, count=denials.STRANGERS_PER_SECOND + 1)
    book.receive()
    assert book.paused_until == pytest.approx(now + 1.0)
    assert not book.ended("a", killed=False).complete


def test_denials_of_a_sandbox_that_records_them_are_told(book: Denials, stream: FakeStream) -> None:
    book.started("a", ONE, logged=True)
    stream.send(ONE, 41, count=3, action=ERRNO)
    told = book.ended("a", killed=False)
    assert told.seen == (SyscallCount("socket", "x86_64", "errno", 3),)
    assert (told.denials_visible, told.reason) == (True, NOT_ALL)
    assert told.killed() == ""


def test_calls_answered_with_an_error_are_told_later_and_are_no_kills(
    book: Denials, stream: FakeStream
) -> None:
    book.started("a", ONE, logged=True)
    told = []
    for _ in range(16):
        stream.send(ONE, 41, action=ERRNO)
        book.receive()
        told += book.news()
    assert told == [("a", 8, 0), ("a", 16, 0)]


@pytest.mark.parametrize(
    ("action", "most"),
    [
        (ERRNO, denials.EACH_PER_SECOND),
        (KILL, denials.EACH_PER_SECOND),
        (LOG, denials.LOGGED_PER_SECOND),
    ],
    ids=["denials", "kills", "logged"],
)
def test_who_has_too_much_recorded_must_stand_still_for_the_rest_of_the_second(
    book: Denials, stream: FakeStream, monkeypatch: pytest.MonkeyPatch, action: int, most: int
) -> None:
    """Whatever filter did that: an operator's profile may let a tool load one of its own."""
    now = [100.0]
    monkeypatch.setattr(denials.time, "monotonic", lambda: now[0])
    book.started("one", ONE)
    book.started("other", TWO, logged=True)
    stream.send(ONE, count=most - 1, action=action)
    stream.send(TWO, count=denials.EACH_PER_SECOND - 1, action=ERRNO)
    book.receive()
    assert book.over() == []
    stream.send(ONE, action=action)
    book.receive()
    assert (book.over(), book.second_over) == (["one"], 101.0)
    now[0] = 101.0
    assert book.over() == [], "also when nothing was read since"
    book.receive()
    assert book.over() == []


def test_of_two_that_share_an_account_both_stand_still(book: Denials, stream: FakeStream) -> None:
    book.started("first", ONE)
    book.started("second", ONE)
    stream.send(ONE, count=denials.EACH_PER_SECOND)
    book.receive()
    assert sorted(book.over()) == ["first", "second"]


def test_who_takes_part_stands_still_while_nobody_reads_and_nobody_else(
    book: Denials, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(denials.time, "monotonic", lambda: now[0])
    book.started("some", ONE)
    book.started("few", TWO, logged=True)
    stream.send(ONE, count=denials.TAKES_PART)
    stream.send(TWO, count=denials.TAKES_PART - 1, action=ERRNO)
    book.receive()
    assert book.over() == []
    stream.send(65_534, count=denials.STRANGERS_PER_SECOND)
    book.receive()
    assert book.over() == ["some"], "the reading has paused"
    now[0] = 101.0
    stream.waiting.clear()
    book.receive()
    assert book.over() == []
    stream.send(ONE, count=denials.TAKES_PART)
    book.receive()
    stream.overflows += 1
    assert book.over() == ["some"], "the kernel dropped records, of whomever"
    assert book.over() == []


def test_who_was_asked_to_end_is_borne_for_a_while(book: Denials, stream: FakeStream) -> None:
    book.started("a", ONE)
    stream.send(ONE, count=denials.EACH_PER_SECOND)
    book.receive()
    book.forgive("a")
    assert book.over() == []
    stream.send(ONE, count=denials.IN_GRACE - 1)
    book.receive()
    assert not book.unforgivable("a")
    stream.send(ONE)
    book.receive()
    assert book.unforgivable("a")


def test_what_was_recorded_before_the_call_is_not_the_callers(
    book: Denials, stream: FakeStream, sender: FakeSender
) -> None:
    book.started("a", ONE)
    stream.send(ONE, count=denials.EACH_PER_SECOND)
    book.receive()
    book.began("a")
    assert (book.over(), book.news()) == ([], [])
    stream.send(ONE, 250)
    told = book.ended("a", killed=False)
    assert (told.seen, told.complete) == ((SyscallCount("keyctl", "x86_64", "kill", 1),), True)
    book.started("b", TWO)
    stream.send(TWO)
    book.receive()
    sender.idle = False
    book.began("b")
    assert not book.ended("b", killed=False).complete, "some of before may still come"


def test_of_what_the_kernel_does_not_see_nothing_is_claimed(book: Denials) -> None:
    """Not even that there was nothing; records of its account are those of the runtime itself."""
    book.started("a", ONE, hidden="its kernel is its own")
    assert book.so_far("a") == Syscalls(reason="its kernel is its own")
    assert book.ended("a", killed=False) == Syscalls(reason="its kernel is its own")
