"""Tells somebody of an incident, a program or a webhook, until it is done: also after restarts.

A notice is a file until it was taken. Must never hold up a call, nor lose a notice in silence: one
that nobody takes for days, or for which there is no room, is on record as untold. Nor ask the time
of day when to try again: a clock that is set back would hold it up, one set forward give it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from fumehood.audit.incident import Incident
from fumehood.audit.record import Field
from fumehood.crypto.files import read_private, write_private
from fumehood.errors import ConfigError, KeyringError
from fumehood.model.incident_rules import IncidentSpec
from fumehood.supervisor.posting import Link, trusting

log = structlog.get_logger(__name__)

MAX_NOTICES: Final = 1000
"""That wait; more are recorded as untold."""
FIRST_RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 600.0
GIVE_UP_SECONDS: Final = 3 * 86_400.0
"""That it was tried for, while a daemon ran."""
TELL_SECONDS: Final = 30.0
"""What a program or a receiver may take."""
LEAST_SECRET: Final = 16
_MAX_FILE: Final = 256 * 1024
SIGNATURE: Final = "X-Fumehood-Signature"
TIMESTAMP: Final = "X-Fumehood-Timestamp"
DELIVERY: Final = "X-Fumehood-Delivery"

Send = Callable[[str, bytes], None]
"""Deliver a body under an identity; whatever it raises is tried again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice that nobody has taken yet. body: JSON. since, due: of the monotonic clock, so of
    this process. waited: seconds of earlier processes."""

    incident: str
    channel: str
    body: str
    since: float
    tries: int = 0
    waited: float = 0.0
    due: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.incident}-{self.channel}"


class Notices:
    """Those of one state directory. Used on the event loop; what blocks is done in threads."""

    def __init__(
        self,
        folder: Path,
        channels: Mapping[str, Send],
        told: Callable[[Waiting, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """told: is called with an empty reason when a notice was taken, with another when one
        failed for the first time or was given up. clock: seconds; never goes back."""
        self._folder = folder
        self._channels = channels
        self._told = told
        self._clock = clock
        self._waiting: dict[str, Waiting] = {}
        self._changed = {channel: asyncio.Event() for channel in channels}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Read what a last run left, and go on with it."""
        if not self._channels:
            return
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.glob("*.json"))[:MAX_NOTICES]:
                found = _read(path)
                if found is None or found.channel not in self._channels:
                    continue
                now = self._clock()
                self._waiting.setdefault(found.name, replace(found, since=now, due=now))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(channel)) for channel in self._channels]

    def add(self, incident: Incident) -> None:
        """Tell every channel of an incident."""
        body = notice(incident)
        for channel in self._channels:
            now = self._clock()
            item = Waiting(incident.incident, channel, body, now, due=now)
            if len(self._waiting) >= MAX_NOTICES:
                self._told(item, f"{MAX_NOTICES} notices wait already")
                continue
            self._waiting[item.name] = item
            self._keep(item)
            self._changed[channel].set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """What is not told is told after the next start."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, channel: str) -> None:
        """Each channel for itself: one that hangs holds up no other."""
        changed = self._changed[channel]
        while True:
            changed.clear()
            now = self._clock()
            mine = [item for item in self._waiting.values() if item.channel == channel]
            ready = [item for item in mine if item.due <= now]
            for item in ready:
                await self._try(item)
            if ready:
                continue
            next_due = min((item.due for item in mine), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if next_due is None else max(next_due - now, 0.05)):
                    await changed.wait()

    async def _try(self, item: Waiting) -> None:
        send = self._channels[item.channel]
        try:
            await _in_thread(partial(send, item.name, item.body.encode()))
        except Exception as error:  # noqa: BLE001  (a channel that ends is a silence until a restart)
            self._failed(item, f"{type(error).__name__}: {error}"[:200])
        else:
            self._forget(item)
            self._told(item, "")

    def _failed(self, item: Waiting, why: str) -> None:
        now = self._clock()
        if item.waited + now - item.since > GIVE_UP_SECONDS:
            self._forget(item)
            self._told(item, f"given up: {why}")
            return
        wait = min(FIRST_RETRY_SECONDS * 2 ** min(item.tries, 30), MOST_RETRY_SECONDS)
        later = replace(item, tries=item.tries + 1, due=now + wait)
        self._waiting[item.name] = later
        self._keep(later)
        if not item.tries:
            self._told(item, why)

    def _forget(self, item: Waiting) -> None:
        self._waiting.pop(item.name, None)
        with contextlib.suppress(OSError):
            (self._folder / f"{item.name}.json").unlink()

    def _keep(self, item: Waiting) -> None:
        data = json.dumps(
            {"incident": item.incident, "channel": item.channel, "body": item.body,
             "tries": item.tries, "waited": item.waited + self._clock() - item.since}
        )  # fmt: skip
        try:
            write_private(self._folder / f"{item.name}.json", data.encode(), replace=True)
        except OSError as error:  # it is tried all the same, until this process ends
            log.error("a notice is not on disk", incident=item.incident, error=str(error))  # noqa: TRY400


async def _in_thread(work: Callable[[], None]) -> None:
    """In a thread that nobody awaits at the end: asyncio joins those of its executor."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001  (the waiting task's to judge)
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="notice", daemon=True).start()
    await done


