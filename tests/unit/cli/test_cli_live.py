"""The live view: what a look shows, the line of a long call, and an answer that is followed."""

from __future__ import annotations

from typing import Any

import pytest

from fumehood.cli.elapsed import Line
from fumehood.cli.follow import Followed
from fumehood.cli.present import age, percent
from fumehood.cli.top import HEADERS, Looks, frame
from support.cli import Cli
from support.gateway import FakeSupervisor


def item(name: str, cpu: float | None, **changes: object) -> dict[str, Any]:
    return {
        "invocation": name, "tool": "t", "version": "1.0.0", "state": "running",
        "caller": {"uid": 7, "pid": 1, "name": "ann"}, "age_seconds": 2.0, "running_seconds": 2.0,
        "timeout_seconds": 10.0, "cpu_seconds": cpu, "memory_bytes": 1 << 20,
        "memory_limit_bytes": 2 << 20, "pids": 3, "stdout_bytes": 0, "stderr_bytes": 0,
        "progress": None, "signs": [], **changes,
    }  # fmt: skip


def report(*items: dict[str, Any]) -> dict[str, Any]:
    return {"invocations": list(items), "host": None}


def test_cpu_is_that_since_the_look_before() -> None:
    looks = Looks()
    assert looks.cpu([item("a", 1.0)], 100.0) == {"a": 50.0}
    assert looks.cpu([item("a", 1.5), item("b", None)], 102.0) == {"a": 25.0}


def test_the_busiest_come_first_and_what_is_unknown_last() -> None:
    lines = frame(report(item("a", 1.0), item("b", None), item("c", 2.0)), {"a": 1, "c": 99})
    assert [line.split()[0] for line in lines[3:]] == ["c", "a", "b"]
    assert lines[0].startswith("3 running, 0 waiting")
    assert lines[2].split() == list(HEADERS)


def test_abnormal_behaviour_stands_behind_the_state() -> None:
    lines = frame(report(item("a", 1.0, signs=["fork_storm", "spinning"])), {})
    assert "running, fork storm, spinning" in lines[3]
    assert lines[0].startswith("1 running")


def test_a_tools_words_cannot_steer_the_terminal() -> None:
    said = {"value": 1.0, "total": 2.0, "message": "\x1b[2Jgone"}
    lines = frame(report(item("a", 1.0, progress=said, state="waiting")), {})
    assert not any("\x1b" in line for line in lines)
    assert "50 % " in lines[3]
    assert lines[0].startswith("0 running, 1 waiting")


def test_the_line_of_a_call_shows_progress_and_fits() -> None:
    line = Line("word-count")
    assert line.text(3.44, 80) == "word-count … 3.4 s (Ctrl-C cancels)"
    line.progress(3, 10, "page \x1b three")
    assert line.text(3.44, 80) == "word-count … 3.4 s  30 %  page \\u001b three (Ctrl-C cancels)"
    for width in range(1, 60):
        assert len(line.text(3.44, width)) <= width


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.04, "0.0s"), (59.0, "59s"), (65.0, "1m05s"), (7500.0, "2h05m")],
)
def test_ages(value: float | None, expected: str) -> None:
    assert age(value) == expected


def test_percent() -> None:
    assert percent(0.5, 1.0) == "50 %"
    assert percent(37, None) == "37"


def answer(*texts: str) -> dict[str, Any]:
    return {"status": "ok", "content": [{"type": "text", "text": text} for text in texts]}


def test_only_what_was_not_shown_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    followed = Followed()
    followed.show("one\n")
    followed.show("two\n")
    assert followed.rest_of(answer("one\ntwo\nend", "more")) == answer("end", "more")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("one\ntwo\n", "")


def test_what_differs_is_told_and_left(capsys: pytest.CaptureFixture[str]) -> None:
    followed = Followed()
    followed.show("one\ntwo\n")
    assert followed.rest_of(answer("one\n[redacted:x:1]\n")) == answer("[redacted:x:1]\n")
    assert "from line 2 on" in capsys.readouterr().err


def test_an_answer_that_was_withheld_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    followed = Followed()
    followed.show("one\n")
    withheld = {"status": "withheld", "content": []}
    assert followed.rest_of(withheld) == withheld
    assert "withheld" in capsys.readouterr().err


def test_nothing_runs(cli: Cli, supervisor: FakeSupervisor) -> None:
    ended = cli("ps")
    assert (ended.status, ended.out) == (0, "")
    assert "nothing runs" in ended.err


def test_an_unknown_invocation(cli: Cli, supervisor: FakeSupervisor) -> None:
    for command in ("cancel", "logs"):
        ended = cli(command, "0190a0a0-0000-7000-8000-000000000000")
        assert ended.status == 3
        assert "no such invocation" in ended.err
