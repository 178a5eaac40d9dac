"""A classifier outside, a real server on loopback: what it sees counts, and where it fails the
operator's choice does; nothing it does holds a call up or gets to see a secret."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fumehood.errors import ConfigError
from fumehood.model.classifier import ClassifierSpec
from fumehood.model.result import Finding, Result
from fumehood.model.scan_policy import PolicyRule, ScanSpec
from fumehood.scan.decide import Policies
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.policy import MAX_LISTED
from fumehood.scan.search import Searcher
from fumehood.supervisor.classifier import Classifier
from fumehood.supervisor.finishing import Finishing
from support.manifests import tool
from support.scan import KEY
from support.shields import ATTACK, Shields, certificate, shields

RESULT = Result("id", "sample", "1.0.0", "d", "ok")


def saying(text: str, **more: Any) -> Result:
    return replace(RESULT, content=({"type": "text", "text": text},), **more)


@pytest.fixture
def server() -> Iterator[Shields]:
    with shields() as running:
        yield running


def judge(url: str, result: Result, policy: tuple[PolicyRule, ...] = (), **more: Any) -> Result:
    spec = ClassifierSpec.model_validate({"url": url, **more})
    classifier = Classifier(spec, Policies(ScanSpec(policy=policy)))
    try:
        return asyncio.run(classifier.judge("sample", result))
    finally:
        classifier.close()


def test_what_it_sees_as_an_attack_is_flagged_and_the_rest_is_not(server: Shields) -> None:
    result = judge(server.address, saying(f"all {ATTACK} must dance"))
    (finding,) = result.findings
    assert (finding.rule, finding.kind, finding.action) == (
        "outside-classifier", "injection", "flag",
    )  # fmt: skip
    assert finding.place == "stdout"
    assert result.content
    assert judge(server.address, saying("a plain text")).findings == ()
    assert server.paths[0] == "/contentsafety/text:shieldPrompt?api-version=1"
    assert server.asked[0] == {"userPrompt": "", "documents": [f"all {ATTACK} must dance"]}


@pytest.mark.parametrize("action", ["withhold", "redact"])
def test_the_policy_can_withhold_what_it_sees(server: Shields, action: Any) -> None:
    rules = (PolicyRule(rule="outside-classifier", action=action),)
    result = judge(server.address, saying(ATTACK, stderr="words", structured={"a": 1}), rules)
    assert (result.status, result.content, result.structured, result.stderr) == (
        "withheld", (), None, "",
    )  # fmt: skip
    assert result.findings[-1].action == "withhold"


def test_files_and_stderr_are_judged_too(server: Shields) -> None:
    block = {
        "type": "resource",
        "resource": {"uri": "fumehood:///id/out/a.txt", "mimeType": "text/plain", "text": ATTACK},
    }
    result = judge(server.address, replace(RESULT, content=(block,), stderr=ATTACK))
    assert [f.place for f in result.findings] == ["artifact:a.txt", "stderr"]


def test_a_long_text_is_asked_about_in_pieces_and_an_attack_at_a_cut_stands_in_one(
    server: Shields,
) -> None:
    for at in range(950, 1010, 4):
        text = "x" * at + ATTACK + "y" * 3000
        assert judge(server.address, saying(text), characters=1000).findings, at
    for body in server.asked:
        assert sum(len(text) for text in body["documents"]) <= 1000
        assert len(body["documents"]) <= 5


MOODS = ["refuses", "redirects", "silent", "slow", "nonsense", "short", "endless", "hangs up"]


@pytest.mark.parametrize("mood", MOODS)
@pytest.mark.parametrize(
    ("failure", "status", "actions"),
    [("withhold", "withheld", ["withhold"]), ("flag", "ok", ["flag"]), ("pass", "ok", [])],
)
def test_where_it_fails_the_operator_has_said_what_then(
    server: Shields, mood: Any, failure: str, status: str, actions: list[str]
) -> None:
    server.mood = mood
    result = judge(server.address, saying("text"), failure=failure, timeout="300ms")
    assert (result.status, [f.action for f in result.findings]) == (status, actions)
    for finding in result.findings:
        assert (finding.rule, finding.kind) == ("outside-classifier", "scanner")
    if mood == "redirects":
        assert len(server.asked) == 1


def test_by_default_nothing_leaves_that_it_has_not_judged(server: Shields) -> None:
    server.mood = "nonsense"
    assert judge(server.address, saying("text")).status == "withheld"
    server.mood = "well"
    large = judge(server.address, saying("text " * 1000), characters=1000, requests=3)
    assert large.status == "withheld"


def test_nobody_listening_is_a_failure(server: Shields) -> None:
    url = server.address
    server.close()
    assert judge(url, saying("text")).message.endswith("`outside-classifier` failed.")


def test_it_gets_the_key_that_only_we_can_read(server: Shields, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3same\n")
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="0600"):
        judge(server.address, saying("text"), key_file=str(key))
    key.chmod(0o600)
    judge(server.address, saying("text"), key_file=str(key))
    assert server.keys == ["s3same"]
    with pytest.raises(ConfigError, match="holds no key"):
        judge(server.address, saying("text"), key_file=str(tmp_path / "none"))


def test_a_certificate_must_hold_and_name_the_host(tmp_path: Path) -> None:
    good, bad = certificate(tmp_path / "good"), certificate(tmp_path / "bad", "127.0.0.9")
    with shields(good) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert judge(url, saying(ATTACK), ca=str(good[0])).findings[0].kind == "injection"
        assert judge(url, saying("text")).status == "withheld"  # by no authority of the system
        assert judge(url, saying("text"), ca=str(bad[0])).status == "withheld"
    with shields(bad) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert judge(url, saying("text"), ca=str(bad[0])).status == "withheld"
        assert server.asked == []


@pytest.mark.parametrize(
    "url",
    ["http://example.org/", "http://localhost/", "ftp://127.0.0.1/", "https://", "//x",
     "https://user:word@host/", "https://host:port/"],
)  # fmt: skip
def test_output_goes_nowhere_in_plain_text(url: str) -> None:
    with pytest.raises(ValidationError):
        ClassifierSpec.model_validate({"url": url})


def test_a_call_that_is_cancelled_waits_for_no_answer(server: Shields) -> None:
    server.mood = "silent"
    spec = ClassifierSpec.model_validate({"url": server.address, "timeout": "50s"})
    classifier = Classifier(spec, Policies())

    async def cancelled() -> None:
        task = asyncio.ensure_future(classifier.judge("sample", saying("text")))
        await asyncio.to_thread(server.was_asked.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    classifier.close()
    classifier._threads.shutdown(wait=True)  # the thread that waited has ended


@pytest.mark.parametrize(
    ("failure", "action", "shown"),
    [
        ("withhold", "flag", False), ("flag", "withhold", False), ("pass", "redact", False),
        ("flag", "flag", True), ("pass", "pass", True),
    ],
)  # fmt: skip
def test_what_it_may_withhold_is_not_shown_before_it_has_judged(
    failure: str, action: Any, *, shown: bool
) -> None:
    """What is followed, messages of progress and the diagnostics of what runs come from these."""
    rules = (PolicyRule(rule="outside-classifier", action=action),)
    values = {"url": "http://127.0.0.1:1/", "failure": failure, "tools": ["samp*"]}
    classifier = Classifier(ClassifierSpec.model_validate(values), Policies(ScanSpec(policy=rules)))
    pipeline = Pipeline(fingerprint_key=KEY, search=Searcher([], []))
    finishing = Finishing(ScanSpec(), None, None, None, classifier)  # type: ignore[arg-type]
    partial = finishing.showing(pipeline.partial)
    try:
        asked = partial(tool(name="sample"))
        assert asked.feed(b"words\n") == ("words\n" if shown else "")
        assert bool(asked.why) is not shown
        assert partial(tool(name="other")).feed(b"words\n") == "words\n"
    finally:
        classifier.close()


def test_its_verdict_is_told_where_the_list_is_full(server: Shields) -> None:
    other = Finding("email-address", "personal_data", "low", "stdout", "flag")
    result = judge(server.address, saying(ATTACK, findings=(other,) * MAX_LISTED))
    assert len(result.findings) == MAX_LISTED
    assert result.findings[-1].rule == "outside-classifier"
