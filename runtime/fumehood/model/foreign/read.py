"""Tells what kind of description a text is, and reads it into a draft.

Must never guess: a text that is none of the four is refused, as is one that holds several servers
while none is named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import yaml

from fumehood.errors import ManifestError, UsageError
from fumehood.model.document import DocumentError, parse, shown
from fumehood.model.foreign import docker_catalog, mcpb, server_json, toolhive
from fumehood.model.foreign.draft import Draft, Part
from fumehood.model.manifest import Manifest, Run, load_manifest
from fumehood.model.schema import check_schema

MAX_BYTES: Final = 4 << 20
"""Docker's whole catalog has 1.5 MiB."""
FORMS: Final = "MCP server.json, Docker MCP catalog, ToolHive permission profile, MCPB manifest"
_DOCKER_KEYS: Final = frozenset({"image", "remote", "tools"})
_TOOLHIVE_KEYS: Final = frozenset({"read", "write", "network", "privileged", "name"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `tool check` would say of the draft; an empty cause is no objection. missing: all keys
    that have to be filled in."""

    cause: str = ""
    remedy: str = ""
    missing: tuple[str, ...] = ()


def read(text: str, *, source: str, server: str | None = None, tool: str | None = None) -> Draft:
    """A draft of a manifest.

    Args:
        text: JSON or YAML, at most 4 MiB and 32 levels deep.
        source: what to call it in errors.
        server, tool: which of several is meant.

    Raises:
        ManifestError: it is none of the forms, or breaks its form. UsageError: several servers
            and none is named, or one that there is not.
    """
    try:
        value = parse(text, max_bytes=MAX_BYTES).value
    except DocumentError as error:
        where = source if error.line is None else f"{source}, line {error.line}"
        raise ManifestError(f"{where}: {error.cause}", error.remedy) from None
    form = _form(value)
    if form is None or not isinstance(value, dict):
        raise ManifestError(f"{source} is none of these: {FORMS}", "see docs/tools.md")
    part = Part(value, (), Draft(form))
    try:
        _read(part, form, server, tool)
    except ManifestError as error:
        raise ManifestError(f"{source}: {error.cause}", error.remedy, field=error.field) from None
    return part.draft


def _form(value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    keys = set(value)
    if keys & {"manifest_version", "dxt_version"} and "server" in keys:
        return "mcpb"
    if "registry" in keys or ("type" in keys and keys & _DOCKER_KEYS):
        return "docker-catalog"
    if keys & {"packages", "remotes"} or "server.schema.json" in str(value.get("$schema"))[:200]:
        return "server-json"
    if keys & {"read", "write", "network"} and keys <= _TOOLHIVE_KEYS:
        return "toolhive"
    return None


def _read(part: Part, form: str, server: str | None, tool: str | None) -> None:
    if form == "docker-catalog":
        found = docker_catalog.servers(part)
        name = server if server is not None or len(found) != 1 else next(iter(found))
        if name is None or name not in found:
            known = ", ".join(shown(one) for one in list(found)[:20])
            more = f" and {len(found) - 20} more" if len(found) > 20 else ""
            cause = "it has several servers" if name is None else f"it has no server {shown(name)}"
            raise UsageError(cause, f"name one with --server: {known}{more}")
        docker_catalog.read(found[name], name, tool)
        return
    if server is not None:
        raise UsageError("--server is for a catalog with several servers", "leave it out")
    if form == "mcpb":
        mcpb.read(part, tool)
        return
    if tool is not None:
        raise UsageError("it lists no tools", "leave --tool out")
    (server_json.read if form == "server-json" else toolhive.read)(part)


def verdict(draft: Draft) -> Verdict:
    """Whether the draft is a manifest already."""
    try:
        manifest = load_manifest(written(draft.manifest), source="the draft")
        check_schema(manifest.inputSchema, "inputSchema")
        if manifest.outputSchema is not None:
            check_schema(manifest.outputSchema, "outputSchema")
    except ManifestError as error:
        return Verdict(error.cause, error.remedy, missing(draft.manifest))
    return Verdict()


def missing(manifest: dict[str, Any]) -> tuple[str, ...]:
    """Keys that a manifest must have and the draft has not, all of them."""
    found = [key for key, one in Manifest.model_fields.items() if one.is_required()]
    run = manifest.get("run")
    inner = [f"run.{key}" for key, one in Run.model_fields.items() if one.is_required()]
    lacking = [key for key in found if key not in manifest]
    if isinstance(run, dict):
        lacking += [key for key in inner if key.removeprefix("run.") not in run]
    return tuple(lacking)


def written(manifest: dict[str, Any]) -> str:
    """YAML that reads back as the same values; JSON, which is YAML too, where none would."""
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=100)
    try:
        if parse(text, max_bytes=MAX_BYTES).value == manifest:
            return text
    except DocumentError:
        pass
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
