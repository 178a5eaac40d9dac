"""Every promise of a plan on every engine, attacked from inside and read back from outside,
through the socket. Each test names the row of engines.promises that it proves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from conformance.conftest import Acts
from fumehood.kernel import cgroup, proc
from support.engines import BUBBLEWRAP, RUNSC, TARGETS, Target
from support.gateway import mcp_transport
from support.hood import LIMITS, Hood, eventually, processes_of
from support.promises import GAPS, promise

MIB = 1 << 20
GONE_SECONDS = 20.0


def said(result: dict[str, Any]) -> Any:
    """What the tool printed, which is JSON."""
    assert result["status"] == "ok", result
    return json.loads(text(result))


def text(result: dict[str, Any]) -> str:
    return "".join(block["text"] for block in result["content"] if block["type"] == "text")


@cache
def host_namespaces() -> dict[str, str]:
    return proc.namespaces("self")


# --- who it is --------------------------------------------------------------------------------


@promise("account")
def test_the_tool_runs_as_its_own_account(
    engines: Hood, target: Target, inside: dict[str, Any], result: dict[str, Any]
) -> None:
    account = engines.account(target.tool("probe"))
    assert account >= 1_900_000_000
    assert result["enforced"]["uid"] == account
    assert inside["uids"] == inside["gids"] == [account] * 3
    assert inside["groups"] in ([], [account])
    if target is BUBBLEWRAP:
        assert inside["uid_map"] == [str(account), str(account), "1"]


@promise("privilege")
def test_nothing_gives_privilege(acts: Acts, inside: dict[str, Any]) -> None:
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd"):
        assert int(inside["status"][name], 16) == 0
    assert int(inside["status"].get("CapAmb", "0"), 16) == 0  # gVisor does not say
    assert "ok" not in said(acts("privilege")).values()


# --- what it may ask the kernel ---------------------------------------------------------------


@promise("seccomp")
def test_no_new_privs_and_seccomp_hold(inside: dict[str, Any], result: dict[str, Any]) -> None:
    assert inside["status"]["NoNewPrivs"] == "1"
    assert inside["status"]["Seccomp"] == "2"
    assert result["enforced"]["seccomp"] == "compute"
    assert result["enforced"]["no_new_privs"] is True


@promise("tripwire")
def test_a_tripwire_ends_the_tool_and_is_named(acts: Acts) -> None:
    result = acts("tripwire")
    assert result["status"] == "syscall_killed"
    assert result["breach"]["control"] == "seccomp"
    assert "bpf" in json.dumps(result["breach"]) + json.dumps(result["syscalls"])


@promise("sockets")
def test_there_is_no_socket_but_a_pair(acts: Acts) -> None:
    assert said(acts("sockets")) == {"had": [], "pair": 2}


@promise("nesting")
def test_no_namespace_can_be_made_inside(acts: Acts) -> None:
    assert set(said(acts("nesting")).values()) == {"EPERM"}


# --- what it sees and reaches -----------------------------------------------------------------


@pytest.fixture(scope="session")
def listeners() -> Iterator[tuple[socket.socket, socket.socket, str]]:
    """A TCP listener of the host, an abstract Unix one, and the latter's name."""
    name = f"promise-{secrets.token_hex(8)}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        contextlib.closing(socket.socket(socket.AF_UNIX)) as unix,
    ):
        unix.bind("\0" + name)
        unix.listen()
        tcp.setblocking(False)
        unix.setblocking(False)
        yield tcp, unix, name


@promise("network")
def test_there_is_no_network_but_an_unused_loopback(
    acts: Acts,
    inside: dict[str, Any],
    result: dict[str, Any],
    listeners: tuple[socket.socket, socket.socket, str],
) -> None:
    assert [line.split(":")[0].strip() for line in inside["interfaces"]] == ["lo"]
    assert inside["names"].strip() == "" or "No such file" in inside["names"]
    assert result["enforced"]["network"] == "none"
    tcp, unix, name = listeners
    tried = said(acts("network", {"port": tcp.getsockname()[1], "abstract": name}))
    assert tried
    assert "ok" not in tried.values()
    for listener in (tcp, unix):
        with pytest.raises(BlockingIOError):  # nobody came
            listener.accept()


@promise("namespaces")
def test_each_namespace_is_its_own(target: Target, inside: dict[str, Any]) -> None:
    wanted = set(proc.NAMESPACES)
    if target is RUNSC:  # its kernel has fewer, none of them the host's
        wanted &= set(inside["namespaces"])
        assert wanted
    elif target is not BUBBLEWRAP:  # containers live in the host's user namespace: docs/engines.md
        wanted -= {"user"}
    for name in wanted:
        assert inside["namespaces"][name] != host_namespaces()[name]
    assert inside["hostname"] == "sandbox" != os.uname().nodename


