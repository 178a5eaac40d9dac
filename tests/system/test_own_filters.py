"""Under a service manager that gives the daemon filters of its own, as a unit's
RestrictAddressFamilies= does, the tool's own filter is proven all the same."""

from __future__ import annotations

import threading

from fumehood.kernel import proc
from support.hood import comm, command, eventually, hood

ACCOUNTS = {"first": 1_967_000_000, "count": 50}
UNDER = """
import ctypes, os, struct, sys
code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))  # allow all
program = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


def filtered(*words: str) -> list[str]:
    return ["/usr/bin/python3", "-I", "-c", UNDER, *command(*words)]


def test_one_more_filter_than_the_launchers_is_what_proves_a_sandbox() -> None:
    config = {"accounts": ACCOUNTS, "warm": 0}
    with hood(config=config, entry=filtered) as running:
        own = proc.read_status(running.launcher).seccomp_filters
        assert own == 1
        running.register(None, "nap", command=["sleep", "3"], limits={"timeout": "20s"})
        with running.client() as client:
            seen: list[int] = []
            caller = threading.Thread(target=client.call, args=("nap", {}))
            caller.start()

            def runs() -> bool:
                pids = [pid for pid in running.alive("nap") if comm(pid) == "sleep"]
                seen.extend(proc.read_status(pid).seccomp_filters for pid in pids)
                return bool(seen)

            eventually(runs, 20, "the tool runs")
            caller.join(30)
        assert seen[0] == own + 1
        assert running.call("nap", {})["status"] == "ok"
