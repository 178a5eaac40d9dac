"""The sealing key that only moves forward: whoever takes it cannot seal, or re-seal, the past.

Two ratchets. One for each segment, S(i+1) = H(S(i), "segment"), so that a verifier passes over
what it does not read; and one within it, K(i,j+1) = H(K(i,j), "epoch"), moved after each group of
records that went to disk together. H is HMAC-SHA-384. The first key, S(0), is shown once and kept
elsewhere; a writer holds S(i+1) and K(i,j), and what came before cannot be computed from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from fumehood.audit.record import Epoch, Sealer
from fumehood.crypto.derive import hmac_sha384, key_id

KEY_BYTES: Final = 48
_SEGMENT: Final = b"fumehood audit segment"
_FIRST: Final = b"fumehood audit first epoch"
_EPOCH: Final = b"fumehood audit epoch"
_SEAL: Final = b"fumehood audit seal"


@dataclass(slots=True)
class Ratchet:
    """Where the sealing stands. `chain` is the id of the first key; it names the log.

    Must be moved only forward; what `forget`s the old key is that nothing else holds it.
    """

    chain: str
    epoch: Epoch
    _next_segment: bytes = field(repr=False)
    _key: bytes = field(repr=False)

    @classmethod
    def first(cls, key: bytes) -> Self:
        """At the log's beginning, from its first key."""
        return cls._at(key_id(key), 0, key)

    @classmethod
    def _at(cls, chain: str, segment: int, start: bytes) -> Self:
        following, key = hmac_sha384(start, _SEGMENT), hmac_sha384(start, _FIRST)
        return cls(chain, Epoch(segment, 0), following, key)

    @classmethod
    def restored(cls, chain: str, epoch: Epoch, state: bytes) -> Self:
        """From what `state` gave."""
        if len(state) != 2 * KEY_BYTES:
            raise ValueError("this is no state of a ratchet")
        return cls(chain, epoch, state[:KEY_BYTES], state[KEY_BYTES:])

    @property
    def state(self) -> bytes:
        """The secrets: to be kept encrypted, in one place, and overwritten by the next."""
        return self._next_segment + self._key

    def copy(self) -> Ratchet:
        return Ratchet(self.chain, self.epoch, self._next_segment, self._key)

    def sealer(self) -> Sealer:
        """Seals and opens records of this epoch."""
        return Sealer(self.chain, self.epoch, hmac_sha384(self._key, _SEAL))

    def advance(self) -> None:
        """To the next epoch of this segment."""
        self._key = hmac_sha384(self._key, _EPOCH)
        self.epoch = Epoch(self.epoch.segment, self.epoch.step + 1)

    def next_segment(self) -> None:
        """To the first epoch of the next segment."""
        start, segment = self._next_segment, self.epoch.segment + 1
        self._next_segment = hmac_sha384(start, _SEGMENT)
        self._key = hmac_sha384(start, _FIRST)
        self.epoch = Epoch(segment, 0)

    def to(self, epoch: Epoch, *, most: int) -> bool:
        """Move forward to `epoch`; False when it lies behind, or more than `most` steps ahead."""
        ahead = epoch.segment - self.epoch.segment
        steps = epoch.step - (self.epoch.step if ahead == 0 else 0)
        if ahead < 0 or steps < 0 or ahead + steps > most:
            return False
        for _ in range(ahead):
            self.next_segment()
        for _ in range(steps):
            self.advance()
        return True