@promise("processes")
def test_it_sees_and_touches_only_its_own_processes(acts: Acts, inside: dict[str, Any]) -> None:
    assert len(inside["processes"]) == 2  # its init and itself
    found = said(acts("processes"))
    assert found["others"] == []
    assert found["trace"] != "ok"
    assert found["memory"] == "denied"


@promise("root")
def test_the_root_is_read_only_and_holds_usr_and_nothing_else_of_the_host(
    target: Target, inside: dict[str, Any]
) -> None:
    known = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "out", "proc", "sbin", "tmp"}
    known |= {"tool", "usr"}
    foreign = {name: count for name, count in inside["root"].items() if name not in known}
    assert {name for name, count in foreign.items() if count != 0} <= (
        {"sys"} if target is RUNSC else set()  # a made-up one of gVisor's
    )
    assert set(inside["writable"]) <= {"/tmp", "/out", "/dev/shm"}
    if target is BUBBLEWRAP:
        bubblewraps_mounts(inside["mounts"])


def bubblewraps_mounts(mounts: list[str]) -> None:
    for line in mounts:
        place, options = line.split()[4], line.split()[5].split(",")
        assert "nosuid" in options, place
        if place not in ("/tmp", "/out", "/proc") and not place.startswith("/dev/"):
            assert "ro" in options, place
        if place in ("/tmp", "/out"):
            assert {"noexec", "nodev"} <= set(options)


@promise("tool")
def test_the_tools_files_are_read_only(acts: Acts) -> None:
    found = said(acts("tool_files"))
    assert found.pop("read") is True
    assert "ok" not in found.values()


@promise("kernel")
def test_no_setting_mount_or_device_of_the_kernel_is_to_be_had(
    acts: Acts, target: Target, inside: dict[str, Any]
) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_bytes()
    assert "ok" not in said(acts("kernel")).values()
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before
    harmless = {"c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2"}
    if target is RUNSC:
        harmless |= {"c 10:200", "c 10:229"}  # its own kernel's tun and fuse
    assert set(inside["devices"].values()) <= harmless
    assert inside["core"] == [0, 0]


@promise("descriptors")
def test_only_three_descriptors_are_inherited(inside: dict[str, Any]) -> None:
    assert set(inside["descriptors"]) == {"0", "1", "2"}
    assert len(set(inside["descriptors"].values())) == 3


@promise("environment")
def test_the_environment_is_the_plans(inside: dict[str, Any]) -> None:
    expected = {"PATH", "HOME", "TMPDIR", "LANG", "USER", "PYTHONDONTWRITEBYTECODE"}
    assert set(inside["environment"]) - {"LC_CTYPE", "PWD"} == expected
    assert inside["cwd"] == "/tmp"


# --- what it may use --------------------------------------------------------------------------


@promise("scratch")
def test_scratch_is_bounded_in_bytes_and_files(acts: Acts) -> None:
    found = said(acts("bounds", limits={"timeout": "30s"}))
    written, refusal = found["bytes"]
    assert (0 < written <= 8 * MIB, refusal) == (True, "ENOSPC")
    made, refusal = found["files"]
    assert (0 < made <= 8 << 10, refusal) == (True, "ENOSPC")


@promise("noexec")
def test_nothing_is_executed_from_scratch(acts: Acts) -> None:
    assert set(said(acts("execute")).values()) == {"EACCES"}


@promise("fresh")
def test_nothing_survives_into_the_next_call(acts: Acts, engines: Hood) -> None:
    name = acts.register("leave")
    assert said(engines.call(name)) == said(engines.call(name)) == []


@promise("memory")
def test_memory_is_limited_and_the_kill_is_seen(acts: Acts) -> None:
    result = acts("heap")
    assert result["status"] == "memory_exceeded"
    assert result["breach"]["control"] == "memory"
    assert MIB < result["usage"]["memory_peak_bytes"] <= 64 * MIB + MIB


@promise("child-oom")
def test_a_child_killed_for_memory_counts_although_the_tool_exits_zero(
    acts: Acts, target: Target
) -> None:
    result = acts("child_heap", limits={"timeout": "30s"})
    assert result["status"] == "memory_exceeded"
    assert result["breach"]["control"] == "memory"
    if target is not RUNSC:  # gVisor dies as a whole: the tool is not asked
        assert result["exit_code"] == 0


