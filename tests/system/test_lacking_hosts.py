"""Hosts that lack what a sandbox needs: one clear error, and a remedy that mends it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fumehood.errors import ExitStatus
from fumehood.kernel import cgroup
from support.hood import command

ROOT = Path(__file__).parents[2]
PROGRAMS = """
mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work &&
mount -t overlay -o lowerdir=/usr/bin,upperdir=/mnt/upper,workdir=/mnt/work none /usr/bin &&
umount --lazy /mnt
"""
"""Lets /usr/bin be changed, for nobody else."""
MANIFEST = str(ROOT / "examples/word-count/tool.yaml")


def on_a_host_where(change: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a mount namespace that was changed by shell commands."""
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    return subprocess.run(
        [*shell, f'{change}\nexec "$@"', "sh", *command(*words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def checks_of(asked: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(asked.stdout)["checks"]}


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
def test_an_unfit_bubblewrap_is_told_with_what_mends_it(
    change: str, cause: str, remedy: str
) -> None:
    ran = on_a_host_where(PROGRAMS + change, "run", MANIFEST, '{"text": "a"}')
    assert ran.returncode == ExitStatus.ENGINE, ran.stderr
    assert cause in ran.stderr
    assert remedy in ran.stderr
    assert "Traceback" not in ran.stderr

    asked = on_a_host_where(PROGRAMS + change, "doctor", "--json")
    assert asked.returncode == ExitStatus.FAILED, asked.stderr
    found = checks_of(asked)
    assert found["bubblewrap"]["state"] == "missing"
    assert cause in found["bubblewrap"]["found"]
    assert remedy in found["bubblewrap"]["remedy"]
    assert "user namespaces" not in found, "what cannot be tried has no remedy of its own"


def test_root_without_cgroups_is_sent_to_the_doctor_whose_command_mends_it() -> None:
    layout = cgroup.discover()
    place = layout.v1.get("memory") or layout.unified
    change = f"mount -o remount,bind,ro {place}"
    ran = on_a_host_where(change, "run", MANIFEST, '{"text": "a"}')
    assert ran.returncode == ExitStatus.ENGINE, ran.stderr
    assert "memory" in ran.stderr
    assert "`fumehood doctor`" in ran.stderr
    assert "run as root" not in ran.stderr

    memory = checks_of(on_a_host_where(change, "doctor", "--no-probe", "--json"))["memory"]
    assert memory["state"] == "missing"
    mended, _, _ = memory["remedy"].partition(";")
    again = checks_of(on_a_host_where(f"{change}\n{mended}", "doctor", "--no-probe", "--json"))
    assert again["memory"]["state"] == "ok", again["memory"]
