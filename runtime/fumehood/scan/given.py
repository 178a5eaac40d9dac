"""Exact values of secrets that a tool was given, or that the operator named: found as they stand,
in every view of a text and in what is decoded of it. Whatever form they have, they are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import re2

from fumehood.errors import ConfigError
from fumehood.scan import broken, custom
from fumehood.scan.detector import Match
from fumehood.scan.judging import entropy

MIN_BYTES: Final = 8
"""Shorter values stand in harmless text by chance."""
MAX_BYTES: Final = 64 * 1024
MAX_VALUES: Final = 256

_NAMES_ONE: Final = re.compile(
    r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|CREDENTIALS?|AUTH|DSN|PAT)(?:_|$)", re.IGNORECASE
)
_NAMES_A_PASSWORD: Final = re.compile(
    r"(?:PASS(?:WORD|WD|PHRASE|CODE)?|PWD|SECRET|TOKEN)(?:_?[0-9]+|_(?:OLD|NEW|PREVIOUS|CURRENT))?$"
    r"|(?:^|_)(?:PASS(?:WORD|WD|PHRASE)?|PWD)_|_PAT$",
    re.IGNORECASE,
)
"""By its end, so that PGPASSWORD, MYSQL_PWD and SSHPASS are among them."""
_NAMES_NONE: Final = frozenset(("PWD", "OLDPWD"))
"""The shell's own: where it stands, and stood."""
_NAMES_A_PLACE: Final = re.compile(
    r"_(?:FILE|PATH|DIR|URL|URI|HOST|NAME|USER|STORE|ID|COUNT|LENGTH|MIN|MAX|TTL)$", re.IGNORECASE
)
_NO_SECRET: Final = re.compile(r"[a-z]+|[/~.][\w./-]*|[a-z]+://[^@]*|true|false|[0-9]+")
"""A plain word, a path, an address without a password, a number."""
_SWITCH: Final = frozenset(("true", "false", "disabled", "required", "optional", "undefined"))
_BITS: Final = 4.0
"""Entropy a character: paths have 3 to 3.9; random base64 of 40 characters 4.6."""


class GivenDetector:
    """Linear in the text, however many there are."""

    name = "given"

    def __init__(self, values: Iterable[bytes]) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        words = sorted(set(values), key=len, reverse=True)
        self._pattern: Any = re2.compile(b"|".join(re2.escape(word) for word in words), options)
        self.beginnings: Any = broken.beginnings(words)
        """What a string ends in that holds the first part of one of them."""

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        return [
            Match("given-secret", "secret", "high", *found.span())
            for found in self._pattern.finditer(data)
        ]


def of_environment(environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """The values of variables whose names say that they are secrets."""
    return tuple(
        value.encode()
        for name, value in environment.items()
        if len(value.encode()) >= MIN_BYTES and _is_secret(name, value)
    )


def _is_secret(name: str, value: str) -> bool:
    """What is called a password is one, whatever it looks like: a word, a number, base64 with a
    slash in front. Of others the name is not enough: KEY may hold a path, AUTH a word."""
    if name in _NAMES_NONE or value.lower() in _SWITCH:
        return False
    place = _NAMES_A_PLACE.search(name) is not None
    password = _NAMES_A_PASSWORD.search(name) is not None
    if password and not place:
        return True
    if not password and not _NAMES_ONE.search(name):
        return False
    if _NO_SECRET.fullmatch(value) is None:
        return True
    return not place and value[0] in "/~." and entropy(value.encode()) >= _BITS


def of_files(paths: Iterable[str]) -> tuple[bytes, ...]:
    """One value for each file, without the newline at its end; of a file with several lines each
    line of its own, too.

    Raises ConfigError: a file that cannot be read by us, that others can read or write, or a value
    that is too short to be told from other text.
    """
    values: list[bytes] = []
    for path in paths:
        whole = custom.read(Path(path), private=True).rstrip(b"\r\n")
        if not MIN_BYTES <= len(whole) <= MAX_BYTES:
            raise ConfigError(
                f"scan.secrets: {path} holds less than {MIN_BYTES} bytes, or more than {MAX_BYTES}",
                "leave it out: in other text it would be found by chance",
            )
        lines = whole.split(b"\n") if b"\n" in whole else []
        values += [whole, *(line for line in map(bytes.strip, lines) if len(line) >= MIN_BYTES)]
    if len(values) > MAX_VALUES:
        raise ConfigError(f"scan.secrets: more than {MAX_VALUES} values", "name fewer files")
    return tuple(values)
