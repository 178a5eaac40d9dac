"""Names of invocations: UUID version 7 (RFC 9562), and nothing that could be guessed from one.

Standard library only.
"""

from __future__ import annotations

import secrets
import time

_NS_PER_MS = 1_000_000


def uuid7() -> str:
    """A UUIDv7 in its canonical form: 48 bits of Unix milliseconds, 62 random bits.

    The 12 bits between hold the fraction of the millisecond (RFC 9562, 6.2, method 3), so
    that ids of one process sort by creation to about 0.25 µs while the clock does not jump.
    """
    milliseconds, rest = divmod(time.time_ns(), _NS_PER_MS)
    fraction = rest * 4096 // _NS_PER_MS
    high = (milliseconds & (1 << 48) - 1) << 16 | 0x7 << 12 | fraction
    low = 0b10 << 62 | secrets.randbits(62)
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
