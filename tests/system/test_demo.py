"""The first command that a newcomer runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_runs_every_example_and_leaves_nothing() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FUMEHOOD_")}
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    for name in sorted(path.name for path in (ROOT / "examples").iterdir()):
        assert f"fumehood call {name}" in done.stdout
    assert done.stdout.endswith("stopped; no socket and no process is left\n")
