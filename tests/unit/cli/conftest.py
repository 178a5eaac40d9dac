"""Fixtures: the command line run in this process, against a real gateway with a fake supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from fumehood.cli.main import execute
from support.cli import Cli, Ended
from support.gateway import FakeSupervisor, serving_in_thread


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command line: `cli("call", "echo")`."""

    def run(*argv: str) -> Ended:
        capsys.readouterr()
        status = execute(list(argv))
        said = capsys.readouterr()
        return Ended(status, said.out, said.err)

    return run


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    """A daemon on the socket that FUMEHOOD_SOCKET names; tools `echo` and `wait` exist."""
    socket = tmp_path / "fumehood.sock"
    monkeypatch.setenv("FUMEHOOD_SOCKET", str(socket))
    with structlog.testing.capture_logs(), serving_in_thread(socket) as supervisor:
        yield supervisor
