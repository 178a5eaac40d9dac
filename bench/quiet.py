"""Waits until nothing is left to do after a turn of ours: whoever comes next must not pay for our
refill, which for a container or an import takes far longer than the pause between turns."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from bench.machine import steal_and_busy
from fumehood.client import Client
from fumehood.errors import FumehoodError

MOST_SECONDS = 3.0
"""Three imports of pandas on two cores; a machine that others keep busy is not waited for."""
IN_VAIN, SHORT_SECONDS = 4, 0.3
"""After so many waits in vain in a row only this long: else waiting would be the run."""
LOOK_SECONDS = 0.05
IDLE_SECONDS = 0.02
"""CPU that all cores may use within one look; an import uses all of one."""


class Quiet:
    """Remembers of each daemon how many sandboxes waited ready when it last was quiet."""

    def __init__(self) -> None:
        self._full: dict[Path, int] = {}
        self._in_vain = 0

    def wait(self, socket: Path) -> bool:
        """Until its pool is as full as before and the machine idle; False when neither came."""
        most = MOST_SECONDS if self._in_vain < IN_VAIN else SHORT_SECONDS
        until = time.monotonic() + most
        idle = False
        with contextlib.suppress(FumehoodError, OSError), Client.connect(socket, timeout=5) as it:
            ready = int(it.status()["ready"])
            while time.monotonic() < until:
                _, before = steal_and_busy()
                time.sleep(LOOK_SECONDS)
                idle = steal_and_busy()[1] - before <= IDLE_SECONDS + 1e-6
                ready = int(it.status()["ready"])
                idle = idle and ready >= self._full.get(socket, 0)
                if idle:
                    break
            # Not the most that ever was: what went unused for long is taken away again.
            self._full[socket] = ready
        self._in_vain = 0 if idle else self._in_vain + 1
        return idle
