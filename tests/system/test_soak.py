"""The short version of `make soak`: whatever is killed, the ledger is right and nothing lives."""

from __future__ import annotations

import random

from support.soak import soak


def test_random_kills_under_load_leave_a_ledger_that_is_right() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown when this fails; `python -m support.soak --seed` repeats it
    tally = soak(10, seed)
    assert tally.answered
    assert sum(tally.acts.values()) > 1
