"""What a crash could leave on the host, and tools in whose calls a process dies."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

from support.hood import Hood


def register(running: Hood, stage: str, **environment: str) -> str:
    """A tool in whose call a process dies at a stage; its name. environment: says which one, the
    process that reaches the stage by itself when there is none."""
    word = "-".join(("die", stage, *environment)).lower().replace("_", "-")
    given = environment or {"DIE_AT": stage}
    run = {"image": "host", "command": ["cat"], "environment": given}
    running.register(None, word, command=["cat"], run=run)
    return word


def temporary(accounts: tuple[int, int]) -> set[str]:
    """What the supervisor or a sandbox could have left in the host's temporary places."""
    owners = {*range(accounts[0], sum(accounts)), pwd.getpwnam("fumehood").pw_uid}
    found = set()
    for place in ("/tmp", "/dev/shm", "/run", "/var/tmp"):
        for entry in os.scandir(place):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_uid in owners:
                    found.add(entry.path)
    return found


def mounts(place: Path) -> list[str]:
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in table if str(place) in line]
