"""The Docker launcher keeps a plan's promises, read back from outside and attacked from inside."""

from __future__ import annotations

import json
import os
import select
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.launcher import messages as m
from fumehood.launcher.docker_process import _KEEP
from fumehood.model.plan import Mount
from support.docker import ACCOUNT, DockerProcess, Engine, docker_launcher, docker_plan
from support.launcher import LIMITS

MIB = 1 << 20
PROBE = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uids": status["Uid"].split(), "gids": status["Gid"].split(),
    "groups": status["Groups"].split(),
    "capabilities": [int(status[name], 16) for name in
                     ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privs": int(status["NoNewPrivs"]), "seccomp": int(status["Seccomp"]),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    "environment": dict(os.environ), "directory": os.getcwd(),
    "root": sorted(os.listdir("/")), "sys": os.listdir("/sys"),
    "name_servers": open("/etc/resolv.conf").read(),
    "processes": [int(n) for n in os.listdir("/proc") if n.isdigit()],
    "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    "writable": [path for path in ("/", "/etc", "/usr", "/dev", "/dev/mqueue", "/dev/pts",
                 "/sys", "/tool", "/proc/sys/kernel", "/tmp", "/out", "/dev/shm")
                 if os.access(path, os.W_OK)],
    "sockets": [p for p in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd")
                if os.path.exists(p)],
}))
"""


def test_a_tool_sees_itself_confined(containers: DockerProcess) -> None:
    call = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", PROBE))
    seen = json.loads(call.out)
    account = str(ACCOUNT)
    assert seen["uids"] == [account] * 4
    assert seen["gids"] == [account] * 4
    assert set(seen["groups"]) <= {account}
    assert seen["capabilities"] == [0] * 5
    assert (seen["no_new_privs"], seen["seccomp"]) == (1, 2)
    assert seen["descriptors"] == [0, 1, 2, 3]  # 3 is the listing's own
    wanted = dict(docker_plan().environment)
    assert {k: v for k, v in seen["environment"].items() if k != "LC_CTYPE"} == wanted
    assert seen["directory"] == "/tmp"
    assert (seen["sys"], seen["name_servers"], seen["sockets"]) == ([], "", [])
    assert len(seen["processes"]) == 2  # its init and itself
    assert seen["interfaces"] == ["lo"]
    assert seen["writable"] == ["/tmp", "/out", "/dev/shm"]


def test_every_promise_is_read_back_before_anything_runs(containers: DockerProcess) -> None:
    call = containers.call("aaaaaaaa-1", docker_plan("true"))
    assert {
        "uid", "gid", "groups", "capabilities", "no_new_privs", "seccomp", "environment",
        "descriptors", "network", "root", "mount./tmp", "mount./out", "cgroup", "gate",
    } <= set(call.proofs)  # fmt: skip
    assert call.proofs["namespace.user"] == "shared with the host"
    limits = {name for name in call.proofs if name.startswith(("memory.", "pids.", "cpu."))}
    assert limits


def test_nothing_of_the_tool_runs_before_start(containers: DockerProcess) -> None:
    ends, proofs = containers.opened("aaaaaaaa-1", docker_plan("echo", "hello"))
    assert proofs["seccomp"] == "2"
    assert not select.select([ends[1]], [], [], 0.5)[0]
    containers.start("aaaaaaaa-1")
    assert containers.talk(ends, b"")[0] == b"hello\n"
    assert isinstance(containers.last(), m.EndedMessage)


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


@pytest.mark.parametrize(
    ("script", "code", "signal"),
    [
        ("exit 0", 0, None),
        ("exit 7", 7, None),
        ("kill -SEGV $$", None, 11),
        ("kill -TERM $$", None, 15),
        ("(setsid sleep 1000 &); exit 3", 3, None),
        ("exec >&- 2>&- <&-; sleep 0.2; exit 5", 5, None),
    ],
)
def test_the_end_is_the_programs_own(
    containers: DockerProcess, script: str, code: int | None, signal: int | None
) -> None:
    end = containers.call("aaaaaaaa-1", docker_plan("sh", "-c", script)).end
    assert isinstance(end, m.EndedMessage)
    assert (end.exit_code, end.signal, end.executed) == (code, signal, True)


def test_a_missing_program_was_not_executed(containers: DockerProcess) -> None:
    ends = containers.open("aaaaaaaa-1", docker_plan("no-such-program"))
    containers.talk(ends, b"")
    end = containers.last()
    assert isinstance(end, m.EndedMessage)
    assert (end.exit_code, end.signal, end.executed) == (None, None, False)


def test_the_kernel_kills_what_takes_too_much_memory(containers: DockerProcess) -> None:
    heap = "x = bytearray(200 << 20); print(len(x))"
    end = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", heap)).end
    assert isinstance(end, m.EndedMessage)
    assert end.oom_kills
    assert end.memory_peak_bytes is not None
    assert end.memory_peak_bytes <= LIMITS.memory_bytes


def test_a_killed_child_is_seen_although_the_tool_exits_zero(containers: DockerProcess) -> None:
    script = "python3 -c 'bytearray(200 << 20)'; exit 0"
    end = containers.call("aaaaaaaa-1", docker_plan("sh", "-c", script)).end
    assert isinstance(end, m.EndedMessage)
    assert end.oom_kills


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


def test_no_more_processes_than_the_plan_allows(containers: DockerProcess) -> None:
    script = """
