"""The manifest: what a tool is, how it runs and what it may use, read strictly.

Must never accept what it does not understand: unknown keys, wrong types and values out of
bounds are errors that name the key. Everything here is pure; files beside a manifest are
read by whoever registers it.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from fumehood.errors import ManifestError
from fumehood.model.document import Document, DocumentError, dotted, parse, shown
from fumehood.model.faults import explain
from fumehood.model.limits import LimitsSpec
from fumehood.model.published import published_schema
from fumehood.model.rules import Labels
from fumehood.model.strict import Strict, listed
from fumehood.model.text import hidden_character, relative_path_fault
from fumehood.model.units import FieldError

MAX_COMMAND: Final = 64
MAX_ARGUMENT_BYTES: Final = 4_096
MAX_ENVIRONMENT: Final = 48

# What steers the dynamic loader, libc or a shell's start before the tool's first line runs:
# glibc's sysdeps/generic/unsecvars.h, ld.so(8), and bash(1) for the last row.
LOADER_VARIABLES: Final = frozenset(
    [
        "GCONV_PATH",
        "GETCONF_DIR",
        "GLIBC_TUNABLES",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "MALLOC_CHECK_",
        "MALLOC_TRACE",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "TZDIR",
        "BASH_ENV",
        "BASHOPTS",
        "ENV",
        "IFS",
        "PS4",
        "SHELLOPTS",
    ]
)
RESERVED_PREFIXES: Final = ("LD_", "FUMEHOOD_")

_NAME = r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?"
_IMAGE = r"[a-z0-9][a-z0-9._-]{0,62}"
_REFERENCE = (
    r"([a-z0-9][a-z0-9._-]{0,62}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?"
    r"|sha256:[0-9a-f]{64})"
)
_VARIABLE = r"[A-Z_][A-Z0-9_]{0,63}"
# semver.org, version 2.0.0, the grammar's own regular expression
_SEMVER = (
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-((0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?"
)


def _text(most: int, *, allow: str) -> AfterValidator:
    def check(text: str) -> str:
        if not text.strip():
            raise FieldError("is empty")
        if len(text) > most:
            raise FieldError(f"has {len(text)} characters; at most {most} are allowed")
        if (character := hidden_character(text, allow=allow)) is not None:
            raise FieldError(
                f"holds the character {character}, which people cannot see", "remove it"
            )
        return text

    return AfterValidator(check)


def _matching(pattern: str, what: str, *, most: int = 256) -> tuple[AfterValidator, WithJsonSchema]:
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if len(text) > most or compiled.fullmatch(text) is None:
            raise FieldError(f"{shown(text)} is not {what}")
        return text

    schema = {"type": "string", "maxLength": most, "pattern": f"^{pattern}$"}
    return AfterValidator(check), WithJsonSchema(schema)


def _argument(text: str) -> str:
    if (size := len(text.encode())) > MAX_ARGUMENT_BYTES:
        raise FieldError(f"has {size} bytes; at most {MAX_ARGUMENT_BYTES} are allowed")
    if "\0" in text:
        raise FieldError("holds a NUL byte")
    return text


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(command) <= MAX_COMMAND:
        raise FieldError(f"has {len(command)} words; 1 to {MAX_COMMAND} are allowed")
    program = command[0]
    remedy = "write a name such as python3, or an absolute path such as /tool/main.sh"
    if not program or program.startswith("-") or hidden_character(program, allow=""):
        raise FieldError(f"{shown(program)} names no program", remedy)
    if "/" in program and (not program.startswith("/") or ".." in program.split("/")):
        raise FieldError(f"{shown(program)} is neither a name nor a plain absolute path", remedy)
    return command


def _files(path: str) -> str:
    if (fault := relative_path_fault(path)) is not None:
        raise FieldError(f"{shown(path)} {fault}", "name a folder beside the manifest, such as `.`")
    return path


def _requirements(path: str) -> str:
    if (fault := relative_path_fault(path)) is not None or path == ".":
        raise FieldError(
            f"{shown(path)} {fault or 'is a folder'}", "name a file, such as requirements.txt"
        )
    return path


def _environment(environment: dict[str, str]) -> dict[str, str]:
    if len(environment) > MAX_ENVIRONMENT:
        raise FieldError(f"has {len(environment)} variables; at most {MAX_ENVIRONMENT} are allowed")
    for name, value in environment.items():
        if re.fullmatch(_VARIABLE, name, re.ASCII) is None:
            raise FieldError(f"{shown(name)} is no name of a variable", "use [A-Z_][A-Z0-9_]*")
        if name.startswith(RESERVED_PREFIXES) or name in LOADER_VARIABLES:
            raise FieldError(f"{name} may not be set: it changes what is run", "remove it")
        if "\0" in value or len(value.encode()) > MAX_ARGUMENT_BYTES:
            raise FieldError(
                f"the value of {name} holds a NUL byte or more than {MAX_ARGUMENT_BYTES} bytes"
            )
    return dict(sorted(environment.items()))


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") != "object":
        raise FieldError(
            "must be a JSON Schema with `type: object` at its top", "MCP allows nothing else"
        )
    return schema


Name = Annotated[str, *_matching(_NAME, "a name of [a-z0-9-], 1 to 64 characters", most=64)]
Version = Annotated[str, *_matching(_SEMVER, "a version such as 1.0.0 (semver.org)", most=64)]
ImageReference = Annotated[
    str, *_matching(_REFERENCE, "host, or an image such as python or python@sha256:…")
]
Slug = Annotated[str, *_matching(_IMAGE, "a name of [a-z0-9._-], 1 to 63 characters", most=63)]
ObjectSchema = Annotated[
    dict[str, Any],
    AfterValidator(_object_schema),
    WithJsonSchema(
        {"type": "object", "required": ["type"], "properties": {"type": {"const": "object"}}}
    ),
]


class ToolAnnotations(Strict):
    """MCP's hints about a tool. Hints: Fumehood enforces none of them and trusts none."""

    title: Annotated[str, _text(200, allow="")] | None = None
    readOnlyHint: bool | None = None  # noqa: N815  (MCP's own name)
    destructiveHint: bool | None = None  # noqa: N815
    idempotentHint: bool | None = None  # noqa: N815
    openWorldHint: bool | None = None  # noqa: N815


