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
from fumehood.scan import custom
from fumehood.scan.detector import Match

MIN_BYTES: Final = 8
"""Shorter values stand in harmless text by chance."""
MAX_BYTES: Final = 64 * 1024
MAX_VALUES: Final = 256

_NAMES_ONE: Final = re.compile(
    r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|PASSPHRASE|CREDENTIALS?|AUTH|DSN|PAT)"
    r"(?:_|$)"
)
_NO_SECRET: Final = re.compile(r"[a-z]+|[/~.][\w./-]*|[a-z]+://[^@]*|true|false|[0-9]+")
"""A plain word, a path, an address without a password, a number."""


class GivenDetector:
    """Linear in the text, however many there are."""

    name = "given"

    def __init__(self, values: Iterable[bytes]) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        words = sorted(set(values), key=len, reverse=True)
        self._pattern: Any = re2.compile(b"|".join(re2.escape(word) for word in words), options)

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
        if _NAMES_ONE.search(name)
        and len(value.encode()) >= MIN_BYTES
        and _NO_SECRET.fullmatch(value) is None
    )


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
