"""What a service manager hands to `fumehood serve`: a listening socket, and where to report.

sd_listen_fds(3) and sd_notify(3) without a library. Must never take a descriptor that is not
meant for this process, nor listen on a socket that everybody may connect to.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping, MutableMapping
from typing import Final

from fumehood.errors import ConfigError
from fumehood.launcher.keeper import STOP_SECONDS
from fumehood.launcher.notify import Manager

FIRST_FD: Final = 3
STOP_MARGIN_SECONDS: Final = 30
"""Beyond shutdown.grace: what a supervisor has to kill and record what is left; one that takes
longer is killed. Removing it is the launchers', who have `keeper.STOP_SECONDS` more."""
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def listener(environ: MutableMapping[str, str], *, pid: int) -> socket.socket | None:
    """The socket that the manager listens on for us; None when it gave none.

    Raises:
        ConfigError: it gave something else than one listening Unix socket of a closed group.
    """
    given = {name: environ.pop(name, "") for name in _VARIABLES}
    if given["LISTEN_PID"] != str(pid):
        return None
    if given["LISTEN_FDS"] != "1":
        raise ConfigError(
            f"the service manager passed {given['LISTEN_FDS'][:8] or 'no'} sockets, not one",
            "give the socket unit exactly one ListenStream=",
        )
    try:
        passed = socket.socket(fileno=FIRST_FD)
        listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(
            f"descriptor {FIRST_FD} from the service manager is no socket: {error.strerror}",
            "start the service through its socket unit",
        ) from None
    if (passed.family, passed.type, listens) != (socket.AF_UNIX, socket.SOCK_STREAM, 1):
        raise ConfigError(
            "the service manager passed no listening Unix stream socket",
            "use ListenStream= with a path in the socket unit",
        )
    os.set_inheritable(FIRST_FD, False)
    _check_closed(path(passed))
    return passed


def path(passed: socket.socket) -> str:
    """Where a passed socket is bound. Raises ConfigError for one without a path."""
    name = passed.getsockname()
    if not isinstance(name, str) or not name.startswith("/"):
        raise ConfigError(
            "the passed socket has no path", "use ListenStream=/run/fumehood/fumehood.sock"
        )
    return name


def manager(environ: Mapping[str, str], *, pid: int, grace: float) -> Manager:
    """To whom to report, and how often. A malformed variable counts as not given.

    grace: seconds that running calls have when the daemon stops.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return Manager()
    watchdog = environ.get("WATCHDOG_USEC", "")
    ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    microseconds = int(watchdog) if ours and watchdog.isdecimal() and len(watchdog) < 16 else 0
    stopping = grace + STOP_MARGIN_SECONDS + STOP_SECONDS
    return Manager(address, microseconds, int(stopping * 1_000_000))


def _check_closed(name: str) -> None:
    if stat.S_IMODE(os.lstat(name).st_mode) & stat.S_IRWXO:
        raise ConfigError(
            f"everybody may connect to the passed socket {name}",
            "set SocketMode=0660 and SocketGroup= in the socket unit",
        )