Warm = Literal["auto", "none", "opened", "started"]


class Run(Strict):
    """How the tool is started. `command[0]` is a name on the sandbox's PATH or absolute."""

    image: ImageReference = Field(
        default="host",
        description="root file system; host is the host's /usr; a name is pinned when registered",
    )
    requirements: Annotated[str, AfterValidator(_requirements)] | None = Field(
        default=None,
        description="requirements.txt or package-lock.json in run.files: what the image gets",
    )
    command: Annotated[
        tuple[Annotated[str, AfterValidator(_argument)], ...],
        AfterValidator(_command),
        BeforeValidator(listed),
    ] = Field(
        description="the program and its fixed arguments; no shell reads them",
        json_schema_extra={"minItems": 1, "maxItems": MAX_COMMAND},
    )
    files: Annotated[str, AfterValidator(_files)] | None = Field(
        default=None, description="folder beside the manifest, read-only at /tool"
    )
    environment: Annotated[dict[str, str], AfterValidator(_environment)] = Field(
        default_factory=dict, description="variables besides those every tool gets"
    )
    warm: Warm = Field(
        default="auto", description="what is paid ahead of a call: auto, none, opened, started"
    )
    trace: bool = Field(
        default=False, description="whether its input has the trace it runs in, under _meta"
    )
    engine: Literal["bubblewrap", "docker"] | None = Field(
        default=None, description="what makes its sandboxes; unset: the installation's first engine"
    )
    runtime: Literal["runc", "runsc", "kata"] | None = Field(
        default=None,
        description="what runs its containers, where the engine is docker; unset: runc",
    )

    @model_validator(mode="after")
    def _runtime_fits(self) -> Run:
        if self.runtime is not None and self.engine != "docker":
            raise FieldError("run.runtime needs engine: docker", "set run.engine: docker")
        return self

    @property
    def root(self) -> str:
        """What a plan names: `host`, or the digest of a pinned image."""
        return self.image.rpartition("@")[2]


class Manifest(Strict):
    """A tool's declaration. Keys that MCP has carry MCP's names."""

    name: Name = Field(description="unique in the catalog")
    version: Version = Field(description="semantic version; content may not change under it")
    title: Annotated[str, _text(200, allow="")] | None = Field(
        default=None, description="for people"
    )
    description: Annotated[str, _text(8_192, allow="\n\t")] = Field(
        description="for people and models: what the tool does"
    )
    inputSchema: ObjectSchema = Field(description="JSON Schema 2020-12 of the arguments")  # noqa: N815
    outputSchema: ObjectSchema | None = Field(  # noqa: N815
        default=None, description="JSON Schema 2020-12 of the result; without it stdout is text"
    )
    annotations: ToolAnnotations = Field(default_factory=ToolAnnotations)
    labels: Labels = Field(default_factory=dict, description="what rules may go by")
    run: Run
    limits: LimitsSpec = Field(default_factory=LimitsSpec)
    seccomp: Slug = Field(default="compute", description="a profile in profiles/")
    network: Literal["none"] = "none"


def load_manifest(text: str, *, source: str) -> Manifest:
    """Read one manifest, YAML or JSON, or raise ManifestError naming `source`, line and key.

    Args:
        text: at most 256 KiB, at most 32 levels deep.
        source: what to call it in errors, such as a file name.
    """
    try:
        document = parse(text)
    except DocumentError as error:
        where = _where(source, error.line, "")
        raise ManifestError(f"{where}: {error.cause}", error.remedy) from None
    if not isinstance(document.value, dict):
        raise ManifestError(
            f"{source}: expected a mapping, got {shown(document.value)}", "write key: value"
        )
    return _validated(document, source)


def _validated(document: Document, source: str) -> Manifest:
    try:
        return Manifest.model_validate(document.value)
    except ValidationError as error:
        fault = explain(Manifest, error)
        field = dotted(fault.path)
        where = _where(source, document.line_of(fault.path), field)
        raise ManifestError(f"{where}: {fault.cause}", fault.remedy, field=field) from None


def _where(source: str, line: int | None, field: str) -> str:
    place = source if line is None else f"{source}, line {line}"
    return f"{place}: {field}" if field else place


def canonical(manifest: Manifest) -> bytes:
    """The one JSON form of a manifest, every default written out: what digests are made of.

    It is itself a manifest: `load_manifest` of it gives an equal value.
    """
    value = manifest.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, as `fumehood tool schema` prints it.

    It describes shape; bounds between keys, and a ceiling, are told only by the loader.
    """
    return published_schema(Manifest, LimitsSpec)
