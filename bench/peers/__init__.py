"""The competitors, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Competitor:
    """A row of the tables.

    factory: `module:class` below bench.peers, imported only in the worker.
    every: takes part in every n-th turn only, because a call takes long.
    """

    name: str
    factory: str
    every: int = 1
    options: dict[str, Any] = field(default_factory=dict)


OTHERS = (
    Competitor("subprocess (no sandbox)", "bare:Subprocess"),
    Competitor("bwrap", "commands:Bwrap"),
    Competitor("nsjail", "commands:Nsjail"),
    Competitor("sandlock", "libraries:Sandlock"),
    Competitor("llm-sandbox bubblewrap", "libraries:LlmSandboxBubblewrap"),
    Competitor(
        "llm-sandbox bubblewrap, session kept",
        "libraries:LlmSandboxBubblewrap",
        options={"kept": True},
    ),
    Competitor("runc run", "commands:Runc", every=2),
    Competitor("runsc run (gVisor)", "commands:Runsc", every=4),
    Competitor("docker run", "commands:Docker", every=4),
    Competitor(
        "llm-sandbox docker, session kept",
        "libraries:LlmSandboxDocker",
        every=4,
        options={"kept": True},
    ),
    Competitor("llm-sandbox docker", "libraries:LlmSandboxDocker", every=60),
)
"""Everybody else; `every` keeps a run short, the table shows how many calls each made."""

BWRAP = "bwrap"
DOCKER = "docker run"
