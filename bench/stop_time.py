"""How long `fumehood stop --all` takes with sandboxes running: until everything of them is dead.

    .venv/bin/python bench/stop_time.py [--running 32] [--rounds 5] [--capture]

Measured at a client, from the request to the answer, which comes when what ran is dead and on
record; and the whole command, its own start included. As root.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "runtime"), str(ROOT / "tests")]

from fumehood.errors import Cancelled  # noqa: E402
from support.hood import Hood, eventually, hood  # noqa: E402

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def running_now(daemon: Hood) -> int:
    """Calls whose tool has begun to write."""
    with daemon.client() as client:
        return sum(item["stdout_bytes"] > 0 for item in client.invocations()["invocations"])


def one(daemon: Hood, running: int, *, capture: bool, command: bool) -> float:
    """Seconds of one stop."""
    with concurrent.futures.ThreadPoolExecutor(running) as pool:
        calls = [pool.submit(daemon.call, "sleepy") for _ in range(running)]
        eventually(lambda: running_now(daemon) == running, 60, "all run")
        with daemon.client() as client:
            begun = time.monotonic()
            if command:
                daemon.cli("stop", "--all", *(["--capture"] if capture else []), check=True)
                left = 0
            else:
                left = client.stop("all", capture=capture)["left"]
            taken = time.monotonic() - begun
        for call in calls:
            error = call.exception(60)
            if not isinstance(error, Cancelled) or left:
                raise SystemExit(f"not stopped: {error!r}, {left} left")
        if daemon.alive("sleepy"):
            raise SystemExit("something is left alive")
    daemon.cli("resume", "--all", check=True)
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--running", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--capture", action="store_true")
    options = parser.parse_args()
    if os.geteuid():
        raise SystemExit("run it as root")
    with hood() as daemon:
        limits = {"timeout": "5m"}
        daemon.register(None, "sleepy", command=["/usr/bin/python3", "-c", SLEEP], limits=limits)
        for command, where in ((False, "at the socket"), (True, "the command")):
            times = [
                one(daemon, options.running, capture=options.capture, command=command)
                for _ in range(options.rounds)
            ]
            print(
                f"{where}: {options.running} running, all dead and on record in"
                f" {statistics.median(times):.2f} s (median of {options.rounds}), at most"
                f" {max(times):.2f} s; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
