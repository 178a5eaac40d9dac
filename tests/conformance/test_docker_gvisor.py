"""gVisor by way of Docker: what it cannot keep must be accepted by name, and the rest holds.

Debian's runsc stands in dockerd's own configuration (see scripts/dockerd-for-tests).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.engines.promises import UNSEEN
from fumehood.errors import ExitStatus
from fumehood.kernel import proc
from fumehood.launcher import messages as m
from fumehood.model.plan import Plan
from support.docker import DockerProcess, Engine, docker_launcher, docker_plan
from support.engines import RUNSC
from support.hood import Hood

ACCEPTED = tuple(sorted(f"runsc.{control}" for control in UNSEEN))


@pytest.fixture(scope="module")
def gvisor(
    docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerProcess]:
    assert shutil.which("runsc"), "apt-get install runsc"
    store = tmp_path_factory.mktemp("store")
    runtimes = ("runc", "runsc")
    with docker_launcher(store, docker_engine, runtimes=runtimes, accepted=ACCEPTED) as process:
        yield process


def plan(*argv: str, **changes: object) -> Plan:
    return docker_plan(*argv, **({"runtime": "runsc", "accepted": ACCEPTED} | changes))


def test_the_kernel_is_not_the_hosts(gvisor: DockerProcess) -> None:
    call = gvisor.call("aaaaaaaa-1", plan("sh", "-c", "cat; cat /proc/version; echo x >/out/f"))
    host = Path("/proc/version").read_bytes()
    assert call.out.startswith(b"{}Linux")
    assert not call.out.endswith(host)
    assert isinstance(call.end, m.EndedMessage)
    assert [item.name for item in call.end.artifacts] == ["f"]


def test_what_is_not_proven_is_said(gvisor: DockerProcess) -> None:
    call = gvisor.call("aaaaaaaa-1", plan("cat"))
    assert {f"unproven.{name}" for name in ACCEPTED} <= set(call.proofs)
    assert not {"uid", "capabilities", "seccomp", "no_new_privs"} & set(call.proofs)
    assert call.proofs["cgroup"] == "member"


@pytest.mark.parametrize("missing", ACCEPTED)
def test_each_missing_control_must_be_accepted_by_name(gvisor: DockerProcess, missing: str) -> None:
    accepted = tuple(name for name in ACCEPTED if name != missing)
    ends = gvisor.open("aaaaaaaa-1", plan("cat", accepted=accepted))
    end = gvisor.last()
    assert isinstance(end, m.Refused)
    assert (end.code, end.control) == ("plan_refused", missing)
    gvisor.talk(ends, b"")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 137", 137), ("kill $$", 143)]
)
def test_ends_are_told_however_quick(gvisor: DockerProcess, script: str, code: int) -> None:
    """A signal as gVisor reports it, 128 + number: a program can exit so as well."""
    end = gvisor.call("aaaaaaaa-1", plan("sh", "-c", script)).end
    assert isinstance(end, m.EndedMessage)
    assert (end.exit_code, end.signal) == (code, None)


def test_a_kill_leaves_nothing(gvisor: DockerProcess) -> None:
    ends, _ = gvisor.opened("aaaaaaaa-1", plan("sh", "-c", "sleep 1000 & sleep 1000"))
    gvisor.start("aaaaaaaa-1")
    inside = _members()
    assert inside
    gvisor.send(m.Kill("aaaaaaaa-1"))
    assert isinstance(gvisor.last(), m.EndedMessage)
    gvisor.talk(ends, b"")
    assert not [pid for pid in inside if _lives(pid)]


def _lives(pid: int) -> bool:
    """Zombies are dead; the shim collects them in its own time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _members() -> list[int]:
    """Processes in a cgroup of the one sandbox that runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if "/aaaaaaaa-1" in text:
            found.append(int(path.parent.name))
    return found


def test_only_the_shims_children_are_ever_moved() -> None:
    """Whoever has no parent any more would stand for every process of the host."""
    assert proc.descendants(0) == proc.descendants(1) == ()
    assert proc.parent(2**22 + 1) == 0


def test_an_opened_sandbox_has_executed_nothing(gvisor: DockerProcess) -> None:
    """Its container was created, and is started with the call."""
    ends, proofs = gvisor.opened("aaaaaaaa-1", plan("sh", "-c", "echo ran; cat"))
    assert _members() == []
    assert "cgroup" not in proofs
    assert gvisor.start("aaaaaaaa-1")["cgroup"] == "member"
    assert _members()
    out, _ = gvisor.talk(ends, b"fed")
    assert out == b"ran\nfed"
    assert isinstance(gvisor.last(), m.EndedMessage)


def test_one_that_is_killed_before_its_call_never_runs(gvisor: DockerProcess) -> None:
    ends, _ = gvisor.opened("aaaaaaaa-1", plan("sh", "-c", "echo ran"))
    gvisor.send(m.Kill("aaaaaaaa-1"))
    end = gvisor.last()
    assert isinstance(end, m.EndedMessage)
    assert not end.executed
    assert gvisor.talk(ends, b"") == (b"", b"")


def test_one_that_is_killed_while_docker_starts_it_leaves_nothing(gvisor: DockerProcess) -> None:
    ends, _ = gvisor.opened("aaaaaaaa-1", plan("sh", "-c", "sleep 1000"))
    gvisor.send(m.Start("aaaaaaaa-1", begin=True))
    gvisor.send(m.Kill("aaaaaaaa-1"))
    end = gvisor.receive()
    while not isinstance(end, m.EndedMessage | m.Refused):
        end = gvisor.receive()
    assert _members() == []
    gvisor.talk(ends, b"")
    assert gvisor.call("bbbbbbbb-2", plan("cat"), b"next").out == b"next"
    assert _members() == []


def test_nothing_is_learnt_where_nothing_is_seen(engines: Hood) -> None:
    engines.register(None, "unseen", command=["cat"], run=RUNSC.run, limits=RUNSC.limits)
    ended = engines.cli("profile", "learn", "unseen", "--args", "{}")
    assert ended.returncode == ExitStatus.USAGE, (ended.stdout, ended.stderr)
    assert "nothing can be learnt of a tool under runsc" in ended.stderr


def test_a_filters_signal_is_not_taken_for_ours(gvisor: DockerProcess) -> None:
    """No filter of ours is loaded there, so whoever ends with its number says so itself."""
    end = gvisor.call("aaaaaaaa-1", plan("sh", "-c", "exit 159")).end
    assert isinstance(end, m.EndedMessage)
    assert (end.exit_code, end.signal) == (159, None)
