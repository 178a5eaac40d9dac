"""Tells in records which configuration holds: by the names of its keys and keyed digests alone;
must never let a value out, nor a digest that can be guessed from one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import BaseModel

from fumehood.audit.record import Field
from fumehood.config import Config

_SHORT: Final = 32
"""Hexadecimal characters of one key's digest: 128 bits of the HMAC."""

Digest = Callable[[bytes], str]
"""Keyed, as `crypto.keyring.Digester`: many values are one of few."""


def summary(config: Config, digest: Digest) -> dict[str, Field]:
    """For a record: a digest of the whole, and one of each key that is not at its default."""
    plain = _values(Config())
    given = {name: value for name, value in _values(config).items() if plain.get(name) != value}
    keys = {name: _of(name, value, digest) for name, value in given.items()}
    return {"digest": digest(_text("", _values(config))), "keys": keys}


def changed(before: Config, after: Config, digest: Digest) -> dict[str, Field]:
    """The keys that differ, each with the digests of both of its values."""
    old, new = _values(before), _values(after)
    return {
        name: [_of(name, old.get(name), digest), _of(name, new.get(name), digest)]
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _values(config: Config) -> Mapping[str, object]:
    """Values by key as docs/configuration.md names them: `forward.to`."""
    found: dict[str, object] = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(getattr(config, name), BaseModel):
            found |= {f"{name}.{inner}": held for inner, held in value.items()}
        else:
            found[name] = value
    return found


def _of(name: str, value: object, digest: Digest) -> str:
    return digest(_text(name, value)).rpartition(":")[2][:_SHORT]


def _text(name: str, value: object) -> bytes:
    return f"configuration {name}\0{json.dumps(value, sort_keys=True)}".encode()
