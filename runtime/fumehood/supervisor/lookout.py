"""Looks once a second at what runs, names abnormal behaviour, and ends it where the operator wants.

Calls that end sooner never pay for it. It must never hold anything up: a look at one invocation
reads a few files of its cgroup (30 µs) and decides nothing for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from fumehood.model.behaviour import Behaviour
from fumehood.model.incident_rules import Signal
from fumehood.model.plan import Limits
from fumehood.supervisor.conduct import Conduct, Observed, Seen
from fumehood.supervisor.live import Live

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0


class Lookout:
    """Looks at all that run, as long as something does."""

    def __init__(self, settings: Behaviour, lives: Callable[[], Iterable[Live]]) -> None:
        self._settings = settings
        self._lives = lives
        self._timer: asyncio.TimerHandle | None = None
        self.told: Callable[[Live, Signal, str], None] | None = None
        """Is told each sign, before it is acted on."""

    def wake(self) -> None:
        """Something runs, or will."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(EVERY_SECONDS, self._look)

    @property
    def resting(self) -> bool:
        """Whether no look is to come."""
        return self._timer is None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now, any_left = asyncio.get_running_loop().time(), False
        for live in self._lives():
            any_left = True
            if live.state == "running" and live.plan is not None:
                if live.conduct is None:
                    live.conduct = Conduct(self._settings)
                for found in live.conduct.look(_seen(live, now, live.plan.limits)):
                    self._tell(live, found)
        if any_left:
            self.wake()

    def _tell(self, live: Live, found: Observed) -> None:
        kill = found.sign in self._settings.kill
        if self.told is not None:  # before the kill: it may want to look
            self.told(live, "behaviour", found.sign)
        log.warning(
            "a tool behaves abnormally", invocation=live.request.invocation,
            tool=live.request.tool[:64], sign=found.sign, observed=found.message, killed=kill,
        )  # fmt: skip
        if kill and live.end is not None:
            live.end(found.sign)


def _seen(live: Live, now: float, limits: Limits) -> Seen:
    written = sum(drain.count for drain in (live.stdout, live.stderr) if drain)
    denied = live.sandbox.denied if live.sandbox else 0
    return Seen(now, live.reading(), written, denied, limits)
