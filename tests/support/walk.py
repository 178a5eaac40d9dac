"""The security engineer's walk from an alert to a proof, on a daemon of its own, as real output:
`make walk`; docs/incidents.md shows it, digests shortened. As root."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from support.hood import Hood, hood

TRIP = """
import ctypes, os, sys, time
loot = open("/tmp/loot", "w"); loot.write("what was gathered"); loot.flush()
print("gathered", flush=True)
if os.fork() == 0:
    ctypes.CDLL(None).syscall(321, 0, 0, 0)
time.sleep(600)
"""
RULE = {"signal": "tripwire", "actions": ["kill", "quarantine_version"]}


def show(at: Hood, *words: str, most: int = 60) -> str:
    """Run a command and print both, as on a terminal."""
    done = at.cli(*words)
    shown = " ".join(word if " " not in word else f"'{word}'" for word in words)
    print(f"$ fumehood {shown.replace(str(at.place) + '/', '')}")
    for line in [*done.stdout.splitlines(), *done.stderr.splitlines()][:most]:
        print(line[:160])
    return done.stdout


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="walk-") as folder,
        hood(Path(folder), config={"incidents": {"rules": [RULE]}}) as at,
    ):
        at.place.chmod(0o755)
        first, trust, proof = (at.place / name for name in ("first.txt", "trust.pem", "proof.json"))
        first.write_text(at.cli("audit", "init", check=True).stdout)
        trust.write_text(at.cli("key", "export-public", "receipt", check=True).stdout)
        at.register(None, "grab", command=["/usr/bin/python3", "-c", TRIP])
        at.cli("call", "grab", "{}")
        show(at, "incident", "list")
        found = json.loads(at.cli("incident", "list", "--json").stdout)[0]
        show(at, "incident", "show", found["incident"])
        capture = json.loads(
            at.cli("incident", "show", found["incident"], "--capture", "--json").stdout
        )["capture"]["sandbox"]
        for process in capture["processes"]:
            files = ", ".join(f for f in process["files"].values() if f.startswith("/"))
            print(f"process {process['pid']} of {process['parent']}: {process['name']} {files}")
        for file in capture["files"]:
            print(f"file {file['path']} {file['size']} bytes sha384:{file['sha384'][:16]}")
        show(at, "audit", "search", "--tool", "grab")
        show(at, "audit", "verify", "--key", str(first))
        show(at, "receipt", found["invocation"], "--out", str(proof))
        show(at, "receipt", "verify", str(proof), "--trust", str(trust))
        show(at, "tool", "approve", "grab", "1.0.0")
        show(at, "tool", "approve", "grab", "1.0.0", "--accept", "quarantined")
        show(at, "incident", "close", found["incident"], "--note", "a test of ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
