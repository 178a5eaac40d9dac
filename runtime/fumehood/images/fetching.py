"""How pip and npm are run: what a caller of this room must do for them, as data.

They parse what an index answers, or whoever stands in its place, so they never run as this
process does: the room only says what to run, and whoever composes it brings a `Fetcher`, which
must give the program no credentials, no file of the host but `Fetch.binds`, and nothing to write
but `Fetch.work`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from fumehood.errors import ImageError

PLACE: Final = "/fetch"
"""Where the program sees `Fetch.work`."""
CERTIFICATES: Final = "/etc/fetch-certificates.pem"
"""Where it sees the file of certificates that the host's configuration names."""
MAX_BYTES: Final = 8 << 30
MAX_FILES: Final = 20_000
"""What a program may have in `Fetch.work`, looked at twice a second while it runs."""
_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Fetch:
    """One run of a fetching program.

    argv: absolute paths, as the sandbox sees them. environment: all that it gets.
    binds: (path of the host, path inside), files or folders, shown read-only.
    work: of `new_work`, writable at PLACE. network: the host's, or none at all.
    """

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    binds: tuple[tuple[str, str], ...]
    work: Path
    network: bool
    seconds: float


Fetcher = Callable[[Fetch], None]
"""Runs it to its end, when everything of it is dead; raises ImageError with the last line of what
it said. What it left in `work` is then still a stranger's."""


def bare_environment() -> tuple[tuple[str, str], ...]:
    """What every fetching program gets: proxies without their credentials, and no home."""
    found = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",  # noqa: S108  (the sandbox's own)
        "TMPDIR": f"{PLACE}/tmp",  # noqa: S108
    }
    for name in _PROXIES:
        value = os.environ.get(name, "")
        proxy = value if name.lower() == "no_proxy" else without_credentials(value) or ""
        if proxy:
            found[name] = proxy
    return tuple(sorted(found.items()))


def new_work(parent: Path, folder: str) -> Path:
    """A work folder for one run, with a folder for its results: what an earlier run left is a
    stranger's."""
    work = Path(tempfile.mkdtemp(prefix="fetch-", dir=parent))
    for name in (folder, "tmp"):
        (work / name).mkdir()
    return work


def left_in(work: Path, name: str) -> Path:
    """A folder that was made for the program's results, if it still is one.

    Raises:
        ImageError: something else stands in its place.
    """
    path = work / name
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise ImageError(f"what was fetched is no folder: {name}")
    return path


def without_credentials(url: str) -> str | None:
    """An http or https URL without user, password, query and fragment, any of which may be a
    secret; None for what is no such URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable():
        return None
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def has_credentials(url: str) -> bool:
    """Whether `without_credentials` takes a user or password away."""
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False
