"""What each tool version usually takes, kept across restarts; bounded in number and in bytes.

One small file for each version and way of starting it, replaced whole. What is lost in a crash
is some seconds of learning; a file that cannot be read is begun anew. It must never hold more
than numbers, and never fail a call: whoever can write here can make calls look usual, which
weakens a remark and no limit.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from fumehood.model.outcome import Notice, Outcome
from fumehood.supervisor import envelope
from fumehood.supervisor.envelope import METRICS, SAMPLES, Envelope

log = structlog.get_logger(__name__)

VERSIONS: Final = 256
"""Versions that are remembered, those called last; 10 KB of memory and of disk each."""
SAVE_SECONDS: Final = 30.0
_MAX_FILE: Final = 64 * 1024
_FORMAT: Final = 1


class Habits:
    """For the event loop; only `_write` runs elsewhere."""

    def __init__(self, directory: Path, *, least: int, deviations: int) -> None:
        """least, deviations: see `Envelope.unusual`."""
        self._directory = directory
        self._least = least
        self._deviations = deviations
        self._known: OrderedDict[str, Envelope | None] = OrderedDict()
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._load_names()

    def notices(self, digest: str, outcome: Outcome, *, ahead: bool) -> tuple[Notice, ...]:
        """What was unusual about an invocation, which is then learnt from.

        ahead: whether the tool had been started before the call, which takes less then.
        """
        if outcome.status in ("cancelled", "engine_error"):
            return ()
        name, one = _name(digest, ahead=ahead), envelope.sample(outcome)
        known = self._envelope(name)
        found = known.unusual(one, least=self._least, deviations=self._deviations)
        if envelope.teaches(outcome):
            known.learn(one)
            self._dirty.add(name)
            self._save_later()
        return found

    def told(self, digest: str) -> tuple[str, ...]:
        """What is usual for a version, for a person."""
        names = {"": _name(digest, ahead=False), " (started ahead)": _name(digest, ahead=True)}
        lines = {
            how: envelope.told(self._envelope(name).usual())
            for how, name in names.items()
            if name in self._known
        }
        return tuple(f"{line}{how}" for how, line in lines.items() if line)

    def close(self) -> None:
        """Save what is not saved yet."""
        if self._timer is not None:
            self._timer.cancel()
        _write(self._directory, self._unsaved())

    # --- in memory

    def _envelope(self, name: str) -> Envelope:
        found = self._known.get(name)
        if found is None:
            found = Envelope(_read(self._directory / f"{name}.json"))
            self._known[name] = found
        self._known.move_to_end(name)
        while len(self._known) > VERSIONS:
            oldest, _ = self._known.popitem(last=False)
            self._dirty.discard(oldest)
            _forget(self._directory / f"{oldest}.json")
        return found

    # --- on disk

    def _load_names(self) -> None:
        """The versions that are on disk, those learnt from last at the end."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            found = [e for e in os.scandir(self._directory) if e.is_file(follow_symlinks=False)]
            dated = sorted((entry.stat(follow_symlinks=False).st_mtime, entry) for entry in found)
        except OSError as error:
            log.warning("what tools usually take cannot be read", error=str(error))
            return
        for _, entry in dated[:-VERSIONS]:
            _forget(Path(entry.path))
        for _, entry in dated[-VERSIONS:]:
            self._known[entry.name.removesuffix(".json")] = None

    def _save_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SAVE_SECONDS, self._save)

    def _save(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, _write, self._directory, self._unsaved())
        work.add_done_callback(_seen)

    def _unsaved(self) -> dict[str, dict[str, list[float]]]:
        found = {n: known.values for n in self._dirty if (known := self._known.get(n))}
        self._dirty.clear()
        return found


def _seen(work: asyncio.Future[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        log.error("what tools usually take cannot be saved", error=str(error))


def _name(digest: str, *, ahead: bool) -> str:
    return digest.rpartition(":")[2] + ("-ahead" if ahead else "")


def _read(path: Path) -> Mapping[str, list[float]]:
    """What a file holds; nothing when it is missing or not as written here."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("what a tool usually takes cannot be read", file=path.name, error=str(error))
        return {}
    with open(fd, "rb") as file:
        data = file.read(_MAX_FILE + 1)
    try:
        return _checked(json.loads(data) if len(data) <= _MAX_FILE else None)
    except (ValueError, RecursionError) as error:
        log.warning("what a tool usually takes is begun anew", file=path.name, error=str(error))
        return {}


def _checked(found: object) -> Mapping[str, list[float]]:
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError("not in the format that is written here")
    values = found.get("values")
    if not isinstance(values, dict) or not set(values) <= {metric.name for metric in METRICS}:
        raise ValueError("not the metrics that are written here")
    for numbers in values.values():
        if not isinstance(numbers, list) or len(numbers) > SAMPLES:
            raise ValueError("not a list of samples")
        if not all(type(n) in (int, float) and 0 <= n < float("inf") for n in numbers):
            raise ValueError("not a number of at least zero")
    return values


def _write(directory: Path, envelopes: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Replace each file whole; the first that cannot be written leaves the rest for later calls."""
    for name, values in envelopes.items():
        path = directory / f"{name}.json"
        body = json.dumps({"format": _FORMAT, "values": values}, separators=(",", ":"))
        new = path.with_suffix(".new")
        try:
            fd = os.open(
                new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with open(fd, "w") as file:
                file.write(body)
            new.replace(path)
        except OSError as error:
            log.warning("what tools usually take cannot be saved", error=str(error))
            _forget(new)
            return


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("what a tool took cannot be forgotten", file=path.name, error=str(error))
