"""Whoever makes the kernel record many of its system calls stands still for it, and nobody else.

What the kernel does for a record is charged to no cgroup, so it is bounded for each sandbox,
whichever filter asked for it.
"""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fumehood.kernel import proc
from fumehood.launcher.denials import EACH_PER_SECOND
from fumehood.resources import profile_directory
from support.docker import Engine, beside_bubblewrap
from support.hood import Hood, eventually
from support.hood import hood as start
from support.on import On
from support.profiles import without

NATIVE = platform.machine()
SECCOMP, GETPID, BPF, SOCKET = {
    "x86_64": (317, 39, 321, 41),
    "aarch64": (277, 172, 280, 198),
}[NATIVE]
CALL = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); call = libc.syscall\n"
FILTER = f"""
import struct
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in (
    (0x20, 0, 0, 0), (0x15, 0, 1, {GETPID}), (6, 0, 0, 0x00050001), (6, 0, 0, 0x7FFF0000))))
program = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(code)))
libc.prctl(38, 1, 0, 0, 0)
"""
"""getpid is answered EPERM."""
FOR_SECONDS = """
import json, time
end, loops = time.monotonic() + 4, 0
print("begun", flush=True)
while time.monotonic() < end:
    for _ in range(20): {call}
    loops += 20
print(loops)
"""
KILLS = f"""
import os
def child():
    if os.fork() == 0: call({BPF}, 0, 0, 0); os._exit(0)
    os.wait()
"""
DENIED = f"call({SOCKET}, 40, 1, 0)"


@pytest.fixture(scope="module")
def logging(tmp_path_factory: pytest.TempPathFactory, docker_engine: Engine) -> Iterator[Hood]:
    """A daemon whose operator wants denied calls to be told, and who wrote a profile that lets a
    tool load filters of its own."""
    place = tmp_path_factory.mktemp("held")
    place.chmod(0o755)
    (place / "profiles").mkdir(mode=0o755)
    profile(place / "profiles" / "loose.json", allow=("seccomp",))
    (place / "profiles" / "tight.json").write_text(
        without(["mkdir", "mkdirat", "symlink", "symlinkat", "umask", "chmod", "fchmod", "chdir"])
    )
    config = {
        "accounts": {"first": 1_969_000_000, "count": 100},
        "behaviour": {"log_denials": ["*"], "denials": 1_000_000, "kill": []},
        **beside_bubblewrap(docker_engine),
    }
    with start(place, config=config) as running:
        yield running


