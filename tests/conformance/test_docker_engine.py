"""What only the Docker launcher has: read-back, streams of its own, and the ends of containers.

The promises that all engines share are attacked in test_promises.py."""

from __future__ import annotations

import os
import select
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.engines.promises import lacking
from fumehood.kernel import seccomp
from fumehood.launcher import messages as m
from fumehood.launcher.docker_process import _KEEP
from fumehood.model.plan import Mount
from fumehood.resources import profile_directory
from support.docker import DockerProcess, Engine, docker_launcher, docker_plan
from support.profiles import ALLOWING

MIB = 1 << 20
STRICT = seccomp.load_named(str(profile_directory()), "strict")
"""Lets nobody fork, the container's init neither."""


def test_every_promise_is_read_back_before_anything_runs(containers: DockerProcess) -> None:
    call = containers.call("aaaaaaaa-1", docker_plan("true"))
    assert {
        "uid", "gid", "groups", "capabilities", "no_new_privs", "seccomp", "environment",
        "descriptors", "network", "root", "mount./tmp", "mount./out", "cgroup", "gate",
    } <= set(call.proofs)  # fmt: skip
    assert call.proofs["namespace.user"] == "shared with the host"
    limits = {name for name in call.proofs if name.startswith(("memory.", "pids.", "cpu."))}
    assert limits


def test_streams_are_carried_whole_and_apart(containers: DockerProcess) -> None:
    data = os.urandom(3 * MIB)
    call = containers.call(
        "aaaaaaaa-1", docker_plan("sh", "-c", "echo diagnostics >&2; exec cat"), stdin=data
    )
    assert call.out == data
    assert call.err == b"diagnostics\n"


def test_output_that_nobody_reads_blocks_the_tool_and_nothing_else(
    containers: DockerProcess, docker_engine: Engine
) -> None:
    (feed, out, err), _ = containers.opened("aaaaaaaa-1", docker_plan("cat", "/dev/zero"))
    before = _resident(containers.pid), _resident(docker_engine.pid)
    containers.start("aaaaaaaa-1")
    poll = select.poll()
    poll.register(out, select.POLLIN)
    assert poll.poll(5000)
    call = containers.call("bbbbbbbb-2", docker_plan("cat"), stdin=b"served meanwhile")
    assert call.out == b"served meanwhile"
    containers.send(m.Kill("aaaaaaaa-1"))
    containers.talk((feed, out, err), b"")
    end = containers.last()
    assert isinstance(end, m.EndedMessage)
    after = _resident(containers.pid), _resident(docker_engine.pid)
    assert all(new - old < 32 * MIB for old, new in zip(before, after, strict=True))


