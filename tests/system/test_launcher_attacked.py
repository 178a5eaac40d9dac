"""The launcher against somebody who owns the supervisor: refused, and alive for the next call."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.launcher import messages as m
from fumehood.model.codec import encode
from fumehood.model.plan import Limits, Mount
from support.hood import SOURCES
from support.launcher import ACCOUNT, LIMITS, SCRATCH, Process, launcher, plan


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with launcher(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(autouse=True)
def _alive(process: Process, request: pytest.FixtureRequest) -> Iterator[None]:
    """After every attack an honest plan still runs."""
    yield
    name = f"aaaaaaaa-{abs(hash(request.node.name)) % 10**8}"
    ended, out = process.run(name, plan("cat"), b"still here")
    assert (ended.exit_code, out) == (0, b"still here")


def changed_limits(**changes: int) -> Limits:
    return Limits(**{**encode(LIMITS), **changes})


PLANS = {
    "uid 0": (plan(uid=0, gid=0), "service_account"),
    "gid 0": (plan(gid=0), "service_account"),
    "an account outside the range": (plan(uid=1000, gid=1000), "service_account"),
    "the account after the range": (plan(uid=ACCOUNT + 4, gid=ACCOUNT + 4), "service_account"),
    "an account's UID with another's GID": (plan(gid=ACCOUNT + 1), "service_account"),
    "a negative UID": (plan(uid=-1, gid=-1), "service_account"),
    "a foreign root file system": (plan(image="/"), "image"),
    "an image that is not allowed": (plan(image="sha256:" + "0" * 64), "image"),
    "a profile outside the directory": (plan(seccomp="../../tmp/evil"), "seccomp"),
    "an absolute profile": (plan(seccomp="/etc/passwd"), "seccomp"),
    "an edited profile": (plan(seccomp_digest="sha384:" + "0" * 96), "seccomp"),
    "memory above the ceiling": (
        plan(limits=changed_limits(memory_bytes=1 << 40)),
        "limits.memory_bytes",
    ),
    "a negative limit": (plan(limits=changed_limits(pids=-1)), "limits.pids"),
    "no deadline": (plan(limits=changed_limits(timeout_ms=0)), "limits.timeout_ms"),
    "more CPU than allowed": (plan(limits=changed_limits(cpu_millis=64000)), "limits.cpu_millis"),
    "a host mount": (
        plan(mounts=(*SCRATCH, Mount("tool", "/etc", "/tool", read_only=True))),
        "mounts",
    ),
    "a store path that climbs": (
        plan(mounts=(*SCRATCH, Mount("tool", "sha384:../../etc", "/tool", read_only=True))),
        "mounts",
    ),
    "a writable tool mount": (
        plan(mounts=(*SCRATCH, Mount("tool", "sha384:" + "0" * 96, "/tool", read_only=False))),
        "mounts",
    ),
    "a mount over /usr": (
        plan(mounts=(*SCRATCH, Mount("tool", "sha384:" + "0" * 96, "/usr", read_only=True))),
        "mounts",
    ),
    "a mount that is not there": (
        plan(mounts=(*SCRATCH, Mount("tool", "sha384:" + "0" * 96, "/tool", read_only=True))),
        "sandbox",
    ),
    "no scratch": (plan(mounts=()), "mounts"),
    "a program that is an option": (plan("--bind", "/", "/mnt", "sh"), "argv"),
    "no program": (plan(argv=()), "argv"),
    "a NUL in an argument": (plan("cat", "a\0b"), "argv"),
    "a loader variable": (plan(environment=(("LD_PRELOAD", "/tmp/x.so"),)), "environment"),
    "a variable that is an option": (plan(environment=(("--bind", "/"),)), "environment"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_breaks_a_ceiling_is_refused_by_name(process: Process, name: str) -> None:
    wanted, control = PLANS[name]
    process.open("bbbbbbbb", wanted)
    refused = process.receive()
    assert isinstance(refused, m.Refused)
    assert (refused.sandbox, refused.control) == ("bbbbbbbb", control)


@pytest.mark.parametrize(
    "sandbox", ["", "../../x", "a" * 65, "aaaa/bbbb", "AAAAAAAA", "a\0aaaaaaa"]
)
def test_a_sandbox_name_is_never_a_path(process: Process, sandbox: str) -> None:
    process.open(sandbox, plan())
    assert isinstance(process.receive(), m.Refused)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"{}",
        b"[]",
        b"null",
        b'{"type": "Hello"}',
        b'{"type": ["Open"]}',
        b'{"type": "Start"}',
        b'{"type": "Start", "sandbox": 7}',
        b'{"type": "Start", "sandbox": "x", "more": 1}',
        b"[" * 60000,
        b"\xff\xfe",
        b'{"type": "Kill", "sandbox": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_malformed_message_is_refused(process: Process, data: bytes) -> None:
    process.send_raw(data)
    assert isinstance(process.receive(), m.Refused)


def test_a_huge_message_is_refused(process: Process) -> None:
    process.send_raw(b" " * (m.MAX_MESSAGE + 10))
    assert isinstance(process.receive(), m.Refused)


def test_a_plan_with_an_unknown_key_or_a_wrong_type_is_refused(process: Process) -> None:
    for change in ({"privileged": True}, {"uid": True}, {"uid": 1.0}, {"limits": None}):
        body = {"type": "Open", "sandbox": "bbbbbbbb", "plan": {**encode(plan()), **change}}
        process.send_raw(json.dumps(body).encode())
        assert isinstance(process.receive(), m.Refused)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 60])
def test_a_wrong_number_of_descriptors_is_refused(process: Process, count: int) -> None:
    pipes = [os.pipe() for _ in range((count + 1) // 2)]
    descriptors = [fd for pair in pipes for fd in pair]
    process.send(m.Open("bbbbbbbb", plan()), tuple(descriptors[:count]))
    for fd in descriptors:
        os.close(fd)
    refused = process.receive()
    assert isinstance(refused, m.Refused)
    assert refused.control == "protocol"


def test_more_descriptors_than_a_message_may_carry_are_refused(process: Process) -> None:
    read, write = os.pipe()
    process.send(m.Start("bbbbbbbb"), (read,) * 200)
    assert isinstance(process.receive(), m.Refused)
    os.close(read)
    os.close(write)


def test_only_pipes_go_into_a_sandbox(process: Process, tmp_path: Path) -> None:
    """A directory would be a way out of the mount namespace, a socket one of the network's."""
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    one, other = socket.socketpair()
    read, write = os.pipe()
    for bad in (directory, one.fileno()):
        process.send(m.Open("bbbbbbbb", plan()), (bad, write, write))
        refused = process.receive()
        assert isinstance(refused, m.Refused)
        assert refused.control == "protocol"
    for fd in (directory, read, write):
        os.close(fd)
    one.close()
    other.close()


