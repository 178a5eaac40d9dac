"""The engines that the conformance and the hostile suite attack, each through the same daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fumehood.engines.promises import Promise, gap, lacking


@dataclass(frozen=True)
class Target:
    """An engine, with its runtime where it has several. name: as in docs/engines.md."""

    name: str
    engine: str
    runtime: str = ""

    @property
    def run(self) -> dict[str, str]:
        """The keys of a manifest's `run` that choose it. Nothing is opened ahead in containers:
        each of these tools is called once, and a second container would cost as much again."""
        if self.engine == "bubblewrap":
            return {"engine": self.engine}
        return {"engine": self.engine, "runtime": self.runtime, "warm": "none"}

    @property
    def limits(self) -> dict[str, int]:
        """Where the plan's limit of processes counts a runtime's own threads too, room for them:
        gVisor ends when it is denied one."""
        return {"pids": 160} if f"{self.runtime}.pids" in self.lacking else {}

    @property
    def lacking(self) -> tuple[str, ...]:
        return tuple(sorted(lacking(self.runtime)))

    def gap(self, promise: Promise) -> str:
        return gap(promise, self.runtime)

    def tool(self, name: str) -> str:
        """The name of a tool of this target."""
        return f"{self.runtime or self.engine}-{name}"


BUBBLEWRAP: Final = Target("bubblewrap", "bubblewrap")
RUNC: Final = Target("docker (runc)", "docker", "runc")
RUNSC: Final = Target("docker (runsc)", "docker", "runsc")
TARGETS: Final = (BUBBLEWRAP, RUNC, RUNSC)
ACCOUNTS: Final = (1_930_000_000, 4_000)
"""Nobody else's on a machine where several suites run."""


def configuration(docker_socket: str) -> dict[str, object]:
    """Of a daemon that runs every target."""
    return {
        "accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]},
        "engines": sorted({target.engine for target in TARGETS}),
        "docker": {
            "socket": docker_socket,
            "runtimes": [target.runtime for target in TARGETS if target.runtime],
        },
        "accept_unenforced": [control for target in TARGETS for control in target.lacking],
    }
