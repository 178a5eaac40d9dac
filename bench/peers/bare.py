"""No sandbox at all: what people write when isolation seems too slow."""

from __future__ import annotations

import subprocess
from typing import Any

from bench.peers.base import Place, Work
from bench.spawn import ENVIRONMENT


class Subprocess:
    """`subprocess.run` from the standard library, on the host's own files."""

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:  # noqa: ARG002
        self._argv = [word.replace("/tool/", f"{work.folder}/") for word in work.argv]
        self._stdin = work.stdin

    def call(self) -> bytes:
        done = subprocess.run(
            self._argv, input=self._stdin, capture_output=True, check=True, env=ENVIRONMENT
        )
        return done.stdout

    def close(self) -> None:
        """Nothing is held."""
