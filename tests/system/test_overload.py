"""More callers than the host has room for: everybody is answered, nobody is starved."""

from __future__ import annotations

import contextlib
import grp
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

import fumehood
from support.hood import eventually, hood
from support.ledger import Ledger
from support.load import Pipeline, flat_memory

ACCOUNTS = {"first": 1_958_000_000, "count": 100}
OTHER_UID = 54_321
HUNGRY_MIB = 64
CALLERS = 200
CALL_ONCE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from fumehood.client import Client
began = time.monotonic()
with Client.connect(Path(sys.argv[2])) as client:
    result = client.call(sys.argv[3], {}, timeout=60)
print(json.dumps({"status": result["status"], "seconds": time.monotonic() - began}))
"""


def call_as(uid: int, path: Path, tool: str) -> dict[str, object]:
    """One call by another caller."""
    package = str(Path(fumehood.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-I", "-c", CALL_ONCE, package, str(path), tool],
        capture_output=True, text=True, timeout=90, check=True,
        user=uid, group=grp.getgrnam("fumehood").gr_gid, extra_groups=[],
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def test_a_thousand_waiting_calls_of_one_caller_do_not_starve_anothers_one() -> None:
    config = {
        "accounts": ACCOUNTS,
        "callers": {"users": [0, OTHER_UID]},
        "sandboxes": 2,
        "queue": 1_000,
        "queue_timeout": "10m",
        "per_caller": 2_000,
        "in_flight_per_connection": 2_000,
    }
    with hood(config=config) as running:
        running.register(None, "nap", command=["sleep", "1"])
        with Pipeline(running.socket) as greedy:
            greedy.send("nap", 1_200)
            eventually(lambda: int(running.status()["waiting"]) >= 900, 30, "they wait")
            other = call_as(OTHER_UID, running.socket, "nap")
            assert other["status"] == "ok"
            # It waits for a slot to become free, and not for the calls before it.
            assert int(running.status()["waiting"]) > 500, "it was answered behind the others"
            refused = [a for a in greedy.answers(2) if a["status"] == "rejected"]
            assert int(running.status()["waiting"]) > 500, "refused while the others still wait"
        assert len(refused) >= 50, "what does not fit into the queue is refused at once"
        assert all(answer["retry_after"] > 0 for answer in refused)
        assert all("queue of 1000" in answer["message"] for answer in refused)
        eventually(lambda: int(running.status()["waiting"]) == 0, 30, "closing cancels the rest")
        eventually(lambda: int(running.status()["running"]) == 0, 30, "and kills what runs")
        assert running.stop() == 0
        ledger = Ledger.of(running.state)
        ledger.check()
        assert sum(ledger.ended.values()) == 1_201


def test_a_stop_refuses_a_thousand_waiting_calls_and_records_each() -> None:
    config = {
        "accounts": ACCOUNTS,
        "sandboxes": 2,
        "queue": 1_000,
        "queue_timeout": "10m",
        "per_caller": 2_000,
        "in_flight_per_connection": 2_000,
        "shutdown": {"grace": "1s"},
    }
    with hood(config=config) as running:
        running.register(None, "nap", command=["sleep", "60"], limits={"timeout": "2m"})
        with Pipeline(running.socket) as caller:
            caller.send("nap", 1_000)
            # All of them: one that arrives while it stops is refused at the door, and only counted.
            eventually(lambda: int(running.status()["waiting"]) == 999, 30, "they wait")
            running.process.send_signal(signal.SIGTERM)
            found = Counter(answer["status"] for answer in caller.answers(60))
            assert caller.waiting == 0, "somebody waits in silence"
        assert running.process.wait(60) == 0, "it ended in order, not killed by its keeper"
        assert found["rejected"] == 999, "a place of the two is left to others"
        ledger = Ledger.of(running.state)
        ledger.check()
        assert Counter(ledger.statuses.values()) == {"rejected": 999, "cancelled": 1}


def test_a_caller_whose_calls_run_long_leaves_a_place_for_another() -> None:
    config = {
        "accounts": ACCOUNTS,
        "callers": {"users": [0, OTHER_UID]},
        "sandboxes": 4,
        "warm": 0,
        "queue_timeout": "10m",
    }
    with hood(config=config) as running:
        running.register(None, "long", command=["sleep", "300"], limits={"timeout": "5m"})
        running.register(None, "quick", command=["echo", "quick"])
        with Pipeline(running.socket) as greedy:
            greedy.send("long", 12)
            eventually(lambda: int(running.status()["waiting"]) == 9, 30, "all but its share wait")
            assert call_as(OTHER_UID, running.socket, "quick")["status"] == "ok"
            status = running.status()
            assert (int(status["running"]), int(status["waiting"])) == (3, 9)


def test_two_hundred_hungry_callers_are_all_answered_and_the_host_stays_responsive() -> None:
    # As on a host of about 1 GiB: what sandboxes may hold together is a part of this one's memory.
    whole = psutil.virtual_memory().total
    percent = max(1, round(100 * (512 << 20) / whole))
    budget = whole * percent // 100
    config = {
        "accounts": ACCOUNTS,
        "queue_timeout": "10m",
        "per_caller": 300,
        "connections": 2 * CALLERS + 8,  # an account alone gets half of them
        "pressure": {"memory_commit": percent},
    }
    script = f"head -c {HUNGRY_MIB - 16}M /dev/zero | tail -c 1 | wc -c"
    looks = 0
    statuses: list[str] = []
    with hood(config=config) as running:
        running.register(
            None,
            "hungry",
            command=["sh", "-c", script.replace("tail -c 1", f"tail -c {HUNGRY_MIB - 20}M")],
            limits={"memory": f"{HUNGRY_MIB}MiB", "timeout": "60s"},
        )
        running.register(
            None,
            "insatiable",
            command=[
                "sh",
                "-c",
                script.replace("tail -c 1", f"tail -c {4 * HUNGRY_MIB}M").replace(
                    f"{HUNGRY_MIB - 16}M", f"{8 * HUNGRY_MIB}M"
                ),
            ],
            limits={"memory": f"{HUNGRY_MIB}MiB", "timeout": "60s"},
        )
        with contextlib.ExitStack() as stack, running.client() as watcher:
            callers = [stack.enter_context(Pipeline(running.socket)) for _ in range(CALLERS)]
            for number, caller in enumerate(callers):
                caller.send("insatiable" if number % 4 == 0 else "hungry", 1)
            deadline = time.monotonic() + 240
            while waiting := [caller for caller in callers if caller.waiting]:
                assert time.monotonic() < deadline, f"{len(waiting)} callers have no answer"
                for caller in waiting[:50]:
                    statuses += [answer["status"] for answer in caller.answers(0.01)]
                status = watcher.status()
                looks += int(status["running"]) > 0
                assert int(status["running"]) * (HUNGRY_MIB << 20) <= budget
    assert Counter(statuses) == {"ok": CALLERS * 3 // 4, "memory_exceeded": CALLERS // 4}
    assert looks >= 5, "the supervisor answers others while all that may run does"


def test_calls_of_one_tool_beyond_its_limit_wait_and_others_pass() -> None:
    with hood(config={"accounts": ACCOUNTS, "per_tool": 1, "warm": 0}) as running:
        running.register(None, "slow", command=["sleep", "5"])
        running.register(None, "quick", command=["echo", "quick"])
        with Pipeline(running.socket) as callers:
            callers.send("slow", 3)
            eventually(lambda: int(running.status()["waiting"]) == 2, 20, "two wait")
            assert running.call("quick")["status"] == "ok"
            assert int(running.status()["waiting"]) == 2


def test_a_host_that_is_short_refuses_at_once_and_says_when() -> None:
    with hood(config={"accounts": ACCOUNTS, "pressure": {"memory_free": 100}}) as running:
        result = running.call("whatever")
        assert result["status"] == "rejected"
        assert "short of memory" in result["message"]
        assert result["retry_after"] > 0
        assert running.status()["refusing"].startswith("memory: ")


def test_memory_of_the_supervisor_is_flat() -> None:
    """The long version, 10,000 calls, runs in `make soak`."""
    with hood(config={"accounts": ACCOUNTS}) as running:
        flat_memory(running, 100, first=32, every=4)  # a leak of half an output a call would show
