"""From an outcome to a result: nothing leaves unseen, and the status says what happened."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fumehood.errors import (
    AuditError,
    EngineError,
    FumehoodError,
    InvalidArguments,
    OverQuota,
    Unauthorized,
)
from fumehood.model.outcome import IN_FILES, Artifact, Breach, Outcome, Status
from fumehood.model.result import Result, Timing
from fumehood.scan.detector import Match
from fumehood.scan.exchange import Subject
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.search import Budget
from support.scan import (
    KEY,
    SECRETS,
    accept,
    admitted,
    aws_pair,
    github_token,
    letters,
    outcome,
    plan,
    private_key,
    refuse_at,
    slack_token,
)

SCHEMA = '{"type": "object"}'
Check = Callable[[object], None]


def release(
    pipeline: Pipeline, given_: Outcome, schema: str = "", check: Check | None = None
) -> Result:
    check = check or (accept if schema else None)
    return pipeline.release(admitted(schema), plan(), given_, timing=Timing(), check_output=check)


def structured(pipeline: Pipeline, value: Any, check: Check | None = None) -> Result:
    return release(pipeline, outcome(json.dumps(value)), SCHEMA, check)


def text_of(result: Result) -> str:
    return "".join(block["text"] for block in result.content if block["type"] == "text")


def everything(result: Result) -> str:
    """All that a caller could ever read."""
    blobs = [
        base64.b64decode(block["resource"]["blob"]).decode("latin-1")
        for block in result.content
        if "blob" in block.get("resource", {})
    ]
    return json.dumps(result.to_json(), ensure_ascii=False) + "".join(blobs)


# --- text


def test_clean_text_is_one_block_and_as_it_was(pipeline: Pipeline) -> None:
    text = 'Grüße, 세계!\n{"not": "parsed"}\n'
    result = release(pipeline, outcome(text))
    assert result.content == ({"type": "text", "text": text},)
    assert (result.status, result.findings, result.message) == ("ok", (), "")
    assert (result.structured, result.stderr, result.truncated) == (None, "", False)


def test_no_output_is_no_block(pipeline: Pipeline) -> None:
    assert release(pipeline, outcome()).content == ()


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_a_secret_leaves_by_no_way(pipeline: Pipeline, kind: str) -> None:
    secret = SECRETS[kind]()
    data = secret.encode()
    given_ = outcome(
        f"out: {secret}\n",
        f"err: {secret}\n",
        artifacts=(
            Artifact("a.txt", b"file " + data + b"\n"),
            Artifact("b.bin", b"\0\xff" + data + b"\0\x01"),
        ),
    )
    result = release(pipeline, given_)
    assert result.status == "ok"
    whole = everything(result)
    assert secret not in whole
    assert json.dumps(secret)[1:-1] not in whole
    assert not any(line in whole for line in secret.splitlines() if len(line) > 20)
    places = {finding.place.split("#")[0] for finding in result.findings}
    assert places == {"stdout", "stderr", "artifact:a.txt", "artifact:b.bin"}
    assert {finding.action for finding in result.findings} == {"redact"}
    assert len({f.fingerprint for f in result.findings if f.rule == result.findings[0].rule}) == 1


def test_a_label_names_rule_and_fingerprint_and_the_rest_of_the_text_stays(
    pipeline: Pipeline,
) -> None:
    result = release(pipeline, outcome(f"before {github_token()} after"))
    (finding,) = result.findings
    label = f"[redacted:github-pat:{finding.fingerprint}]"
    assert text_of(result) == f"before {label} after"
    assert finding.place == "stdout#bytes=7-47"
    assert finding.severity == "high"


def test_a_secret_seen_by_its_context_is_redacted_where_it_has_none(pipeline: Pipeline) -> None:
    name, secret = aws_pair()
    result = release(
        pipeline,
        outcome(f"{secret}\n", f"aws_access_key_id={name}\naws_secret_access_key={secret}\n"),
    )
    assert secret not in everything(result)
    assert text_of(result).startswith("[redacted:aws-secret-access-key:")


def test_a_secret_split_by_colours_or_zero_width_is_redacted(pipeline: Pipeline) -> None:
    token = slack_token()
    for splitter in ("\x1b[31m", "\u200b", "\0", "\xad", "\x1b[0;1m\u2060"):
        split = token[:9] + splitter + token[9:30] + splitter + token[30:]
        result = release(pipeline, outcome(f"a {split} b"))
        assert token[:9] not in text_of(result)
        assert token[30:] not in text_of(result)
        assert text_of(result).startswith("a [redacted:")
        assert text_of(result).endswith("] b")


def test_a_stream_cut_within_a_secret_does_not_show_the_half(pipeline: Pipeline) -> None:
    token = github_token()
    result = release(
        pipeline, outcome(f"line\nthe token is {token[:30]}", status="output_exceeded", dropped=9)
    )
    assert text_of(result) == "line\nthe token is "
    assert result.truncated


def test_a_private_key_cut_in_the_middle_does_not_show_the_half(pipeline: Pipeline) -> None:
    key = private_key(30)
    cut = key[: len(key) // 2]
    result = release(pipeline, outcome(f"key:\n{cut}", status="output_exceeded", dropped=9))
    assert not any(line in text_of(result) for line in cut.splitlines())


def test_hidden_text_is_made_visible_and_told(pipeline: Pipeline) -> None:
    result = release(pipeline, outcome(b"\x1b[2Jclean \xe2\x80\xae txt \xff"))
    assert text_of(result) == r"\x1b[2Jclean \u{202E} txt \xff"
    found = {(f.rule, f.kind, f.place) for f in result.findings}
    assert found == {
        ("terminal-escape", "hidden_text", "stdout#bytes=0-1"),
        ("bidi-control", "hidden_text", "stdout#bytes=10-13"),
        ("invalid-utf8", "encoding", "stdout#bytes=18-19"),
    }


def test_findings_are_bounded_and_redaction_is_not(pipeline: Pipeline) -> None:
    tokens = [github_token() for _ in range(300)]
    result = release(pipeline, outcome("\n".join(tokens)))
    assert len(result.findings) == 64
    assert result.findings[-1].rule == "too-many-findings"
    assert result.findings[-1].message.startswith("237 more")
    assert not any(token in text_of(result) for token in tokens)


def test_a_flood_of_secrets_is_withheld(pipeline: Pipeline) -> None:
    tokens = "\n".join(github_token() for _ in range(5000))
    result = release(pipeline, outcome(tokens))
    assert result.status == "withheld"
    assert [finding.rule for finding in result.findings] == ["too-many-secrets"]


def test_long_stderr_is_shortened_in_the_middle_after_it_was_redacted(pipeline: Pipeline) -> None:
    token = github_token()
    around = "x " * 16_374
    result = release(pipeline, outcome("", around + token + around * 4, "tool_error"))
    assert len(result.stderr) < 66_000
    assert "characters left out" in result.stderr
    assert token[:12] not in result.stderr


def test_output_that_is_binary_is_cut_where_it_stops_being_readable(pipeline: Pipeline) -> None:
    result = release(pipeline, outcome(b"head" + b"\x01" * 400_000))
    assert result.truncated
    assert text_of(result).startswith(r"head\x01\x01")
    assert len(text_of(result)) == 4 + 4 * 256 * 1024


# --- structured


def test_a_structured_value_comes_with_its_own_text(pipeline: Pipeline) -> None:
    value = {"words": 6, "top": [["be", 2], ["to", 2]], "ok": True, "none": None, "ü": 1.5}
    result = structured(pipeline, value)
    assert result.status == "ok"
    assert result.structured == value
    assert json.loads(text_of(result)) == value


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_a_secret_in_a_structured_value_is_redacted_in_place(pipeline: Pipeline, kind: str) -> None:
    secret = SECRETS[kind]()
    value = {"a/b": [{"deep": f"x {secret} y"}], "n": 5, f"k {secret}": "v"}
    result = structured(pipeline, value)
    assert result.status == "ok"
    whole = everything(result)
    assert secret not in whole
    assert json.dumps(secret)[1:-1] not in whole
    deep = result.structured["a/b"][0]["deep"]
    assert deep.startswith("x [redacted:")
    assert deep.endswith("] y")
    assert result.structured["n"] == 5
    assert "stdout#/a~1b/0/deep" in {finding.place for finding in result.findings}
    assert json.loads(text_of(result)) == result.structured


def test_an_aws_pair_in_two_fields_is_redacted_in_both(pipeline: Pipeline) -> None:
    name, secret = aws_pair()
    result = structured(pipeline, {"access_key_id": name, "secret_access_key": secret, "n": 1})
    assert result.structured["access_key_id"].startswith("[redacted:aws-access-token:")
    assert result.structured["secret_access_key"].startswith("[redacted:aws-secret-access-key:")
    assert {finding.place for finding in result.findings} == {
        "stdout#/access_key_id",
        "stdout#/secret_access_key",
    }


def test_a_secret_written_with_escapes_is_redacted(pipeline: Pipeline) -> None:
    token = github_token()
    escaped = "".join(f"\\u{ord(character):04x}" for character in token)
    result = release(pipeline, outcome(f'{{"t": "{escaped}"}}'), SCHEMA)
    assert result.structured["t"].startswith("[redacted:github-pat:")


def test_hidden_text_in_a_structured_value_is_made_visible(pipeline: Pipeline) -> None:
    result = structured(pipeline, {"a": ["x\u202ey"], "b\x1b": "\U000e0041"})
    assert result.structured == {"a": [r"x\u{202E}y"], r"b\x1b": r"\u{E0041}"}
    assert {finding.place for finding in result.findings} == {
        "stdout#/a/0",
        r"stdout#/b\x1b",
    }


def test_redaction_that_breaks_the_schema_withholds(pipeline: Pipeline) -> None:
    def only_tokens(value: Any) -> None:
        if len(value["token"]) != 40:
            raise InvalidArguments("no token", pointer="/token")

    result = structured(pipeline, {"token": github_token()}, only_tokens)
    assert result.status == "withheld"
    assert (result.structured, result.content) == (None, ())
    assert result.findings[0].rule == "not-redactable"


def test_a_secret_over_several_strings_is_cut_out_of_each(pipeline: Pipeline) -> None:
    lines = private_key(10).splitlines()
    result = structured(pipeline, {"pem": lines, "n": "kept"})
    assert result.status == "ok"
    assert not [line for line in lines if line in json.dumps(result.structured)]
    assert result.structured["n"] == "kept"


def test_a_secret_in_a_number_withholds() -> None:
    class Digits:
        name = "digits"

        def find(self, data: bytes, *, seconds: float) -> list[Match]:
            at = data.find(b"4111111111")
            return [Match("card", "secret", "high", at, at + 10)] if at >= 0 else []

    pipeline = Pipeline(fingerprint_key=KEY, secrets=[Digits()])
    assert structured(pipeline, {"n": 4111111111}).status == "withheld"
    assert structured(pipeline, {"n": 4111111111, "s": "4111111111"}).status == "withheld"
    assert structured(pipeline, {"s": "4111111111"}).status == "ok"


@pytest.mark.parametrize(
    ("stdout", "rule"),
    [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ('{"a": 1} trailing', "not JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large"),
        ('{"a": 1, "a": 2}', "same key twice"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": ' + "9" * 5000 + "}", "64 bits"),
        ("[" * 100_000, "deep"),
        ("[" * 129 + "]" * 129, "deep"),
        ("[" + "0," * 600_000 + "0]", "values"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_what_is_no_strict_json_is_the_tools_error(
    pipeline: Pipeline, stdout: str | bytes, rule: str
) -> None:
    result = release(pipeline, outcome(stdout), SCHEMA)
    assert (result.status, result.exit_code, result.structured) == ("tool_error", 0, None)
    finding = next(f for f in result.findings if f.kind == "schema")
    assert (finding.rule, finding.place, finding.action) == ("not-json", "stdout", "flag")
    assert rule in finding.message
    assert rule in result.message
    assert bool(result.content) == bool(stdout)


def test_output_that_breaks_the_schema_is_the_tools_error_and_names_the_place(
    pipeline: Pipeline,
) -> None:
    result = structured(pipeline, {"words": "six"}, refuse_at("/words"))
    assert result.status == "tool_error"
    assert result.message == "The tool's output breaks its outputSchema at /words."
    (finding,) = result.findings
    assert (finding.kind, finding.place) == ("schema", "stdout#/words")
    assert (result.structured, text_of(result)) == (None, '{"words": "six"}')


def test_a_schema_error_does_not_quote_a_secret(pipeline: Pipeline) -> None:
    token = github_token()
    pointer = f"/{token}/deep"
    result = structured(pipeline, {token: {"deep": token + " \x1b"}}, refuse_at(pointer))
    assert result.status == "tool_error"
    assert token not in everything(result)
    assert "/[redacted:github-pat:" in result.message
    assert result.message.endswith("/deep.")


def test_a_failing_tool_with_an_output_schema_answers_in_text(pipeline: Pipeline) -> None:
    result = release(
        pipeline, outcome("partial", "Traceback", "tool_error", exit_code=1), SCHEMA, accept
    )
    assert (result.status, result.structured) == ("tool_error", None)
    assert (text_of(result), result.stderr) == ("partial", "Traceback")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=10)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=st.dictionaries(st.text(max_size=6), VALUES, max_size=4), ascii_=st.booleans())
def test_any_value_is_released_unless_it_cannot_be(
    pipeline: Pipeline, value: Any, ascii_: object
) -> None:
    result = release(pipeline, outcome(json.dumps(value, ensure_ascii=bool(ascii_))), SCHEMA)
    assert result.status in ("ok", "withheld")
    if result.status == "ok":
        assert json.loads(text_of(result)) == result.structured
        if not result.findings:
            assert result.structured == value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50), st.sampled_from(["", SCHEMA]))
def test_any_bytes_get_a_result_that_is_json(
    pipeline: Pipeline, stdout: bytes, stderr: bytes, schema: str
) -> None:
    given_ = outcome(stdout, stderr, artifacts=(Artifact("f", stdout),))
    result = release(pipeline, given_, schema)
    assert json.loads(json.dumps(result.to_json()).encode())


# --- artifacts


def test_artifacts_are_resources_text_or_binary(pipeline: Pipeline) -> None:
    given_ = outcome(
        artifacts=(
            Artifact("report/a b.csv", b"x,y\n1,2\n"),
            Artifact("plot.png", b"\x89PNG\r\n\x1a\n\0"),
        )
    )
    first, second = release(pipeline, given_).content
    base = "fumehood:///01900000-0000-7000-8000-000000000000/out/"
    assert first == {
        "type": "resource",
        "resource": {
            "uri": base + "report/a%20b.csv",
            "mimeType": "text/plain",
            "text": "x,y\n1,2\n",
        },
    }
    assert second["resource"]["uri"] == base + "plot.png"
    assert base64.b64decode(second["resource"]["blob"]) == b"\x89PNG\r\n\x1a\n\0"


def test_an_artifacts_name_is_scanned_like_its_content(pipeline: Pipeline) -> None:
    token = github_token()
    given_ = outcome(
        artifacts=(
            Artifact(f"dir/{token}.txt", b"a"),
            Artifact("esc\x1b\u202e.txt", b"b"),
            Artifact(f"{token}/link", b"", "symlink"),
        )
    )
    result = release(pipeline, given_)
    assert token not in everything(result)
    names = [block["resource"]["uri"] for block in result.content]
    assert "%5Bredacted%3Agithub-pat%3A" in names[0]
    assert names[1].endswith("esc%5Cx1b%5Cu%7B202E%7D.txt")
    assert ("bidi-control", "hidden_text") in {(f.rule, f.kind) for f in result.findings}


def test_a_secret_in_a_binary_is_overwritten_in_place(pipeline: Pipeline) -> None:
    token = github_token()
    data = b"\0head" + token.encode() + b"tail\xff"
    result = release(pipeline, outcome(artifacts=(Artifact("a.bin", data),)))
    blob = base64.b64decode(result.content[0]["resource"]["blob"])
    assert len(blob) == len(data)
    assert blob.startswith(b"\0head[redacted:github-pat:")
    assert blob.endswith(b"tail\xff")


@pytest.mark.parametrize(
    "reason",
    ["symlink", "not_regular", "hard_link", "name", "too_large", "too_many", "too_deep", "new"],
)
def test_a_file_that_was_not_collected_is_told(pipeline: Pipeline, reason: str) -> None:
    result = release(pipeline, outcome(artifacts=(Artifact("x", b"", reason),)))
    (finding,) = result.findings
    assert (finding.kind, finding.action) == ("artifact", "withhold")
    assert finding.rule == "artifact-" + reason.replace("_", "-")
    assert finding.message
    assert (result.status, result.content) == ("ok", ())


# --- statuses


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (outcome("", "", "tool_error", exit_code=3), "exit status 3"),
        (outcome("", "", "tool_error", exit_code=None, signal=11), "SIGSEGV (signal 11)"),
        (outcome("", "", "tool_error", exit_code=None, signal=77), "signal 77"),
        (
            outcome("", "", "timeout", breach=Breach("timeout", 10.0, 10.04)),
            "time limit of 10 s (it ran 10.04 s)",
        ),
        (
            outcome("", "", "memory_exceeded", breach=Breach("memory", 128 << 20, 134_217_000)),
            "memory limit of 128 MiB (peak 128 MiB)",
        ),
        (
            outcome("", "", "output_exceeded", breach=Breach("output", 1 << 20, 10_485_760)),
            "wrote 10 MiB, more than its output limit of 1 MiB",
        ),
        (
            outcome("", "", "output_exceeded", breach=Breach("output", 1 << 20, 1 << 40, IN_FILES)),
            "left in /out have a size of 1024 GiB together, more than its output limit of 1 MiB",
        ),
        (
            outcome("", "", "syscall_killed", breach=Breach("seccomp", "compute", "SIGSYS")),
            "the seccomp profile `compute` does not allow",
        ),
        (outcome("", "", "cancelled", exit_code=None), "cancelled"),
        (
            outcome("", "", "engine_error", error="cgroup: /sys/fs/cgroup/x is gone [stderr]"),
            "(control: cgroup)",
        ),
        (outcome("", "", "engine_error", error="/etc/shadow is odd"), "as promised. The"),
        (outcome("", "", "engine_error", error="command: no"), "correct run.command"),
        (outcome("", "", "timeout"), "time limit of ?"),
    ],
)
def test_each_status_has_a_sentence_for_a_person(
    pipeline: Pipeline, given_: Outcome, message: str
) -> None:
    result = release(pipeline, given_)
    assert result.status == given_.status
    assert message in result.message
    assert result.breach == given_.breach
    assert "/sys" not in result.message
    assert "/etc" not in result.message


@pytest.mark.parametrize(
    "status", ["tool_error", "timeout", "memory_exceeded", "output_exceeded", "syscall_killed"]
)
def test_a_failing_tool_still_returns_what_it_wrote_scanned(
    pipeline: Pipeline, status: Status
) -> None:
    token = github_token()
    result = release(pipeline, outcome(f"out {token}", f"err {token}", status, exit_code=1))
    assert result.status == status
    assert text_of(result).startswith("out [redacted:")
    assert result.stderr.startswith("err [redacted:")


def test_what_was_proven_is_told_and_nothing_else(pipeline: Pipeline) -> None:
    enforced = release(pipeline, outcome()).enforced
    assert enforced is not None
    assert enforced.no_new_privs
    assert (enforced.uid, enforced.seccomp, enforced.plan) == (
        1_900_000_001,
        "compute",
        plan().digest(),
    )
    assert enforced.limits["memory_bytes"] == 128 << 20
    assert release(pipeline, outcome(status="engine_error", proofs=())).enforced is None


def test_a_limit_that_was_accepted_as_missing_is_not_told_as_enforced(pipeline: Pipeline) -> None:
    accepted = dataclasses.replace(plan(), accepted=("memory", "service_account"))
    result = pipeline.release(
        admitted(), accepted, outcome("x"), timing=Timing(), check_output=None
    )
    assert result.enforced is not None
    assert result.enforced.not_enforced == ("memory", "service_account")
    assert "memory_bytes" not in result.enforced.limits
    assert "pids" in result.enforced.limits


def test_the_time_for_scanning_is_told(pipeline: Pipeline) -> None:
    given_ = pipeline.release(
        admitted(), plan(), outcome("x"), timing=Timing(1, 2, 3), check_output=None
    )
    assert (given_.timing.queued_ms, given_.timing.ran_ms) == (1, 3)
    assert given_.timing.scanned_ms > 0


# --- looking before the end


class Foreseeing:
    """Finds nothing; remembers what it was told ahead, and what it was asked for."""

    def __init__(self) -> None:
        self.begun: list[Subject] = []
        self.asked: list[Subject] = []

    def begin(self, subjects: Sequence[Subject], _given: Sequence[bytes]) -> None:
        self.begun = list(subjects)

    def find_all(self, subjects: Sequence[Subject], _budget: Budget) -> list[Sequence[Match]]:
        self.asked = list(subjects)
        return [()] * len(subjects)


@pytest.mark.parametrize(
    ("ended", "schema", "foreseen"),
    [
        (outcome("text", "said"), "", True),
        (outcome('{"a": "\\u0041"}'), "", True),
        (outcome('{"a": "b"}', "said"), SCHEMA, True),
        (outcome("no document"), SCHEMA, True),
        (outcome("text", status="tool_error", exit_code=1), "", True),
        (outcome('{"a": "b"}', status="tool_error", exit_code=1), SCHEMA, False),
        (outcome("text", artifacts=(Artifact("a.txt", b"file"),)), "", False),
        (outcome("text", dropped=9), "", False),
    ],
)
def test_what_is_looked_at_before_the_end_is_what_the_end_asks_for(
    ended: Outcome, schema: str, *, foreseen: bool
) -> None:
    search = Foreseeing()
    looking = Pipeline(fingerprint_key=KEY, search=search)
    looking.begin(admitted(schema), ended.stdout, ended.stderr)
    release(looking, ended, schema)
    assert search.begun
    assert (search.asked == search.begun) is foreseen


# --- failing closed


class Failing:
    name = "failing"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError(), MemoryError(), OSError()])
@pytest.mark.parametrize("where", ["secrets", "hidden"])
@pytest.mark.parametrize("status", ["ok", "tool_error", "timeout"])
def test_a_failing_detector_withholds_everything(
    where: str, error: Exception, status: Status
) -> None:
    detectors: dict[str, Any] = {"secrets": [], "hidden": [], where: [Failing(error)]}
    pipeline = Pipeline(fingerprint_key=KEY, **detectors)
    given_ = outcome("stdout \x1b prose", "stderr", status, artifacts=(Artifact("n", b"data"),))
    result = release(pipeline, given_)
    assert result.status == "withheld"
    assert (result.content, result.structured, result.stderr) == ((), None, "")
    (finding,) = result.findings
    assert (finding.rule, finding.kind, finding.action) == ("failing", "scanner", "withhold")
    assert "`failing`" in result.message
    assert "prose" not in everything(result)


def test_a_failing_check_of_the_schema_withholds(pipeline: Pipeline) -> None:
    def broken(_value: object) -> None:
        raise RuntimeError("validator crashed")

    result = structured(pipeline, {"a": 1}, broken)
    assert result.status == "withheld"
    assert result.findings[0].kind == "scanner"


def test_an_output_schema_that_nothing_checks_withholds(pipeline: Pipeline) -> None:
    result = pipeline.release(
        admitted(SCHEMA), plan(), outcome("{}"), timing=Timing(), check_output=None
    )
    assert (result.status, result.findings[0].rule) == ("withheld", "schema")


def test_a_match_outside_of_the_data_withholds() -> None:
    class Wrong:
        name = "wrong"

        def find(self, data: bytes, *, seconds: float) -> list[Match]:
            return [Match("r", "secret", "high", 5, 99)]

    result = release(Pipeline(fingerprint_key=KEY, secrets=[Wrong()]), outcome("short"))
    assert result.status == "withheld"


# --- refusals


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InvalidArguments("/n: too large", "send less"), "rejected", "/n: too large (send less)"),
        (OverQuota("busy"), "rejected", "busy"),
        (Unauthorized("no\x1b[2J"), "rejected", r"no\x1b[2J"),
        (EngineError("/host/path", control="seccomp"), "engine_error", "(control: seccomp)"),
        (AuditError("/var/lib/x is full"), "engine_error", "(control: audit)"),
    ],
)
def test_a_refusal_says_what_the_caller_can_do_and_nothing_of_the_host(
    pipeline: Pipeline, error: FumehoodError, status: Status, message: str
) -> None:
    request = admitted().request
    result = pipeline.refuse(request, error, None)
    assert (result.status, result.invocation) == (status, request.invocation)
    assert message in result.message
    assert "/host" not in result.message
    assert "/var" not in result.message
    assert (result.tool_name, result.tool_digest, result.content) == ("sample", "", ())


def test_a_refusal_names_the_tool_when_there_is_one(pipeline: Pipeline) -> None:
    call = admitted()
    result = pipeline.refuse(call.request, OverQuota("busy"), call.tool)
    assert (result.tool_version, result.tool_digest) == ("1.0.0", "sha384:11")


def test_the_same_secret_has_the_same_fingerprint_in_every_invocation(pipeline: Pipeline) -> None:
    token = github_token()
    prints = {
        finding.fingerprint
        for text in (token, f"x {token}", f"{letters(9)}\n{token}")
        for finding in release(pipeline, outcome(text)).findings
    }
    assert len(prints) == 1


# --- text that is JSON with escapes


def escaped(secret: str) -> str:
    """As a JSON string may write it: its third character as an escape."""
    return f"{secret[:2]}\\u{ord(secret[2]):04x}{secret[3:]}"


@pytest.mark.parametrize("status", ["ok", "tool_error"])
def test_a_secret_behind_json_escapes_does_not_pass_as_text(
    pipeline: Pipeline, status: Status
) -> None:
    secret = github_token()
    given_ = outcome(f'{{"n": 1, "k": ["{escaped(secret)}"]}}\n', status=status)
    result = release(pipeline, given_)
    (finding,) = result.findings
    label = f"[redacted:github-pat:{finding.fingerprint}]"
    assert text_of(result) == f'{{"n": 1, "k": ["{label}"]}}\n'
    assert (finding.decoded, result.status, result.structured) == ("escape", status, None)


def test_nor_one_that_also_stands_there_unescaped(pipeline: Pipeline) -> None:
    secret = github_token()
    result = release(pipeline, outcome(f'["{secret}", "{escaped(secret)}"]'))
    assert secret[3:] not in everything(result)
    assert len(json.loads(text_of(result))) == 2


def test_nor_in_a_key_nor_in_output_that_breaks_its_schema(pipeline: Pipeline) -> None:
    secret = github_token()
    text = f'{{"{escaped(secret)}": 1}}'
    for result in (
        release(pipeline, outcome(text)),
        release(pipeline, outcome(text), SCHEMA, refuse_at("")),
    ):
        assert secret[3:] not in everything(result)
        assert text_of(result).startswith('{"[redacted:')


def test_json_text_whose_secret_stands_as_it_is_keeps_its_form(pipeline: Pipeline) -> None:
    secret = github_token()
    result = release(pipeline, outcome(f'{{ "k":  "{secret}", "path": "a\\\\b\\n" }}\n'))
    (finding,) = result.findings
    label = f"[redacted:github-pat:{finding.fingerprint}]"
    assert text_of(result) == f'{{ "k":  "{label}", "path": "a\\\\b\\n" }}\n'
    assert finding.place.startswith("stdout#bytes=")


def test_a_scan_that_nobody_waits_for_ends_and_withholds(pipeline: Pipeline) -> None:
    result = pipeline.release(
        admitted(),
        plan(),
        outcome("x" * 100),
        timing=Timing(),
        check_output=None,
        abandoned=lambda: True,
    )
    assert (result.status, result.content) == ("withheld", ())
