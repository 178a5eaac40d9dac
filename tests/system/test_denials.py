"""Killed system calls are named, counted, and attributed to the invocation that made them."""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fumehood.launcher.denials import EACH_PER_SECOND, LATE, MISSED, RECORDS_PER_SECOND
from support.docker import Engine, beside_bubblewrap
from support.hood import Hood
from support.hood import hood as start
from support.on import On

NUMBERS = {"x86_64": {"bpf": 321, "keyctl": 250}, "aarch64": {"bpf": 280, "keyctl": 219}}
NATIVE = platform.machine()
CALL = "import ctypes; call = ctypes.CDLL(None).syscall\n"
CHILDREN = """
import os
for _ in range({count}):
    if os.fork() == 0: call({number}, 0, 0, 0); os._exit(0)
    os.wait()
"""


def number(name: str) -> int:
    return NUMBERS[NATIVE][name]


def run(hood: Hood, script: str, **limits: object) -> Mapping[str, Any]:
    name = f"denied-{abs(hash((script, str(limits)))):x}"
    hood.register(None, name, command=["python3", "-c", CALL + script], limits=limits)
    return hood.call(name)


def named(result: Mapping[str, Any]) -> dict[tuple[str, str, str], int]:
    seen = result["syscalls"]["seen"]
    return {(i["syscall"], i["architecture"], i["action"]): i["count"] for i in seen}


@pytest.mark.parametrize("name", ["bpf", "keyctl"])
def test_the_call_that_killed_a_tool_is_named(hood: Hood, name: str) -> None:
    result = run(hood, f"call({number(name)}, 0, 0, 0)")
    assert (result["status"], result["breach"]["control"]) == ("syscall_killed", "seccomp")
    assert named(result) == {(name, NATIVE, "kill"): 1}
    assert result["breach"]["detail"] == f"{name} ({NATIVE})"
    assert f"{name} ({NATIVE})" in result["message"]
    assert result["findings"] == []


