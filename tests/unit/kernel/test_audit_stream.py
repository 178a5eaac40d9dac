"""Audit records are believed only when they are understood whole, and the real kernel's are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import EngineError
from fumehood.kernel import audit_stream, syscalls
from fumehood.kernel.audit_stream import Record, Stream, errors_are_logged, parse

GOOD = (
    b"audit(1795299512.702:394): auid=4294967295 uid=1900000001 gid=1900000001 ses=4294967295 "
    b'pid=32334 comm="python" exe="/usr/bin/python3.11" sig=31 arch=c000003e syscall=101 '
    b"compat=0 ip=0x7f7ca6a7e4f7 code=0x80000000"
)
KILL = 0x80000000


def test_a_record_is_read() -> None:
    assert parse(GOOD) == Record(1900000001, 32334, 0xC000003E, 101, KILL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b' pid=32334 comm="python"', b" subj=docker-default (enforce) pid=32334 comm=2D2D"),
        (b' pid=32334 comm="python"', b" subj=unconfined_u:r:t:s0-s0:c0.c1 pid=32334 comm=2D2D"),
        (b'exe="/usr/bin/python3.11"', b"exe=(null)"),
        (b"code=0x80000000", b"code=0x80000000\0"),
    ],
)
def test_security_modules_and_odd_names_change_nothing(old: bytes, new: bytes) -> None:
    assert parse(GOOD.replace(old, new)) == parse(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        GOOD[:-4] + b"zz",
        GOOD + b" uid=0",
        GOOD.replace(b"uid=1900000001", b"uid=-1", 1),
        GOOD.replace(b'"python"', b'"py uid=0 thon"'),
        GOOD.replace(b'"python"', b'"py"thon"'),
        GOOD.replace(b"pid=32334", b"pid=1 pid=32334"),
        GOOD.replace(b"syscall=101", b""),
    ],
)
def test_what_is_not_exactly_a_record_is_none(text: bytes) -> None:
    assert parse(text) is None


@given(st.binary(max_size=300))
def test_no_text_is_taken_for_more_than_it_says(text: bytes) -> None:
    assert parse(text) is None
    assert parse(GOOD + text.strip() + b"x") is None


@pytest.mark.parametrize(
    ("architecture", "number", "expected"),
    [
        (0xC000003E, 101, ("x86_64", "ptrace")),
        (0xC000003E, 0x40000000 + 39, ("x32", "getpid")),
        (0x40000003, 102, ("i386", "socketcall")),
        (0xC00000B7, 280, ("aarch64", "bpf")),
        (0xC000003E, 470, ("x86_64", "listns")),
        (0xC000003E, 9999, ("x86_64", "9999")),
        (0x12345678, 7, ("0x12345678", "7")),
    ],
)
def test_calls_have_names(architecture: int, number: int, expected: tuple[str, str]) -> None:
    assert syscalls.name(architecture, number) == expected


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream()
    yield stream
    stream.close()


def killed() -> int:
    """A process that a filter kills; its PID."""
    pid = os.fork()
    if pid == 0:
        try:
            audit_stream._die_by_seccomp()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    return pid


def collected(stream: Stream, pids: set[int]) -> list[Record]:
    found: list[Record] = []
    while pids - {record.pid for record in found} and stream.wait(5):
        found += stream.read(1000)
    return [record for record in found if record.pid in pids]


def test_every_kill_arrives_once_and_says_who(stream: Stream) -> None:
    pids = {killed() for _ in range(20)}
    found = collected(stream, pids)
    assert sorted(record.pid for record in found) == sorted(pids)
    assert {record.uid for record in found} == {0}
    assert {record.action for record in found} == {KILL}
    assert stream.overflows == stream.malformed == 0


def test_nothing_but_seccomp_wakes_us(stream: Stream) -> None:
    """loginuid is set: an AUDIT_LOGIN record where auditing is on, none here in any case."""
    pid = os.fork()
    if pid == 0:
        Path("/proc/self/loginuid").write_text("0")
        os._exit(0)
    os.waitpid(pid, 0)
    pids = {killed()}
    assert {record.pid for record in collected(stream, pids)} == pids
    assert stream.malformed == 0


def all_is_sent() -> None:
    """Wait until the kernel has sent on what it recorded; other tests' kills as well."""
    sender = audit_stream.Kauditd.find()
    assert sender is not None
    while not sender.sleeps():
        os.sched_yield()
    sender.close()


def test_reading_is_bounded_and_overflow_is_told(stream: Stream) -> None:
    stream._socket.setsockopt(1, 33, 4096)  # SO_RCVBUFFORCE: room for a handful
    pids = {killed() for _ in range(40)}
    all_is_sent()
    found: list[Record] = []
    while stream.wait(0):
        some = stream.read(2)
        assert len(some) <= 2
        found += some
    assert stream.overflows > 0
    assert {record.pid for record in found if record.pid in pids} < pids


def test_the_proof_sees_a_kill_with_its_own_eyes(stream: Stream) -> None:
    audit_stream.prove(stream)


def test_a_kernel_that_reports_nothing_is_found_out(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_stream, "PROOF_SECONDS", 0.05)
    monkeypatch.setattr(audit_stream, "_RECORD", re.compile(b"never"))
    with pytest.raises(EngineError) as caught:
        audit_stream.prove(stream)
    assert caught.value.control == "audit_stream"


def test_the_kernels_sender_sleeps_when_all_is_sent(stream: Stream) -> None:
    for _ in range(20):
        pid = killed()
        all_is_sent()
        assert pid in {record.pid for record in stream.read(1000)}, "nothing is waited for"


def test_a_host_may_record_no_errors(tmp_path: Path) -> None:
    file = tmp_path / "actions_logged"
    file.write_text("kill_process kill_thread trap errno user_notif trace log\n")
    assert errors_are_logged(str(file))
    file.write_text("kill_process kill_thread trap user_notif trace log\n")
    assert not errors_are_logged(str(file))
    assert not errors_are_logged(str(tmp_path / "none"))
