"""What a living sandbox uses right now, read by whoever may only look; it must never be the meter.

Standard library only. The launcher names the cgroup's files in its proofs; the account of an
ended sandbox comes from `kernel.meter`, through the launcher.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
        places = {proof.control: os.path.dirname(proof.source) for proof in proofs}
        self._memory = _first(
            places, {"memory.max": "memory.current", _V1_LIMIT: "memory.usage_in_bytes"}
        )
        self._pids = _first(places, {"pids.max": "pids.current"})
        self._refused = _refusals(places.get("pids.max"), layout, nested=nested)
        self._pids_limit = next((p.value for p in proofs if p.control == "pids.max"), "")
        self._cpu, self._unit = _cpu(places, layout, nested=nested)
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
        return _counted(self._refused)

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


def refused(proofs: Iterable[Proof], layout: cgroup.Layout, *, nested: bool = False) -> int | None:
    """`Reading.pids_refused` alone, for who needs nothing else: one file, 20 µs."""
    limits = [proof.source for proof in proofs if proof.control == "pids.max"]
    place = os.path.dirname(limits[-1]) if limits else None
    return _counted(_refusals(place, layout, nested=nested))


def _refusals(place: str | None, layout: cgroup.Layout, *, nested: bool) -> str | None:
    """v1 counts refusals where somebody forks (kernel.meter): in the engine's group, unless the
    tool has one of its own."""
    if place is None:
        return None
    hidden = nested and "pids" in layout.v1 and os.path.basename(place) != cgroup.TOOL
    return None if hidden else f"{place}/pids.events"


def _counted(refusals: str | None) -> int | None:
    if refusals is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        return cgroup.counters(refusals).get(b"max")
    return None


def _first(places: Mapping[str, str], files: Mapping[str, str]) -> str | None:
    return next((f"{places[name]}/{file}" for name, file in files.items() if name in places), None)


def _cpu(
    places: Mapping[str, str], layout: cgroup.Layout, *, nested: bool
) -> tuple[str | None, float]:
    """v2 counts CPU time in every group, on hybrid hosts, too; without it, and for an engine that
    nests groups, `cpuacct` does, at the same place in its own hierarchy as the proven one."""
    for control in ("memory.max", "pids.max", "cpu.max"):
        path = places.get(control)
        if path is not None and not layout.v1:
            return f"{path}/cpu.stat", _MICROSECONDS
    known = places.get(_V1_LIMIT) or places.get("pids.max")
    if known is None:
        return None, _MICROSECONDS
    if "cpuacct" in layout.v1 and (nested or layout.unified is None):
        return f"{layout.v1['cpuacct']}/{_below(known)}/cpuacct.usage", _NANOSECONDS
    if layout.unified is not None:
        return f"{layout.unified}/{_below(known)}/cpu.stat", _MICROSECONDS
    return None, _MICROSECONDS


def _pressure(places: Mapping[str, str], layout: cgroup.Layout) -> str | None:
    """Every group of the unified hierarchy has it, on hybrid hosts too; v1 has none."""
    known = next((places[n] for n in ("memory.max", _V1_LIMIT, "pids.max") if n in places), None)
    if known is None:
        return None
    if not layout.v1:
        return f"{known}/cpu.pressure"
    return None if layout.unified is None else f"{layout.unified}/{_below(known)}/cpu.pressure"


def _below(place: str) -> str:
    """The sandbox's group and the one above it: its path below the top of any hierarchy."""
    return "/".join(place.rsplit("/", 2)[-2:])


def _number(path: str | None) -> int | None:
    if path is None:
        return None
    try:
        return cgroup.number(path)
    except (OSError, ValueError):
        return None
