"""Scanning in processes of their own: whatever one does, nothing is taken for scanned that was
not, the next call is served, and nothing outlives the supervisor."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fumehood
from fumehood.errors import ProtocolError, ScanFailed
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan import exchange
from fumehood.scan.detector import Match
from fumehood.scan.exchange import Answer, Subject, answer, read_answer
from fumehood.scan.policy import Withhold
from fumehood.scan.search import Budget, NotYet
from fumehood.supervisor.scanners import Scanners

TESTS = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def scanners() -> Iterator[Scanners]:
    made = Scanners(
        ScanSpec(), None, builder="support.faulty:searcher", paths=[TESTS], memory_bytes=256 << 20
    )
    made.load()
    yield made
    made.close()


def find(scanners: Scanners, *texts: bytes, seconds: float = 30) -> list[list[Match]]:
    subjects = [Subject(text, clean=True) for text in texts]
    return [list(found) for found in scanners.find_all(subjects, Budget(seconds))]


def test_what_is_found_there_is_found_here(scanners: Scanners) -> None:
    assert find(scanners, b"a secret", b"", b"none") == [
        [Match("found", "secret", "high", 2, 8)], [], [],
    ]  # fmt: skip


@pytest.mark.parametrize("size", [100, 300_000, 20_000_000])
def test_output_of_any_size_goes_there_and_back(scanners: Scanners, size: int) -> None:
    text = b"x" * size + b" secret"
    assert find(scanners, text) == [[Match("found", "secret", "high", size + 1, size + 7)]]


@pytest.mark.parametrize("word", [b"crash", b"leave", b"eat"])
def test_one_that_dies_is_named_and_the_next_call_is_served(
    scanners: Scanners, word: bytes
) -> None:
    with pytest.raises(Withhold) as withheld:
        find(scanners, word)
    (finding,) = withheld.value.findings
    assert (finding.rule, finding.kind, finding.action) == ("faulty", "scanner", "withhold")
    assert find(scanners, b"secret") != [[]]


@pytest.mark.parametrize("word", [b"stall", b"spin"])
def test_one_that_stalls_is_ended_and_named(
    scanners: Scanners, word: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fumehood.supervisor.scanners.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("fumehood.scan.search.WALL_SECONDS", 0.5)
    with pytest.raises(Withhold, match="`faulty` took too long"):
        find(scanners, word)
    monkeypatch.undo()
    assert find(scanners, b"secret") != [[]]


def test_one_whose_answer_nobody_wants_gives_up_and_is_used_again(scanners: Scanners) -> None:
    wanted = iter([False, False, True, True, True, True, True])
    budget = Budget(30, abandoned=lambda: next(wanted, True))
    with pytest.raises(Withhold, match="took too long"):
        scanners.find_all([Subject(b"sleep" + b"x" * 500_000, clean=True)], budget)
    assert find(scanners, b"secret") != [[]]


def test_who_cannot_wait_is_told_so_and_the_late_answer_is_nobodys(scanners: Scanners) -> None:
    hasty = Budget(30, patience=0.0)
    for _ in range(3):
        with pytest.raises(NotYet):
            scanners.find_all([Subject(b"sleep", clean=True)], hasty)
    assert find(scanners, b"secret", b"none") == [[Match("found", "secret", "high", 0, 6)], []]


def begun(scanners: Scanners, *texts: bytes) -> tuple[list[Subject], Budget]:
    """Subjects that somebody looks at already, and a budget that takes over what he finds."""
    if not scanners._begun:
        scanners.load()  # those that have ended
    subjects = [Subject(text, clean=True) for text in texts]
    ahead = scanners.begin(subjects, ())
    assert ahead is not None
    return subjects, Budget(30, begun=ahead)


def tasks(scanners: Scanners) -> int:
    """How many the scanners that live were given."""
    alive = [*scanners._idle.queue, *scanners._begun.values()]
    return sum(scanner._number for scanner in alive if scanner is not None)


def test_what_was_begun_is_taken_over_and_looked_at_once(scanners: Scanners) -> None:
    subjects, budget = begun(scanners, b"a secret", b"none")
    given = tasks(scanners)
    assert scanners.find_all(subjects, budget) == [(Match("found", "secret", "high", 2, 8),), ()]
    assert tasks(scanners) == given


@pytest.mark.parametrize(
    ("other", "given"),
    [
        (Subject(b"no", clean=True), ()),
        (Subject(b"secret", clean=False), ()),
        (Subject(b"secret", clean=True, name="a.txt"), ()),
        (Subject(b"secret", clean=True), (b"value",)),
    ],
)
def test_what_was_begun_for_anything_else_is_nobodys(
    scanners: Scanners, other: Subject, given: tuple[bytes, ...]
) -> None:
    alone = scanners.find_all([other], Budget(30, given=given))
    _, budget = begun(scanners, b"secret")
    before = tasks(scanners)
    asked = Budget(30, given=given, begun=budget.begun)
    assert scanners.find_all([other], asked) == alone
    assert tasks(scanners) == before + 1
    assert not scanners._begun


def test_one_that_looks_ahead_keeps_nobody_waiting(scanners: Scanners) -> None:
    ahead = [begun(scanners, b"none %d" % number) for number in range(2)]
    assert scanners.begin([Subject(b"third", clean=True)], ()) is None, "all are at work"
    assert find(scanners, b"secret") != [[]]
    with pytest.raises(NotYet):
        scanners.find_all([Subject(b"sleep", clean=True)], Budget(30, patience=0.0))
    for subjects, budget in ahead:
        assert scanners.find_all(subjects, budget) == [()]
    assert scanners._idle.qsize() == 2


@pytest.mark.parametrize("word", [b"crash", b"leave"])
def test_one_that_ends_of_what_was_begun_harms_no_other_call(
    scanners: Scanners, word: bytes
) -> None:
    subjects, budget = begun(scanners, word)
    with pytest.raises(Withhold):
        scanners.find_all(subjects, budget)
    ahead = [begun(scanners, word)[1].begun for _ in range(2)]
    for dying in list(scanners._begun.values()):
        assert select.select([dying._sock], [], [], 30)[0], "it has ended"
    for one in ahead:
        assert one is not None
        one.close()
    assert find(scanners, b"secret") != [[]]
    served = scanners._idle.get_nowait()
    assert find(scanners, b"none") == [[]], "of the other one, too"
    scanners._idle.put(served)


def test_what_is_not_wanted_any_more_gives_its_scanner_back(scanners: Scanners) -> None:
    for _ in range(5):
        _, budget = begun(scanners, b"secret")
        assert budget.begun is not None
        budget.begun.close()
        budget.begun.close()
    assert scanners._idle.qsize() == 2
    assert find(scanners, b"none") == [[]]


def test_it_can_reach_nothing(scanners: Scanners) -> None:
    assert find(scanners, b"reach") == [[]]
    assert not Path("/tmp/fumehood-scan-was-here").exists()


def test_rules_that_cannot_be_loaded_are_said_at_the_start() -> None:
    with pytest.raises(ScanFailed, match="cannot start"):
        Scanners(ScanSpec(), None, builder="support.faulty:nothing", paths=[TESTS]).load()


OWNER = """
import sys, time
sys.path[:0] = {paths!r}
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.exchange import Subject
from fumehood.scan.search import Budget, NotYet
from fumehood.supervisor.scanners import Scanners
s = Scanners(ScanSpec(), None, builder="support.faulty:searcher", paths=[{tests!r}])
s.find_all([Subject(b"secret", clean=True)], Budget())
children = open(f"/proc/self/task/{{__import__('os').getpid()}}/children").read().split()
for pid in list(children):
    children += open(f"/proc/{{pid}}/task/{{pid}}/children").read().split()
