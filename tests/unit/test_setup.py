"""scripts/setup looks at what it finds installed, and not only at whether it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts/setup"
# Its functions alone; what asks the installed program is exchanged, what decides is not.
RUN = """
source <(sed '/^if .* = print-python .; then/,$d' "$0")
python=/usr/bin/python3
has_mended_bwrap() { [ -e "$MENDED" ]; }
install_packages
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$ASKED"
case "$*" in *install*bubblewrap*) [ -z "$CANDIDATE" ] || touch "$MENDED";; esac
"""


def ran(tmp_path: Path, *, uid: int, candidate: bool) -> tuple[str, str]:
    """What it told, and what apt-get was asked for, where everything but bwrap is as it should."""
    for name, text in (("apt-get", APT), ("id", f"#!/bin/sh\necho {uid}\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    asked = tmp_path / "asked"
    asked.touch()
    done = subprocess.run(
        ["/bin/bash", "-c", RUN, str(SETUP)],
        cwd=SETUP.parents[1],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "MENDED": str(tmp_path / "mended"),
            "ASKED": str(asked),
            "CANDIDATE": "1" if candidate else "",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr, asked.read_text()


def test_root_upgrades_a_bubblewrap_that_has_the_fault(tmp_path: Path) -> None:
    said, asked = ran(tmp_path, uid=0, candidate=True)
    assert "installing bubblewrap" in said
    assert "install -qq --yes --no-install-recommends bubblewrap" in asked
    assert "CVE" not in said


def test_where_there_is_no_newer_one_it_says_so(tmp_path: Path) -> None:
    said, _ = ran(tmp_path, uid=0, candidate=False)
    assert "nothing proves that the installed bubblewrap is mended of CVE-2024-42472" in said


def test_a_user_is_told_the_command(tmp_path: Path) -> None:
    said, asked = ran(tmp_path, uid=1000, candidate=True)
    assert "sudo apt-get update && sudo apt-get install --only-upgrade bubblewrap" in said
    assert asked == ""


@pytest.mark.parametrize(("version", "mended"), [("0.10.0", True), ("0.9.9", False)])
def test_it_asks_the_proof_that_the_launcher_asks(version: str, *, mended: bool) -> None:
    declared = SETUP.read_text().split("from fumehood.engines import bwrap\n")[1].split("'")[0]
    program = (
        "import sys; sys.path.insert(0, 'runtime')\nfrom fumehood.engines import bwrap\n"
        f"bwrap.installed = lambda: {version!r}\n{declared}"
    )
    done = subprocess.run(["/usr/bin/python3", "-Ic", program], cwd=SETUP.parents[1], check=False)
    assert (done.returncode == 0) is mended
