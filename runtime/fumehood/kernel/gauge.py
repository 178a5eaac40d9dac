"""What a living sandbox uses right now, read by whoever may only look; it must never be the meter.

Standard library only. The launcher names the cgroup's files in its proofs; the account of an
ended sandbox comes from `kernel.meter`, through the launcher.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fumehood.kernel import cgroup
from fumehood.model.outcome import Proof


@dataclass(frozen=True, slots=True)
class Reading:
    """None: not known here.

    cpu_seconds: since the sandbox was made, which costs some itself.
    memory_bytes: in use, tmpfs and page cache included.
    pids: processes and threads, the sandbox's own first ones included.
    pids_refused: processes and threads that the pids limit refused so far.
    pids_full: whether there are as many as the limit allows, the sandbox's own included.
    waited_seconds: how long some of its processes could have run and got no CPU, for the host
        was busy or its limit used up (PSI, `cpu.pressure`).
    """

    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    pids_refused: int | None = None
    waited_seconds: float | None = None
    pids_full: bool = False


class Gauge:
    """The files of one sandbox's cgroup."""

    def __init__(
        self, proofs: Iterable[Proof], layout: cgroup.Layout, *, nested: bool = False
    ) -> None:
        """proofs: of the opened sandbox. layout: of this host, as this process sees it.
        nested: an engine puts the processes into a group of its own below the proven one."""
        proofs = tuple(proofs)
        places = {proof.control: Path(proof.source).parent for proof in proofs}
        self._memory = _first(
            places, {"memory.max": "memory.current", _V1_LIMIT: "memory.usage_in_bytes"}
        )
        self._pids = _first(places, {"pids.max": "pids.current"})
        # v1 counts refusals where somebody forks (kernel.meter): in the engine's group, unless
        # the tool has one of its own.
        alone = places.get("pids.max", Path()).name == cgroup.TOOL
        hidden = nested and "pids" in layout.v1 and not alone
        self._refused = None if hidden else _first(places, {"pids.max": "pids.events"})
        self._pids_limit = next((p.value for p in proofs if p.control == "pids.max"), "")
        self._cpu, self._unit = _cpu(places, layout)
        self._pressure = _pressure(places, layout)

    def read(self) -> Reading:
        """Cheap (30 µs). What has ended meanwhile is no longer known."""
        pids = _number(self._pids)
        full = pids is not None and self._pids_limit.isdigit() and pids >= int(self._pids_limit)
        return Reading(
            self._cpu_now(), _number(self._memory), pids, self._refused_so_far(), self._waited(),
            full,
        )  # fmt: skip

    def _waited(self) -> float | None:
        """`some avg10=… avg60=… avg300=… total=MICROSECONDS` (Documentation/accounting/psi.rst)."""
        if self._pressure is None:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            line = cgroup.read(self._pressure).splitlines()[0]
            return int(line.rpartition(b"total=")[2]) / _MICROSECONDS
        return None

    def _refused_so_far(self) -> int | None:
        if self._refused is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            return cgroup.counters(self._refused).get(b"max")
        return None

    def _cpu_now(self) -> float | None:
        if self._cpu is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            if self._unit == _NANOSECONDS:
                found = cgroup.number(self._cpu)
            else:
                found = cgroup.counters(self._cpu).get(b"usage_usec")
            return None if found is None else found / self._unit
        return None


_V1_LIMIT = "memory.limit_in_bytes"
_NANOSECONDS, _MICROSECONDS = 1e9, 1e6


def _first(places: dict[str, Path], files: dict[str, str]) -> Path | None:
    return next((places[name] / file for name, file in files.items() if name in places), None)


def _cpu(places: dict[str, Path], layout: cgroup.Layout) -> tuple[Path | None, float]:
    """v2 counts CPU time in every group; on v1 `cpuacct` does, at the same place in its own
    hierarchy as the one that was proven."""
    for control in ("memory.max", "pids.max", "cpu.max"):
        path = places.get(control)
        if path is not None and not layout.v1:
            return path / "cpu.stat", _MICROSECONDS
    known = places.get(_V1_LIMIT) or places.get("pids.max")
    if known is None:
        return None, _MICROSECONDS
    below = Path(known.parent.name, known.name)
    if "cpuacct" in layout.v1:
        return layout.v1["cpuacct"] / below / "cpuacct.usage", _NANOSECONDS
    if layout.unified is not None:
        return layout.unified / below / "cpu.stat", _MICROSECONDS
    return None, _MICROSECONDS


def _pressure(places: dict[str, Path], layout: cgroup.Layout) -> Path | None:
    """Every group of the unified hierarchy has it, on hybrid hosts too; v1 has none."""
    known = next((places[n] for n in ("memory.max", _V1_LIMIT, "pids.max") if n in places), None)
    if known is None:
        return None
    if not layout.v1:
        return known / "cpu.pressure"
    if layout.unified is None:
        return None
    return layout.unified / known.parent.name / known.name / "cpu.pressure"


def _number(path: Path | None) -> int | None:
    if path is None:
        return None
    try:
        return cgroup.number(path)
    except (OSError, ValueError):
        return None