@promise("pids")
def test_processes_are_limited(acts: Acts) -> None:
    assert 2 < said(acts("fork")) <= LIMITS["pids"]


@promise("cpu")
def test_processor_time_counts_dead_children(acts: Acts) -> None:
    result = acts("burn", limits={"timeout": "60s"})
    assert result["status"] == "ok"
    assert result["usage"]["cpu_seconds"] >= 0.5


@promise("cpu")
def test_processor_time_is_limited_over_all_processes(acts: Acts) -> None:
    """Two that want a processor each get a quarter of one together: a period's share (100 ms) may
    be taken at either end, and a slice (5 ms) on each processor besides."""
    result = acts("spin", {"seconds": 0.25}, limits={"cpu": 0.25, "timeout": "60s"})
    assert result["status"] == "ok", result
    usage = result["usage"]
    assert usage["cpu_seconds"] <= 1.25 * 0.25 * (usage["wall_seconds"] + 0.2)
    assert usage["throttled_seconds"] > 0


@promise("timeout")
def test_the_deadline_ends_what_ignores_every_signal(acts: Acts, engines: Hood) -> None:
    result = acts("deaf", limits={"timeout": "1500ms"})
    assert (result["status"], result["breach"]["control"]) == ("timeout", "timeout")
    assert_dead(engines, acts.name("deaf"))


@promise("output")
def test_output_ends_at_its_limit(acts: Acts) -> None:
    result = acts("flood", limits={"timeout": "60s"})
    assert (result["status"], result["breach"]["control"]) == ("output_exceeded", "output")
    assert result["truncated"] is True
    assert len(text(result)) <= MIB + 4096


@promise("streams")
def test_streams_are_carried_whole_and_apart(acts: Acts) -> None:
    # No noise: in enough of it a scanner once sees what reads like a secret.
    rows = "".join(f"row {number} of many; " for number in range(40_000))
    arguments = {"data": rows, "text": "schön"}
    result = acts("carry", arguments)
    assert said(result) == arguments
    assert result["stderr"] == "diagnostics\n"


@promise("streams")
def test_arguments_arrive_unchanged(inside: dict[str, Any], answer: dict[str, Any]) -> None:
    assert inside["arguments"] == {"text": "schön"}
    assert answer["isError"] is False


@promise("end")
def test_the_exit_code_is_the_programs_own(acts: Acts) -> None:
    result = acts("exit7")
    assert (result["status"], result["exit_code"], result["signal"]) == ("tool_error", 7, None)


@promise("end")
def test_the_signal_is_the_programs_own(acts: Acts) -> None:
    result = acts("kill")
    assert result["status"] == "tool_error"
    # Before Linux 6.15 nobody but its parent is told; the init reports 128 + number.
    assert (result["exit_code"], result["signal"]) in ((None, 15), (143, None))


@promise("dead")
def test_what_a_tool_leaves_running_is_dead(acts: Acts, engines: Hood) -> None:
    assert acts("orphan")["status"] == "ok"
    assert_dead(engines, acts.name("orphan"))


def assert_dead(engines: Hood, tool: str) -> None:
    eventually(lambda: engines.alive(tool) == [], GONE_SECONDS, f"everything of {tool} is dead")


@promise("artifacts")
def test_artifacts_are_collected_and_links_are_not(acts: Acts, target: Target) -> None:
    result = acts("artifacts")
    assert result["status"] == "ok"
    found = {
        block["resource"]["uri"].split("/out/", 1)[1]
        for block in result["content"]
        if block["type"] == "resource"
    }
    assert found == {"a", "d/b"}
    told = json.dumps(result["findings"])
    assert "link" in told
    assert "fifo" in told or target is RUNSC  # there a FIFO is the runtime's own affair


# --- what is proven before it is fed ----------------------------------------------------------


