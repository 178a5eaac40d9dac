"""Good, hostile and cancelled calls, random kills, and the ledger checked at the end.

    python -m support.soak --minutes 5 [--seed N]      (from tests/, as root; `make soak` does it)

A failure prints the seed. A short version runs with the other tests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fumehood.errors import FumehoodError
from fumehood.kernel import proc
from support.hood import Hood, cgroups, eventually, hood, processes_of
from support.ledger import Ledger
from support.load import flat_memory

ACCOUNTS = (1_961_000_000, 100)
CONFIG: dict[str, object] = {
    "accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]},
    "sandboxes": 8,
    "queue": 16,
    "warm": 4,
    "shutdown": {"grace": "500ms"},
}
PYTHON = {
    "good": "import sys; print(sys.stdin.read())",
    "failing": "raise SystemExit(3)",
    "memory": "x = [b'x' * 1_000_000 for _ in range(1000)]",
    "flood": "while True: print('x' * 10_000)",
    "stubborn": (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    ),
    "daemonised": (
        "import os, time\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        time.sleep(60)\n"
        "print('left five behind')"
    ),
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "stopped": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
}
SHELL = {"quick": ["echo", "quick"], "slow": ["sleep", "3"]}
TOOLS = [*PYTHON, *SHELL]
WEIGHTS = [6 if name in ("good", "quick", "slow") else 1 for name in TOOLS]


@dataclass
class Tally:
    """What the callers saw. answered: status by invocation."""

    answered: dict[str, str] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Soak:
    """Callers in threads; the main thread kills and starts again."""

    def __init__(self, place: Path, seed: int, callers: int = 8) -> None:
        self.tally = Tally()
        self._place = place
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._running: Hood | None = None
        self._registered = False
        self._entries: set[str] = set()
        """What lies beside the state while a daemon runs in it."""
        self._lock = threading.Lock()
        self._callers = [
            threading.Thread(target=self._call_on, args=(random.Random(seed + n),))
            for n in range(1, callers + 1)
        ]

    def run(self, seconds: float) -> None:
        """Seconds that daemons live in all; their starts come on top."""
        for caller in self._callers:
            caller.start()
        try:
            while seconds > 0:
                seconds -= self._one_life(seconds)
        finally:
            self._over.set()
            for caller in self._callers:
                caller.join(60)
        if any(caller.is_alive() for caller in self._callers):
            self.tally.problems.append("a caller waits in silence")
        self._check()

    def _register(self, running: Hood) -> None:
        limits = {"timeout": "5s", "memory": "64MiB", "pids": 16, "output": "256KiB"}
        for name, code in PYTHON.items():
            running.register(None, name, command=["python3", "-c", code], limits=limits)
        for name, argv in SHELL.items():
            running.register(None, name, command=argv, limits=limits)

    def _one_life(self, most: float) -> float:
        """A daemon from its start to its end, however that comes; how long it lived."""
        with hood(self._place, config=CONFIG) as running:
            if not self._registered:
                self._register(running)
                self._registered = True
                self._entries = {entry.name for entry in self._place.iterdir()}
            began = time.monotonic()
            instances = {running.instance}
            self._running = running
            try:
                while time.monotonic() - began < most and running.process.poll() is None:
                    self._over.wait(self._random.uniform(1, 4))
                    if self._act(running):
                        break
                    with contextlib.suppress(FumehoodError, OSError, AssertionError):
                        instances.add(running.instance)
            finally:
                self._running = None
            lived = time.monotonic() - began
            if running.process.poll() is None:
                running.stop(60)
        if left := processes_of(*ACCOUNTS):
            self.tally.problems.append(f"processes are left: {left}")
        for instance in instances:
            if found := cgroups(instance):
                self.tally.problems.append(f"cgroups are left: {found}")
        return lived

    def _act(self, running: Hood) -> bool:
        """Something bad; whether it ends the daemon."""
        act = self._random.choice(["launcher", "launcher", "supervisor", "stop", "nothing"])
        self.tally.acts[act] += 1
        with contextlib.suppress(FumehoodError, OSError, StopIteration):
            if act == "launcher":
                os.kill(running.launcher, signal.SIGKILL)
            elif act == "supervisor":
                os.kill(running.supervisor, signal.SIGKILL)
                running.process.wait(60)
            elif act == "stop":
                running.stop(60)
        return act in ("supervisor", "stop")

    def _call_on(self, random: random.Random) -> None:
        while not self._over.is_set():
            running = self._running
            if running is None:
                self._over.wait(0.05)
                continue
            tool = random.choices(TOOLS, WEIGHTS)[0]
            patience = random.choice([0.2, 1.0, 30.0, 30.0])
            try:
                with running.client() as client:
                    result = client.call(tool, {"n": random.random()}, timeout=patience)
            except FumehoodError as error:
                with self._lock:
                    self.tally.ends[type(error).__name__] += 1
                if error.code == "daemon_unreachable":
                    self._over.wait(0.1)
            else:
                self._note(tool, result)

    def _note(self, tool: str, result: dict[str, Any]) -> None:
        status = result["status"]
        with self._lock:
            self.tally.ends[f"{tool}: {status}"] += 1
            if result["invocation"] in self.tally.answered:
                self.tally.problems.append(f"{result['invocation']} was answered twice")
            if status != "rejected":
                self.tally.answered[result["invocation"]] = status

    def _check_leases(self, running: Hood) -> None:
        """As many sandboxes of one tool as there may be still find an account of their own each."""
        most = int(str(CONFIG["sandboxes"])) - 1  # one place is left to other callers
        accounts: list[int] = []

        def call() -> None:
            result = running.call("slow")
            assert result["status"] == "ok", result
            accounts.append(result["enforced"]["uid"])

        callers = [threading.Thread(target=call) for _ in range(most)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
        assert len(accounts) == len(set(accounts)) == most, accounts

    def _mounts(self) -> list[str]:
        """What is mounted where this daemon has its files, as the host sees it."""
        return [mount.target for mount in proc.mounts("self") if str(self._place) in mount.target]

    def _check(self) -> None:
        """One more start settles what the last kill cut short."""
        with hood(self._place, config=CONFIG) as running:
            assert running.cli("audit", "verify").returncode == 0
            instance = running.instance
            eventually(lambda: int(running.status()["running"]) == 0, 10, "nothing runs")
            self._check_leases(running)
            assert running.stop() == 0
        assert not self._mounts(), "mounts are left"
        left = {entry.name for entry in self._place.iterdir()} - self._entries
        assert not left, f"files are left beside the state: {left}"
        assert not cgroups(instance)
        assert not processes_of(*ACCOUNTS)
        ledger = Ledger.of(self._place / "state")
        ledger.check()
        wrong = {
            name: (status, ledger.statuses.get(name))
            for name, status in self.tally.answered.items()
            if ledger.statuses.get(name) != status
        }
        assert not wrong, f"answered otherwise than recorded: {wrong}"
        assert not self.tally.problems, self.tally.problems


def soak(seconds: float, seed: int) -> Tally:
    """Run for about so long; raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        place = Path(name)
        place.chmod(0o755)
        work = Soak(place, seed)
        work.run(seconds)
        return work.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--flat-calls", type=int, default=10_000)
    options = parser.parse_args()
    if options.minutes:
        print(f"seed {options.seed}", flush=True)
        tally = soak(options.minutes * 60, options.seed)
        print(f"acts {dict(tally.acts)}\nends {dict(tally.ends)}")
        print(f"{len(tally.answered)} answers, each recorded once", flush=True)
    if options.flat_calls:
        flat(options.flat_calls)


def flat(calls: int) -> None:
    """Calls of 1 MB each, and the supervisor's RSS after every hundredth; raises AssertionError."""

    def told(done: int, size: int) -> None:
        if done % 500 == 0:
            print(f"{done} calls: RSS {size >> 10} KiB", flush=True)

    with hood(config=CONFIG) as running:
        found = flat_memory(running, calls, first=max(calls // 10, 1), told=told)
        running.stop(60)
        ledger = Ledger.of(running.state)
        ledger.check()
        assert sum(ledger.ended.values()) == calls
    print(
        f"{calls} calls of 1 MB in {found.seconds:.0f} s: RSS {found.stood >> 10} KiB after the"
        f" first {max(calls // 10, 1)}, {found.most >> 10} at the most since, {found.stands >> 10}"
        f" at the end ({100 * (found.stands / found.stood - 1):+.1f} %);"
        f" {found.descriptors[0]} descriptors, then {found.descriptors[1]}"
    )


if __name__ == "__main__":
    sys.exit(main())
