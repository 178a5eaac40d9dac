"""What tests see of a command line that was run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    status: int
    out: str
    err: str


Cli = Callable[..., Ended]
"""Runs one command line: `cli("call", "echo")`."""
