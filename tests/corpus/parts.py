"""Output of several pieces: a secret of which each holds a part, and pieces of which none does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Final

from corpus.harmful import FORMS, Maker
from corpus.sample import Pieces

SEAMS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": lambda part: part,
    "lines": lambda part: f"{part}\n",
    "labels": lambda part: f"part: {part}\n",
    "json": lambda part: json.dumps({"n": 1, "part": part}),
    "prose": lambda part: f"{part}\n\n",
}
NAMES: Final[dict[str, Callable[[int], str]]] = {
    "stdout and files": lambda n: f"part{n}.txt" if n else "",
    "streams": lambda n: f"{n}.txt" if n > 1 else "",
    "files": lambda n: f"key.{n}",
}


def samples() -> Iterator[Pieces]:
    maker = Maker(20261127)
    pick = random.Random(20261127)
    forms = {**FORMS, "connection string": lambda m: f"mysql://app:{m.some(20)}@db:3306/app"}
    for form, make in forms.items():
        for seam, around in SEAMS.items():
            for place, name in NAMES.items():
                count = pick.choice((2, 2, 3, 5))
                secret = make(maker)
                step = -(-len(secret) // count)
                parts = [secret[at : at + step] for at in range(0, len(secret), step)]
                needle = max((p for p in parts if "@" not in p), key=len)
                needle = needle[needle.rfind(":") + 1 :].strip()[:30]
                pieces = tuple((name(n), around(part).encode()) for n, part in enumerate(parts))
                yield Pieces("secrets in parts", f"{form} {seam} {place}", pieces, needle)
    yield from _benign(pick)


def _benign(pick: random.Random) -> Iterator[Pieces]:
    """Whatever ends and begins next to each other."""

    def digits(count: int) -> str:
        return f"{pick.getrandbits(count * 4):0{count}x}"

    ends = [
        "done\n", "password: ", "DB_PASSWORD=\n", "token: null\n", f"commit {digits(40)}\n", "key=",
        f"{digits(64)}\n", '{"next_page_token": "' + digits(24) + '"}', "secret: false", "exit 0",
        "Enter passphrase for key: ", "see https://example.org/a", f"id: {digits(8)}-{digits(4)}",
        f"etag \"{digits(32)}\"", "100%", "-----END CERTIFICATE-----\n", "api_key = None\n", "user:",
    ]  # fmt: skip
    begins = [
        "Welcome to host42\n", "2026-11-27T10:00:01Z INFO worker-7 started\n", "HOST=db4.internal\n",
        f"{digits(32)}  a.txt\n", '{"id": "' + digits(32) + '"}', "Traceback (most recent call last):\n",
        "commit and push\n", f"{digits(12)}\n", "total 48\n", "# Notes\n", "v1.2.3-rc1+build.77\n",
        "user@host:~$ ls\n", "true\n", "-----BEGIN CERTIFICATE-----\nMIIB", "=== 3 passed ===\n",
    ]  # fmt: skip
    for end in ends:
        for begin in begins:
            for names in (("", ""), ("", "a.txt"), ("a.txt", "b.txt")):
                pieces = tuple(zip(names, (end.encode(), begin.encode()), strict=True))
                yield Pieces("pieces of output", f"{end!r} {begin!r}", pieces)
