"""Whose signatures on tools are believed: publishers and their keys, as an operator writes them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from fumehood.model.document import shown
from fumehood.model.strict import Strict, listed
from fumehood.model.units import FieldError

_DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)
_PUBLISHER = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
LONGEST_PEM: Final = 4_096
FIRST_DAY: Final = "0000-01-01"
LAST_DAY: Final = "9999-12-31"


def _day(text: str) -> str:
    if _DAY.fullmatch(text) is None:
        raise FieldError(f"{shown(text)} is no day", "write it such as 2026-12-31")
    return text


def publisher_name(text: str) -> str:
    """A name that a publisher may have; raises FieldError for others."""
    if _PUBLISHER.fullmatch(text) is None:
        raise FieldError(f"{shown(text)} is no name of a publisher", "use [a-z0-9.-]")
    return text


def _pem(text: str) -> str:
    if len(text) > LONGEST_PEM or "-----BEGIN PUBLIC KEY-----" not in text:
        raise FieldError("this is no public key in PEM", "see `fumehood key export-public`")
    return text


def key_id(text: str) -> str:
    """The id of a key; raises FieldError for others."""
    if _KEY_ID.fullmatch(text) is None:
        raise FieldError(f"{shown(text)} is no id of a key", "it has 32 hexadecimal characters")
    return text


Day = Annotated[str, AfterValidator(_day)]
PublisherName = Annotated[str, AfterValidator(publisher_name)]
KeyId = Annotated[str, AfterValidator(key_id)]


class PublisherKey(Strict):
    """One key. What was signed outside its period is not believed; both days belong to it."""

    key: Annotated[str, AfterValidator(_pem)]
    since: Day = FIRST_DAY
    until: Day = LAST_DAY


class Publisher(Strict):
    """Who signs tools."""

    keys: Annotated[tuple[PublisherKey, ...], BeforeValidator(listed)] = Field(
        min_length=1, max_length=16
    )
