"""A bubblewrap that could make no sandbox is refused before anything is tried with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fumehood.cli import checks, engines
from fumehood.config import Config
from fumehood.engines import bwrap
from fumehood.errors import EngineError
from fumehood.kernel.seccomp import compile_bpf, load_named
from fumehood.resources import profile_directory


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bubblewrap is looked for; nothing is there yet."""
    path = tmp_path / "bwrap"
    monkeypatch.setattr(bwrap, "BWRAP", str(path))
    return path


def install(program: Path, script: str, mode: int = 0o755) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(mode)


UNFIT = [
    ("echo bubblewrap 0.8.0", 0o644, "is not executable", "chmod 755"),
    ("echo bubblewrap 0.8.0", 0o700, "is not executable", "chmod 755"),
    ("echo bubblewrap 0.8.0", 0o4755, "is setuid", "chmod u-s"),
    ("echo bubblewrap 0.6.1", 0o755, "has no --disable-userns", "apt-get install"),
    ("echo bubblewrap 0.7", 0o755, "has no --disable-userns", "0.8.0 or later"),
    ("echo bubblewrap unknown", 0o755, "does not tell its version", "--reinstall"),
    ("echo bubblewrap 0.8.0; exit 1", 0o755, "does not tell its version", "--reinstall"),
    ("true", 0o755, "does not tell its version", "--reinstall"),
]


@pytest.mark.parametrize(("script", "mode", "cause", "remedy"), UNFIT)
def test_an_unfit_bubblewrap_is_refused_with_what_mends_it(
    program: Path, script: str, mode: int, cause: str, remedy: str
) -> None:
    install(program, script, mode)
    with pytest.raises(EngineError) as caught:
        bwrap.installed()
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy
    assert caught.value.control == "engine"


def test_a_missing_bubblewrap_is_told_with_the_command_that_installs_it(program: Path) -> None:
    with pytest.raises(EngineError, match="is missing") as caught:
        bwrap.installed()
    assert caught.value.remedy == "apt-get install bubblewrap"


@pytest.mark.parametrize("version", ["0.8.0", "0.9.0", "0.11.0", "1.0"])
def test_the_first_with_disable_userns_and_all_after_it_will_do(
    program: Path, version: str
) -> None:
    install(program, f"echo bubblewrap {version}")
    assert bwrap.installed() == version


@pytest.mark.parametrize(("script", "mode"), [("", 0), *(case[:2] for case in UNFIT)])
def test_the_doctor_says_what_the_launcher_says(program: Path, script: str, mode: int) -> None:
    if script:
        install(program, script, mode)
    with pytest.raises(EngineError) as caught:
        bwrap.installed()
    check = checks.bubblewrap()
    assert (check.state, check.found, check.remedy) == (
        "missing", caught.value.cause, caught.value.remedy,
    )  # fmt: skip
    report = engines.survey(Config())[0]
    assert (report.state, report.cause) == ("refused" if script else "absent", check.found)


PREPARE = """
import socket, sys
from fumehood.engines import bwrap
from fumehood.errors import EngineError
from fumehood.kernel.seccomp import compile_bpf, load_named
from fumehood.resources import profile_directory
from fumehood.launcher import process
from fumehood.model.plan import Ceilings, Limits

bwrap.BWRAP = sys.argv[1]
limits = Limits(1, 1, 1, 1, 1, 1, 1)
ceilings = Ceilings(1900000000, 1, -1, "/nowhere", "/nowhere", ("host",), limits, 1)
try:
    process.prepare(socket.socketpair()[0], ceilings)
except EngineError as error:
    print(error.cause)
"""


def test_a_launcher_refuses_it_by_itself(program: Path) -> None:
    install(program, "echo bubblewrap 0.6.1")
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(program)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "0.6.1 has no --disable-userns" in done.stdout


def test_one_without_proof_of_a_fix_is_refused_unless_that_is_accepted(program: Path) -> None:
    """It is no package's program, so no package's version proves anything of it."""
    install(program, "echo bubblewrap 0.9.9")
    with pytest.raises(
        EngineError, match=r"0\.9\.9 has CVE-2024-42472 .* fixed in 0\.10\.0"
    ) as caught:
        bwrap.require_fixed(bwrap.installed(), ())
    assert caught.value.remedy.endswith("accept_unenforced: CVE-2024-42472")
    assert checks.bubblewrap().state == "missing"
    assert "CVE-2024-42472" in checks.bubblewrap().found
    assert engines.survey(Config())[0].state == "refused"
    accepted = (bwrap.CVE,)
    bwrap.require_fixed(bwrap.installed(), accepted)
    assert checks.bubblewrap(accepted).state == "degraded"
    report = engines.survey(Config(), accepted)[0]
    assert (report.state, report.accepted) == ("available", accepted)


def test_a_launcher_refuses_that_by_itself(program: Path) -> None:
    install(program, "echo bubblewrap 0.9.9")
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(program)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "CVE-2024-42472" in done.stdout


@pytest.mark.parametrize("count", [0, 1])
def test_a_filter_that_does_not_come_whole_runs_nothing(count: int) -> None:
    """What a launcher that died leaves in the gate: bubblewrap must refuse it, not load less."""
    whole = compile_bpf(load_named(str(profile_directory()), "compute"))
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb"):
        with os.fdopen(writable, "wb") as gate:
            gate.write(whole[:count])
        argv = [bwrap.BWRAP, "--ro-bind", "/", "/", "--seccomp", str(readable), "--", "echo", "ran"]
        done = subprocess.run(argv, pass_fds=(readable,), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"system call filtering" in done.stderr or b"Invalid seccomp data" in done.stderr
