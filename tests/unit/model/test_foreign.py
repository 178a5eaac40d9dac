"""Other projects' descriptions become drafts that claim no more than was said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import FumehoodError, ManifestError, UsageError
from fumehood.model.document import parse
from fumehood.model.foreign.draft import MAX_LEFT, SPEAKS_MCP, Draft
from fumehood.model.foreign.read import read, verdict, written
from fumehood.model.manifest import Manifest, load_manifest

SERVER_JSON: dict[str, Any] = {
    "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    "name": "io.github.example/Weather_MCP",
    "title": "Weather",
    "description": "Tells the weather.",
    "version": "3.1.0",
    "repository": {"url": "https://example.com/x", "source": "github"},
    "packages": [
        {"registryType": "pypi", "identifier": "weather", "version": "3.1.0"},
        {
            "registryType": "oci",
            "identifier": "docker.io/example/weather",
            "version": "3.1.0",
            "transport": {"type": "stdio"},
            "runtimeArguments": [{"type": "named", "name": "--network", "value": "host"}],
            "packageArguments": [{"type": "positional", "value": "start"}],
            "environmentVariables": [
                {"name": "UNITS", "default": "celsius"},
                {"name": "PLACE", "value": "{place}"},
                {"name": "API_KEY", "isSecret": True, "value": "s3cret"},
                {"name": "LD_PRELOAD", "value": "/x.so"},
                {"name": "ASKED", "isRequired": True},
            ],
        },
    ],
    "remotes": [{"type": "sse", "url": "https://example.com"}],
}
CATALOG = """
registry:
  fetcher:
    type: poci
    title: Fetcher
    description: A server.
    image: example/fetcher@sha256:00
    disableNetwork: true
    volumes: ["/:/host"]
    env: [{name: MODE, value: quick}]
    secrets: [{name: fetcher.key, env: KEY}]
    tools:
      - name: fetch_it
        description: Fetches.
        container: {image: "example/curl:8", command: ["{{url}}"]}
        parameters:
          type: object
          properties: {url: {type: string, description: Where.}}
          required: [url]
        annotations: {readOnlyHint: true}
      - {name: other, description: Another.}
  far: {type: remote, description: Elsewhere., remote: {url: "https://example.com"}}
