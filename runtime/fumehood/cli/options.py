"""The options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fumehood.places import Places, places

SocketOption = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        metavar="PATH",
        help="The daemon's socket; also FUMEHOOD_SOCKET.",
        show_default=False,
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="Where catalog, keys and audit log are kept; also FUMEHOOD_STATE.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The operator's configuration; also FUMEHOOD_CONFIG.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def chosen(
    socket: Path | None = None, state: Path | None = None, config: Path | None = None
) -> Places:
    """Options before environment variables before the defaults; raises ConfigError."""
    return places(socket, state, config, environ=os.environ, uid=os.geteuid())
