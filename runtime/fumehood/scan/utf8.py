"""Bytes that are no UTF-8: found here, kept lossless by `visible`."""

from __future__ import annotations

import re

from fumehood.scan.control import decode, summary
from fumehood.scan.detector import Match

_INVALID = re.compile("[\udc80-\udcff]")


class Utf8Detector:
    """One match: the first byte that is no UTF-8, and how many there are."""

    name = "utf8"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        if data.isascii():
            return []
        try:
            data.decode()
        except UnicodeDecodeError:
            match = summary("invalid-utf8", "low", _INVALID, decode(data))
            return [match] if match else []
        return []
