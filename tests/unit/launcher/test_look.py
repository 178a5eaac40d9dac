"""Looks that are under way at once end together, however many there are."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from fumehood.kernel.forensics import Evidence
from fumehood.launcher import look
from fumehood.launcher.look import LOOK_SECONDS, TOGETHER_SECONDS, Looks


@pytest.fixture
def looks() -> Iterator[Looks]:
    def told(_name: str, found: int, *, kill: bool) -> None:
        os.close(found)

    with select.epoll() as epoll:
        under_way = Looks(epoll, told)
        yield under_way
        under_way.close()


def test_the_last_of_many_ends_with_the_first(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(look.time, "monotonic", lambda: now)
    for number in range(4):
        assert looks.begin(str(number), Evidence((), ""), kill=True) == ""
        now += 0.2
    expected = [100 + LOOK_SECONDS, 100.2 + LOOK_SECONDS, *[100 + TOGETHER_SECONDS] * 2]
    assert looks.deadlines == pytest.approx(expected)
    looks.hold()
    assert looks.deadlines == []
    assert looks.begin("later", Evidence((), ""), kill=True) == ""
    assert looks.deadlines == pytest.approx([now + LOOK_SECONDS])
