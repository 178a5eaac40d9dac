"""Writes an audit log of so many records, as the daemon would have: the same lines, sealed in the
same way by the same code, the same signed segment ends; only without waiting for the disk after
each group.

    python -I bench/audit_fill.py RUNTIME STATE RECORDS SAMPLE

Run by the daemon's interpreter, as a process of its own. SAMPLE is the log of a daemon that
answered a call: its records of a launch, an end and a plan are what is written again and again,
under new invocations and with all their fields. Records come in groups of `GROUP`, two for each
call; the plan is on record once, as after a daemon's start; each segment tells that nothing before
it is open, as a daemon's does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GROUP = 16
"""Records that share an fsync, and so a sealing key, on a daemon with calls at once."""
TIME = "2026-01-01T00:00:00.000000Z"
WRITE_BYTES = 1 << 20
LAUNCHED, ENDED, PLAN = "invocation.launched", "invocation.ended", "plan.used"
_OF_THE_LINE = frozenset({"seq", "time", "event", "alg", "key", "epoch", "prev", "mac"})
"""What sealing adds; everything else is the event's own."""
_INVOCATION = "01a2002f-a269-716f-a068-%012x"


def fields_of(sample: Path) -> dict[str, dict[str, Any]]:
    """The fields of the last record of each event in a log's segment."""
    found = {}
    for line in sample.read_bytes().splitlines():
        record = json.loads(line)
        found[record["event"]] = {k: v for k, v in record.items() if k not in _OF_THE_LINE}
    return found


def main(runtime: str, state: Path, wanted: int, sample: Path) -> None:
    sys.path.insert(0, runtime)
    from fumehood.audit.custody import SEGMENT_TYPE, RingCustody
    from fumehood.audit.folder import segment_name
    from fumehood.audit.head import START, Signed, render_head, show_first_key, write_signed
    from fumehood.audit.ratchet import KEY_BYTES, Ratchet
    from fumehood.audit.record import encode_fields
    from fumehood.audit.replay import OPEN, STARTED
    from fumehood.audit.segments import SEGMENT_BYTES
    from fumehood.crypto.keyring import open_ring
    from fumehood.crypto.ring import Periods

    mark, real = _INVOCATION % 0xFFFFFFFFFFFF, fields_of(sample)
    launch, end = (
        encode_fields(event, {**real[event], "invocation": mark}).split(mark)
        for event in (LAUNCHED, ENDED)
    )
    plan = encode_fields(PLAN, real[PLAN])

    def records() -> Iterator[tuple[str, str]]:
        """The plan, then calls, one after the other, without end: event and fields."""
        yield PLAN, plan
        number = 0
        while True:
            name = _INVOCATION % number
            yield LAUNCHED, name.join(launch)
            yield ENDED, name.join(end)
            number += 1

    keys, log = RingCustody(open_ring(state, Periods())), state / "audit"
    first_key = bytes(KEY_BYTES)
    (log / "first.key").write_text(show_first_key(first_key))
    (log / "first.key").chmod(0o600)
    ratchet, last, path, began = Ratchet.first(first_key), START, Path(), 1
    calls, epoch = records(), ratchet.epoch
    while last.seq < wanted:
        if last.seq:
            signed = Signed(ratchet.chain, began, last, epoch, TIME)
            write_signed(path.with_suffix(".sig"), signed, keys, SEGMENT_TYPE)
            ratchet.next_segment()
        began, room = last.seq + 1, SEGMENT_BYTES
        path = log / segment_name(began)
        with path.open("wb", WRITE_BYTES) as file:
            own = (OPEN, encode_fields(OPEN, {"oldest": began})) if last.seq else (STARTED, "")
            line, last = ratchet.sealer().seal(last, TIME, *own)
            room -= file.write(line)
            while last.seq < wanted and room > 0:
                epoch, sealer = ratchet.epoch, ratchet.sealer()
                for _ in range(min(GROUP, wanted - last.seq)):
                    line, last = sealer.seal(last, TIME, *next(calls))
                    room -= file.write(line)
                ratchet.advance()
    (log / "head").write_bytes(render_head(ratchet, ratchet.sealer(), last, keys))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
