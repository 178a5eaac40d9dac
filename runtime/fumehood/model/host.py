"""What the operator decides about the host: what of it must stay free, and what may be kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fumehood.model.limits import GIB, KIB, MIB, bounds, whole
from fumehood.model.strict import Strict
from fumehood.model.units import Size, format_size

Percent = Annotated[int, *whole(1, 100)]


class Pressure(Strict):
    """What of the host must stay free for calls to be taken. See docs/operations.md."""

    memory_commit: Annotated[int, *whole(1, 1_000)] = Field(
        default=80,
        description="percent of the host's memory that the limits of running sandboxes may sum to",
    )
    memory_free: Percent = Field(
        default=5, description="percent of memory; with less available calls are refused"
    )
    memory_stall: Percent = Field(
        default=40, description="percent of time that everything waited for memory (PSI full)"
    )
    io_stall: Percent = Field(
        default=95, description="percent of time that everything waited for disks (PSI full)"
    )
    cpu_load: Annotated[int, *whole(1, 10_000)] = Field(
        default=64, description="load average for each CPU"
    )


class Storage(Strict):
    """What the state directory may hold, and what its disk must keep free."""

    free: Annotated[Size, bounds(64 * KIB, 1024 * GIB, format_size)] = Field(
        default=64 * MIB, description="with less free on the state's disk calls are refused"
    )
    audit: Annotated[Size, bounds(128 * MIB, 1024 * GIB, format_size)] = Field(
        default=4 * GIB, description="audit log; its oldest segments of 64 MiB go first"
    )
    audit_days: Annotated[int, *whole(0, 36_500)] = Field(
        default=0, description="older segments of the audit log go; 0: none for its age"
    )
    tools: Annotated[Size, bounds(1 * MIB, 1024 * GIB, format_size)] = Field(
        default=4 * GIB, description="files of registered tools"
    )
    images: Annotated[Size, bounds(64 * MIB, 1024 * GIB, format_size)] = Field(
        default=32 * GIB, description="root file systems of images"
    )
