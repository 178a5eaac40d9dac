"""One competitor in a process of its own: what others import, fork or leak costs it nothing.

    python -m bench.worker      reads {"factory":…, "work":…, "place":…, "options":…}, then counts

Each line on stdin is how many calls to make in a row; each answer their seconds. It times itself,
so that how it is told to go costs nothing either.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from typing import Any

from bench.peers.base import Peer, PeerUnavailable, Place, Work


def main() -> int:
    # A library that prints must not answer in our name.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")

    order = json.loads(sys.stdin.readline())
    work = Work.from_json(order["work"])
    module, _, name = order["factory"].partition(":")
    try:
        kind = getattr(importlib.import_module(f"bench.peers.{module}"), name)
        peer: Peer = kind(work, Place(**order["place"]), order["options"])
        work.check(peer.call())
    except PeerUnavailable as why:
        say({"unavailable": str(why)})
        return 0
    except Exception as error:  # noqa: BLE001  (recorded in the table)
        say({"unavailable": f"its first call failed: {type(error).__name__}: {error}"})
        return 0
    say({"ready": True})
    gc.collect()
    gc.freeze()
    gc.disable()
    for line in sys.stdin:
        say(_calls(peer, work, int(line)))
        gc.collect(0)
    peer.close()
    return 0


def _calls(peer: Peer, work: Work, count: int) -> dict[str, Any]:
    seconds, failures = [], []
    for _ in range(count):
        begin = time.perf_counter()
        try:
            output = peer.call()
            took = time.perf_counter() - begin
            work.check(output)
            seconds.append(took)  # only of a right answer
        except Exception as error:  # noqa: BLE001  (recorded in the table)
            failures.append(f"{type(error).__name__}: {error}"[:300])
    return {"seconds": seconds, "failures": failures}


if __name__ == "__main__":
    sys.exit(main())
