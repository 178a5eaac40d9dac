"""What scanning costs: ours beside Kingfisher, YARA-X and detect-secrets alone, on clean and on
salted output of 1 KB, 1 MB and 100 MB.

`make bench-scan` from the repository prints the tables and puts them into docs/scanning.md. CPU
time of one thread, the best of some runs. Detect-secrets lives in `.venv-bench` (`bench-setup`)
and is measured there; what takes longer than a minute is not measured, and marked so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from fumehood.model.scan_policy import ScanSpec
from fumehood.scan import tokens
from fumehood.scan.control import ControlDetector
from fumehood.scan.detectors import built_in, searcher
from fumehood.scan.private_keys import PrivateKeysDetector
from fumehood.scan.search import Budget, Searcher
from fumehood.scan.secrets import SecretsDetector
from fumehood.scan.utf8 import Utf8Detector
from fumehood.scan.visible import is_clean

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/scanning.md"
BEGIN, END = "<!-- scan:begin -->\n", "<!-- scan:end -->"
SALT = 200
"""Secrets in one MiB."""
PATIENCE = 60.0
"""Seconds that one cell may take."""

_DETECT_SECRETS = """
import sys, time
from detect_secrets.core.scan import scan_line
from detect_secrets.settings import default_settings
data = sys.stdin.buffer.read().decode()
times, best = int(sys.argv[1]), float("inf")
with default_settings():
    list(scan_line("warm up"))
    for _ in range(3):
        began = time.process_time()
        for _ in range(times):
            for line in data.splitlines():
                list(scan_line(line))
        best = min(best, (time.process_time() - began) / times)
        if best > 5:
            break
print(best)
"""


def clean(size: int) -> bytes:
    """JSON lines in which nothing is."""
    pick, lines, length = random.Random(1), [], 0
    while length < min(size, 1 << 20):
        item = {"id": str(uuid.UUID(int=pick.getrandbits(128))), "name": "some words", "ok": True}
        lines.append(json.dumps({**item, "size": pick.randrange(10**6)}) + "\n")
        length += len(lines[-1])
    text = "".join(lines).encode()
    return (text * (size // len(text) + 1))[:size]


def salted(data: bytes, count: int) -> bytes:
    """With so many tokens in place of other bytes, each of them another one."""
    pick, result = random.Random(2), bytearray(data)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    for number in range(count):
        token = (" gh" + "p_" + "".join(pick.choice(alphabet) for _ in range(36)) + " ").encode()
        at = number * (len(data) // count)
        result[at : at + len(token)] = token
    return bytes(result[: len(data)])


def best(work: Callable[[], object], times: int) -> float:
    """Seconds of CPU for one."""
    least, until = float("inf"), time.monotonic() + PATIENCE / 4
    for _ in range(7):
        began = time.process_time()
        for _ in range(times):
            work()
        least = min(least, time.process_time() - began)
        if time.monotonic() > until:
            break
    return least / times


def detect_secrets(data: bytes, times: int) -> float | None:
    """Seconds, in its own environment; None when it is not there, or would take too long."""
    python = ROOT / ".venv-bench/bin/python"
    python = Path(os.environ.get("BENCH_PYTHON", python))
    if not python.exists() or len(data) / 60_000 > PATIENCE:
        return None
    try:
        done = subprocess.run(
            [python, "-c", _DETECT_SECRETS, str(times)], input=data, capture_output=True,
            check=True, timeout=PATIENCE * 3,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):
        return None
    return float(done.stdout)


def yara() -> Callable[[bytes], object]:
    """YARA-X with our rules for tokens, as far as its syntax has them."""
    import yara_x

    compiler = yara_x.Compiler()
    for number, rule in enumerate(tokens.RULES):
        pattern = re.sub(r"\(\?P<\w+>", "(", rule.pattern).replace("(?i)", "").replace("/", r"\/")
        flags = "i" if "(?i)" in rule.pattern else ""
        try:
            compiler.add_source(
                f"rule r{number} {{ strings: $a = /{pattern}/{flags} condition: $a }}"
            )
        except yara_x.CompileError:
            continue
    scanner = yara_x.Scanner(compiler.build())
    return scanner.scan


def cell(seconds: float | None, size: int) -> str:
    if seconds is None:
        return "not measured"
    shown = f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
    if seconds >= 10:
        shown = f"{seconds:.0f} s"
    rate = size / seconds / 1e6
    return f"{shown}, {rate:.0f} MB/s" if rate >= 1 else f"{shown}, {rate:.2f} MB/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="leave docs/scanning.md as it is")
    only = parser.parse_args()
    cache = Path.home() / ".cache" / "fumehood"
    cache.mkdir(parents=True, exist_ok=True)
    ours, alone, by_yara = searcher(cache, ScanSpec()), SecretsDetector(cache), yara()
    wanted = _wanted(cache)
    alone.load()
    rows = [
        "| output | ours, all of it | secrets, hidden text, injection | Kingfisher alone | YARA-X alone | detect-secrets |",  # noqa: E501
        "|---|---|---|---|---|---|",
    ]
    for name, size, times in (("1 KB", 1024, 500), ("1 MB", 1 << 20, 1), ("100 MB", 100 << 20, 1)):
        for kind in ("clean", "salted"):
            data = clean(size)
            if kind == "salted":
                data = salted(data, SALT if size >= 1 << 20 else 2)
            cells = [
                cell(best(lambda data=data: find(ours, data), times), size),
                cell(
                    best(lambda data=data: wanted.find(data, Budget(600), clean=True), times), size
                ),
                cell(best(lambda data=data: alone._find(data, 600), times), size),
                cell(best(lambda data=data: by_yara(data), max(1, times // 10)), size),
                cell(detect_secrets(data, max(1, times // 50)), size),
            ]
            rows.append(f"| {name}, {kind} | {' | '.join(cells)} |")
            print(rows[-1], file=sys.stderr)
    text = "\n".join((*rows, "", _where())) + "\n"
    print(text)
    if not only.print:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}{text}{END}{rest.partition(END)[2]}")


def find(search: Searcher, data: bytes) -> object:
    """As the pipeline does: first whether anything is hidden."""
    return search.find(data, Budget(600), clean=is_clean(data))


def _wanted(cache: Path) -> Searcher:
    """Secrets, hidden text and injection by all that finds them, in every view and what is
    decoded: the product's own searcher without personal data, payloads and droppers."""
    chunked = [d for d in built_in(cache, ScanSpec()) if d.name not in ("personal", "droppers")]
    for detector in chunked:
        detector.load()
    return Searcher(chunked, [PrivateKeysDetector()], [ControlDetector(), Utf8Detector()])


def _where() -> str:
    load = os.getloadavg()[0]
    cores = os.cpu_count()
    return (
        f"CPU time of one thread on a machine of {cores} cores, load {load:.0f}; {SALT} secrets in "
        "each salted output of 1 MB and more, 2 in 1 KB. YARA-X has our rules for tokens, "
        "detect-secrets its default plugins, and is not measured where it would take more than "
        f"{PATIENCE:.0f} s."
    )


if __name__ == "__main__":
    main()
