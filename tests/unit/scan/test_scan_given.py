"""Values that a tool was given leave it in no form that is undone, whatever they look like."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from fumehood.errors import ConfigError
from fumehood.model.outcome import Artifact, Outcome
from fumehood.model.request import Admitted
from fumehood.model.result import Result, Timing
from fumehood.scan.given import GivenDetector, of_environment, of_files
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.search import Searcher
from support.scan import KEY, admitted, outcome, plan

VALUE = 'correct "horse" battery&staple'
"""No form, no name and no entropy gives it away."""


def given(*values: str, **environment: str) -> tuple[Pipeline, Admitted]:
    call = admitted()
    manifest = call.tool.manifest
    run = manifest.run.model_copy(update={"environment": environment})
    tool = replace(call.tool, manifest=manifest.model_copy(update={"run": run}))
    pipeline = Pipeline(
        fingerprint_key=KEY, search=Searcher([], []),
        secrets_given=[value.encode() for value in values],
    )  # fmt: skip
    return pipeline, replace(call, tool=tool)


def released(pipeline: Pipeline, call: Admitted, out: Outcome) -> Result:
    return pipeline.release(call, plan(), out, timing=Timing(), check_output=None)


FORMS = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, shifted": lambda text: base64.b64encode(b"xy" + text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "percent": lambda text: quote(text),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "code points": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "gzip": lambda text: base64.b64encode(gzip.compress(f"it is {text}".encode())).decode(),
    "split by colours": lambda text: "\x1b[0m".join(text),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["operator", "environment"])
def test_a_given_value_leaves_in_no_form(form: str, way: str) -> None:
    pipeline, call = given(VALUE) if way == "operator" else given(API_KEY=VALUE)
    shown = FORMS[form](VALUE)
    files = (Artifact("a.txt", f"file: {shown}".encode()),)
    result = released(pipeline, call, outcome(f"a {shown} b", f"E {shown}", artifacts=files))
    text = json.dumps(result.content) + result.stderr
    assert json.dumps(shown)[1:-1] not in text
    assert "[redacted:given-secret:" in text
    rules = {(f.rule, f.action) for f in result.findings if f.kind == "secret"}
    assert rules == {("given-secret", "redact")}
    assert VALUE not in str(result.to_json())


def test_a_stream_that_is_shown_before_its_end_holds_none(tmp_path: Path) -> None:
    pipeline, call = given(SERVICE_TOKEN=VALUE)
    assert VALUE not in pipeline.partial(call.tool).feed(f"a {VALUE} b\n".encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODE", "production-like"), ("API_KEY", "short"), ("KEY_FILE", "/etc/keys/one.pem"),
        ("TOKEN_URL", "https://example.org/token"), ("TOKENIZER", "Sentence-Piece-12"),
        ("AUTH", "disabled"), ("PWD", "/home/tool/work"),
        ("DB_PASSWORD_FILE", "/run/secrets/db-password"), ("USE_PASSWORD", "required"),
        ("SORT_KEY", "creationdate"), ("SIGNING_KEY", "/etc/keys/signing.pem"),
        ("SECRET_COUNT", "1234567890"),
    ],
)  # fmt: skip
def test_what_a_variable_holds_is_a_secret_only_where_its_name_says_so(
    name: str, value: str
) -> None:
    assert of_environment({name: value}) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGPASSWORD", "Sommer-2026"), ("MYSQL_PWD", "Sommer-2026"), ("SSHPASS", "Sommer-2026"),
        ("DB_PASSWORD", "correcthorsebattery"), ("PIN_SECRET", "8471936205"),
        ("DB_PASSWORD", "/41HO74yQz0sT9aKfW2eRb"), ("dbpassphrase", "correcthorsebattery"),
        ("AWS_SECRET_ACCESS_KEY", "/41HO74yQz0sT9aKfW2eRbX7mLcPq83VdNuJg6"),
    ],
)  # fmt: skip
def test_what_is_called_a_password_is_one_whatever_it_looks_like(name: str, value: str) -> None:
    assert of_environment({name: value}) == (value.encode(),)
    pipeline, call = given(**{name: value})
    assert value not in json.dumps(released(pipeline, call, outcome(f"a {value} b")).content)


def test_of_two_values_that_begin_alike_the_longer_one_counts() -> None:
    found = GivenDetector([b"abcdefgh", b"abcdefghij"]).find(b"x abcdefghijk abcdefgh", seconds=1)
    assert [(match.start, match.end) for match in found] == [(2, 12), (14, 22)]


def test_files_of_values_are_private_and_hold_enough(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("the first one\nand the second\n\n")
    path.chmod(0o600)
    assert of_files([str(path)]) == (
        b"the first one\nand the second", b"the first one", b"and the second",
    )  # fmt: skip
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        of_files([str(path)])
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="less than 8 bytes"):
        of_files([str(path)])
    with pytest.raises(ConfigError, match="No such file"):
        of_files([str(tmp_path / "none")])
