"""Which engine and runtime a plan names, and which missing controls it may lack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fumehood.admission.planner import _accepted
from fumehood.errors import ManifestError
from fumehood.model.manifest import load_manifest
from fumehood.model.plan import Ceilings
from support.launcher import CEILING

CEILINGS = Ceilings(
    uid_first=1_900_000_000,
    uid_count=4,
    uid_own=-1,
    store="/store",
    profiles="/profiles",
    images=("host",),
    limits=CEILING,
    sandboxes=4,
    accepted=("memory", "kata.seccomp", "runsc.seccomp", "runsc.gate", "CVE-2024-21626"),
)
MANIFEST = """
name: tool
version: 1.0.0
description: A tool.
inputSchema: {type: object}
run: {command: [cat]%s}
"""


@pytest.mark.parametrize(
    ("runtime", "accepted"),
    [
        ("", ("memory",)),
        ("runc", ("memory",)),
        ("runsc", ("memory", "runsc.gate", "runsc.seccomp")),
        ("kata", ("kata.seccomp", "memory")),
    ],
)
def test_a_plan_lacks_only_what_concerns_it(runtime: str, accepted: tuple[str, ...]) -> None:
    assert _accepted(CEILINGS, runtime) == accepted
    assert _accepted(replace(CEILINGS, accepted=()), runtime) == ()


@pytest.mark.parametrize("text", [", engine: docker", ", engine: docker, runtime: runsc", ""])
def test_a_manifest_may_name_engine_and_runtime(text: str) -> None:
    assert load_manifest(MANIFEST % text, source="t").run.command == ("cat",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (", runtime: runsc", "set run.engine: docker"),
        (", engine: bubblewrap, runtime: runc", "set run.engine: docker"),
        (", engine: podman", "podman"),
        (", engine: docker, runtime: runq", "runq"),
    ],
)
def test_what_cannot_be_is_told_at_once(text: str, says: str) -> None:
    with pytest.raises(ManifestError) as failed:
        load_manifest(MANIFEST % text, source="t")
    assert says in str(failed.value)
