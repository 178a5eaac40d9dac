"""Random tampering with a copy of an audit log, and a judgement of the verifier that has only
the exported public keys and the first key: `python -m support.tamper --records N --rounds N`."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import random
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from fumehood.audit.chain import AuditLog
from fumehood.audit.first_key import take_first_key
from fumehood.audit.folder import list_segments
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


ROOM = 1024
"""For the record of a removal, which is in the log itself."""

EARLIER = "earlier"
"""Folder beside a log: bases, heads and segments as they were, each in a file of its old name."""


def write(directory: Path, records: int, *, segments: int = 5, pruned: int = 2) -> bytes:
    """A log of `records` records in about `segments` files, behind `pruned` that retention took;
    its first key, which is not kept beside it. What there was meanwhile is kept in `EARLIER`."""
    size = max(records * 800 // segments, 1000)
    earlier = directory.with_name(EARLIER)
    earlier.mkdir()
    most = min(300, max(2, records // 40))
    with AuditLog.open(directory, KEYS, segment_bytes=size) as log:
        done = 0
        while (left := records - pruned - _behind(directory, pruned, done)) > 0:
            group = min(left, 1 + done % most)
            waits = [log.append("invocation.ended", {**RECORD, "n": n}) for n in range(group)]
            for wait in waits:
                wait.result(60)
            done += group
            keep_state(directory, earlier, size)
    for number in range(pruned):
        sizes = [path.stat().st_size for path in sorted(directory.glob("segment-*.jsonl"))]
        keep = sum(sizes[1:]) + ROOM
        with AuditLog.open(directory, KEYS, segment_bytes=2 * size, keep_bytes=keep) as log:
            assert log.prune(before="") == 1
        shutil.copy2(directory / "base", earlier / f"base.{number}")
    for path in earlier.glob("segment-*"):
        if not (directory / path.name.rpartition(".")[0]).exists():
            path.unlink()
    return parse_first_key(take_first_key(directory, KEYS))


def _behind(directory: Path, pruned: int, done: int) -> int:
    """How many of the records written stand behind the first segments, which will go."""
    segments = list_segments(directory)
    return done - segments[pruned].first + 1 if len(segments) > pruned else 0


def keep_state(directory: Path, earlier: Path, size: int) -> None:
    """Once for each segment, when it is half full: the segment, and the head."""
    newest = max(directory.glob("segment-*.jsonl"))
    reached = size // 2 < newest.stat().st_size < size
    if reached and not (earlier / f"{newest.name}.0").exists():
        shutil.copy2(newest, earlier / f"{newest.name}.0")
        shutil.copy2(directory / "head", earlier / f"head.{newest.stem}")


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
    at = rng.choice([at for at, line in enumerate(lines) if b'"status":"ok"' in line])
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


def special(rng: random.Random, path: Path) -> None:
    """A file of the log makes room for a pipe, a link to itself elsewhere, a folder or a device."""
    beside = [path.parent / "head", path.parent / "base", path.with_suffix(".sig")]
    target = rng.choice([path, *(one for one in beside if one.exists())])
    how = rng.randrange(4)
    if how == 1:
        away = path.parent / "kept-elsewhere"
        target.rename(away)
        target.symlink_to(away.name)
        return
    target.unlink()
    if how == 0:
        os.mkfifo(target)
    elif how == 2:
        target.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            target.with_name("s").unlink(missing_ok=True)
            sock.bind(str(target.with_name("s")))
        target.with_name("s").rename(target)


def stray(rng: random.Random, path: Path) -> None:
    """A file that only looks like one of the log, or a copy of a segment under another number."""
    first = int(path.stem.removeprefix("segment-"))
    name = rng.choice([
        "segment-0000000000000000.jsonl", f"segment-{first}.jsonl", f"{path.name}.bak",
        f"segment-{first + 1:016d}.sig", f"segment-{first + 1:016d}.jsonl",
        f"segment-{first + rng.randrange(1, 10**9):016d}.jsonl", f"segment-{1:016d}.jsonl",
    ])  # fmt: skip
    if path.with_name(name).exists():
        name += "x"
    if rng.random() < 0.5:
        path.with_name(name).touch()
    else:
        shutil.copy2(path, path.with_name(name))


TAMPERINGS: list[Callable[[random.Random, Path], None]] = [
    flip, drop, swap, repeat, cut, edit, renumber, remove, forge_end, rename,
    extreme, special, stray,
]  # fmt: skip


# --- with something that the log was once, so only beside a log of `write`


def _earlier(path: Path, pattern: str) -> list[Path]:
    return sorted((path.parent.parent / EARLIER).glob(pattern))


def base(rng: random.Random, path: Path) -> None:
    """The tombstone of what retention removed goes, or makes room for an earlier or forged one."""
    target = path.parent / "base"
    how = rng.randrange(3)
    if how == 0:
        target.unlink()
    elif how == 1:
        shutil.copy2(_earlier(path, "base.*")[0], target)
    else:
        flip(rng, target)


def head_back(rng: random.Random, path: Path) -> None:
    """The head of the time when an earlier segment was written; all of the log stays."""
    newest = max(path.parent.glob("segment-*.jsonl")).stem
    heads = [head for head in _earlier(path, "head.*") if head.suffix != f".{newest}"]
    shutil.copy2(rng.choice(heads), path.parent / "head")


def segment_back(rng: random.Random, path: Path) -> None:
    """A segment as it was when it was half full, with its signed end or without."""
    kept = _earlier(path, f"{path.name}.0")
    if not kept:  # the newest may not have been half full
        path = path.with_name(_earlier(path, "segment-*")[0].name.removesuffix(".0"))
        kept = _earlier(path, f"{path.name}.0")
    shutil.copy2(kept[0], path)
    if rng.random() < 0.5:
        path.with_suffix(".sig").unlink(missing_ok=True)


WITH_EARLIER: list[Callable[[random.Random, Path], None]] = [base, head_back, segment_back]


def put_back(directory: Path, original: Path) -> None:
    """Make `directory` as `original`: only what differs is copied."""
    for path in directory.iterdir():
        if not (original / path.name).exists() or not stat.S_ISREG(path.lstat().st_mode):
            path.rmdir() if stat.S_ISDIR(path.lstat().st_mode) else path.unlink()
    for path in original.iterdir():
        target = directory / path.name
        if not _untouched(path, target):
            shutil.copy2(path, target)


def _untouched(one: Path, other: Path) -> bool:
    """Copies keep their time, and whoever writes changes it: nothing need be read."""
    if not (os.path.lexists(one) and os.path.lexists(other)):
        return False
    first, second = one.lstat(), other.lstat()
    return (first.st_mode, first.st_size, first.st_mtime_ns) == (
        second.st_mode, second.st_size, second.st_mtime_ns,
    )  # fmt: skip


@dataclasses.dataclass(slots=True)
class Judgement:
    """What was not found, and how often each kind of defect was what the verifier said."""

    missed: list[str] = dataclasses.field(default_factory=list)
    kinds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    tampered: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def judge(original: Path, first_key: bytes, rounds: Iterable[int], seed: int) -> Judgement:
    """Tamper in each round with a whole copy of the log, and let the verifier read it all."""
    found = Judgement()
    every = [*TAMPERINGS, *WITH_EARLIER]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(original, Path(folder) / "copy"))
        copy.with_name(EARLIER).symlink_to(original.with_name(EARLIER))
        for round_ in rounds:
            rng = random.Random(f"{seed}-{round_}")
            path = rng.choice(sorted(copy.glob("segment-*.jsonl")))
            tampering = every[round_ % len(every)]
            tampering(rng, path)
            changed = _differ(original, copy)
            report = verify(copy, trust(first_key))
            found.tampered[tampering.__name__] += 1
            found.kinds[report.first_bad.kind if report.first_bad else "none"] += 1
            if report.ok or not changed:
                found.missed.append(f"{tampering.__name__} of {path.name}, round {round_}")
            put_back(copy, original)
        if not verify(copy, trust(first_key)).ok:
            found.missed.append("the untouched log does not verify")
    return found


def judge_shared(original: Path, first_key: bytes, rounds: int, seed: int) -> Judgement:
    """The rounds dealt out to as many processes as there are cores, each with its own copy."""
    cores = len(os.sched_getaffinity(0))
    parts = [range(at, rounds, cores) for at in range(cores)]
    whole = Judgement()
    with ProcessPoolExecutor(cores) as pool:
        jobs = [pool.submit(judge, original, first_key, part, seed) for part in parts]
        for job in jobs:
            part = job.result()
            whole.missed += part.missed
            whole.kinds += part.kinds
            whole.tampered += part.tampered
    return whole


def _differ(original: Path, copy: Path) -> bool:
    names = {path.name for path in original.iterdir()} | {path.name for path in copy.iterdir()}
    return any(
        not _untouched(original / name, copy / name)
        and _bytes(original / name) != _bytes(copy / name)
        for name in names
    )


def _bytes(path: Path) -> bytes | int | None:
    """A plain file's; of anything else only what it is."""
    if not os.path.lexists(path):
        return None
    mode = path.lstat().st_mode
    return path.read_bytes() if stat.S_ISREG(mode) else mode


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
        print(
            f"untouched: {report.ok}, {report.records} records in {report.segments} files, "
            f"{report.signed} signed ends, records 1 to {report.removed} removed by retention"
        )
        found = judge_shared(original, first_key, options.rounds, options.seed)
    print(f"tampered: {dict(found.tampered)}")
    print(f"found: {dict(found.kinds)}")
    for line in found.missed:
        print(f"missed: {line}")
    untouched = 0 if report.ok else 1
    print(
        f"{options.rounds - len(found.missed):,} of {options.rounds:,} tamperings found, "
        f"{untouched} in the untouched log"
    )
    return 1 if found.missed or not report.ok else 0


if __name__ == "__main__":
    raise SystemExit(main())
