"""Learning: what of it is decided without a sandbox. Daemons are replaced by one that answers as
it is told; tests/system learns from real ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

from fumehood.cli import learn, private, profile
from fumehood.cli.learn import PREFIX, Learned, Learner, Tool
from fumehood.client import Client
from fumehood.engines.docker_seccomp import CONTAINER_CALLS, denied_before_tool
from fumehood.engines.fit import unfit
from fumehood.errors import CatalogError, EngineError
from fumehood.kernel import seccomp
from fumehood.kernel import seccomp_learning as learning
from fumehood.kernel.seccomp_profile import Profile, parse
from fumehood.places import Places
from fumehood.resources import profile_directory

PLACES = Places(Path("/none/socket"), Path("/none/state"), Path("/none/config.yaml"))
MANIFEST = {"name": "subject", "version": "1.0.0", "seccomp": "compute", "run": {"image": "host"}}


@dataclass
class Daemon:
    """Answers samples, and names the calls `uses` where the profile logs them.

    statuses: of a profile's samples, by the profile's name; `ok` of the others. picky: refuses
    tools as the daemon does whose profile starts no container.
    """

    engine: str = "docker"
    uses: tuple[str, ...] = ("read", "write")
    statuses: dict[str, str] = field(default_factory=dict)
    picky: bool = True
    folder: Path = Path()
    running: str = ""

    def add_tool(self, text: str, _files: object) -> dict[str, Any]:
        self.running = json.loads(text)["seccomp"]
        if self.picky:
            found = unfit(
                self.engine, "", self.running, runtimes=["runc"], accepted=(), profile=self.profile
            )
            if found:
                raise CatalogError(found.cause, found.remedy)
        return {"files": None}

    def profile(self, name: str) -> Profile:
        return parse((self.folder / f"{name}.json").read_bytes(), name=name)

    def remove_tool(self, _name: str) -> None:
        self.running = ""

    def call(self, _name: str, _sample: object) -> dict[str, Any]:
        confined = self.profile(self.running)
        seen = [
            {"action": "log", "architecture": learn.platform.machine(), "syscall": name}
            for name in self.uses
            if learning.decision(confined, name) == "log"
        ]
        return {
            "status": self.statuses.get(self.running.removeprefix(PREFIX), "ok"),
            "message": "it was told to",
            "enforced": {"engine": self.engine},
            "syscalls": {"seen": seen, "kills_visible": True, "complete": True, "others": 0},
        }


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    found = Daemon()

    @contextlib.contextmanager
    def started(_config: object, _accept: object, _images: object, folder: Path) -> Iterator[Path]:
        found.folder = folder
        yield Path("/none/socket")

    monkeypatch.setattr(private, "daemon", started)
    monkeypatch.setattr(Client, "connect", lambda _socket: contextlib.nullcontext(found))
    return found


def learned() -> Learned:
    tool = Tool({"manifest": MANIFEST, "digest": "sha384:" + "0" * 96, "files": None}, {})
    compute = seccomp.load_named(str(profile_directory()), "compute")
    return Learner(tool, [{}], 1, PLACES).learn(compute, "subject-1-0-0")


def test_a_proposal_for_docker_starts_containers(daemon: Daemon) -> None:
    found = learned()
    assert (found.used, found.complete) == (("read", "write"), True)
    assert (found.proven, found.unproven) == (True, "")
    assert denied_before_tool(found.proposal) == ""
    compute = learning.allowed(found.profile)
    assert compute >= CONTAINER_CALLS, "a shipped profile for containers lacks one"
    assert learning.allowed(found.proposal) >= CONTAINER_CALLS


def test_a_proposal_for_bubblewrap_holds_nothing_of_containers(daemon: Daemon) -> None:
    daemon.engine = "bubblewrap"
    found = learned()
    assert found.proven
    assert {"clone", "setpgid"}.isdisjoint(learning.allowed(found.proposal))


def test_what_was_learnt_is_told_when_the_proof_cannot_run(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn, "UNDER_THE_FILTER", {})
    found = learned()
    assert (found.used, found.samples, found.complete) == (("read", "write"), ("ok",), True)
    assert not found.proven
    assert "denies clone" in found.unproven


def test_seeing_nothing_at_all_is_no_result(daemon: Daemon) -> None:
    daemon.uses = ()
    with pytest.raises(EngineError, match="not one system call was seen"):
        learned()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("timeout", "ended differently"),
        ("engine_error", "could not be run under the proposal: a sample could not be run: it was"),
    ],
)
def test_samples_that_end_otherwise_are_no_proof(daemon: Daemon, status: str, reason: str) -> None:
    daemon.statuses["proposal"] = status
    found = learned()
    assert not found.proven
    assert reason in found.unproven


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("as_json", [True, False])
def test_an_unproven_proposal_is_written_and_reported_with_status_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    as_json: bool,
) -> None:
    monkeypatch.setattr(learn, "UNDER_THE_FILTER", {})
    tool = Tool({"manifest": MANIFEST, "digest": "sha384:" + "0" * 96, "files": None}, {})
    monkeypatch.setattr(learn, "prepare", lambda _name, _where: tool)
    file = tmp_path / "proposal.json"
    with pytest.raises(typer.Exit) as ended:
        profile.learn("subject", None, 1, file, False, as_json, None, tmp_path, None)
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    document = json.loads(file.read_text())
    if as_json:
        told = json.loads(said.out)
        assert (told["complete"], told["proven"]) == (True, False)
        assert "denies clone" in told["unproven"]
        assert told["proposal"]["document"] == document
    else:
        assert "denies clone" in said.err
        assert "profile adopt" not in said.err
        assert "used 2" in said.out
