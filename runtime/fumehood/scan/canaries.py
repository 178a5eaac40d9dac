"""The operator's own texts that must never leave: found wherever they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import re2

from fumehood.scan.detector import Match


class CanariesDetector:
    """Linear in the text, however many there are."""

    name = "canaries"

    def __init__(self, texts: Iterable[str]) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        words = sorted((text.encode() for text in texts), key=len, reverse=True)
        self._pattern: Any = re2.compile(b"|".join(re2.escape(word) for word in words), options)

    def load(self) -> None:
        """Nothing takes long here."""

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        return [
            Match("canary", "secret", "high", *found.span())
            for found in self._pattern.finditer(data)
        ]
