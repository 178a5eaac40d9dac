"""What the operator decides about a classifier outside: the part `scan.classifier`."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fumehood.model.document import shown
from fumehood.model.forward import is_loopback
from fumehood.model.units import FieldError, Seconds

MAX_SECONDS: Final = 60.0


def _names(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise FieldError(f"expected a list, got {shown(value)}")
    return tuple(value)


class ClassifierSpec(BaseModel):
    """A classifier that is asked over HTTP about what is to leave. See docs/scanning.md."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    url: str = Field(
        max_length=1024, description="https://HOST/PATH?QUERY; http:// to a loopback address only"
    )
    key_file: str = Field(
        default="", max_length=4095, description="file of mode 0600 with the key to send"
    )
    header: str = Field(
        default="Ocp-Apim-Subscription-Key",
        pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$",
        description="the header that the key is sent in",
    )
    ca: str = Field(
        default="", max_length=4095, description="file of the authorities that are trusted"
    )
    timeout: Seconds = Field(default=2.0, description="for all of one output")
    characters: int = Field(
        default=10_000, ge=100, le=1_000_000, description="of documents in one request"
    )
    requests: int = Field(
        default=16, ge=1, le=256, description="about one output; a larger one counts as a failure"
    )
    failure: Literal["withhold", "flag", "pass"] = Field(
        default="withhold", description="what becomes of output that it has not judged"
    )
    tools: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        default=("*",), max_length=4096, description="whose output it is asked about"
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        try:
            target = urlsplit(self.url)
            _ = target.port
        except ValueError:
            raise FieldError(f"url: {shown(self.url)} is no address") from None
        if target.scheme not in ("https", "http") or not target.hostname or target.username:
            raise FieldError(f"url: {shown(self.url)} is no address to ask", "write https://…")
        if target.scheme == "http" and not is_loopback(target.hostname):
            raise FieldError("url: output goes over TLS to other hosts", "write https://")
        if not 0.01 <= self.timeout <= MAX_SECONDS:
            raise FieldError(f"timeout: 10ms to {MAX_SECONDS:.0f}s")
        for path in (self.key_file, self.ca):
            if path and not path.startswith("/"):
                raise FieldError(f"{shown(path)} is no absolute path")
        return self
