"""Where the socket, the state and the configuration are; it touches none of them.

Standard library only: every command needs a place, and few need the configuration's models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.errors import ConfigError

SYSTEM_SOCKET: Final = Path("/run/fumehood/fumehood.sock")
SYSTEM_STATE: Final = Path("/var/lib/fumehood")
SYSTEM_CONFIG: Final = Path("/etc/fumehood/config.yaml")
SYSTEM_CACHE: Final = Path("/var/cache/fumehood")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the socket, the state and the configuration are. All absolute.

    config_named: somebody asked for this configuration file, so it must exist.
    """

    socket: Path
    state: Path
    config: Path
    config_named: bool = False


def places(
    socket: Path | None = None,
    state: Path | None = None,
    config: Path | None = None,
    *,
    environ: Mapping[str, str],
    uid: int,
) -> Places:
    """Options before FUMEHOOD_* variables before the defaults of `uid`.

    Raises ConfigError for a place that is empty or relative: it would depend on where the
    command was started.
    """
    named = {
        "--socket": (socket, "FUMEHOOD_SOCKET"),
        "--state": (state, "FUMEHOOD_STATE"),
        "--config": (config, "FUMEHOOD_CONFIG"),
    }
    chosen = {
        option: _absolute(value, option) if value is not None else _variable(environ, variable)
        for option, (value, variable) in named.items()
    }
    defaults = _defaults(environ, uid)
    return Places(
        socket=chosen["--socket"] or defaults.socket,
        state=chosen["--state"] or defaults.state,
        config=chosen["--config"] or defaults.config,
        config_named=chosen["--config"] is not None,
    )


def _defaults(environ: Mapping[str, str], uid: int) -> Places:
    if uid == 0:
        return Places(SYSTEM_SOCKET, SYSTEM_STATE, SYSTEM_CONFIG)
    runtime = _xdg(environ, "XDG_RUNTIME_DIR")
    run = runtime / "fumehood" if runtime else Path(f"/tmp/fumehood-{uid}")  # noqa: S108  (made 0700 and its owner checked by the gateway)
    home = _xdg(environ, "HOME") or Path("/nonexistent")
    state = _xdg(environ, "XDG_STATE_HOME") or home / ".local" / "state"
    config = _xdg(environ, "XDG_CONFIG_HOME") or home / ".config"
    return Places(run / "fumehood.sock", state / "fumehood", config / "fumehood" / "config.yaml")


def cache(environ: Mapping[str, str], uid: int) -> Path:
    """Where what can be made again is kept; nothing there is believed without a check."""
    if uid == 0:
        return SYSTEM_CACHE
    home = _xdg(environ, "HOME") or Path("/nonexistent")
    return (_xdg(environ, "XDG_CACHE_HOME") or home / ".cache") / "fumehood"


def _xdg(environ: Mapping[str, str], name: str) -> Path | None:
    """XDG Base Directory Specification 0.8: empty is unset, relative is ignored."""
    value = environ.get(name, "")
    return Path(value) if value.startswith("/") else None


def _variable(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    return None if value is None else _absolute(Path(value) if value else None, name)


def _absolute(path: Path | None, name: str) -> Path:
    if path is None or "\0" in str(path):
        raise ConfigError(f"{name} is empty or holds a NUL byte", "name a file, or leave it out")
    try:
        return path.absolute()
    except FileNotFoundError:
        raise ConfigError(
            f"{name} is {path}, relative to a folder that is gone", "name it from the root on"
        ) from None
