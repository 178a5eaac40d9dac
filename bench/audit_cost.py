"""CPU that the audit log costs an invocation: two records, group commit, every thread counted.

    .venv/bin/python bench/audit_cost.py [--invocations 4000]

At a time, 1, 16 or 64 invocations wait for their records, as concurrent calls do. Encoding,
sealing, hashing, writing and fdatasync are in it, the supervisor's own work is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "runtime"))

from fumehood.audit.chain import AuditLog  # noqa: E402
from fumehood.audit.custody import RingCustody  # noqa: E402
from fumehood.audit.record import Field  # noqa: E402
from fumehood.crypto.keyring import Digester, open_ring  # noqa: E402
from fumehood.crypto.ring import Periods  # noqa: E402
from fumehood.model.ids import uuid7  # noqa: E402

TARGET = 100.0
DIGEST = "sha384:" + "0" * 96
LAUNCHED: dict[str, Field] = {
    "tool": "word-count", "caller": {"uid": 1000, "gid": 1000, "pid": 4711},
    "tool_digest": DIGEST, "plan": DIGEST,
}  # fmt: skip
ENDED: dict[str, Field] = {
    **LAUNCHED, "tool_version": "1.0.0", "rule": None, "status": "ok", "exit_code": 0,
    "signal": None, "breach": None, "findings": [], "uid": 1900000000, "seccomp": DIGEST,
    "usage": {
        "wall_seconds": 0.0291, "cpu_seconds": 0.0295, "memory_peak_bytes": 4444160,
        "pids_peak": 1, "stdout_bytes": 124, "stderr_bytes": 0, "user_seconds": 0.0258,
        "system_seconds": 0.0036, "throttled_seconds": 0.0, "oom_kills": 0, "stdin_bytes": 14,
        "scratch_bytes": 0, "scratch_inodes": 0,
    },
    "proofs": {
        "uid": "1900000000", "gid": "1900000000", "groups": "none", "capabilities": "none",
        "no_new_privs": "1", "seccomp": "2", "namespaces": "all new", "memory": "67108864",
        "cpu": "1.0", "pids": "32", "root": "ro,nosuid", "mount./tool": "nodev,nosuid,ro",
        "mount./tmp": "nodev,noexec,nosuid", "mount./out": "nodev,noexec,nosuid",
    },
}  # fmt: skip


def measure(state: Path, invocations: int, at_once: int) -> float:
    """Microseconds of CPU, all threads, for each invocation."""
    ring = open_ring(state, Periods())
    digester = Digester(ring)
    with AuditLog.open(state / "audit", RingCustody(ring)) as log:
        begin = time.process_time()
        for _ in range(invocations // at_once):
            names = [uuid7() for _ in range(at_once)]
            waits = [
                log.append("invocation.launched", {**LAUNCHED, "invocation": name})
                for name in names
            ]
            for wait in waits:
                wait.result()
            waits = []
            for name in names:
                arguments, result = digester.of(name, b'{"text":"x"}', b'{"content":[]}')
                fields = {**ENDED, "invocation": name, "arguments": arguments, "result": result}
                waits.append(log.append("invocation.ended", fields))
            for wait in waits:
                wait.result()
        used = time.process_time() - begin
    return used / (invocations // at_once * at_once) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--invocations", type=int, default=4000)
    options = parser.parse_args()
    missed = False
    for at_once in (1, 16, 64):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), options.invocations, at_once)
        judged = "" if at_once == 1 else f"  (target {TARGET:.0f})"
        print(f"{at_once:>3} at once: {found:6.0f} µs CPU for an invocation{judged}")
        missed |= at_once > 1 and found > TARGET
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
