"""What the operator decides about forwarding records: the part `forward` of the configuration."""

from __future__ import annotations

import ipaddress
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fumehood.model.document import shown
from fumehood.model.units import FieldError

Form = Literal["ocsf", "cef", "ecs", "jsonl", "otlp"]


class ForwardSpec(BaseModel):
    """Where records of the audit log go besides the disk."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    to: str = Field(
        default="",
        max_length=512,
        description="tls://HOST:PORT for syslog, https://HOST/PATH; http:// to loopback only",
    )
    format: Form = Field(default="ocsf", description="how each record is written")
    ca: str = Field(
        default="", max_length=4095, description="file of the authorities that are trusted"
    )
    token_file: str = Field(
        default="", max_length=4095, description="file of mode 0600 with a bearer token"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if not self.to:
            return self
        try:
            target = urlsplit(self.to)
            _ = target.port
        except ValueError:
            raise FieldError(f"to: {shown(self.to)} is no address") from None
        if target.scheme not in ("tls", "https", "http") or not target.hostname:
            raise FieldError(
                f"to: {shown(self.to)} is no address to forward to",
                "write tls://HOST:PORT, or https://HOST/PATH",
            )
        if target.scheme == "http" and not is_loopback(target.hostname):
            raise FieldError("to: records go over TLS to other hosts", "write https://")
        _check_spelling(self.to, target.hostname, "to")
        if (target.scheme == "tls") == (self.format == "otlp") and target.scheme == "tls":
            raise FieldError("format: otlp goes over HTTP", "write https://HOST/v1/logs")
        return self


def check_http(url: str, key: str) -> None:
    """Raises FieldError for what is neither https:// nor http:// to this host itself, and for what
    cannot be asked for as it is written."""
    try:
        target = urlsplit(url)
        _ = target.port
    except ValueError:
        raise FieldError(f"{key}: {shown(url)} is no address") from None
    if target.scheme not in ("https", "http") or not target.hostname:
        raise FieldError(f"{key}: {shown(url)} is no address", "write https://HOST/PATH")
    if target.scheme == "http" and not is_loopback(target.hostname):
        raise FieldError(f"{key}: other hosts are reached over TLS only", "write https://")
    _check_spelling(url, target.hostname, key)


def _check_spelling(url: str, host: str, key: str) -> None:
    """Raises FieldError for what no request line and no look-up of a name takes: it would be found
    out when the first message is sent."""
    if not all("!" <= character <= "~" for character in url):
        raise FieldError(
            f"{key}: {shown(url)} is not of printable ASCII",
            "write the host as xn--…, and other characters of the path as %XX of their UTF-8",
        )
    try:
        host.encode("idna")  # as `socket.getaddrinfo` does
    except UnicodeError:
        raise FieldError(
            f"{key}: {shown(host)} is no host name: its labels have 1 to 63 characters",
            "write https://HOST/PATH",
        ) from None


def is_loopback(host: str) -> bool:
    """Whether it is an address, not a name, of this host alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
