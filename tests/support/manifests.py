"""Manifests, tools, callers and ceilings that tests start from."""

from __future__ import annotations

import json
from typing import Any

from fumehood.model.manifest import Manifest, load_manifest
from fumehood.model.plan import Ceilings, Limits
from fumehood.model.request import Caller, RegisteredTool, Request

TEXT = """\
name: word-count
version: 1.0.0
title: Count words
description: Counts words, lines and characters of a text.
inputSchema:
  type: object
  required: [text]
  additionalProperties: false
  properties:
    text: {type: string, maxLength: 1000000}
outputSchema: {type: object, required: [words], properties: {words: {type: integer}}}
annotations: {readOnlyHint: true, openWorldHint: false}
run:
  image: host
  command: [python3, /tool/main.py]
  files: .
  environment: {}
limits: {timeout: 10s, cpu: 1.0, memory: 128MiB, pids: 32, scratch: 16MiB, output: 1MiB}
seccomp: compute
network: none
"""

FIRST_ACCOUNT = 1_900_000_000

CEILINGS = Ceilings(
    uid_first=FIRST_ACCOUNT,
    uid_count=100,
    uid_own=-1,
    store="/var/lib/fumehood/store",
    profiles="/profiles",
    images=("host",),
    limits=Limits(600_000, 2_000, 2 << 30, 512, 512 << 20, 65_536, 16 << 20),
    sandboxes=8,
)


def document(**changes: object) -> dict[str, Any]:
    """The sample manifest as a mapping; `run__command` reaches into `run`, None removes."""
    value = json.loads(json.dumps(_PLAIN))
    for key, change in changes.items():
        *outer, last = key.split("__")
        target = value
        for part in outer:
            target = target.setdefault(part, {})
        if change is None:
            target.pop(last, None)
        else:
            target[last] = change
    return value  # type: ignore[no-any-return]  # json.loads


def manifest(**changes: object) -> Manifest:
    """The sample manifest with changes, through the real loader."""
    return load_manifest(json.dumps(document(**changes)), source="test")


def tool(
    *, account: int = FIRST_ACCOUNT, state: str = "active", **changes: object
) -> RegisteredTool:
    """A catalog entry of the sample manifest."""
    made = manifest(**changes)
    digest = f"sha384:{made.name}-{made.version}-{hash(str(changes))}"
    files = "sha384:" + "ab" * 48 if made.run.files is not None else None
    return RegisteredTool(made, digest, files, account, state, "2026-11-21T00:00:00.000Z")


def caller(uid: int = 1000, gid: int = 1000) -> Caller:
    return Caller(uid=uid, gid=gid, pid=4242, name=f"uid-{uid}")


def request(
    arguments: dict[str, object],
    *,
    uid: int = 1000,
    name: str = "word-count",
    session: str | None = None,
) -> Request:
    return Request(
        invocation="0190a0a0-0000-7000-8000-000000000000",
        tool=name,
        arguments=arguments,
        arguments_json=json.dumps(arguments).encode(),
        caller=caller(uid),
        received=0.0,
        session=session,
    )


_PLAIN = load_manifest(TEXT, source="test").model_dump(mode="json", exclude_none=True)
