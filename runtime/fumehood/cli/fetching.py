"""Runs pip and npm for `images`, each time in a sandbox of its own, with a network or without.

They parse what an index answers, so they run as a service account behind the range of the tools,
through a small privileged process (`launcher.fetch`) that reads back what confines them.
"""

from __future__ import annotations

import json
import os
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fumehood.cli.errand import errand
from fumehood.errors import EngineError, ImageError, ProtocolError
from fumehood.images.external import last_line
from fumehood.images.fetching import MAX_BYTES, MAX_FILES, Fetch, Fetcher
from fumehood.launcher.fetch import Done, Job
from fumehood.model.codec import decode
from fumehood.model.plan import Limits
from fumehood.resources import profile_directory

if TYPE_CHECKING:
    from fumehood.config import Config

PROFILE: Final = "network"
MEMORY_BYTES: Final = 2 << 30
PIDS: Final = 128
"""Node alone has eleven threads; pip has one for its progress."""
CPU_MILLIS: Final = 2000
ANSWER_SECONDS: Final = 60.0
"""Beyond the program's own time: for the sandbox to be made, and to be gone."""
MAX_ANSWER: Final = 256 * 1024
MAX_NAMED: Final = 9
"""Lines in which pip names packages; three for one whose hash is wrong."""


def fetcher(config: Config) -> Fetcher:
    """What `images.derive` takes. config: for the range of accounts and what is accepted."""
    root = os.geteuid() == 0
    uid = config.accounts.libraries if root else os.geteuid()
    gid = uid if root else os.getegid()

    def fetch(wanted: Fetch) -> None:
        _hand_over(wanted.work, uid, gid)
        done = _run(_job(wanted, uid, gid, tuple(sorted(config.accept_unenforced))), wanted.seconds)
        name = "npm" if "npm" in Path(wanted.argv[0]).name else "pip"
        if done.control:
            raise EngineError(
                f"no sandbox could be made to fetch in: {done.why}",
                done.remedy,
                control=done.control,
                detail=done.said,
            )
        if done.status is None:
            raise ImageError(f"{name}: {done.why}", detail=done.said)
        if done.status:
            raise ImageError(f"{name} failed: {_why(done.said)}", detail=" ".join(wanted.argv))

    return fetch


def _why(said: str) -> str:
    """pip marks what is wrong, and then says of which packages, indented; of a fault of its own it
    marks nothing but that there was one, and says last what."""
    lines = [line for line in said.splitlines() if line.strip()]
    marked = [number for number, line in enumerate(lines) if line.startswith("ERROR: ")]
    if not marked or lines[marked[-1]].rstrip() == "ERROR: Exception:":
        return last_line(said.encode())
    first = marked[-1]
    named = list(takewhile(lambda line: line[0].isspace(), lines[first + 1 :]))
    told = [last_line(line.encode()) for line in (lines[first], *named[:MAX_NAMED])]
    if len(named) > MAX_NAMED:
        told.append(f"and {len(named) - MAX_NAMED} lines more")
    return told[0] if len(told) == 1 else f"{told[0]} {'; '.join(told[1:])}"


def _hand_over(work: Path, uid: int, gid: int) -> None:
    """Let the account write where it may: in a folder that nobody else has touched yet."""
    for path in (work, *work.iterdir()):
        os.chown(path, uid, gid, follow_symlinks=False)


def _job(wanted: Fetch, uid: int, gid: int, accepted: tuple[str, ...]) -> Job:
    return Job(
        argv=wanted.argv,
        environment=wanted.environment,
        binds=wanted.binds,
        work=str(wanted.work),
        network=wanted.network,
        uid=uid,
        gid=gid,
        profiles=str(profile_directory()),
        profile=PROFILE,
        limits=Limits(
            timeout_ms=int(wanted.seconds * 1000),
            cpu_millis=CPU_MILLIS,
            memory_bytes=MEMORY_BYTES,
            pids=PIDS,
            scratch_bytes=0,
            scratch_inodes=0,
            output_bytes=0,
        ),
        work_bytes=MAX_BYTES,
        work_files=MAX_FILES,
        accepted=accepted,
    )


def _run(job: Job, seconds: float) -> Done:
    """The helper from start to end."""
    try:
        with errand("fetch", job, seconds + ANSWER_SECONDS) as channel:
            return decode(Done, json.loads(channel.recv(MAX_ANSWER)))
    except (OSError, ValueError, ProtocolError) as error:
        raise ImageError(
            "the sandbox for fetching gave no answer", "see its message above", detail=repr(error)
        ) from None
