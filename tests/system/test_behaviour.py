"""Abnormal behaviour at the front door: named while it runs, ended where the operator wants it,
and told afterwards against what is usual."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.docker import Engine, beside_bubblewrap
from support.hood import Hood, eventually, hood
from support.on import On

SAMPLES = 5
CONFIG: dict[str, object] = {
    "accounts": {"first": 1_952_000_000, "count": 100},
    "behaviour": {
        "samples": SAMPLES,
        "spinning": "2s",
        "fork_storm": 20,
        "denials": 16,
        "output_flood": "64KiB",
        "kill": ["fork_storm", "denials", "output_flood"],
    },
}
SPIN = "import time\nwhile time.process_time() < 1.2: pass"
WRITING = """
import time
last = 0.0
while (used := time.process_time()) < 0.8:
    if used > last + 0.01: print(flush=True); last = used
"""
STORM = """
import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(60)
    except BlockingIOError: pass
"""
DENIED = """
import ctypes, os, platform
number = {"x86_64": 321, "aarch64": 280}[platform.machine()]  # bpf
while True:
    if os.fork() == 0: ctypes.CDLL(None).syscall(number, 0, 0, 0)
    os.wait()
"""
FLOOD = """
import os, time
while True:
    os.write(1, b"x" * 60_000)
    time.sleep(0.2)
"""
VARIES = """
import json, sys
asked = json.load(sys.stdin)
data = b"x" * (asked.get("mib", 0) << 20)
print("x" * asked.get("bytes", 0))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("behaviour")
    for path in (found, *found.parents):
        if path.is_relative_to("/tmp/pytest-of-root"):
            path.chmod(0o755)
    return found


@pytest.fixture(scope="module")
def watched(place: Path, docker_engine: Engine) -> Iterator[Hood]:
    engines = beside_bubblewrap(docker_engine)
    with hood(place, config=CONFIG | engines) as running:
        yield running


@pytest.fixture(params=["bubblewrap", "docker"])
def on(request: pytest.FixtureRequest, watched: Hood) -> On:
    return On(watched, request.param)


def behaviour(result: Mapping[str, Any]) -> dict[str, str]:
    return {f["rule"]: f["message"] for f in result["findings"] if f["kind"] == "behaviour"}


def test_spinning_is_named_while_it_runs_and_told_at_the_end(on: On) -> None:
    results: list[Mapping[str, Any]] = []
    # A fifth of a core, which even a busy host can give.
    caller = threading.Thread(
        target=lambda: results.append(on.call(SPIN, cpu=0.2, timeout="60s")), daemon=True
    )
    caller.start()
    with on.hood.client() as client:
        eventually(
            lambda: [i["signs"] for i in client.invocations()["invocations"]] == [["spinning"]],
            40, "it is named while it runs",
        )  # fmt: skip
    caller.join(60)
    (result,) = results
    assert (result["status"], result["breach"]) == ("ok", None), "only told: kill does not name it"
    assert "and nothing written" in behaviour(result)["spinning"]
    assert '"sign": "spinning"' in on.hood.log.read_text()


def test_a_busy_tool_that_writes_does_not_spin(on: On) -> None:
    result = on.call(WRITING, cpu=0.2, timeout="60s")
    assert (result["status"], behaviour(result)) == ("ok", {}), result["message"]


@pytest.mark.parametrize(
    ("sign", "script", "status"),
    [
        ("fork_storm", STORM, "tool_error"),
        ("denials", DENIED, "syscall_killed"),
        ("output_flood", FLOOD, "output_exceeded"),
    ],
    ids=["fork_storm", "denials", "output_flood"],
)
def test_what_the_operator_does_not_bear_ends_the_call(
    on: On, sign: str, script: str, status: str
) -> None:
    result = on.call(script, timeout="60s", output="16MiB")
    assert result["status"] == status, result["message"]
    assert result["breach"]["control"] == sign
    assert result["breach"]["observed"] >= result["breach"]["limit"]
    assert f"stopped for its behaviour ({sign.replace('_', ' ')})" in result["message"]
    assert on.hood.alive(on.script(script, timeout="60s", output="16MiB")) == []


def test_spinning_is_ended_where_the_operator_says_so(docker_engine: Engine) -> None:
    engines = beside_bubblewrap(docker_engine)
    behaviour = {"spinning": "2s", "kill": ["spinning"]}
    with hood(config=CONFIG | engines | {"behaviour": behaviour}) as running:
        for engine in ("bubblewrap", "docker"):
            result = On(running, engine).call("while True: pass", cpu=0.2, timeout="60s")
            assert (result["status"], result["breach"]["control"]) == ("timeout", "spinning")


def test_what_is_unusual_for_a_version_is_told_with_numbers_also_after_a_restart(
    place: Path,
) -> None:
    place = place / "learning"
    place.mkdir()
    place.chmod(0o755)
    manifest: dict[str, Any] = {
        "command": ["python3", "-c", VARIES],
        "limits": {"memory": "128MiB"},
    }
    with hood(place, config=CONFIG) as running:
        running.register(None, "varies", **manifest)
        early = running.call("varies", {"mib": 60})
        assert behaviour(early) == {}, "nothing is usual yet"
        for _ in range(SAMPLES - 1):
            assert "unusual-memory" not in behaviour(running.call("varies", {}))
        assert running.stop() == 0
    with hood(place, config=CONFIG) as running:
        found = behaviour(running.call("varies", {"mib": 60, "bytes": 200_000}))
        assert found["unusual-memory"].startswith("its memory peak was 6")
        assert f"(median of {SAMPLES} calls of this version)" in found["unusual-memory"]
        assert "unusual-output" in found
        shown = running.cli("tool", "show", "varies").stdout
        assert f"usual for {SAMPLES + 1} calls" in shown
        # Another version is another tool.
        running.register(None, "varies", version="1.0.1", **manifest)
        assert behaviour(running.call("varies", {"mib": 60})) == {}