def test_descriptors_of_refused_messages_are_closed(process: Process) -> None:
    # One answer first: a launcher that is still starting has files of its start open.
    process.open("bbbbbbbb", plan(uid=0, gid=0))
    assert isinstance(process.receive(), m.Refused)
    before = len(os.listdir(f"/proc/{process.pid}/fd"))
    for _ in range(20):
        process.open("bbbbbbbb", plan(uid=0, gid=0))
        assert isinstance(process.receive(), m.Refused)
    assert len(os.listdir(f"/proc/{process.pid}/fd")) == before


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_a_lone_surrogate_is_refused(process: Process, text: str) -> None:
    for wanted in (plan("echo", text), plan(environment=(("NAME", text),))):
        process.open("bbbbbbbb", wanted)
        assert isinstance(process.receive(), m.Refused)


def test_a_refusal_repeats_little_of_what_it_refuses(process: Process) -> None:
    body = {"type": "Start", "sandbox": "bbbbbbbb", "é" * 30_000: 1}
    process.send_raw(json.dumps(body, ensure_ascii=False).encode())
    refused = process.receive()
    assert isinstance(refused, m.Refused)
    assert len(refused.cause) <= 512


def test_a_sandbox_begins_once(process: Process) -> None:
    """Else whoever owns the supervisor renews a deadline for ever."""
    process.open("dddddddd", plan("cat"))
    assert isinstance(process.receive(), m.OpenedMessage)
    process.send(m.Start("dddddddd"))
    assert isinstance(process.receive(), m.StartedMessage)
    process.send(m.Begin("dddddddd"))
    assert isinstance(process.receive(), m.Refused)
    process.send(m.Kill("dddddddd"))
    assert isinstance(process.receive(), m.EndedMessage)


