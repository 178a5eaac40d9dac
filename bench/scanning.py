"""What scanning costs: ours beside Kingfisher alone, on clean and on salted output.

`.venv/bin/python -m bench.scanning`, from the repository; CPU time, the best of five runs.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.detectors import searcher
from fumehood.scan.search import Budget
from fumehood.scan.secrets import SecretsDetector

ROUNDS = 5
SALT = 200
"""Secrets in one MiB."""


def clean(size: int) -> bytes:
    """JSON lines in which nothing is."""
    pick, lines, length = random.Random(1), [], 0
    while length < size:
        item = {"id": str(uuid.UUID(int=pick.getrandbits(128))), "name": "some words", "ok": True}
        lines.append(json.dumps({**item, "size": pick.randrange(10**6)}) + "\n")
        length += len(lines[-1])
    return "".join(lines).encode()[:size]


def salted(data: bytes) -> bytes:
    pick, result = random.Random(2), bytearray(data)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    for number in range(SALT):
        token = (" gh" + "p_" + "".join(pick.choice(alphabet) for _ in range(36)) + " ").encode()
        at = number * (len(data) // SALT)
        result[at : at + len(token)] = token
    return bytes(result)


def best(work: Callable[[], object], times: int) -> float:
    """Seconds of CPU for one."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            work()
        least = min(least, time.process_time() - began)
    return least / times


def main() -> None:
    cache = Path.home() / ".cache" / "fumehood"
    cache.mkdir(parents=True, exist_ok=True)
    ours, alone = searcher(cache, ScanSpec()), SecretsDetector(cache)
    alone.load()
    large = clean(1 << 20)
    print("| output | ours | | Kingfisher alone | |\n|---|---|---|---|---|")
    for name, data, times in (
        ("1 KB", clean(1024), 500), ("1 MiB", large, 1), ("1 MiB, 200 secrets", salted(large), 1),
    ):  # fmt: skip
        cells = []
        for work in (
            lambda data=data: ours.find(data, Budget(60), clean=True),
            lambda data=data: alone.find(data, seconds=60),
        ):
            seconds = best(work, times)
            cells += [f"{seconds * 1e3:.2f} ms", f"{len(data) / seconds / 1e6:.0f} MB/s"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
