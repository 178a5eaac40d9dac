"""Random tampering with a copy of an audit log, and a judgement of the verifier that has only
the exported public keys and the first key: `python -m support.tamper --records N --rounds N`."""

from __future__ import annotations

import argparse
import collections
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fumehood.audit.chain import AuditLog, take_first_key
from fumehood.audit.head import parse_first_key
from fumehood.audit.report import Trust
from fumehood.audit.verify import verify
from support.audit import KEYS

RECORD = {
    "invocation": "01a2002f-a269-716f-a068-95ee26d21dae",
    "tool": "echo",
    "caller": {"uid": 0, "gid": 0, "pid": 1},
    "tool_digest": "sha384:" + "0" * 96,
    "status": "ok",
    "plan": "sha384:" + "1" * 96,
}


def write(directory: Path, records: int, *, segments: int = 5) -> bytes:
    """A log of about `segments` files; its first key, which is not kept beside it."""
    size = max(records * 800 // segments, 1000)
    with AuditLog.open(directory, KEYS, segment_bytes=size) as log:
        done = 0
        while done < records:
            group = min(records - done, 1 + done % 300)
            waits = [log.append("invocation.ended", {**RECORD, "n": n}) for n in range(group)]
            for wait in waits:
                wait.result(60)
            done += group
    return parse_first_key(take_first_key(directory, KEYS))


def trust(first_key: bytes) -> Trust:
    """What an auditor elsewhere has."""
    return Trust(first_key, KEYS.public())


# --- tamperings: each changes one file, or removes or renames one


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def flip(rng: random.Random, path: Path) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def drop(rng: random.Random, path: Path) -> None:
    """One record."""
    lines = _lines(path)
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def swap(rng: random.Random, path: Path) -> None:
    """Two records change places."""
    lines = _lines(path)
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    path.write_bytes(b"".join(lines))


def repeat(rng: random.Random, path: Path) -> None:
    """A record once more, anywhere."""
    lines = _lines(path)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    path.write_bytes(b"".join(lines))


def cut(rng: random.Random, path: Path) -> None:
    """The end of a file, within a record or between two."""
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def edit(rng: random.Random, path: Path) -> None:
    """A status that somebody would like better."""
    lines = _lines(path)
    at = rng.randrange(len(lines))
    lines[at] = lines[at].replace(b'"status":"ok"', b'"status":"no"')
    path.write_bytes(b"".join(lines))


def renumber(rng: random.Random, path: Path) -> None:
    """A record goes, and those after it are counted anew."""
    lines = _lines(path)
    at = rng.randrange(len(lines))
    del lines[at]
    for number in range(at, len(lines)):
        seq, rest = lines[number].split(b",", 1)
        lines[number] = b'{"seq":%d,' % (int(seq.removeprefix(b'{"seq":')) - 1) + rest
    path.write_bytes(b"".join(lines) if lines else b"\n")


def remove(rng: random.Random, path: Path) -> None:
    """A whole segment, or its signed end."""
    signature = path.with_suffix(".sig")
    rng.choice([path, signature if signature.exists() else path]).unlink()


def forge_end(rng: random.Random, path: Path) -> None:
    """One bit of a signed end, of the head, when there is none."""
    signature = path.with_suffix(".sig")
    head = path.parent / "head"
    if signature.exists():
        flip(rng, signature)
        return
    data = bytearray(head.read_bytes())
    # What follows is what only the host can read, and check; a verifier elsewhere cannot.
    data[rng.randrange(data.index(b',"box"'))] ^= 1 << rng.randrange(8)
    head.write_bytes(data)


def rename(rng: random.Random, path: Path) -> None:
    """A segment says it begins elsewhere."""
    first = int(path.stem.removeprefix("segment-"))
    path.rename(path.with_name(f"segment-{first + rng.randrange(1, 9):016d}.jsonl"))


EXTREMES = [
    (b"9999999999999999999", None, b"999999999999999"),
    (b"9999999999999999999", b"999999999", b"0"),
    (None, None, b"999999999999999"),
    (None, b"999999999", b"999999999999999"),
    (b"0", b"0", b"0"),
]
"""Number, segment and step of a record; None: as it is."""


def extreme(rng: random.Random, path: Path) -> None:
    """A record says that it stands, or was sealed, as far away as can be written."""
    lines = _lines(path)
    put_extreme(lines, rng.randrange(len(lines)), rng.choice(EXTREMES))
    path.write_bytes(b"".join(lines))


def put_extreme(
    lines: list[bytes], at: int, numbers: tuple[bytes | None, bytes | None, bytes]
) -> None:
    seq, segment, step = numbers
    found = re.fullmatch(
        rb'\{"seq":([0-9]+),(.*"epoch":")([0-9]+)\.[0-9]+(".*)', lines[at], re.DOTALL
    )
    if found is None:
        raise ValueError("this is no record")
    lines[at] = b'{"seq":%b,%b%b.%b%b' % (
        seq or found[1], found[2], segment or found[3], step, found[4]
    )  # fmt: skip


TAMPERINGS: list[Callable[[random.Random, Path], None]] = [
    flip, drop, swap, repeat, cut, edit, renumber, remove, forge_end, rename,
    extreme,
]  # fmt: skip


def put_back(directory: Path, original: Path) -> None:
    """Make `directory` as `original`: only what differs is copied."""
    for path in directory.iterdir():
        if not (original / path.name).exists():
            path.unlink()
    for path in original.iterdir():
        target = directory / path.name
        if not _untouched(path, target):
            shutil.copy2(path, target)


def _untouched(one: Path, other: Path) -> bool:
    """Copies keep their time, and whoever writes changes it: nothing need be read."""
    if not (one.exists() and other.exists()):
        return False
    first, second = one.stat(), other.stat()
    return (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


def judge(original: Path, first_key: bytes, rounds: int, seed: int) -> list[str]:
    """Tamper `rounds` times, each with a fresh copy; what was not found out."""
    missed: list[str] = []
    kinds: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(original, Path(folder) / "copy"))
        for round_ in range(rounds):
            rng = random.Random(f"{seed}-{round_}")
            path = rng.choice(sorted(copy.glob("segment-*.jsonl")))
            tampering = TAMPERINGS[round_ % len(TAMPERINGS)]
            tampering(rng, path)
            changed = _differ(original, copy)
            report = verify(copy, trust(first_key))
            kinds[report.first_bad.kind if report.first_bad else "none"] += 1
            if report.ok and changed:
                missed.append(f"{tampering.__name__} of {path.name}, round {round_}")
            put_back(copy, original)
        if not verify(copy, trust(first_key)).ok:
            missed.append("the untouched log does not verify")
    sys.stderr.write(f"found: {dict(kinds)}\n")
    return missed


def _differ(original: Path, copy: Path) -> bool:
    names = {path.name for path in original.iterdir()} | {path.name for path in copy.iterdir()}
    return any(
        not _untouched(original / name, copy / name)
        and _bytes(original / name) != _bytes(copy / name)
        for name in names
    )


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "audit"
        first_key = write(original, options.records)
        report = verify(original, trust(first_key))
        print(f"untouched: {report.ok}, {report.records} records, {report.signed} signed ends")
        missed = judge(original, first_key, options.rounds, options.seed)
    for line in missed:
        print(f"missed: {line}")
    print(f"{options.rounds - len(missed)} of {options.rounds} tamperings found")
    return 1 if missed or not report.ok else 0


if __name__ == "__main__":
    raise SystemExit(main())
