"""What the operator decides about abnormal behaviour: the part `behaviour` of the configuration."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from fumehood.model.document import shown
from fumehood.model.limits import GIB, KIB, MIB, bounds, whole
from fumehood.model.live import Sign
from fumehood.model.strict import Strict, distinct, listed
from fumehood.model.units import FieldError, Seconds, Size, format_seconds, format_size

_TOOL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)


def _tools_or_all(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name != "*" and not _TOOL_NAME.fullmatch(name):
            raise FieldError(f"{shown(name)} is no name of a tool", "write names, or '*' for all")
    return names


class Behaviour(Strict):
    """What counts as abnormal for a tool, and which of it ends a call. See docs/operations.md."""

    samples: Annotated[int, *whole(5, 64)] = Field(
        default=20, description="calls of a tool version to know before one is called unusual"
    )
    deviations: Annotated[int, *whole(2, 1_000)] = Field(
        default=8, description="how many (robust) deviations above the median are unusual"
    )
    spinning: Annotated[Seconds, bounds(1, 3_600, format_seconds)] = Field(
        default=30.0, description="half its CPU or more used and nothing written for so long"
    )
    fork_storm: Annotated[int, *whole(1, 1_000_000)] = Field(
        default=100, description="processes and threads that the pids limit refused"
    )
    denials: Annotated[int, *whole(1, 1_000_000)] = Field(
        default=100, description="system calls that were denied, as far as they are recorded"
    )
    log_denials: Annotated[
        tuple[str, ...],
        AfterValidator(_tools_or_all),
        AfterValidator(distinct),
        BeforeValidator(listed),
    ] = Field(
        default=(),
        description="tools whose calls that are answered with an error are told too; * is all",
    )
    output_flood: Annotated[Size, bounds(4 * KIB, 64 * GIB, format_size)] = Field(
        default=16 * MIB, description="bytes written in a second, for two seconds"
    )
    kill: Annotated[tuple[Sign, ...], AfterValidator(distinct), BeforeValidator(listed)] = Field(
        default=(), description="which of these end a call; the others are only told"
    )