@promise("limits")
def test_what_was_promised_is_in_force_in_the_kernel(acts: Acts, engines: Hood) -> None:
    name = acts.register("wait", limits={"timeout": "60s"})
    caller = threading.Thread(target=engines.call, args=(name,))
    caller.start()
    try:
        account = engines.account(name)
        pid = running(account, b"python3\0/tool/acts.py\0wait\0")
        status = proc.read_status(pid)
        assert set(status.uids) == set(status.gids) == {account}
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        held = [int(fields[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
        assert held == [0] * 5
        assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")
        assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == 64 * MIB
        # Swap would be memory beyond it: v1 counts both together, v2 swap alone.
        both = "memory.memsw.limit_in_bytes"
        swap = limit(pid, "memory", both, "memory.swap.max")
        counted = cgroup.swap_is_on() or Path("/sys/fs/cgroup/memory", both).exists()
        assert swap in (64 * MIB, 0) or not counted
        # The sandbox's own init and helpers are counted beside the plan's 32.
        assert 32 <= limit(pid, "pids", "pids.max", "pids.max") <= 34
    finally:
        for pid in processes_of(engines.account(name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        caller.join(60)


def running(account: int, command: bytes) -> int:
    """PID of the account's process with this command line, once it is neither being opened nor
    held by a tracer."""
    found: list[int] = []

    def look() -> bool:
        for pid in processes_of(account):
            with contextlib.suppress(OSError):
                process = Path(f"/proc/{pid}")
                released = "TracerPid:\t0\n" in (process / "status").read_text()
                if released and (process / "cmdline").read_bytes() == command:
                    found.append(pid)
        return bool(found)

    eventually(look, 60, f"{command!r} runs as {account}")
    return found[0]


def limit(pid: int, controller: str, v1: str, v2: str) -> int:
    """The least limit on the way from the process's cgroup up to the top."""
    least = 1 << 62
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for base, file in ((f"/sys/fs/cgroup/{controller}", v1), ("/sys/fs/cgroup", v2)):
            if (names == "") == (file == v1 and base.endswith(controller)):
                continue
            if names and controller not in names.split(","):
                continue
            place = Path(base + path)
            for directory in (place, *place.parents):
                with contextlib.suppress(OSError, ValueError):
                    least = min(least, int((directory / file).read_text()))
    return least


@promise("held")
def test_nothing_of_the_tool_runs_before_its_call(acts: Acts, engines: Hood) -> None:
    """A sandbox that waits, opened and proven, has executed nothing: the tool's own clock says
    when its first instruction ran."""
    name = acts.register("started", run={"warm": "opened"}, limits={"timeout": "30s"})
    assert said(engines.call(name))
    account = engines.account(name)  # all of the first call is dead: what runs now is the next's
    eventually(lambda: processes_of(account) != [], 60, "a sandbox is kept open for the next")
    called = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert said(engines.call(name)) > called


@promise("limits")
def test_the_answer_tells_what_was_enforced(
    target: Target, answer: dict[str, Any], result: dict[str, Any]
) -> None:
    assert result["status"] == "ok"
    assert (result["exit_code"], result["signal"], result["breach"]) == (0, None, None)
    assert re.fullmatch("sha384:[0-9a-f]{96}", result["tool"]["digest"])
    assert result["usage"]["stdout_bytes"] > 0
    assert result["usage"]["cpu_seconds"] > 0
    assert result["usage"]["memory_peak_bytes"] > MIB
    limits = result["enforced"]["limits"]
    assert (limits["memory_bytes"], limits["pids"]) == (64 * MIB, 32)
    assert result["enforced"]["engine"] == target.engine
    assert result["enforced"]["plan"].startswith("sha384:")
    assert result["enforced"]["not_enforced"] == []


# --- what an engine does not keep -------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "row"),
    GAPS,
    indirect=["target"],
    ids=[f"{target.name}-{row.name}" for target, row in GAPS],
)
def test_what_is_not_kept_is_named_in_every_answer(
    target: Target, row: Any, result: dict[str, Any]
) -> None:
    """And refused unless accepted by name: test_docker_gvisor.py."""
    assert target.gap(row) in result["enforced"]["not_enforced"]


@pytest.mark.parametrize("target", TARGETS, indirect=True, ids=lambda target: target.name)
def test_nothing_is_claimed_of_what_is_hidden(target: Target, result: dict[str, Any]) -> None:
    """By name: gVisor loads no profile of ours, and shows nobody what is called."""
    enforced, told = result["enforced"], result["syscalls"]
    assert (enforced["engine"], enforced["runtime"]) == (target.engine, target.runtime or None)
    found = enforced["seccomp"], enforced["no_new_privs"], enforced["capabilities"]
    if target.lacking:
        assert found == (None, None, None)
        assert (told["kills_visible"], told["denials_visible"]) == (False, False)
        assert "the plan's profile is not loaded" in told["reason"]
    else:
        assert found == ("compute", True, [])
        assert told["kills_visible"] is True


def test_the_handshake_era_gets_the_same(engines: Hood) -> None:
    engines.register(None, "echo", command=["cat"])

    async def call() -> Any:
        async with Client(mcp_transport(engines.socket), mode="legacy") as client:
            return await client.call_tool("echo", {"a": 1})

    answer = anyio.run(call)
    assert answer.content[0].text == '{"a":1}'
