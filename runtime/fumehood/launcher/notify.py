"""Tells a service manager how the daemon is: sd_notify(3) in a few lines.

Standard library only. Must never fail or block the keeper: a manager that does not listen is no
reason to stop.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manager:
    """Whoever started us, from NOTIFY_SOCKET and WATCHDOG_USEC; all empty when nobody asks.

    address: of a datagram socket, a path or `@` and an abstract name.
    watchdog_us: the manager kills us after so many microseconds without a sign of life; 0: never.
    stop_us: how long stopping may take, told to the manager when it begins.
    """

    address: str = ""
    watchdog_us: int = 0
    stop_us: int = 0

    def tell(self, *lines: str) -> None:
        """Send assignments such as `READY=1`."""
        if not self.address:
            return
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), name)