if NATIVE == "x86_64":  # no other machine has ABIs of its own that it can always execute

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            # mov eax, 20; int 0x80 (getpid of i386)
            ("b8 14 00 00 00 cd 80 c3", ("getpid", "i386", "kill")),
            # mov eax, 0x40000027; syscall (getpid of x32)
            ("b8 27 00 00 40 0f 05 c3", ("getpid", "x32", "kill")),
        ],
        ids=["i386", "x32"],
    )
    def test_another_abi_is_named_too(
        hood: Hood, code: str, expected: tuple[str, str, str]
    ) -> None:
        script = f"""
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex({code!r}))
ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""
        result = run(hood, script)
        assert result["status"] == "syscall_killed"
        assert named(result) == {expected: 1}


def test_children_that_are_killed_are_told_although_the_tool_goes_on(hood: Hood) -> None:
    result = run(hood, CHILDREN.format(count=3, number=number("bpf")))
    assert (result["status"], result["breach"]) == ("ok", None)
    assert named(result) == {("bpf", NATIVE, "kill"): 3}
    (finding,) = result["findings"]
    assert (finding["rule"], finding["kind"], finding["place"]) == (
        "syscall-killed", "behaviour", "sandbox",
    )  # fmt: skip
    assert f"bpf ({NATIVE}), 3 times" in finding["message"]


def check_on_record(hood: Hood, result: Mapping[str, Any], call: str, count: int) -> None:
    expected = {"seen": {call: count}, "others": 0, "complete": True}
    shown = hood.cli("audit", "show", result["invocation"], "--json", check=True).stdout
    ended = [r for r in json.loads(shown) if r["event"] == "invocation.ended"]
    assert [r["syscalls"] for r in ended] == [expected]
    tool = result["tool"]["name"]
    told = hood.cli("audit", "search", "--tool", tool, "--json", check=True).stdout
    found = {r["invocation"]: r["syscalls"] for r in json.loads(told) if "syscalls" in r}
    assert found[result["invocation"]] == expected
    proof, trust = hood.place / f"{tool}.json", hood.place / "denied.pem"
    trust.write_text(hood.cli("key", "export-public", "receipt", check=True).stdout)
    hood.cli("receipt", result["invocation"], "--out", str(proof), check=True)
    verified = hood.cli("receipt", "verify", str(proof), "--trust", str(trust), check=True)
    assert f"denied: {call}={count}" in verified.stdout


@pytest.mark.parametrize(
    ("script", "status", "count"),
    [
        (CHILDREN.format(count=2, number=number("keyctl")), "ok", 2),
        (f"call({number('keyctl')}, 0, 0, 0)", "syscall_killed", 1),
    ],
    ids=["of children", "of the tool"],
)
def test_record_and_receipt_say_which_calls_were_denied(
    hood: Hood, script: str, status: str, count: int
) -> None:
    result = run(hood, script)
    assert result["status"] == status
    check_on_record(hood, result, f"keyctl:{NATIVE}:kill", count)


def test_a_call_that_was_denied_nothing_has_nothing_of_it_on_record(hood: Hood) -> None:
    result = run(hood, "print(1)")
    shown = hood.cli("audit", "show", result["invocation"], "--json", check=True).stdout
    assert not [r for r in json.loads(shown) if "syscalls" in r]


def test_the_last_kill_before_the_end_is_not_missed(hood: Hood) -> None:
    """A child is killed and the tool ends at once: thirty times, and never too late."""
    script = f"import os\nif os.fork() == 0: call({number('bpf')}, 0, 0, 0)\nos.wait(); os._exit(0)"
    for _ in range(30):
        assert named(run_again(hood, script)) == {("bpf", NATIVE, "kill"): 1}


def run_again(hood: Hood, script: str) -> Mapping[str, Any]:
    hood.register(None, "last-kill", command=["python3", "-c", CALL + script])
    return hood.call("last-kill")


def test_what_is_not_visible_is_said(hood: Hood) -> None:
    """socket(AF_VSOCK) is answered EPERM, which the kernel does not report."""
    result = run(hood, "call(41 if True else 0, 40, 1, 0)")
    assert result["status"] == "ok"
    told = result["syscalls"]
    assert (told["seen"], told["kills_visible"], told["denials_visible"]) == ([], True, False)
    assert "SECCOMP_FILTER_FLAG_LOG" in told["reason"]


@pytest.fixture(scope="module")
def logging(docker_engine: Engine) -> Iterator[Hood]:
    """A daemon whose operator wants denied calls to be told."""
    config = {
        "accounts": {"first": 1_964_000_000, "count": 100},
        "behaviour": {"log_denials": ["*"], "denials": 100, "kill": []},
        "incidents": {"rules": [{"signal": "egress", "actions": ["notify"]}]},
        **beside_bubblewrap(docker_engine),
    }
    with start(config=config) as running:
        yield running


SOCKET = {"x86_64": 41, "aarch64": 198}[NATIVE]
PTRACE = {"x86_64": 101, "aarch64": 117}[NATIVE]
CLONE3 = 435


def test_calls_that_are_answered_with_an_error_are_named_where_the_operator_wants_it(
    logging: Hood,
) -> None:
    result = run(
        logging,
        f"for _ in range(3): call({SOCKET}, 40, 1, 0)\n"  # AF_VSOCK
        f"call({PTRACE}, 0, 0, 0)\ncall({CLONE3}, 0, 0)\nprint(call({SOCKET}, 2, 1, 0))",
    )
    assert (result["status"], result["content"][0]["text"]) == ("ok", "-1\n")
    assert named(result) == {("socket", NATIVE, "errno"): 4, ("ptrace", NATIVE, "errno"): 1}
    told = result["syscalls"]
    assert (told["denials_visible"], told["complete"]) == (True, True)
    assert told["reason"].startswith("not recorded: calls that the profile does not name")
    assert result["enforced"]["seccomp"] == "compute"


def test_calls_that_the_operator_wants_to_be_told_of_are_on_record_too(logging: Hood) -> None:
    result = run(logging, f"for _ in range(5): call({SOCKET}, 40, 1, 0)")
    assert result["status"] == "ok"
    check_on_record(logging, result, f"socket:{NATIVE}:errno", 5)


def test_a_refused_way_out_is_an_incident_although_the_call_ends_well(logging: Hood) -> None:
    result = run(logging, f"call({SOCKET}, 40, 1, 0); print(2)")
    assert result["status"] == "ok"
    listed = json.loads(logging.cli("incident", "list", "--json").stdout)
    signals = [item["signal"] for item in listed if item["tool"] == result["tool"]["name"]]
    assert signals == ["egress"]


def test_the_command_line_shows_denied_calls(logging: Hood) -> None:
    script = CALL + f"for _ in range(3): call({SOCKET}, 40, 1, 0)"
    logging.register(None, "shown", command=["python3", "-c", script])
    done = logging.cli("call", "shown", "{}")
    assert "system calls: socket (3)" in done.stderr, done.stderr


def test_a_container_cannot_tell_and_says_so(logging: Hood) -> None:
    result = On(logging, "docker").call(CALL + f"call({SOCKET}, 40, 1, 0)")
    told = result["syscalls"]
    assert (told["seen"], told["denials_visible"], told["kills_visible"]) == ([], False, True)
    assert "SECCOMP_FILTER_FLAG_LOG" in told["reason"]


MILLION = f"""
print("begun", flush=True)
for _ in range(1_000_000): call({SOCKET}, 40, 1, 0)
"""


def test_a_million_denied_calls_cost_a_bounded_amount(logging: Hood) -> None:
    """Whoever makes them stands still most of the time, so that there are never so many: what the
    kernel does for a record is charged to nobody."""
    script = CALL + MILLION
    logging.register(None, "million", command=["python3", "-c", script], limits={"timeout": "4s"})
    results: list[Mapping[str, Any]] = []
    caller = threading.Thread(target=lambda: results.append(logging.call("million")))
    caller.start()
    served = 0
    while caller.is_alive():
        served += run(logging, "print(1)")["status"] == "ok"
    caller.join()
    (result,) = results
    assert result["status"] == "timeout", "a million such calls take a second"
    assert served > 1
    count = named(result)["socket", NATIVE, "errno"]
    assert EACH_PER_SECOND < count < 500_000
    assert "denials" in [f["rule"] for f in result["findings"]]
    assert logging.alive("million") == []


GRACEFUL = f"""
import signal, sys
def leave(number, frame):
    print("heard", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
{MILLION}
"""


def test_a_tool_that_stands_still_for_its_denials_hears_that_it_must_end(logging: Hood) -> None:
    limits = {"timeout": "2s", "grace": "5s"}
    logging.register(None, "graceful", command=["python3", "-c", CALL + GRACEFUL], limits=limits)
    result = logging.call("graceful")
    assert (result["status"], result["exit_code"]) == ("timeout", 0)
    assert result["content"][0]["text"] == "begun\nheard\n"


def test_a_flood_of_kills_costs_a_bounded_amount_and_what_is_missing_is_said(hood: Hood) -> None:
    """What a flood costs is what is read of it: so many records a second, however many come."""
    script = CHILDREN.format(count=100_000, number=number("bpf"))
    result = run(hood, script, timeout="4s")
    assert result["status"] == "timeout"
    count = named(result)["bpf", NATIVE, "kill"]
    assert count > 20
    began_seconds = int(result["usage"]["wall_seconds"]) + 2  # the first, and the one of the end
    assert count <= RECORDS_PER_SECOND * began_seconds
    told = result["syscalls"]
    assert told["complete"] or told["reason"].startswith((MISSED, LATE))


def test_two_invocations_of_one_tool_at_once_are_told_apart(hood: Hood) -> None:
    """Each makes as many forbidden calls as it is told, while the other does."""
    script = f"""
import json, os, sys
for _ in range(json.load(sys.stdin)['count']):
    if os.fork() == 0: call({number("bpf")}, 0, 0, 0)
    os.wait()
"""
    hood.register(None, "twins", command=["python3", "-c", CALL + script])
    wanted = [3, 11, 20, 29, 40]
    found: dict[int, Mapping[str, Any]] = {}

    def call(count: int) -> None:
        found[count] = hood.call("twins", {"count": count})

    threads = [threading.Thread(target=call, args=(count,)) for count in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for count in wanted:
        assert named(found[count]) == {("bpf", NATIVE, "kill"): count}, found[count]["syscalls"]
    accounts = [result["enforced"]["uid"] for result in found.values()]
    assert len(set(accounts)) == len(accounts)