print(*children, flush=True)
s.find_all([Subject(b"stall", clean=True)], Budget())
"""


def test_nothing_outlives_its_owner_even_when_it_stalls() -> None:
    package = str(Path(fumehood.__file__).parents[1])
    code = OWNER.format(paths=[package, TESTS], tests=TESTS)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 2
        ends = [os.pidfd_open(pid) for pid in pids]
        owner.send_signal(signal.SIGKILL)
    for end in ends:
        assert select.select([end], [], [], 60)[0], "a scanner outlives its owner"
        os.close(end)


# --- what they say to each other


def test_an_answer_comes_back_as_it_was() -> None:
    subjects = [Subject(b"0123456789", clean=True), Subject(b"", clean=True)]
    match = Match(
        "r", "injection", "low", 1, 9, b"\0\xff", 3, confidence="medium", decoded=("hex", "gzip")
    )
    for said in (Answer(((match,), ()), 0.5), Answer(((), ()), 0.25)):
        assert read_answer(answer(said), subjects) == said
    failed = Answer((), 1.0, "secrets", late=True, detail="x")
    assert read_answer(answer(failed), subjects) == failed


@pytest.mark.parametrize(
    "said",
    [
        b"", b"{", b"1 0.0", b"3 0.0", b"[]", b"null", b'{"found": [[], []]}',
        answer(Answer(((Match("r", "secret", "high", 0, 11),), ()))),
        answer(Answer(((Match("r", "secret", "high", 5, 5),), ()))),
        answer(Answer(((Match("r\n", "secret", "high", 0, 1),), ()))),
        answer(Answer(((Match("r", "secret", "high", 0, 1),),))),
        answer(Answer(((Match("r", "secret", "high", 0, 1),), ()))).replace(b'"secret"', b'"x"'),
    ],
)  # fmt: skip
def test_nonsense_is_no_answer(said: bytes) -> None:
    subjects = [Subject(b"0123456789", clean=True), Subject(b"", clean=True)]
    with pytest.raises(ProtocolError):
        read_answer(said, subjects)


def test_a_task_is_read_as_it_was_written() -> None:
    subjects = [Subject(b"data", clean=True, name="a\udcffb"), Subject(b"", clean=False)]
    given = [b"one value", b"another"]
    message = memoryview(b"".join(exchange.task(subjects, 2.5, given)))
    assert exchange.read_task(message) == (subjects, 2.5, given)


def test_closing_ends_a_start_that_still_loads_its_rules() -> None:
    starting = Scanners(ScanSpec(), None, builder="support.faulty:never", paths=[TESTS])
    ends: list[BaseException] = []

    def load() -> None:
        try:
            starting.load()
        except ScanFailed as error:
            ends.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    while starting._starting is None:
        assert loading.is_alive()
    starting.close()
    loading.join(30)
    assert len(ends) == 1, "whoever waits for the rules learns that there are none"


def test_nothing_waits_for_a_scanner_once_they_are_closed() -> None:
    closed = Scanners(ScanSpec(), None, builder="support.faulty:searcher", paths=[TESTS])
    closed.close()
    with pytest.raises(ScanFailed):
        closed.load()
    with pytest.raises(Withhold):
        find(closed, b"secret")
