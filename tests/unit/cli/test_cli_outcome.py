"""Results are shown: the answer on stdout, everything about it on stderr, the status as exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from fumehood.cli import outcome
from fumehood.model.outcome import Breach, Status, Usage
from fumehood.model.result import Enforced, Finding, Result, Timing

DIGEST = "sha384:" + "0" * 96


def result(status: Any = "ok", **fields: Any) -> dict[str, Any]:
    return Result("id", "echo", "1.0.0", DIGEST, status, **fields).to_json()


def show(value: dict[str, Any], **options: Any) -> int:
    given = {"as_json": False, "verbose": False, "directory": None, "force": False, **options}
    return outcome.show(value, **given)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("ok", 0),
        ("tool_error", 1),
        ("rejected", 3),
        ("timeout", 4),
        ("memory_exceeded", 4),
        ("output_exceeded", 4),
        ("syscall_killed", 4),
        ("withheld", 5),
        ("engine_error", 6),
        ("cancelled", 130),
    ],
)
def test_each_status_has_its_exit_status(status: str, code: int) -> None:
    assert outcome.exit_status({"status": status}) == code


def test_every_status_is_covered_and_an_unknown_one_is_an_engine_error() -> None:
    assert set(outcome.EXIT) == set(get_args(Status))
    assert outcome.exit_status({"status": "surprise"}) == 6


def test_text_reaches_a_pipe_byte_for_byte(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(result(content=({"type": "text", "text": "a\x1b[1mb\n\n"},))) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a\x1b[1mb\n\n", "")


def test_a_structured_result_is_printed_as_json_once(capsys: pytest.CaptureFixture[str]) -> None:
    show(result(structured={"é": [1]}, content=({"type": "text", "text": '{"é": [1]}'},)))
    assert capsys.readouterr().out == '{\n  "é": [\n    1\n  ]\n}\n'


def test_a_falsy_structured_result_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show(result(structured={}))
    assert capsys.readouterr().out == "{}\n"


def test_json_prints_the_whole_result_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    value = result("tool_error", exit_code=7, stderr="oops", message="the tool ended with 7")
    assert show(value, as_json=True) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == value
    assert said.err == ""


def test_a_failure_shows_why_and_the_tools_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show(result("tool_error", exit_code=7, stderr="line one\n", message="the tool ended with 7"))
    assert capsys.readouterr().err == (
        "error: tool_error: the tool ended with 7\n--- stderr of the tool\nline one\n"
    )


def test_the_stderr_of_a_success_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(result(stderr="chatter"))
    assert capsys.readouterr().err == ""


def test_a_long_stderr_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    show(result("tool_error", stderr="x\n" * 1000))
    assert "800 more lines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("breach", "says"),
    [
        (Breach("memory", 128 << 20, 128 << 20), "memory: allowed 128 MiB, observed 128 MiB"),
        (Breach("timeout", 10, 10.02), "timeout: allowed 10.00 s, observed 10.02 s"),
        (Breach("seccomp", "compute", "SIGSYS"), "seccomp: allowed compute, observed SIGSYS"),
    ],
)
def test_a_breach_names_both_numbers(
    breach: Breach, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(result("timeout", breach=breach))
    assert f"limit: {says}\n" in capsys.readouterr().err


def test_findings_truncation_and_missing_controls_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = Finding("aws.key", "secret", "high", "stdout", "redact", "0a1b2c3d", "a cloud key")
    enforced = Enforced(
        "bubblewrap", 1000, "compute", "none", True, {}, DIGEST, not_enforced=("memory", "pids")
    )
    show(result(findings=(finding,), truncated=True, enforced=enforced))
    err = capsys.readouterr().err
    assert "finding: secret aws.key in stdout: redacted (a cloud key)\n" in err
    assert "warning: the output was cut at its limit\n" in err
    assert "warning: accepted as not enforced here: memory, pids\n" in err


def test_verbose_shows_usage_and_what_was_enforced(capsys: pytest.CaptureFixture[str]) -> None:
    enforced = Enforced(
        "bubblewrap", 1_900_000_000, "compute", "none", True, {"memory_bytes": 1 << 20}, DIGEST
    )
    usage = Usage(0.5, 0.25, 3 << 20, 2, 10, 0)
    show(result(enforced=enforced, usage=usage, timing=Timing(1.0, 20.0, 500.0, 3.0)), verbose=True)
    err = capsys.readouterr().err
    assert "500 ms wall, 250 ms cpu, 3 MiB memory at its peak, 2 processes" in err
    assert "bubblewrap, uid 1900000000, seccomp compute, network none, no capability" in err
    assert "memory_bytes 1 MiB" in err
    assert "queued 1 ms, started 20 ms, ran 500 ms, scanned 3 ms" in err


def test_verbose_says_what_nobody_could_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    enforced = Enforced(
        "docker", 1_900_000_000, None, "none", None, {}, DIGEST, (), None, runtime="runsc"
    )
    show(result(enforced=enforced), verbose=True)
    err = capsys.readouterr().err
    assert "docker (runsc), uid 1900000000, seccomp not loaded, network none" in err
    assert "capabilities not read back, no_new_privs not read back" in err
    assert "no capability" not in err


def test_artifacts_are_saved_or_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = {"type": "resource", "resource": {"uri": "fumehood:///id/out/a.svg", "text": "<svg/>"}}
    show(result(content=(block,)))
    assert "artifacts: a.svg (6 B); --out DIR saves them" in capsys.readouterr().err
    show(result(content=(block,)), directory=tmp_path)
    assert (tmp_path / "a.svg").read_text() == "<svg/>"
    assert f"saved: {tmp_path}/a.svg" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_artifact_that_cannot_be_saved_costs_nobody_the_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    (tmp_path / "a").write_text("mine")
    artifact = {"type": "resource", "resource": {"uri": "fumehood:///id/out/a", "text": "new"}}
    value = result(content=({"type": "text", "text": "the answer"}, artifact))
    assert show(value, directory=tmp_path, as_json=form == "json") == 2
    said = capsys.readouterr()
    assert (
        (json.loads(said.out)["status"] == "ok") if form == "json" else (said.out == "the answer")
    )
    assert f"error: {tmp_path}/a exists\nremedy: " in said.err
    assert (tmp_path / "a").read_text() == "mine"


def test_a_tool_that_failed_keeps_its_exit_status_when_nothing_can_be_saved(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    artifact = {"type": "resource", "resource": {"uri": "fumehood:///id/out/a", "text": "new"}}
    assert show(result("timeout", content=(artifact,)), directory=tmp_path) == 4
