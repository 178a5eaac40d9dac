"""An ordinary user's daemon: what it cannot enforce is named and refused, or accepted by name."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hood import Hood, command_as, eventually, hood, processes_of

USER = 64_321
MISSING = ["cpu", "memory", "pids", "service_account"]


@pytest.fixture(scope="module")
def rootless() -> Iterator[Hood]:
    words = ["--accept-unenforced", ",".join(MISSING)]
    with hood(user=USER, words=words) as running:
        yield running


def test_a_host_that_cannot_enforce_is_refused_with_every_name_and_the_remedy() -> None:
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        os.chown(name, USER, USER)
        words = ["serve", "--socket", f"{name}/socket", "--state", f"{name}/state"]
        done = subprocess.run(
            command_as(USER, *words),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": name},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 6
        for control in MISSING:
            assert control in done.stderr
        assert f"--accept-unenforced {','.join(MISSING)}" in done.stderr
        assert not Path(name, "socket").exists()


def test_the_same_path_serves_an_ordinary_user(rootless: Hood) -> None:
    rootless.register(None, "who", command=["id", "-u"])
    result = rootless.call("who")
    assert result["status"] == "ok", result
    assert result["content"][0]["text"].strip() == str(USER)
    assert result["enforced"]["not_enforced"] == MISSING
    assert result["enforced"]["uid"] == USER
    assert result["usage"]["memory_peak_bytes"] is None, "nobody can tell here"


def test_what_can_be_enforced_is(rootless: Hood) -> None:
    script = """
grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status
ls /home 2>&1; cat /etc/shadow 2>&1; touch /usr/x 2>&1; unshare -U true 2>&1
head -c 16M /dev/zero > /tmp/big 2>&1 || echo full
"""
    rootless.register(None, "probe", command=["sh", "-c", script])
    text = rootless.call("probe")["content"][0]["text"]
    assert "NoNewPrivs:\t1" in text
    assert "Seccomp:\t2" in text
    assert text.count("0000000000000000") == 2
    assert text.count("No such file or directory") == 2
    assert "Read-only file system" in text
    assert "full" in text


def test_a_deadline_kills_a_daemonised_child_without_any_cgroup(rootless: Hood) -> None:
    script = "setsid sleep 77 & setsid sh -c 'sleep 77 & sleep 77' & sleep 77"
    rootless.register(None, "hider", command=["sh", "-c", script], limits={"timeout": "1s"})
    assert rootless.call("hider")["status"] == "timeout"
    eventually(lambda: not sleepers(), 2, "no child is left")


def test_kill_of_the_launcher_leaves_no_process_without_any_cgroup(rootless: Hood) -> None:
    import signal
    import threading

    rootless.register(None, "sleeper", command=["sh", "-c", "setsid sleep 77 & sleep 77"])
    ends: list[object] = []
    caller = threading.Thread(target=lambda: ends.append(rootless.call("sleeper")))
    caller.start()
    eventually(lambda: len(sleepers()) == 2, 20, "both run")
    first = rootless.launcher
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not sleepers(), 2, "no child is left")
    caller.join(30)
    assert isinstance(ends[0], dict)
    assert ends[0]["status"] == "engine_error"
    eventually(lambda: rootless.launcher not in (0, first), 10, "a new launcher serves")
    assert rootless.call("who")["status"] == "ok"


def sleepers() -> list[int]:
    found = []
    for pid in processes_of(USER):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0077\x00":
                found.append(pid)
        except OSError:
            continue
    return found
