"""A host whose bubblewrap is missing or unfit: one clear error, from `run` and from the doctor."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fumehood.errors import ExitStatus
from support.hood import command

ROOT = Path(__file__).parents[2]
LACKING = """
mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work &&
mount -t overlay -o lowerdir=/usr/bin,upperdir=/mnt/upper,workdir=/mnt/work none /usr/bin &&
umount --lazy /mnt && eval "$1" && shift && exec "$@"
"""
"""Runs a command where /usr/bin is changed, for nobody else."""


def on_a_host_where(change: str, *words: str) -> subprocess.CompletedProcess[str]:
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", LACKING, "sh"]
    return subprocess.run(
        [*shell, change, *command(*words)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("change", "cause", "remedy"),
    [
        ("rm /usr/bin/bwrap", "is missing", "apt-get install bubblewrap"),
        (
            "printf '#!/bin/sh\\necho bubblewrap 0.6.1\\n' > /usr/bin/bwrap",
            "0.6.1 has no --disable-userns",
            "install 0.8.0 or later",
        ),
    ],
    ids=["missing", "old"],
)
def test_it_is_told_once_with_what_mends_it(change: str, cause: str, remedy: str) -> None:
    manifest = str(ROOT / "examples/word-count/tool.yaml")
    ran = on_a_host_where(change, "run", manifest, '{"text": "a"}')
    assert ran.returncode == ExitStatus.ENGINE, ran.stderr
    assert cause in ran.stderr
    assert remedy in ran.stderr
    assert "Traceback" not in ran.stderr

    asked = on_a_host_where(change, "doctor", "--json")
    assert asked.returncode == ExitStatus.FAILED, asked.stderr
    found = {check["name"]: check for check in json.loads(asked.stdout)["checks"]}
    assert found["bubblewrap"]["state"] == "missing"
    assert cause in found["bubblewrap"]["found"]
    assert remedy in found["bubblewrap"]["remedy"]
    assert "user namespaces" not in found, "what cannot be tried has no remedy of its own"
