"""What is told of an invocation while it runs, and to whom. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["admitting", "asking", "waiting", "opening", "running", "ending", "scanning"]
"""Where an invocation stands: being checked, waiting for an operator's approval, in the queue, its
sandbox being made, its tool running, stopped and not dead yet, its output being scanned."""

Sign = Literal["spinning", "fork_storm", "denials", "output_flood"]
"""Abnormal behaviour of a running tool: its CPU used and nothing written, processes that the
pids limit refuses again and again, calls it is killed for again and again, output without end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a tool says it is: `value` of `total` (None where it does not know).

    message: its own words, scanned; empty when it said none.
    """

    value: float
    total: float | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """What is new since the last one. progress: None when it did not rise. text: more of stdout,
    scanned, whole lines where it has lines. note: why there is none of it, told once."""

    progress: Progress | None
    text: str
    note: str = ""


class Listener(Protocol):
    """Whoever made a call and wants to hear of it while it runs."""

    @property
    def wants_output(self) -> bool:
        """Whether partial output is wanted, too."""

    async def tell(self, update: Update) -> None:
        """Pass an update on. May wait as long as the peer is behind: nothing queues up meanwhile,
        the next update holds what came in between."""
