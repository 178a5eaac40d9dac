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
    yield from _named(maker)
    yield from _benign(pick)
    yield from _names(pick)


def _named(maker: Maker) -> Iterator[Pieces]:
    """Two parts of a token, of which one at least is the name of a file."""
    for form in ("github", "aws id", "stripe", "google", "gitlab", "slack"):
        for style in ("{}", "{}.txt", "{n}-{}.json", "part{n}_{}.csv", "{}-{n}.tar.gz"):
            secret = FORMS[form](maker)
            half = len(secret) * 3 // 5
            one, two = secret[:half], secret[half:]
            files = tuple((style.format(p, n=n), b"x") for n, p in enumerate((one, two), 1))
            places = {
                "two names": (("", b"done\n"), *files),
                "stdout and a name": (("", f"see {one}\n".encode()), files[1]),
                "a name and stdout": (("", f"{two}\n".encode()), files[0]),
            }
            for place, pieces in places.items():
                yield Pieces(
                    "secrets in names", f"{form} {style} {place}", pieces, max(one, two, key=len)
                )


def _names(pick: random.Random) -> Iterator[Pieces]:
    """As tools call their files."""

    def digits(count: int) -> str:
        return f"{pick.getrandbits(count * 4):0{count}x}"

    styles: dict[str, Callable[[int], str]] = {
        "numbered": lambda n: f"part-{n:04}.csv",
        "hashes": lambda n: digits(64),
        "chunks": lambda n: f"static/chunks/{n}.{digits(16)}.js",
        "objects": lambda n: f"objects/{digits(2)}/{digits(38)}",
        "modules": lambda n: f"node_modules/@babel/helper-{digits(4)}/lib/index.{n}.js",
        "photos": lambda n: f"IMG_{n:04}.JPG",
        "logs": lambda n: f"app-2026-11-{n % 28 + 1:02}T10-{n:02}.log",
        "uuids": lambda n: f"{digits(8)}-{digits(4)}-4{digits(3)}-8{digits(3)}-{digits(12)}.json",
        "wheels": lambda n: f"numpy-1.{n}.2-cp311-cp311-manylinux_2_17_x86_64.whl",
    }
    for style, name in styles.items():
        for count in (1, 2, 3, 4, 8, 16, 64):
            for out in (
                "done\n",
                "password: ",
                "DB_PASSWORD=",
                "token: null\n",
                f"commit {digits(40)}\n",
            ):
                files = tuple((name(n), b"hello there\n") for n in range(count))
                yield Pieces(
                    "names of files", f"{count} {style} {out!r}", (("", out.encode()), *files)
                )


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
