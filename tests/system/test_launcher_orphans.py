"""A launcher whose sandboxes are killed while they open keeps no dead children of theirs."""

from __future__ import annotations

import time
from pathlib import Path

from fumehood.launcher import messages as m
from support.hood import children, eventually
from support.launcher import launcher, plan

OPENINGS = 150
MOST_MILLISECONDS = 12
"""An opening takes 7 to 30 ms: it is killed at each of its stages."""


def test_killed_openings_leave_no_zombies(tmp_path: Path) -> None:
    with launcher(tmp_path) as process:
        for number in range(OPENINGS):
            name = f"aaaaaaaa-{number:08d}"
            ours = process.open(name, plan("cat"))
            time.sleep(number % MOST_MILLISECONDS / 1000)
            process.send(m.Kill(name))
            while not isinstance(process.receive(), m.EndedMessage | m.Refused):
                pass
            for fd in ours:
                process._close(fd)
        eventually(lambda: children(process.pid) == [], 10, "nothing of them is left")
        ended, out = process.run("aaaaaaaa-99999999", plan("cat"), b"on")
        assert (ended.exit_code, out) == (0, b"on")
