"""Frames: cut anywhere, bounded in length, time and memory."""

from __future__ import annotations

import itertools
import math

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import BadFrame, OverQuota
from fumehood.gateway.bounds import Bounds, Shares
from fumehood.gateway.frames import FrameReader

pytestmark = pytest.mark.anyio
UID = 1000


def reader_of(
    *chunks: bytes, bounds: Bounds | None = None, held: Shares | None = None
) -> FrameReader:
    """A reader of a stream that ends after `chunks`."""
    left = list(chunks)

    async def receive() -> bytes:
        await anyio.lowlevel.checkpoint()
        return left.pop(0) if left else b""

    return FrameReader(
        receive, uid=UID, bounds=bounds or Bounds(), held=held or Shares(10**9, 10**9)
    )


async def frames_of(reader: FrameReader) -> list[bytes]:
    frames = []
    while (frame := await reader.next()) is not None:
        frames.append(bytes(frame))
    return frames


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=20),
    st.lists(st.integers(0, 900), max_size=30),
)
def test_frames_come_out_whole_wherever_the_stream_is_cut(
    frames: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(frame + b"\n" for frame in frames)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[a:b] for a, b in itertools.pairwise(places)]
    held = Shares(10**9, 10**9)
    assert anyio.run(frames_of, reader_of(*chunks, held=held)) == frames
    assert held.taken == 0


async def test_a_frame_of_exactly_the_bound_passes() -> None:
    reader = reader_of(b"x" * 8 + b"\n", bounds=Bounds(frame_bytes=8))
    assert await reader.next() == b"x" * 8


@pytest.mark.parametrize("chunks", [[b"x" * 9 + b"\n"], [b"x" * 5, b"x" * 5], [b"x"] * 10])
async def test_a_longer_frame_is_refused_without_waiting_for_its_end(chunks: list[bytes]) -> None:
    reader = reader_of(*chunks, bounds=Bounds(frame_bytes=8))
    with pytest.raises(BadFrame, match=r"longer than 8 bytes.*send less"):
        await reader.next()


async def test_a_stream_that_ends_inside_a_frame_is_told_so() -> None:
    reader = reader_of(b'{}\n{"a"')
    assert await reader.next() == b"{}"
    with pytest.raises(BadFrame, match="ended inside a frame"):
        await reader.next()


async def test_a_started_frame_has_to_be_complete_in_time() -> None:
    trickle = anyio.Event()

    async def receive() -> bytes:
        if not trickle.is_set():
            trickle.set()
            return b"{"
        await anyio.sleep(math.inf)
        raise AssertionError

    reader = FrameReader(receive, uid=UID, bounds=Bounds(frame_seconds=0.01), held=Shares(100, 100))
    with anyio.fail_after(10), pytest.raises(BadFrame, match=r"within 0\.01 s.*send it at once"):
        await reader.next()


async def test_a_steady_trickle_does_not_extend_the_time() -> None:
    async def receive() -> bytes:
        await anyio.lowlevel.checkpoint()
        return b"x"

    reader = FrameReader(
        receive, uid=UID, bounds=Bounds(frame_seconds=0.02), held=Shares(10**9, 10**9)
    )
    with anyio.fail_after(10), pytest.raises(BadFrame, match="not complete"):
        await reader.next()


async def test_an_idle_connection_has_no_time_limit() -> None:
    reader = reader_of(b"{}\n", b"[]\n", bounds=Bounds(frame_seconds=0))
    assert await reader.next() == b"{}"
    assert await reader.next() == b"[]"


async def test_bytes_of_unfinished_frames_are_taken_from_the_callers_share() -> None:
    held = Shares(total=100, each=10)
    reader = reader_of(b"x" * 8, b"x" * 8, held=held)
    with pytest.raises(OverQuota):
        await reader.next()
    assert held.taken == 8
    reader.close()
    assert held.taken == 0


def test_a_few_who_take_all_they_can_leave_something_for_the_next() -> None:
    shares = Shares(total=128, each=96)
    took = []
    for uid in range(7):
        took.append(0)
        while shares.take(uid, 1):
            took[-1] += 1
    assert took == [64, 32, 16, 8, 4, 2, 1]
    assert shares.take(99, 1), "an eighth still finds room"
    assert not shares.take(100, 1)
    small = Shares(total=8, each=96)
    assert [small.take(1, 1) for _ in range(8)] == [True] * 4 + [False] * 4


def test_one_caller_cannot_take_what_all_share() -> None:
    shares = Shares(total=10, each=6)
    assert shares.take(1, 6)
    assert not shares.take(1, 1)
    assert shares.take(2, 4)
    assert not shares.take(3, 1)
    shares.give(1, 6)
    assert shares.take(3, 6)
    shares.give(2, 4)
    shares.give(3, 6)
    assert shares.taken == 0
