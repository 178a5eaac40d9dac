"""The detectors that are built in, by what they need; the order is that of their findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fumehood.scan import assigned, injection, personal, tokens
from fumehood.scan.canaries import CanariesDetector
from fumehood.scan.detector import Detector
from fumehood.scan.folding import MixedScriptDetector
from fumehood.scan.secrets import SecretsDetector


class Loadable(Detector, Protocol):
    """A detector whose rules take a while to load."""

    def load(self) -> None:
        """Load them now, so that no invocation waits for it."""


def built_in(cache: Path | None, canaries: Sequence[str] = ()) -> list[Loadable]:
    """Those that see chunks. cache: a directory of this user's own for compiled rules."""
    found: list[Loadable] = [
        SecretsDetector(cache),
        tokens.detector(cache),
        assigned.detector(cache),
        personal.detector(cache),
        injection.detector(cache),
        MixedScriptDetector(),
    ]
    if canaries:
        found.append(CanariesDetector(canaries))
    return found
