"""Docker's frames are taken apart, fed and bounded: with real sockets, pipes and threads."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from fumehood.engines.docker_stream import Pump, new_mark
from fumehood.errors import EngineError


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


@dataclass
class Bench:
    """Docker's end of the connection, and the supervisor's ends of the pipes."""

    docker: socket.socket
    stdin: int
    stdout: int
    stderr: int
    pump: Pump
    thread: threading.Thread
    errors: list[EngineError] = field(default_factory=list)

    def finish(self) -> None:
        self.docker.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Bench]:
    docker, ours = socket.socketpair()
    docker.settimeout(20)
    stdin_read, stdin = os.pipe()
    stdout, stdout_write = os.pipe()
    stderr, stderr_write = os.pipe()
    pump = Pump(ours, (stdin_read, stdout_write, stderr_write))
    errors: list[EngineError] = []

    def run() -> None:
        try:
            pump.run()
        except EngineError as error:
            errors.append(error)
        pump.close()

    thread = threading.Thread(target=run, daemon=True)
    bench = Bench(docker, stdin, stdout, stderr, pump, thread, errors)
    thread.start()
    yield bench
    if thread.is_alive():
        pump.stop()
        thread.join(20)
    docker.close()
    for fd in (bench.stdin, bench.stdout, bench.stderr):
        if fd >= 0:
            os.close(fd)


def read_all(fd: int, found: bytearray) -> threading.Thread:
    def run() -> None:
        while data := os.read(fd, 65_536):
            found.extend(data)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_streams_are_told_apart(bench: Bench) -> None:
    bench.docker.sendall(frame(1, b"out") + frame(2, b"err") + frame(1, b"") + frame(1, b"put"))
    bench.finish()
    assert os.read(bench.stdout, 100) == b"output"
    assert os.read(bench.stderr, 100) == b"err"
    assert os.read(bench.stdout, 1) == b""


def test_frames_cut_anywhere_arrive_whole(bench: Bench) -> None:
    chance = random.Random(7)
    wanted = {1: b"", 2: b""}
    stream = b""
    for _ in range(200):
        kind, data = chance.choice((1, 2)), chance.randbytes(chance.randrange(3000))
        wanted[kind] += data
        stream += frame(kind, data)
    found = {1: bytearray(), 2: bytearray()}
    readers = [read_all(bench.stdout, found[1]), read_all(bench.stderr, found[2])]
    while stream:
        cut = chance.randrange(1, 700)
        bench.docker.sendall(stream[:cut])
        stream = stream[cut:]
    bench.finish()
    for reader in readers:
        reader.join(20)
    assert {kind: bytes(data) for kind, data in found.items()} == wanted


def test_a_pipe_that_nobody_reads_stops_docker(bench: Bench) -> None:
    bench.docker.setblocking(False)
    sent = 0
    block = frame(1, bytes(65_536))
    waiting = threading.Event()
    for _ in range(50):
        try:
            sent += bench.docker.send(block)
        except BlockingIOError:
            waiting.wait(0.02)
    assert sent < 1 << 20


def test_stdin_is_carried_and_its_end_as_well(bench: Bench) -> None:
    os.write(bench.stdin, b"arguments")
    os.close(bench.stdin)
    bench.stdin = -1
    data = b""
    while part := bench.docker.recv(100):
        data += part
    assert data == b"arguments"
    bench.docker.sendall(frame(1, b"after the end of input"))
    bench.finish()
    assert os.read(bench.stdout, 100) == b"after the end of input"


def test_output_that_nobody_wants_any_more_is_dropped(bench: Bench) -> None:
    os.close(bench.stdout)
    bench.stdout = -1
    for _ in range(100):
        bench.docker.sendall(frame(1, bytes(65_536)))
    bench.docker.sendall(frame(2, b"still told"))
    bench.finish()
    assert os.read(bench.stderr, 100) == b"still told"


@pytest.mark.parametrize(
    "data",
    [frame(1, b"cut")[:-1], frame(1, b"")[:5], frame(3, b"x"), b"HTTP/1.1 500"],
    ids=["body", "header", "stream", "nonsense"],
)
def test_broken_framing_is_an_error_of_the_engine(bench: Bench, data: bytes) -> None:
    bench.docker.sendall(data)
    bench.finish()
    (error,) = bench.errors
    assert error.control == "docker"


def test_stopping_needs_no_bytes(bench: Bench) -> None:
    bench.pump.stop()
    bench.thread.join(20)
    assert not bench.thread.is_alive()
    assert bench.errors == []


MARK = new_mark()


def closed_by_itself(bench: Bench) -> bool:
    """Whether it ended while Docker kept the connection open."""
    bench.thread.join(20)
    return not bench.thread.is_alive()


@pytest.mark.parametrize("seed", range(8))
def test_both_marks_end_the_streams_wherever_frames_are_cut(bench: Bench, seed: int) -> None:
    """Output that looks like the mark's beginning is the tool's, and passed on."""
    chance = random.Random(seed)
    bench.pump.expect(MARK)
    wanted, left = {}, {}
    for kind in (1, 2):
        lookalikes = [MARK[: chance.randrange(33)] for _ in range(20)]
        parts = [*lookalikes, *(chance.randbytes(chance.randrange(2000)) for _ in range(20))]
        chance.shuffle(parts)
        wanted[kind] = b"".join(parts)
        left[kind] = wanted[kind] + MARK
    found = {1: bytearray(), 2: bytearray()}
    readers = [read_all(bench.stdout, found[1]), read_all(bench.stderr, found[2])]
    while any(left.values()):
        kind = chance.choice([kind for kind, data in left.items() if data])
        cut = chance.choice((1, 2, 7, 33, 900))
        bench.docker.sendall(frame(kind, left[kind][:cut]))
        left[kind] = left[kind][cut:]
    assert closed_by_itself(bench)
    for reader in readers:
        reader.join(20)
    assert {kind: bytes(data) for kind, data in found.items()} == wanted
    assert bench.errors == []


def test_one_mark_ends_nothing(bench: Bench) -> None:
    bench.pump.expect(MARK)
    bench.docker.sendall(frame(1, b"out" + MARK) + frame(2, b"more" + MARK[:1]))
    bench.finish()
    assert not bench.pump.complete
    assert os.read(bench.stdout, 100) == b"out"
    assert os.read(bench.stderr, 100) == b"more" + MARK[:1], "what was none after all is output"


def test_a_mark_that_nobody_expects_is_output(bench: Bench) -> None:
    bench.docker.sendall(frame(1, MARK) + frame(2, MARK))
    bench.finish()
    assert os.read(bench.stdout, 100) == MARK


def test_output_after_the_mark_is_an_error_of_the_engine(bench: Bench) -> None:
    bench.pump.expect(MARK)
    bench.docker.sendall(frame(1, MARK) + frame(1, b"from the dead"))
    bench.finish()
    (error,) = bench.errors
    assert error.control == "docker"
    assert os.read(bench.stdout, 100) == b""
