"""Section 4: what a call costs as the work, the catalog, the callers and the audit log grow."""

from __future__ import annotations

from collections.abc import Callable

from bench import growth_audit, growth_count, growth_size
from bench.peers.base import Place
from bench.section import Findings, Scale, alone

PARTS: tuple[Callable[[Place, Scale], Findings], ...] = (
    growth_size.run,
    growth_count.run,
    growth_audit.run,
)


def run(place: Place, scale: Scale) -> Findings:
    whole = Findings()
    for part in PARTS:
        found = part(place, scale)
        whole.data |= found.data
        whole.verdicts += found.verdicts
        whole.plots |= found.plots
    return whole


if __name__ == "__main__":
    alone("growth", run, docker=False)
