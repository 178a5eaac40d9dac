"""The manifest: what is read, what is refused and how the refusal reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ManifestError
from fumehood.model.manifest import (
    LOADER_VARIABLES,
    Manifest,
    Run,
    canonical,
    load_manifest,
    manifest_schema,
)
from support.manifests import TEXT, document, manifest
from support.refusals import refused

REPOSITORY = Path(__file__).resolve().parents[3]


def refusal(text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        load_manifest(text, source="tool.yaml")
    return caught.value


def test_the_sample_is_read() -> None:
    read = load_manifest(TEXT, source="tool.yaml")
    assert (read.name, read.version, read.network) == ("word-count", "1.0.0", "none")
    assert read.run.command == ("python3", "/tool/main.py")
    assert read.limits.to_plan().memory_bytes == 128 << 20
    assert read.annotations.readOnlyHint is True


def test_what_may_be_left_out_has_its_default() -> None:
    short = manifest(
        title=None,
        outputSchema=None,
        annotations=None,
        limits=None,
        seccomp=None,
        network=None,
        run={"command": ["true"]},
    )
    assert short.run.image == "host"
    assert short.run.files is None
    assert (short.seccomp, short.network, short.outputSchema) == ("compute", "none", None)
    assert short.limits == load_manifest(TEXT, source="t").limits


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*/tool.yaml")), ids=str)
def test_every_example_is_read(path: Path) -> None:
    load_manifest(path.read_text(encoding="utf-8"), source=path.name)


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", fullmatch=True)
versions = st.from_regex(r"[0-9]\.[1-9][0-9]?\.0(-[a-z]{1,5})?(\+[a-z]{1,5})?", fullmatch=True)
visible = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=50)
words = visible.filter(lambda word: "/" not in word and word[0] != "-")
variables = st.from_regex(r"X[A-Z0-9_]{0,9}", fullmatch=True)
manifests = st.builds(
    document,
    name=names,
    version=versions,
    title=st.none() | visible,
    description=visible,
    limits__timeout=st.integers(10, 10**6).map(lambda n: f"{n}ms"),
    limits__cpu=st.integers(10, 8000).map(lambda n: n / 1000),
    limits__memory=st.integers(4, 4096).map(lambda n: f"{n}MiB"),
    run__command=st.lists(words, min_size=1, max_size=5),
    run__environment=st.dictionaries(variables, visible, max_size=3),
)


@given(manifests)
def test_the_canonical_form_is_the_same_manifest(value: dict[str, Any]) -> None:
    read = load_manifest(json.dumps(value), source="t")
    again = load_manifest(canonical(read).decode(), source="t")
    assert again == read
    assert canonical(again) == canonical(read)


@given(manifests)
def test_order_and_spelling_of_keys_do_not_change_the_canonical_form(value: dict[str, Any]) -> None:
    turned = dict(reversed(list(value.items())))
    read = [canonical(load_manifest(json.dumps(each), source="t")) for each in (value, turned)]
    assert read[0] == read[1]


@given(manifests)
def test_what_the_loader_reads_the_published_schema_allows(value: dict[str, Any]) -> None:
    load_manifest(json.dumps(value), source="t")
    jsonschema.Draft202012Validator(manifest_schema()).validate(value)


def test_the_published_schema_is_a_schema_and_shows_defaults_as_written() -> None:
    schema = manifest_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$defs"]["LimitsSpec"]["properties"]["timeout"]["default"] == "10s"
    assert schema["additionalProperties"] is False


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = [
    *Manifest.model_fields,
    *(f"run__{key}" for key in ("image", "command", "files", "environment")),
    *(f"limits__{key}" for key in ("timeout", "cpu", "memory", "pids", "scratch", "output")),
]


@given(st.sampled_from(KEYS), json_values)
def test_any_value_anywhere_is_read_or_refused_in_one_short_sentence(key: str, value: Any) -> None:
    changed = document(**{key: "placeholder"})
    *outer, last = key.split("__")
    target = changed
    for part in outer:
        target = target[part]
    target[last] = value
    error = refused(ManifestError, lambda: load_manifest(json.dumps(changed), source="t"))
    assert error is None or (len(str(error)) < 500 and str(error).isprintable())


@pytest.mark.parametrize("missing", ["name", "version", "description", "inputSchema", "run"])
def test_a_missing_key_is_named(missing: str) -> None:
    error = refusal(json.dumps(document(**{missing: None})))
    assert error.field == missing
    assert f"'{missing}' is missing" in error.cause


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ("limits:", "limit:", "limits"),
        ("timeout:", "timeot:", "timeout"),
        ("command:", "comand:", "command"),
        ("inputSchema:", "inputschema:", "inputSchema"),
        ("readOnlyHint", "readonly", "readOnlyHint"),
        ("seccomp:", "secomp:", "seccomp"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(old: str, new: str, near: str) -> None:
    error = refusal(TEXT.replace(old, new))
    assert "unknown key" in error.cause
    assert f"did you mean {near!r}?" in error.remedy
    assert re.match(r"tool\.yaml, line \d+: ", error.cause)


def test_an_unknown_key_far_from_all_lists_what_is_known() -> None:
    error = refusal(json.dumps(document(run__xyzzy_q=1)))
    assert error.remedy == "known here: " + ", ".join(sorted(Run.model_fields))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        "A",
        "word_count",
        "wörd",
        "w\u043erd",
        "\uff57ord",
        "a" * 65,
        "a\n",
        "a b",
        "a/b",
        "..",
        "--help",
        "a\u200b",
    ],
)
def test_names_that_look_like_others_or_like_options_are_refused(name: str) -> None:
    assert refusal(json.dumps(document(name=name))).field == "name"


@pytest.mark.parametrize(
    "version",
    [
        "1",
        "1.0",
        "01.0.0",
        "1.0.0-",
        "v1.0.0",
        "1.0.0\n",
        "1." + "0" * 5000 + ".0",
        "\uff11.0.0",
        1.0,
        True,
    ],
)
def test_versions_are_semantic(version: object) -> None:
    assert refusal(json.dumps(document(version=version))).field == "version"


def test_a_version_that_yaml_takes_for_a_number_is_told_to_be_quoted() -> None:
    assert refusal(TEXT.replace("1.0.0", "1.0")).remedy == "quote it"


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../..",
        "/etc",
        "/",
        "",
        "a\\b",
        "a\0b",
        "a\nb",
        "a" * 300,
        "x\u202ey",
        "//x",
    ],
)
def test_files_lie_beside_the_manifest(path: str) -> None:
    assert refusal(json.dumps(document(run__files=path))).field == "run.files"


def test_look_alike_dots_are_ordinary_characters_of_a_name() -> None:
    assert manifest(run__files="\uff0e\uff0e\uff0fx").run.files == "\uff0e\uff0e\uff0fx"


@pytest.mark.parametrize(
    "command",
    [
        [],
        [""],
        ["-c"],
        ["./x"],
        ["a/b"],
        ["../x"],
        ["/tool/../bin/sh"],
        ["sh", "a\0b"],
        ["x"] * 65,
        ["sh", "é" * 2100],
        "sh -c x",
        ["sh", 1],
        None,
        [["sh"]],
        ["a\nb"],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_command_is_a_bounded_list_that_names_a_program(command: object) -> None:
    changed = document()
    changed["run"]["command"] = command
    assert refusal(json.dumps(changed)).field.startswith("run.command")


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "LD_X",
        "FUMEHOOD_SOCKET",
        "a",
        "A-B",
        "1A",
        "",
        "A=B",
        "É",
        "A\n",
        "A" * 65,
        *sorted(LOADER_VARIABLES),
    ],
)
def test_variables_that_change_what_is_run_are_refused(name: str) -> None:
    assert refusal(json.dumps(document(run__environment={name: "x"}))).field == "run.environment"


@pytest.mark.parametrize("value", ["a\0b", "é" * 2100])
def test_values_of_variables_are_bounded(value: str) -> None:
    assert refusal(json.dumps(document(run__environment={"A": value}))).field == "run.environment"


def test_the_number_of_variables_is_bounded() -> None:
    many = {f"V{i}": "x" for i in range(49)}
    assert "at most 48" in refusal(json.dumps(document(run__environment=many))).cause


@pytest.mark.parametrize(
    "text", ["x\u202ey", "x\u200by", "x\U000e0041", "x\x1b[0m", "\ue000", " ", "x" * 8193]
)
def test_descriptions_hide_nothing(text: str) -> None:
    assert refusal(json.dumps(document(description=text))).field == "description"


@pytest.mark.parametrize(
    "schema", [{}, {"type": "array"}, {"type": ["object"]}, {"type": "string"}, [], True, "object"]
)
def test_schemas_describe_objects(schema: object) -> None:
    assert refusal(json.dumps(document(inputSchema=schema))).field == "inputSchema"


@pytest.mark.parametrize("network", ["host", "", True, [], "None"])
def test_there_is_no_network(network: object) -> None:
    assert refusal(json.dumps(document(network=network))).field == "network"


@pytest.mark.parametrize("text", ["[]", "x", "1", "", "- a", "null", "true"])
def test_a_manifest_is_a_mapping(text: str) -> None:
    assert "expected a mapping" in refusal(text).cause


@pytest.mark.parametrize(
    "text", ["a: &x 1", "a: !!python/name:os 1", "name: a\nname: b", "a: " + "[" * 99]
)
def test_what_the_reader_refuses_names_file_and_line(text: str) -> None:
    assert re.match(r"tool\.yaml, line \d+: ", refusal(text).cause)


def test_a_manifest_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        manifest().name = "other"
