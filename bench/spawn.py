"""The leanest way this interpreter can run a program and give it input: posix_spawn and pipes.

Used for every competitor that is a command, so that what is compared is the command and not
how it was started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from bench.peers.base import PeerFailed

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
MOST_INPUT = 64 * 1024
"""What an empty pipe takes without a reader (pipe(7)); more would need a second hand."""


def run(argv: list[str], data: bytes, environment: Mapping[str, str] = ENVIRONMENT) -> bytes:
    """What the program wrote on stdout. Raises PeerFailed when it does not exit with 0."""
    if len(data) > MOST_INPUT:
        raise ValueError("the input does not fit in one pipe")
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    pid = os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, in_read, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
        ],
    )
    os.close(in_read)
    os.close(out_write)
    os.write(in_write, data)
    os.close(in_write)
    parts = []
    while part := os.read(out_read, 65536):
        parts.append(part)
    os.close(out_read)
    _, status = os.waitpid(pid, 0)
    if status:
        raise PeerFailed(f"{argv[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return b"".join(parts)