def _resident(pid: int) -> int:
    words = Path(f"/proc/{pid}/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_missing_program_was_not_executed(containers: DockerProcess) -> None:
    ends = containers.open("aaaaaaaa-1", docker_plan("no-such-program"))
    containers.talk(ends, b"")
    end = containers.last()
    assert isinstance(end, m.EndedMessage)
    assert (end.exit_code, end.signal, end.executed) == (None, None, False)


def test_usage_is_the_tools_and_not_the_runtimes(containers: DockerProcess) -> None:
    """An interpreter that tells what it took is charged for that; a container's start takes
    several times as much."""
    code = "import time; print(time.process_time())"
    called = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", code))
    own, end = float(called.out), called.end
    assert isinstance(end, m.EndedMessage)
    assert end.cpu_seconds is not None
    assert own <= end.cpu_seconds < 2 * own
    end = containers.call("bbbbbbbb-2", docker_plan("true")).end
    assert isinstance(end, m.EndedMessage)
    assert end.memory_peak_bytes is not None
    assert end.memory_peak_bytes < 8 * MIB


def test_a_tool_that_floods_its_init_with_signals_is_killed(containers: DockerProcess) -> None:
    script = "import os\nwhile True: os.kill(1, 11)"
    call = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", script))
    assert isinstance(call.end, m.Refused)
    assert call.end.control == "gate"


def test_an_opened_sandbox_that_is_killed_never_ran(containers: DockerProcess) -> None:
    ends, _ = containers.opened("aaaaaaaa-1", docker_plan("sh", "-c", "echo ran >/out/f"))
    containers.send(m.Kill("aaaaaaaa-1"))
    containers.talk(ends, b"")
    end = containers.last()
    assert isinstance(end, m.EndedMessage)
    assert end.artifacts == ()


def test_plans_of_another_engine_or_an_unknown_runtime_are_refused(
    containers: DockerProcess,
) -> None:
    for plan, control in (
        (docker_plan("cat", engine="bubblewrap"), "engine"),
        (docker_plan("cat", runtime="runsc"), "runtime"),
        (docker_plan("cat", image="sha256:" + "0" * 64), "image"),
        (docker_plan("cat", uid=0, gid=0), "service_account"),
        (docker_plan("cat", seccomp="strict", seccomp_digest=STRICT.digest), "seccomp"),
    ):
        ends = containers.open("aaaaaaaa-1", plan)
        end = containers.last()
        assert isinstance(end, m.Refused)
        assert (end.code, end.control) == ("plan_refused", control)
        containers.talk(ends, b"")


def test_a_runtime_that_the_daemon_does_not_offer_is_refused_by_name(
    docker_engine: Engine, tmp_path: Path
) -> None:
    accepted = tuple(sorted(lacking("kata")))
    with docker_launcher(
        tmp_path, docker_engine, runtimes=("runc", "kata"), accepted=accepted
    ) as process:
        ends = process.open("aaaaaaaa-1", docker_plan("cat", runtime="kata", accepted=accepted))
        end = process.last()
        assert isinstance(end, m.Refused)
        assert "offers no runtime 'kata'" in end.cause
        assert process.talk(ends, b"") == (b"", b"")


def test_many_at_once(containers: DockerProcess) -> None:
    names = [f"aaaaaaaa-{number}" for number in range(6)]
    ends = {name: containers.open(name, docker_plan("cat")) for name in names}
    states: dict[str, list[str]] = {name: [] for name in names}
    while not all(seen and seen[-1] == "StartedMessage" for seen in states.values()):
        message = containers.receive()
        assert not isinstance(message, m.Hello | m.Refused), message
        states[message.sandbox].append(type(message).__name__)
        if isinstance(message, m.OpenedMessage):
            containers.send(m.Start(message.sandbox, begin=True))
    for name in names:
        assert containers.talk(ends[name], name.encode())[0] == name.encode()
    assert {containers.last().sandbox for _ in names} == set(names)


@pytest.mark.parametrize("target", ["/", "/etc", "/root"])
def test_a_link_in_the_store_shows_nothing_of_the_host(
    docker_engine: Engine, tmp_path: Path, target: str
) -> None:
    """The store is the supervisor's, and dockerd follows links."""
    digest = "cd" * 48
    (tmp_path / digest).symlink_to(target)
    files = Mount("tool", f"sha384:{digest}", "/tool", True)
    plan = docker_plan("ls", "/tool")
    with docker_launcher(tmp_path, docker_engine) as process:
        ends = process.open("aaaaaaaa-1", replace(plan, mounts=(files, *plan.mounts)))
        end = process.last()
        assert isinstance(end, m.Refused)
        assert process.talk(ends, b"") == (b"", b"")


def test_no_thread_of_the_launcher_keeps_what_it_does_not_need(containers: DockerProcess) -> None:
    """Capabilities are each thread's own (capabilities(7))."""
    containers.call("aaaaaaaa-1", docker_plan("true"))
    mask = sum(1 << capability for capability in _KEEP)
    threads = list(Path(f"/proc/{containers.pid}/task").iterdir())
    assert len(threads) > 1
    for thread in threads:
        fields = dict(line.split(":", 1) for line in (thread / "status").read_text().splitlines())
        assert int(fields["CapPrm"], 16) == int(fields["CapEff"], 16) == mask, thread
        assert int(fields["CapBnd"], 16) & ~mask == 0
        assert fields["NoNewPrivs"].strip() == "1"


def test_a_profile_that_runc_would_hold_in_part_is_refused(
    docker_engine: Engine, tmp_path: Path
) -> None:
    """runc drops a rule for a call that its libseccomp cannot name; where the profile allows by
    default the call was then allowed."""
    own = tmp_path / "profiles"
    own.mkdir(mode=0o755)
    (own / "open.json").write_text(ALLOWING)
    digest = seccomp.load_profile(str(own / "open.json")).digest
    with docker_launcher(tmp_path, docker_engine, own_profiles=str(own)) as process:
        ends = process.open("aaaaaaaa-1", docker_plan("cat", seccomp="open", seccomp_digest=digest))
        end = process.last()
        assert isinstance(end, m.Refused), end
        assert (end.code, end.control) == ("plan_refused", "seccomp")
        assert "allows what it does not name" in end.cause
        process.talk(ends, b"")
        assert process.call("bbbbbbbb-2", docker_plan("cat"), b"others run").out == b"others run"
