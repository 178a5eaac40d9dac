"""kill -9 of the supervisor and of the launcher at every stage of a call; a launcher that hangs.

Each test starts a daemon on the state that the one before left, so that every start is also the
recovery from the crash before it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.errors import FumehoodError
from support.crash import mounts, register, temporary
from support.docker import Engine
from support.hood import Hood, cgroups, eventually, hood, processes_of
from support.inside import LAUNCHER_STAGES, SUPERVISOR_STAGES, faulty
from support.ledger import Ledger

ACCOUNTS = (1_951_000_000, 50)
GONE_SECONDS = 5.0
CONFIG: dict[str, object] = {
    "accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]},
    "warm": 0,
}


@pytest.fixture(scope="module", params=["bubblewrap", "docker"])
def config(request: pytest.FixtureRequest) -> dict[str, object]:
    """Of a daemon that runs one engine."""
    if request.param == "bubblewrap":
        return CONFIG
    docker: Engine = request.getfixturevalue("docker_engine")
    return CONFIG | {"engines": ["docker"], "docker": {"socket": docker.socket}}


@pytest.fixture(scope="module")
def place(config: dict[str, object]) -> Iterator[Path]:
    """One for each engine."""
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def long_lived() -> Iterator[Hood]:
    """For what kills only the launcher: the daemon survives."""
    with hood(config=CONFIG, entry=faulty) as running:
        yield running


@pytest.mark.parametrize("stage", SUPERVISOR_STAGES)
def test_a_supervisor_killed_at_a_stage_leaves_nothing_and_its_call_ends_once(
    place: Path, config: dict[str, object], stage: str
) -> None:
    before = temporary(ACCOUNTS)
    with hood(place, config=config, entry=faulty) as running:
        Ledger.of(place / "state").check()
        name, instance = register(running, stage), running.instance
        known = Ledger.of(place / "state")
        with pytest.raises(FumehoodError):
            running.call(name, {"a": 1})
        assert running.process.wait(20) != 0
        assert not processes_of(*ACCOUNTS)
        eventually(lambda: not cgroups(instance), GONE_SECONDS, "no cgroup is left")
        assert not mounts(place)
        assert temporary(ACCOUNTS) <= before
    left = Ledger.of(place / "state")
    new = set(left.launched) - set(known.launched)
    # The kernel keeps what was written; whether the record was, before the kill, is a race.
    least, most = (0, 0) if stage == "admitted" else (int(stage != "journalled"), 1)
    assert least <= len(new) <= most
    assert set(left.open) == (set() if stage == "recorded" else new)


def test_after_all_that_every_call_has_one_end_and_the_log_verifies(
    place: Path, config: dict[str, object]
) -> None:
    with hood(place, config=config) as running:
        ledger = Ledger.of(place / "state")
        ledger.check()
        interrupted = [name for name, why in ledger.reasons.items() if why == "interrupted"]
        assert {ledger.statuses[name] for name in interrupted} <= {"engine_error"}
        assert running.cli("audit", "verify").returncode == 0
    Ledger.of(place / "state").check()


@pytest.mark.parametrize("stage", LAUNCHER_STAGES)
def test_a_launcher_killed_at_a_stage_leaves_nothing_and_its_call_is_answered(
    long_lived: Hood, stage: str
) -> None:
    name = register(long_lived, stage)
    first, instance = long_lived.launcher, long_lived.instance
    result = long_lived.call(name, {"a": 1})
    told = stage in ("reported", "released")
    expected = {"ok", "engine_error"} if told else {"engine_error"}
    assert result["status"] in expected
    eventually(lambda: not processes_of(*ACCOUNTS), GONE_SECONDS, "no process is left")
    eventually(lambda: long_lived.launcher not in (0, first), 20, "a new launcher serves")
    eventually(lambda: not cgroups(instance), GONE_SECONDS, "what the old one left is swept")
    Ledger.of(long_lived.state).check()
    with contextlib.suppress(FumehoodError):
        long_lived.register(None, "echo", command=["cat"])
    assert long_lived.call("echo", {"a": 2})["status"] == "ok"


def test_a_launcher_that_hangs_is_killed_with_its_tool_before_the_call_is_answered(
    long_lived: Hood,
) -> None:
    run = {
        "image": "host",
        "command": ["sh", "-c", "while :; do :; done"],
        "environment": {"HANG_AT": "running"},
    }
    limits = {"timeout": "1s"}
    long_lived.register(None, "spin", command=run["command"], run=run, limits=limits)
    first, instance = long_lived.launcher, long_lived.instance
    result = long_lived.call("spin", {"a": 1})
    assert result["status"] == "engine_error"
    assert "(control: kill)" in result["message"]
    eventually(lambda: not processes_of(*ACCOUNTS), GONE_SECONDS, "no process is left")
    eventually(lambda: long_lived.launcher not in (0, first), 20, "a new launcher serves")
    eventually(lambda: not cgroups(instance), GONE_SECONDS, "what the old one left is swept")
    Ledger.of(long_lived.state).check()
    with contextlib.suppress(FumehoodError):
        long_lived.register(None, "echo", command=["cat"])
    assert long_lived.call("echo", {"a": 2})["status"] == "ok"


@pytest.mark.parametrize("namespace", ["net", "pid"])
def test_a_sandbox_that_is_not_as_promised_is_killed_before_it_is_fed(
    long_lived: Hood, namespace: str
) -> None:
    name = f"shares-{namespace}"
    environment = {"SHARES": namespace}
    run = {"image": "host", "command": ["cat"], "environment": environment}
    long_lived.register(None, name, command=["cat"], run=run)
    result = long_lived.call(name, {"a": 1})
    assert (result["status"], result["content"], result["enforced"]) == ("engine_error", [], None)
    assert f"(control: namespace.{namespace})" in result["message"]
    assert not processes_of(*ACCOUNTS)
