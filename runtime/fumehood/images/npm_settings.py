"""Where the host's npm finds packages, as its own configuration says; credentials left out.

npm itself is asked, so that every file and variable counts that counts for it. Must never give
anything else of that configuration on: no token, password, client certificate or option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError, NotStrictJSON
from fumehood.images.external import environment, output
from fumehood.images.fetching import (
    CERTIFICATES,
    has_credentials,
    proxy_of,
    without_credentials,
)
from fumehood.model import strict_json

SECONDS: Final = 60.0
_PASSED_ON: Final = (
    "NPM_CONFIG_CAFILE", "NPM_CONFIG_HTTPS_PROXY", "NPM_CONFIG_NOPROXY", "NPM_CONFIG_PROXY",
    "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG",
)  # fmt: skip
_ADDRESS: Final = re.compile(
    r"(@[a-z0-9~-][a-z0-9._~-]{0,127}:registry|registry|proxy|https-proxy)\Z"
)


@dataclass(frozen=True, slots=True)
class NpmSettings:
    """lines: of an npmrc. certificates: a file of the host. stripped: a password was left out."""

    lines: tuple[str, ...] = ()
    certificates: Path | None = None
    stripped: bool = False


def npm_settings(program: str) -> NpmSettings:
    """Raises ImageError: npm fails, or does not tell its configuration."""
    argv = [program, "config", "list", "--json"]
    return understood(output(argv, seconds=SECONDS, env=environment(*_PASSED_ON)))


def understood(text: str) -> NpmSettings:
    """What `npm config list --json` printed, which hides passwords itself. Pure."""
    try:
        found = strict_json.loads(text.encode())
    except NotStrictJSON as error:
        raise ImageError(f"npm does not tell its configuration: {error.cause}") from None
    if not isinstance(found, dict):
        raise ImageError("npm does not tell its configuration")
    lines, stripped = [], False
    for name, value in sorted(found.items()):
        if isinstance(value, str) and _ADDRESS.match(name):
            stripped |= has_credentials(value)
            clean = proxy_of if name.endswith("proxy") else without_credentials
            if (url := clean(value)) is not None:
                lines.append(f"{name}={url}")
        stripped |= name.startswith("//") or name in ("_auth", "_authToken")
    cafile = found.get("cafile")
    certificates = Path(cafile) if isinstance(cafile, str) and cafile.startswith("/") else None
    if certificates is not None:
        lines.append(f"cafile={CERTIFICATES}")
    return NpmSettings(tuple(lines), certificates, stripped)
