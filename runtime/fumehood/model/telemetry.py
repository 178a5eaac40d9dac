"""What the operator decides about OpenTelemetry: the part `telemetry` of the configuration."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fumehood.model.forward import check_http
from fumehood.model.limits import bounds
from fumehood.model.units import Seconds, format_seconds


class TelemetrySpec(BaseModel):
    """Where traces and metrics go by OTLP."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    to: str = Field(
        default="",
        max_length=512,
        description="https://HOST:PORT, below which lie /v1/traces and /v1/metrics; http:// to"
        " loopback only",
    )
    interval: Annotated[Seconds, bounds(1, 3_600, format_seconds)] = Field(
        default=60.0, description="how often metrics are sent"
    )
    ca: str = Field(
        default="", max_length=4095, description="file of the authorities that are trusted"
    )
    token_file: str = Field(
        default="", max_length=4095, description="file of mode 0600 with a bearer token"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.to:
            check_http(self.to, "to")
        return self