def notice(incident: Incident) -> str:
    """What is told: no argument and no output."""
    return json.dumps(incident.to_json(), separators=(",", ":"))


def fields(item: Waiting, why: str) -> dict[str, Field]:
    """For the audit log."""
    told: dict[str, Field] = {"incident": item.incident, "channel": item.channel}
    return {**told, "reason": why} if why else told


def _read(path: Path) -> Waiting | None:
    try:
        value = json.loads(read_private(path, _MAX_FILE, "notice") or b"")
        return Waiting(
            str(value["incident"]), str(value["channel"]), str(value["body"]), 0.0,
            int(value["tries"]), float(value.get("waited", 0.0)),
        )  # fmt: skip
    except (OSError, KeyringError, ValueError, KeyError, TypeError):
        log.warning("a notice cannot be read and is left", file=path.name)
        return None


# --- channels


def channels(spec: IncidentSpec) -> dict[str, Send]:
    """Those that the configuration names. Raises ConfigError."""
    found: dict[str, Send] = {}
    if spec.notify:
        found["command"] = _command(spec.notify)
    if spec.webhook:
        secret = _secret(spec.webhook_secret_file)
        found["webhook"] = _webhook(spec.webhook, secret, spec.webhook_ca)
    return found


def _command(argv: tuple[str, ...]) -> Send:
    import subprocess

    def send(_name: str, body: bytes) -> None:
        try:
            done = subprocess.run(
                argv, input=body + b"\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                timeout=TELL_SECONDS, check=False, env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"it took longer than {TELL_SECONDS:.0f} s") from None
        if done.returncode:
            raise OSError(f"it exited with {done.returncode}")

    return send


def _webhook(url: str, secret: bytes, ca: str) -> Send:
    target = urlsplit(url)
    context = trusting(ca, "incidents.webhook_ca")
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")

    def send(name: str, body: bytes) -> None:
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            DELIVERY: name,
            TIMESTAMP: stamp,
            SIGNATURE: signature(secret, stamp, body),
        }
        with contextlib.closing(Link(target, context, TELL_SECONDS)) as link:
            link.post(path, body, headers)

    return send


def signature(secret: bytes, stamp: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA-384 of timestamp, a dot, and the body, in hex. A receiver computes the
    same, compares in constant time, and refuses a timestamp that is minutes old."""
    return "v1=" + hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha384).hexdigest()


def _secret(path: str) -> bytes:
    try:
        raw: Any = read_private(Path(path), 16 * 1024, "secret")
    except (OSError, KeyringError) as error:
        raise ConfigError(
            f"incidents.webhook_secret_file: {error}", "name a file of mode 0600"
        ) from None
    if raw is None:
        raise ConfigError(
            f"incidents.webhook_secret_file: {path} is missing, or out of the supervisor's sight",
            "put it below /etc or into the state directory, owned by the supervisor's user",
        )
    secret = raw.strip()
    if len(secret) < LEAST_SECRET:
        raise ConfigError(
            f"incidents.webhook_secret_file: {path} holds no secret of {LEAST_SECRET} bytes",
            f"`openssl rand -base64 48 > {path}`",
        )
    return bytes(secret)