import os, time
made = 0
try:
    while True:
        if not os.fork():
            time.sleep(60)
        made += 1
except BlockingIOError:
    print(made, flush=True)
os._exit(0)
"""
    plan = docker_plan("python3", "-c", script, limits=replace(LIMITS, pids=12))
    call = containers.call("aaaaaaaa-1", plan)
    assert int(call.out) == 11  # and the program itself


def test_scratch_is_bounded_in_bytes_and_inodes_and_not_executable(
    containers: DockerProcess,
) -> None:
    script = """
import errno, os, json, shutil, subprocess
found = {}
try:
    with open("/tmp/big", "wb") as file:
        while True:
            file.write(bytes(1 << 20))
except OSError as error:
    found["bytes"] = errno.errorcode[error.errno]
os.remove("/tmp/big")
try:
    for number in range(100_000):
        open(f"/out/{number}", "w").close()
except OSError as error:
    found["inodes"] = errno.errorcode[error.errno], number
try:
    os.remove("/out/1"); os.remove("/out/2")
    shutil.copy("/usr/bin/true", "/dev/shm/true")
    subprocess.run(["/dev/shm/true"])
except OSError as error:
    found["executable"] = errno.errorcode[error.errno]
for name in os.listdir("/out"):
    os.remove("/out/" + name)
print(json.dumps(found))
"""
    call = containers.call("aaaaaaaa-1", docker_plan("python3", "-c", script))
    found = json.loads(call.out)
    assert found["bytes"] == "ENOSPC"
    assert found["inodes"][0] == "ENOSPC"
    assert LIMITS.scratch_inodes - 16 <= found["inodes"][1] <= LIMITS.scratch_inodes
    assert found["executable"] == "EACCES"


def test_artifacts_are_collected_and_links_are_not(containers: DockerProcess) -> None:
    script = "echo one >/out/a; mkdir /out/d; echo two >/out/d/b; ln -s /etc/passwd /out/l"
    end = containers.call("aaaaaaaa-1", docker_plan("sh", "-c", script)).end
    assert isinstance(end, m.EndedMessage)
    found = {item.name: item.refused for item in end.artifacts}
    assert found == {"a": "", "d/b": "", "l": "symlink"}


def test_the_tools_files_are_read_only(docker_engine: Engine, tmp_path: Path) -> None:
    digest = "ab" * 48
    (tmp_path / digest).mkdir()
    (tmp_path / digest / "data").write_text("the tool's own")
    files = Mount("tool", f"sha384:{digest}", "/tool", True)
    plan = docker_plan("sh", "-c", "cat /tool/data; echo x >/tool/new")
    with docker_launcher(tmp_path, docker_engine) as process:
        call = process.call("aaaaaaaa-1", replace(plan, mounts=(files, *plan.mounts)))
    assert call.out == b"the tool's own"
    assert b"Read-only file system" in call.err


def test_unknown_calls_do_not_exist_and_tripwires_kill(containers: DockerProcess) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for number in (156, 462, 9999):
    libc.syscall(number, 0, 0, 0, 0)
    print(ctypes.get_errno())
libc.syscall(321, 0, 0, 0)
"""
    call = containers.call("aaaaaaaa-1", docker_plan("python3", "-uc", script))
    assert isinstance(call.end, m.EndedMessage)
    assert call.out.split() == [b"38"] * 3
    assert call.end.signal == 31


def test_a_fork_bomb_that_ignores_signals_dies_at_once(containers: DockerProcess) -> None:
    script = "trap '' TERM HUP INT; bomb() { bomb | bomb & }; echo ready; bomb; sleep 60"
    ends, _ = containers.opened("aaaaaaaa-1", docker_plan("bash", "-c", script))
    containers.start("aaaaaaaa-1")
    assert os.read(ends[1], 64) == b"ready\n"
    containers.send(m.Kill("aaaaaaaa-1"))
    containers.talk(ends, b"")
    end = containers.last()
    assert isinstance(end, m.EndedMessage)
    assert end.executed


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
    ):
        ends = containers.open("aaaaaaaa-1", plan)
        end = containers.last()
        assert isinstance(end, m.Refused)
        assert (end.code, end.control) == ("plan_refused", control)
        containers.talk(ends, b"")


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
