"""Writes an audit log of so many records, as the daemon would have: the same lines, sealed in the
same way by the same code, the same signed segment ends; only without waiting for the disk after
each group.

    python -I bench/audit_fill.py RUNTIME STATE RECORDS

Run by the daemon's interpreter, as a process of its own. Records come in groups of `GROUP`, two
for each call, launch and end; each segment tells that nothing before it is open, as a daemon's
does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

GROUP = 16
"""Records that share an fsync, and so a sealing key, on a daemon with calls at once."""
TIME = "2026-01-01T00:00:00.000000Z"
WRITE_BYTES = 1 << 20
_DIGEST = "sha384:" + "0" * 96
_LAUNCHED = {
    "tool": "echo",
    "caller": {"uid": 0, "gid": 0, "pid": 1},
    "tool_digest": _DIGEST,
    "plan": _DIGEST,
}
_ENDED = {
    **_LAUNCHED,
    "tool_version": "1.0.0",
    "status": "ok",
    "exit_code": 0,
    "usage": {"wall_seconds": 0.01, "cpu_seconds": 0.01, "memory_peak_bytes": 1_000_000},
}
_INVOCATION = "01a2002f-a269-716f-a068-%012x"


def main(runtime: str, state: Path, wanted: int) -> None:
    sys.path.insert(0, runtime)
    from fumehood.audit.chain import SEGMENT_BYTES
    from fumehood.audit.custody import SEGMENT_TYPE, RingCustody
    from fumehood.audit.head import START, Signed, render_head, show_first_key, write_signed
    from fumehood.audit.ratchet import KEY_BYTES, Ratchet
    from fumehood.audit.record import encode_fields
    from fumehood.audit.replay import LAUNCHED, OPEN, STARTED
    from fumehood.audit.segments import segment_name
    from fumehood.crypto.keyring import open_ring
    from fumehood.crypto.ring import Periods

    ended = "invocation.ended"
    mark = _INVOCATION % 0xFFFFFFFFFFFF
    launch, end = (
        encode_fields(event, {**fields, "invocation": mark}).split(mark)
        for event, fields in ((LAUNCHED, _LAUNCHED), (ended, _ENDED))
    )

    def records() -> Iterator[tuple[str, str]]:
        """Calls, one after the other, without end: event and fields."""
        number = 0
        while True:
            name = _INVOCATION % number
            yield LAUNCHED, name.join(launch)
            yield ended, name.join(end)
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
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
