"""What the launcher knows of one sandbox beside the sandbox itself: when it must be dead, and how
long it stood still. Standard library only; decides nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from fumehood.engines.protocol import Sandbox
from fumehood.launcher.budget import CpuBudget


@dataclass(slots=True)
class Running:
    """A sandbox and when it must be dead. asked: it was told to end, and `grace` runs.

    begun: its one call has come. started: its tool was told to start. ahead_until: the tool runs
    ahead of its call, no longer than this. failed: the supervisor was told so already, and hears no
    more of it. frozen_until: it stands still for the recorded calls that it made; 0: it does not.
    frozen_since: when that began, and held_seconds how long it did before, since its call began.
    """

    sandbox: Sandbox
    uid: int
    timeout: float
    deadline: float
    grace: float
    asked: bool = False
    budget: CpuBudget | None = None
    stopped: Literal["", "cpu_time", "timeout"] = ""
    begun: bool = False
    started: bool = False
    ahead_until: float = 0.0
    failed: bool = False
    frozen_until: float = 0.0
    frozen_since: float = 0.0
    held_seconds: float = 0.0
    watched: dict[int, int] = field(default_factory=dict)

    def freeze(self, *, until: float) -> None:
        """Let it stand still until then, where its engine and host can."""
        self.frozen_until = until
        self.frozen_since = time.monotonic()
        if not self.sandbox.freeze(frozen=True):
            self.frozen_since = 0.0

    def thaw(self) -> None:
        """Let it go on, if it stands still."""
        if self.frozen_until:
            self.held_seconds = self.held
            self.frozen_until = self.frozen_since = 0.0
            self.sandbox.freeze(frozen=False)

    @property
    def held(self) -> float:
        """Seconds that it stood still so far."""
        since = self.frozen_since
        return self.held_seconds + (time.monotonic() - since if since else 0.0)