"""
PROFILE: dict[str, Any] = {
    "read": ["/etc/hosts"],
    "write": ["/data:/data"],
    "privileged": True,
    "network": {
        "inbound": {"allow_host": ["a"]},
        "outbound": {"insecure_allow_all": False, "allow_host": ["b"], "allow_port": [443]},
    },
}
BUNDLE: dict[str, Any] = {
    "manifest_version": "0.3",
    "name": "file-finder",
    "display_name": "File finder",
    "version": "1.0.0",
    "description": "Finds.",
    "author": {"name": "somebody"},
    "server": {
        "type": "python",
        "entry_point": "server/main.py",
        "mcp_config": {
            "command": "python3",
            "args": ["${__dirname}/server/main.py"],
            "env": {"PYTHONPATH": "${__dirname}/lib", "HOME_OF": "${HOME}"},
            "platform_overrides": {"win32": {"command": "py"}},
        },
    },
    "tools": [{"name": "find", "description": "Finds a file."}],
    "user_config": {"where": {"type": "directory"}},
    "_meta": {
        "com.microsoft.windows": {
            "static_responses": {
                "tools/list": {"tools": [{"name": "find", "inputSchema": {"type": "object"}}]}
            }
        }
    },
}


def drafted(value: object, **options: str) -> Draft:
    text = value if isinstance(value, str) else json.dumps(value)
    return read(text, source="file", **options)


def left(draft: Draft) -> dict[str, str]:
    return {item.key: item.why for item in draft.left}


# --- server.json


def test_a_server_json_gives_what_it_says_and_lists_the_rest() -> None:
    draft = drafted(SERVER_JSON)
    assert draft.form == "server-json"
    assert draft.manifest == {
        "name": "weather-mcp",
        "title": "Weather",
        "description": "Tells the weather.",
        "version": "3.1.0",
        "run": {"image": "weather", "environment": {"UNITS": "celsius"}},
    }
    image = "packages[1]"
    assert set(left(draft)) == {
        "name", "packages", "packages[0]", f"{image}.identifier", f"{image}.runtimeArguments",
        f"{image}.packageArguments", "remotes", "repository",
        *(f"{image}.environmentVariables[{number}]" for number in range(1, 5)),
    }  # fmt: skip
    assert (
        "docker://docker.io/example/weather:3.1.0 --name weather"
        in left(draft)[f"{image}.identifier"]
    )
    assert left(draft)["packages"] == SPEAKS_MCP


def test_neither_a_secret_nor_a_program_that_was_not_named_gets_into_a_draft() -> None:
    draft = drafted(SERVER_JSON)
    assert "s3cret" not in str(draft)
    assert "command" not in draft.manifest["run"]
    assert "inputSchema" in verdict(draft).cause


# --- Docker


def test_a_tool_of_a_docker_catalog_keeps_its_schema_and_loses_its_reach() -> None:
    draft = drafted(CATALOG, server="fetcher", tool="fetch_it")
    assert draft.manifest["name"] == "fetch-it"
    assert draft.manifest["inputSchema"]["required"] == ["url"]
    assert draft.manifest["annotations"] == {"readOnlyHint": True}
    assert draft.manifest["run"] == {"image": "curl", "environment": {"MODE": "quick"}}
    assert draft.manifest["network"] == "none"
    entry = "registry.fetcher"
    assert {f"{entry}.volumes", f"{entry}.secrets", f"{entry}.tools[1]"} <= set(left(draft))
    assert SPEAKS_MCP not in left(draft).values()


def test_of_several_servers_one_has_to_be_named() -> None:
    with pytest.raises(UsageError, match="several servers") as caught:
        drafted(CATALOG)
    assert '"fetcher", "far"' in caught.value.remedy
    with pytest.raises(UsageError, match="no server"):
        drafted(CATALOG, server="none")
    with pytest.raises(UsageError, match="no tool"):
        drafted(CATALOG, server="fetcher", tool="none")


def test_without_a_choice_no_tools_schema_is_taken_for_the_servers() -> None:
    draft = drafted(CATALOG, server="fetcher")
    assert "inputSchema" not in draft.manifest
    assert {"registry.fetcher.tools[0]", "registry.fetcher.tools[1]"} <= set(left(draft))


@pytest.mark.parametrize("image", ["host", "example/host", "example/host:1", "x/host@sha256:00"])
def test_an_image_called_host_does_not_become_the_hosts_root(image: str) -> None:
    draft = drafted({"type": "server", "name": "x", "image": image})
    assert "run" not in draft.manifest
    assert "image" in left(draft)


def test_a_remote_server_has_nothing_that_would_run() -> None:
    assert "run" not in drafted(CATALOG, server="far").manifest


def test_arguments_of_an_oci_catalog_become_a_schema() -> None:
    arguments = [
        {"name": "a", "type": "array", "items": {"type": "string"}, "desc": "Some."},
        {"name": "b", "type": "string", "desc": "One.", "optional": True},
    ]
    entry = {"type": "server", "name": "x", "image": "x", "tools": [{"name": "t"}]}
    entry["tools"][0]["arguments"] = arguments  # type: ignore[index]
    assert drafted(entry).manifest["inputSchema"] == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "description": "Some.", "items": {"type": "string"}},
            "b": {"type": "string", "description": "One."},
        },
        "required": ["a"],
    }


# --- ToolHive


def test_a_permission_profile_grants_nothing() -> None:
    draft = drafted(PROFILE)
    assert draft.manifest == {}
    assert set(left(draft)) == {
        "read[0]", "write[0]", "privileged", "network.inbound.allow_host",
        "network.outbound.allow_host", "network.outbound.allow_port",
    }  # fmt: skip
    assert "'name'" in verdict(draft).cause


def test_a_profile_without_a_reach_is_no_network() -> None:
    closed = {"network": {"outbound": {"insecure_allow_all": False, "allow_host": []}}}
    draft = drafted(closed)
    assert (draft.manifest, draft.left) == ({"network": "none"}, [])


# --- MCPB


def test_a_bundle_gives_a_whole_manifest_where_it_says_enough() -> None:
    draft = drafted(BUNDLE)
    made = load_manifest(written(draft.manifest), source="draft")
    assert not verdict(draft).cause
    assert made.name == "find"
    assert made.run.command == ("python3", "/tool/server/main.py")
    assert (made.run.image, made.run.files) == ("python", ".")
    assert made.run.environment == {"PYTHONPATH": "/tool/lib"}
    told = left(draft)
    assert told["server"] == SPEAKS_MCP
    assert {"author", "user_config", "_meta", "server.mcp_config.env.HOME_OF"} <= set(told)
    assert "server.mcp_config.platform_overrides.win32" in told


def test_a_command_with_a_word_that_is_asked_for_is_no_command() -> None:
    bundle = json.loads(json.dumps(BUNDLE))
    bundle["server"]["mcp_config"]["args"].append("${user_config.where}")
    draft = drafted(bundle)
    assert "command" not in draft.manifest["run"]
    assert "run.command" in verdict(draft).cause


def test_what_linux_overrides_is_what_runs() -> None:
    bundle = json.loads(json.dumps(BUNDLE))
    bundle["server"]["type"] = "binary"
    overrides = {"linux": {"command": "bin/linux", "args": ["-q"]}}
    bundle["server"]["mcp_config"]["platform_overrides"] = overrides
    assert drafted(bundle).manifest["run"]["command"] == ["/tool/bin/linux", "-q"]


# --- all


@pytest.mark.parametrize("text", ["", "[]", "{}", "a: 1", "name: x\nrun: {command: [x]}"])
def test_what_is_none_of_the_forms_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="none of these"):
        drafted(text)


@pytest.mark.parametrize(
    "value",
    [
        {**SERVER_JSON, "packages": "x"},
        {**SERVER_JSON, "packages": ["x"]},
        {**SERVER_JSON, "version": 3},
        {**BUNDLE, "server": {"mcp_config": {"command": "x", "args": [1]}}},
        {**PROFILE, "privileged": "yes"},
        {"type": "server", "image": ["x"]},
    ],
)
def test_a_key_of_another_type_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(ManifestError) as caught:
        drafted(value)
    assert caught.value.field


def test_hidden_characters_and_bounds_are_those_of_a_manifest() -> None:
    changed = {**SERVER_JSON, "description": "a\u202eb", "title": "x" * 201, "version": "^1"}
    draft = drafted(changed)
    assert not {"description", "title", "version"} & set(draft.manifest)
    assert {"description", "title", "version"} <= set(left(draft))


def test_what_is_listed_is_bounded() -> None:
    many = {**SERVER_JSON, **{f"key-{number}": 1 for number in range(MAX_LEFT + 50)}}
    draft = drafted(many)
    assert len(draft.left) == MAX_LEFT
    assert draft.more > 40


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=12), max_size=4))
def test_a_written_draft_reads_back_as_it_is(environment: dict[str, str]) -> None:
    value = {"name": "1e3", "version": "1.0", "run": {"environment": environment}}
    assert parse(written(value)).value == value


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "type", "image", "tools", "packages", "network", "env", "x"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from([SERVER_JSON, PROFILE, BUNDLE]), st.data())
def test_no_description_ends_in_anything_but_a_draft_or_an_error_of_ours(
    base: dict[str, Any], data: st.DataObject
) -> None:
    value = {**base, data.draw(st.sampled_from(sorted(base))): data.draw(_JSON)}
    try:
        draft = drafted(value)
    except FumehoodError:
        return
    assert set(draft.manifest) <= set(Manifest.model_fields)
    parts = {item.key.partition(".")[0].partition("[")[0] for item in draft.left}
    assert parts <= set(value) | {"name", "packages", "server", "type"}
