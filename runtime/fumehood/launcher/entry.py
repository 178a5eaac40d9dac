"""How a process becomes a launcher, or says why it cannot: its descriptors, settings and code.

Standard library only. Nothing that was inherited may be passed on from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import fumehood
from fumehood.errors import ExitStatus, FumehoodError
from fumehood.model.codec import decode

if TYPE_CHECKING:
    from fumehood.launcher.loop import Launcher

CANNOT_START = ExitStatus.ENGINE
CANNOT_START_STATUSES = frozenset({ExitStatus.USAGE, ExitStatus.ENGINE})
"""Of a launcher that would fail the same way again."""
S = TypeVar("S")


def serve(
    argv: list[str],
    settings: type[S],
    prepare: Callable[[socket.socket, S], tuple[Launcher, str, int]],
) -> int:
    """`MODULE CHANNEL_FD SETTINGS_FD`: descriptors of the seqpacket socket and the settings.

    prepare: makes the engine and gives up privileges; returns the launcher, the cgroup mode and
    how many dead instances were swept.
    """
    keep_descriptors(int(word) for word in argv)
    channel = socket.socket(fileno=int(argv[0]))
    with os.fdopen(int(argv[1]), "rb") as file:
        given = decode(settings, json.load(file))
    try:
        launcher, mode, swept = prepare(channel, given)
    except (FumehoodError, OSError) as error:
        return _told(error)
    launcher.hello(cgroup_mode=mode, swept=swept)
    launcher.run()
    return 0


def _told(error: FumehoodError | OSError) -> int:
    """Say why this launcher cannot start, as the command line would; the exit status."""
    if isinstance(error, OSError):
        sys.stderr.write(f"error: the launcher cannot start: {error}\n")
        return CANNOT_START
    sys.stderr.write(f"error: {error.cause}\n")
    if error.remedy:
        sys.stderr.write(f"remedy: {error.remedy}\n")
    return error.exit_status if error.exit_status in CANNOT_START_STATUSES else CANNOT_START


def keep_descriptors(wanted: Iterable[int]) -> None:
    """Close whatever else was inherited, and let nothing be inherited from here.

    bubblewrap passes descriptors on to the tool: one on the host's root would list the host.
    What is opened later is close-on-exec (PEP 446, MSG_CMSG_CLOEXEC).
    """
    keep = {0, 1, 2, *wanted}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in keep:
            with contextlib.suppress(OSError):  # the listing's own descriptor is gone already
                os.close(fd)
        elif fd > 2:
            os.set_inheritable(fd, False)


def code_paths() -> list[str]:
    """Directories outside /usr that this interpreter still loads code from."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(fumehood.__file__)))
    # Without `site` a virtual environment is not in sys.prefix; its interpreter tells it.
    environment = os.path.dirname(os.path.dirname(sys.executable))
    candidates = [package, sys.base_prefix, environment]
    return sorted({path for path in candidates if not path.startswith("/usr/") and path != "/usr"})
