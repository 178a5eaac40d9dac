"""How pip and npm are run: what a caller of this room must do for them, as data.

They parse what an index answers, or whoever stands in its place, so they never run as this
process does: the room only says what to run, and whoever composes it brings a `Fetcher`, which
must give the program no credentials, no file of the host but `Fetch.binds`, and nothing to write
but `Fetch.work`.
"""

from __future__ import annotations

import os
import re
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
NETWORK_SECONDS: Final = 1800.0
"""For one run of a program that downloads."""
MAX_BYTES: Final = 8 << 30
MAX_FILES: Final = 20_000
"""What a program may have in `Fetch.work`, looked at twice a second while it runs."""
MAX_CERTIFICATES: Final = 4 << 20
"""Of a file of certificates; Debian's whole bundle has 0.2 MiB."""
_CERTIFICATE: Final = re.compile(
    rb"^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,65536}-----END CERTIFICATE-----$", re.M
)
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
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
        proxy = value if name.lower() == "no_proxy" else proxy_of(value) or ""
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


def left_in(work: Path, name: str, most: int) -> Path:
    """A folder that was made for the program's results, if it still is one, with at most so many
    files and MAX_BYTES in them, holes counted: whoever reads them is root and has no time limit.

    Raises:
        ImageError: something else stands in its place, or there is too much in it.
    """
    path = work / name
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise ImageError(f"what was fetched is no folder: {name}")
    files, size = 0, 0
    with os.scandir(path) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            files, size = files + 1, size + status.st_size
            if files > most:
                raise ImageError(f"more was fetched than the {most} files that can be of use")
            if size > MAX_BYTES:
                raise ImageError(f"what was fetched is larger than {MAX_BYTES} bytes")
    return path


def certificates_in(path: Path, work: Path) -> Path:
    """A copy, in a file of `work`, of the certificates in a file of the host; nothing else that
    is in it. Links to it are followed.

    Raises:
        ImageError: it is no file, cannot be read, is too large, or has no certificate.
    """
    remedy = "name a file of certificates in PEM in pip's or npm's configuration, or none"
    try:
        fd = os.open(os.path.realpath(path), _READ)
    except OSError as error:
        raise ImageError(f"certificates {path}: {error.strerror}", remedy) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ImageError(f"certificates {path}: not a regular file", remedy)
        data = b""
        while len(data) <= MAX_CERTIFICATES and (more := os.read(fd, MAX_CERTIFICATES)):
            data += more
    finally:
        os.close(fd)
    if len(data) > MAX_CERTIFICATES:
        raise ImageError(f"certificates {path}: larger than {MAX_CERTIFICATES} bytes", remedy)
    blocks = _CERTIFICATE.findall(data.replace(b"\r\n", b"\n"))
    if not blocks:
        raise ImageError(f"certificates {path}: no certificate in it", remedy)
    copy = work / "certificates.pem"
    copy.write_bytes(b"\n".join(blocks) + b"\n")
    copy.chmod(0o644)
    return copy


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


def proxy_of(text: str) -> str | None:
    """The same of a proxy, which pip and npm also take as `HOST:PORT`, for http."""
    return without_credentials(text if not text or "://" in text else f"http://{text}")


def has_credentials(url: str) -> bool:
    """Whether `without_credentials` takes a user or password away."""
    try:
        return "@" in urlsplit(url if "://" in url else f"//{url}").netloc
    except ValueError:
        return False
