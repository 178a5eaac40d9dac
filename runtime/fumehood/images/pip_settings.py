"""Where the host's pip finds distributions, as its own configuration says; credentials left out.

pip itself is asked, so that every file and variable counts that counts for it. Must never give
anything else of that configuration on: no user, password, client certificate or option.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from fumehood.images.external import environment, output
from fumehood.images.fetching import has_credentials, proxy_of, without_credentials

SECONDS: Final = 60.0
MAX_TIMEOUT: Final = 600
_LINE: Final = re.compile(r"(global|download|:env:)\.([a-z-]{1,40})=('.*'|\".*\")\Z")
_PASSED_ON: Final = ("PIP_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL",
                     "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_PROXY", "PIP_TIMEOUT",
                     "PIP_TRUSTED_HOST", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME")  # fmt: skip
_ORDER: Final = ("global", "download", ":env:")
"""The later wins, as in pip."""


@dataclass(frozen=True, slots=True)
class PipSettings:
    """folders: of find-links, on this host. indexes: folders of this host in PEP 503's layout.

    options: for a pip that has the network, in its own words. remote: whether any index or page
    is left that the network reaches. stripped: a user or password was left out.
    certificates: a file of the host.
    """

    folders: tuple[Path, ...] = ()
    indexes: tuple[Path, ...] = ()
    options: tuple[str, ...] = ()
    remote: bool = True
    stripped: bool = False
    certificates: Path | None = None


def pip_settings() -> PipSettings:
    """Raises ImageError: pip is missing, or does not understand its configuration."""
    argv = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "config", "list"]
    return understood(output(argv, seconds=SECONDS, env=environment(*_PASSED_ON)))


def understood(text: str) -> PipSettings:
    """What `pip config list` printed. Pure."""
    found = dict(_settings(text))
    if found.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes: list[str] = []
    else:
        main = found.get("index-url")
        indexes = [*([main] if main else [""]), *found.get("extra-index-url", "").split()]
    links = found.get("find-links", "").split()
    options: list[str] = []
    remote = [clean for item in indexes if (clean := without_credentials(item) if item else "")]
    local = [path for item in indexes if (path := _local(item)) is not None]
    by_default = "" in indexes
    for number, url in enumerate(remote):
        options += ["--extra-index-url" if number or by_default else "--index-url", url]
    pages = [clean for item in links if (clean := without_credentials(item)) is not None]
    for page in pages:
        options += ["--find-links", page]
    if not remote and not by_default:
        options += ["--no-index"]
    for host in found.get("trusted-host", "").split():
        if re.fullmatch(r"[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]{0,254}", host):
            options += ["--trusted-host", host]
    if (proxy := proxy_of(found.get("proxy", ""))) is not None:
        options += ["--proxy", proxy]
    timeout = found.get("timeout", found.get("default-timeout", ""))
    if re.fullmatch(r"[0-9]{1,4}", timeout):
        options += ["--timeout", str(min(int(timeout), MAX_TIMEOUT))]
    certificates = found.get("cert", "")
    return PipSettings(
        folders=tuple(path for item in links if (path := _local(item, plain=True)) is not None),
        indexes=tuple(local),
        options=tuple(options),
        remote=bool(remote or pages or by_default),
        stripped=any(has_credentials(item) for item in (*indexes, *links, found.get("proxy", ""))),
        certificates=Path(certificates) if certificates.startswith("/") else None,
    )


def _settings(text: str) -> Iterator[tuple[str, str]]:
    found = [match for line in text.splitlines() if (match := _LINE.match(line)) is not None]
    for section in _ORDER:
        for match in found:
            if match[1] == section:
                try:
                    yield match[2], str(ast.literal_eval(match[3]))
                except (ValueError, SyntaxError):
                    continue


def _local(text: str, *, plain: bool = False) -> Path | None:
    """The folder of a `file:` URL, or where pip takes it, of a plain path."""
    if plain and text.startswith("/"):
        return Path(text)
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    return Path(unquote(parts.path))