def test_a_link_in_the_store_is_not_followed(process: Process) -> None:
    """The store belongs to the supervisor; a link in it would show a sandbox the host."""
    name = "c" * 96
    (process.store / name).symlink_to("/proc")
    mounts = (*SCRATCH, Mount("tool", f"sha384:{name}", "/tool", read_only=True))
    process.open("bbbbbbbb", plan("ls", "/tool", mounts=mounts))
    refused = process.receive()
    assert isinstance(refused, m.Refused)
    (process.store / name).unlink()


def test_hostile_names_of_artifacts_stay_one_bounded_message(process: Process) -> None:
    script = """
import os
for number in range(200):
    open(os.fsencode("/out/%03d" % number) + bytes([1]) * 250, "w").close()
"""
    ended, _ = process.run("bbbbbbbb", plan("python3", "-c", script))
    assert len(ended.artifacts) == 65
    assert {item.refused for item in ended.artifacts} == {"name", "too_many"}


def test_names_of_many_bytes_fit_as_well(process: Process) -> None:
    script = "for n in range(64): open('/out/%02d' % n + chr(0x1F600) * 63, 'w').close()"
    environment = (("LANG", "C.UTF-8"), ("PATH", "/usr/bin:/bin"))
    ended, _ = process.run("bbbbbbbb", plan("python3", "-c", script, environment=environment))
    assert len(ended.artifacts) == 64
    assert not any(item.refused for item in ended.artifacts)


def test_an_orphan_is_not_taken_for_the_tool(process: Process) -> None:
    for number in range(20):
        wanted = plan("sh", "-c", "(setsid sleep 9 &) ; (setsid sleep 9 &) ; exit 0")
        ended, _ = process.run(f"cccccccc-{number}", wanted)
        assert (ended.exit_code, ended.signal) == (0, None)


def test_every_descriptor_of_the_launcher_is_close_on_exec(process: Process) -> None:
    """bubblewrap hands inherited descriptors on: another sandbox's pipes would go to the tool."""
    process.open("dddddddd", plan("cat"))
    assert isinstance(process.receive(), m.OpenedMessage)
    flags = {}
    for name in os.listdir(f"/proc/{process.pid}/fdinfo"):
        text = Path(f"/proc/{process.pid}/fdinfo/{name}").read_text()
        flags[int(name)] = int(
            dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)["flags"], 8
        )
    assert len(flags) > 8
    assert all(value & os.O_CLOEXEC for fd, value in flags.items() if fd > 2)
    process.send(m.Kill("dddddddd"))
    assert isinstance(process.receive(), m.EndedMessage)


def test_a_sandbox_may_not_be_started_before_it_is_opened_nor_twice(process: Process) -> None:
    process.send(m.Start("cccccccc"))  # unknown: it may have ended meanwhile, so no answer
    process.open("dddddddd", plan("cat"))
    assert isinstance(process.receive(), m.OpenedMessage)
    process.send(m.Start("dddddddd"))
    assert isinstance(process.receive(), m.StartedMessage)
    process.send(m.Start("dddddddd"))
    assert isinstance(process.receive(), m.Refused)
    process.send(m.Kill("dddddddd"))
    assert isinstance(process.receive(), m.EndedMessage)


def test_no_more_sandboxes_than_the_ceiling(process: Process) -> None:
    names = [f"eeeeeeee-{i}" for i in range(8)]
    for name in names:
        process.open(name, plan("cat"))
        assert isinstance(process.receive(), m.OpenedMessage)
    process.open("ffffffff", plan("cat"))
    refused = process.receive()
    assert isinstance(refused, m.Refused)
    assert refused.control == "sandboxes"
    process.open(names[0], plan("cat"))
    assert isinstance(process.receive(), m.Refused)
    for name in names:
        process.send(m.Kill(name))
        assert isinstance(process.receive(), m.EndedMessage)


def test_the_launcher_keeps_only_the_capabilities_it_uses(process: Process) -> None:
    from fumehood.kernel import proc
    from fumehood.launcher.process import _KEEP

    status = proc.read_status(process.pid)
    mask = sum(1 << capability for capability in _KEEP)
    inherited, permitted, effective, bounding, ambient = status.capabilities
    assert (permitted, effective) == (mask, mask)
    assert (inherited, bounding, ambient, status.no_new_privs) == (0, 0, 0, 1)


def test_the_launcher_sees_only_what_it_needs(process: Process) -> None:
    names = set(os.listdir(f"/proc/{process.pid}/root"))
    way = SOURCES.parts[1]  # to the program's own files, wherever the clone lies
    assert not names & ({"home", "var", "etc"} - {way})