def profile(path: Path, *, allow: tuple[str, ...]) -> None:
    """`compute`, with some calls allowed that it denies."""
    document = json.loads((Path(profile_directory()) / "compute.json").read_text())
    for rule in document["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name not in allow]
    document["syscalls"] = [rule for rule in document["syscalls"] if rule["names"]]
    document["syscalls"].append(
        {"names": list(allow), "action": "SCMP_ACT_ALLOW", "comment": "Allowed for a test."}
    )
    path.write_text(json.dumps(document))
    path.chmod(0o644)


def run(
    hood: Hood, name: str, script: str, *, seccomp: str = "compute", **limits: object
) -> Mapping[str, Any]:
    command = ["python3", "-c", CALL + script]
    hood.register(None, name, command=command, seccomp=seccomp, limits={"timeout": "20s"} | limits)
    return hood.call(name)


@pytest.fixture(params=["bubblewrap", "docker"])
def on(request: pytest.FixtureRequest, logging: Hood) -> On:
    return On(logging, request.param)


def test_no_tool_can_load_a_filter_of_its_own(on: On) -> None:
    """Whose calls would be recorded as it likes: SECCOMP_FILTER_FLAG_LOG, or SECCOMP_RET_LOG."""
    script = f"""
def error(result): return ctypes.get_errno() if result else 0
print(error(call({SECCOMP}, 1, 2, program)), error(call({SECCOMP}, 1, 0, program)),
      error(libc.prctl(22, 2, program, 0, 0)), error(libc.prctl(22, 1, 0, 0, 0)))
"""
    result = on.call(CALL + FILTER + script)
    # What no rule names dockerd (20.10) answers with EPERM, whatever the profile's default is.
    other = "1 1" if on.contained else "38 38"
    assert result["content"][0]["text"] == f"38 38 {other}\n"


@pytest.mark.parametrize("seccomp", ["tight", "strict", "network"])
def test_a_profile_that_denies_what_a_sandbox_is_set_up_with_is_logged_as_well(
    logging: Hood, seccomp: str
) -> None:
    """Those of its denials that would keep bubblewrap from its work are not."""
    if NATIVE == "x86_64" and seccomp != "strict":
        script = f"call({101}, 0, 0, 0); print(call({83}, b'/tmp/x', 7))"
        result = run(logging, f"under-{seccomp}", script, seccomp=seccomp)
        assert [(i["syscall"], i["count"]) for i in result["syscalls"]["seen"]] == [("ptrace", 1)]
        made = "-1\n" if seccomp == "tight" else "0\n"
        assert (result["status"], result["content"][0]["text"]) == ("ok", made)
    else:  # strict lets no Python start
        result = run(logging, f"under-{seccomp}", "print(1)", seccomp=seccomp)
        assert result["status"] != "engine_error", result["message"]
    assert result["syscalls"]["denials_visible"]


def together(*calls: threading.Thread) -> None:
    for call in calls:
        call.start()
    for call in calls:
        call.join()


FLOODS = {
    "denials": (FOR_SECONDS.format(call=DENIED), "compute"),
    "a filter of its own": (
        FILTER
        + f"assert call({SECCOMP}, 1, 2, program) == 0\n"
        + FOR_SECONDS.format(call=f"call({GETPID})"),
        "loose",
    ),
    "kills": (KILLS + FOR_SECONDS.format(call="child()"), "compute"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_who_makes_many_records_stands_still_and_a_bystander_does_not(
    logging: Hood, kind: str
) -> None:
    script, seccomp = FLOODS[kind]
    name = kind.replace(" ", "-")
    found: dict[str, Mapping[str, Any]] = {}

    def call(name: str, script: str, seccomp: str) -> None:
        found[name] = run(logging, name, script, seccomp=seccomp)

    few = f"for _ in range(5): {DENIED}\n"
    bystander = f"by-{name}"
    together(
        threading.Thread(target=call, args=(name, script, seccomp)),
        threading.Thread(
            target=call, args=(bystander, few + FOR_SECONDS.format(call="None"), "compute")
        ),
    )
    flood, other = found[name], found[bystander]
    assert (flood["status"], other["status"]) == ("ok", "ok")
    seconds = flood["usage"]["wall_seconds"]
    loops = int(flood["content"][0]["text"].split()[1])
    assert EACH_PER_SECOND <= loops < 10 * EACH_PER_SECOND * (seconds + 1), "far more are possible"
    assert flood["usage"]["held_seconds"] > seconds / 2
    assert "held-back" in [item["rule"] for item in flood["findings"]]
    assert sum(item["count"] for item in flood["syscalls"]["seen"]) <= loops
    assert other["usage"]["held_seconds"] == 0
    assert other["findings"] == []
    assert [item["count"] for item in other["syscalls"]["seen"]] == [5]
    assert other["syscalls"]["complete"]


def test_a_container_that_is_killed_from_stands_still_too(logging: Hood) -> None:
    result = On(logging, "docker").call(CALL + KILLS + FOR_SECONDS.format(call="child()"))
    loops = int(result["content"][0]["text"].split()[1])
    assert loops < 2 * EACH_PER_SECOND * (result["usage"]["wall_seconds"] + 1)
    assert result["usage"]["held_seconds"] > result["usage"]["wall_seconds"] / 2
    assert "held-back" in [item["rule"] for item in result["findings"]]


def test_its_cgroup_is_what_is_frozen(logging: Hood) -> None:
    command = ["python3", "-c", CALL + FOR_SECONDS.format(call=DENIED)]
    logging.register(None, "frozen", command=command, limits={"timeout": "20s"})
    caller = threading.Thread(target=logging.call, args=("frozen",))
    caller.start()
    eventually(lambda: bool(logging.alive("frozen")), 10, "it runs")

    def is_frozen() -> bool:
        return any("frozen 1" in events(pid) for pid in logging.alive("frozen"))

    eventually(is_frozen, 10, "it stands still")
    eventually(lambda: not is_frozen(), 10, "and goes on")
    caller.join()


def events(pid: int) -> str:
    """cgroup.events of the process's group in the unified hierarchy; empty once it is gone."""
    try:
        path = proc.cgroups(pid)[""].lstrip("/")
        (base,) = [m.target for m in proc.mounts("self") if m.fstype == "cgroup2"][:1]
        return (Path(base) / path / "cgroup.events").read_text()
    except (OSError, KeyError):
        return ""


GRACEFUL = f"""
import signal, sys
def leave(number, frame):
    for _ in range(300): {DENIED}
    print("heard", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
while True: {DENIED}
"""


def test_who_stands_still_hears_at_once_that_it_must_end(logging: Hood) -> None:
    """The grace is shorter than what is left of most seconds in which it stands still; and what
    it does in its grace does not stop it again. On a busy machine Python itself may need longer
    than that, so it may try again; who hears too late hears too late each time."""
    for timeout in ("1200ms", "1400ms", "1600ms"):
        name = f"graceful-{timeout}"
        result = run(logging, name, GRACEFUL, timeout=timeout, grace="300ms")
        for _ in range(4):
            if result["exit_code"] == 0:
                break
            result = logging.call(name)
        assert (result["status"], result["exit_code"]) == ("timeout", 0), result
        assert result["content"][0]["text"] == "heard\n"
        assert result["usage"]["held_seconds"] > 0


def test_who_goes_on_in_its_grace_is_killed(logging: Hood) -> None:
    script = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: {DENIED}"
    result = run(logging, "deaf", script, timeout="1s", grace="10s")
    assert result["status"] == "timeout"
    assert result["usage"]["wall_seconds"] < 8, "long before its grace is over"
