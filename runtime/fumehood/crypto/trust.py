"""Signed tools: what a signature covers, and whether a publisher that is believed made it.

A DSSE envelope over an in-toto statement (in-toto.io/Statement/v1) that names every digest. Must
never take an unknown key for a known one, nor a signature over something else for one over this.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fumehood.crypto import dsse
from fumehood.crypto.signing import PublicKey, SigningKey
from fumehood.errors import ConfigError, KeyringError
from fumehood.model.trust import Publisher, PublisherKey

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:fumehood:tool:1"
ALGORITHM: Final = "ECDSA-P384-SHA384"
UNBELIEVED: Final = ":"
"""In place of a publisher's name: the key that follows is nobody's whom this configuration knows,
and is only claimed to have signed. `?` stands for one that is no key's id."""
_KEY_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is signed: a tool's name and version, and `sha384:<hex>` by part: `manifest` as it is
    written, and `files` where it has some."""

    name: str
    version: str
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed, and when they say they did."""

    publisher: str
    key_id: str
    signed: str

    def __str__(self) -> str:
        return f"{self.publisher}:{self.key_id}"


class UnknownKey(KeyringError):
    """Nobody whom the configuration knows signed it, and nothing in it contradicts the tool: it is
    as good as not signed. key_id: as the envelope claims."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"no key of a publisher here signed this (it names {key_id})",
            "have its public key listed under `publishers`, once you got it by a way you trust",
        )
        self.key_id = key_id


def sign(subject: Subject, key: SigningKey, *, signed: str) -> dict[str, Any]:
    """The envelope. signed: the time of now in UTC, `2026-11-26T23:00:00Z`."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": part, "digest": {"sha384": digest.removeprefix("sha384:")}}
            for part, digest in sorted(subject.digests.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "name": subject.name,
            "version": subject.version,
            "signed": signed,
            "keyid": key.id,
            "algorithm": ALGORITHM,
            "keySize": 384,
        },
    }
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    return dsse.sign(PAYLOAD_TYPE, payload, key)


class TrustRoots:
    """The publishers of one configuration.

    Raises:
        ConfigError: a key is no P-384 public key, or stands twice.
    """

    def __init__(
        self,
        publishers: Mapping[str, Publisher],
        revoked: tuple[str, ...] = (),
        *,
        today: Callable[[], str] = lambda: datetime.now(UTC).strftime("%Y-%m-%d"),
    ) -> None:
        self._today = today
        self._known: dict[str, tuple[str, PublisherKey, PublicKey]] = {}
        self._revoked = frozenset(revoked)
        for name, publisher in publishers.items():
            for number, entry in enumerate(publisher.keys):
                where = f"publishers.{name}.keys[{number}]"
                try:
                    key = PublicKey.from_pem(entry.key)
                except KeyringError as error:
                    raise ConfigError(f"{where}: {error.cause}", error.remedy) from None
                if key.id in self._known:
                    raise ConfigError(f"{where}: the key {key.id} stands twice", "keep one")
                self._known[key.id] = name, entry, key

    def verify(self, envelope: object, subject: Subject) -> Signer:
        """Who signed exactly this tool.

        Raises:
            UnknownKey: somebody did of whom the configuration says nothing.
            KeyringError: somebody whose key is revoked or out of its period, or it was something
                else.
        """
        # 1. a key that is believed and not revoked signed the payload
        keys = [key for _, _, key in self._known.values() if key.id not in self._revoked]
        try:
            payload, key = dsse.verify(envelope, keys, payload_type=PAYLOAD_TYPE)
        except KeyringError:
            raise self._why_not(envelope, subject) from None
        name, entry, _ = self._known[key.id]
        # 2. the payload is a statement about a tool
        predicate, digests = _statement(payload)
        # 3. it was signed within the key's period, and not in the future
        signed = str(predicate.get("signed", ""))
        day = signed[:10]
        if _TIME.fullmatch(signed) is None or not entry.since <= day <= entry.until:
            raise KeyringError(
                f"the key {key.id} of {name} is good from {entry.since} to {entry.until}, and this "
                f"says it was signed on {day or 'no day'}",
                "have the publisher sign it with a key that is in use",
            )
        if day > self._today():
            raise KeyringError("this says it was signed in the future", "look at the clocks")
        # 4. it is about this tool, all of it
        _check_about(predicate, digests, subject)
        return Signer(name, key.id, signed)

    def _why_not(self, envelope: object, subject: Subject) -> KeyringError:
        """Why no key that is believed signed an envelope. Raises KeyringError where it is broken,
        or about something else."""
        named = dsse.key_ids(envelope)
        revoked = [key for _, _, key in self._known.values() if key.id in self._revoked]
        with contextlib.suppress(KeyringError):
            _, key = dsse.verify(envelope, revoked, payload_type=PAYLOAD_TYPE)
            named.append(key.id)  # whatever it says
        if bad := sorted(self._revoked.intersection(named)):
            return KeyringError(
                f"the key {bad[0]} is revoked", "have the publisher sign it with another key"
            )
        if known := sorted(self._known.keys() & set(named)):
            name = self._known[known[0]][0]
            return KeyringError(
                f"this is no signature of the key {known[0]} of {name}, which it names",
                "it was changed since: get it again from the publisher",
            )
        predicate, digests = _statement(dsse.claimed(envelope, payload_type=PAYLOAD_TYPE))
        _check_about(predicate, digests, subject)
        ids = [one for one in named if _KEY_ID.fullmatch(one)]
        return UnknownKey(ids[0] if ids else "?")

    def publisher_of(self, signer: str) -> str:
        """The publisher of a registered tool by what was recorded of its signer; empty when it was
        not signed, or its key is not believed any more."""
        name, _, key_id = signer.partition(":")
        known = self._known.get(key_id)
        if known is None or known[0] != name or key_id in self._revoked:
            return ""
        return name


def _check_about(
    predicate: Mapping[str, Any], digests: Mapping[str, str], subject: Subject
) -> None:
    """Raise KeyringError where a statement is not about this tool, all of it."""
    said = predicate.get("name"), predicate.get("version")
    if said != (subject.name, subject.version) or digests != dict(subject.digests):
        differ = sorted(
            part
            for part in {*digests, *subject.digests}
            if digests.get(part) != subject.digests.get(part)
        )
        raise KeyringError(
            f"the signature is of another tool or other content: {', '.join(differ) or 'name'}",
            "get the files that were signed, or sign these",
        )


def _statement(payload: bytes) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Predicate, and digests by part; raises KeyringError."""
    broken = KeyringError("what was signed is no statement about a tool", "see docs/tools.md")
    try:
        value = json.loads(payload)
        predicate = value["predicate"]
        digests = {
            str(item["name"]): "sha384:" + str(item["digest"]["sha384"])
            for item in value["subject"]
        }
        kinds = value["_type"], value["predicateType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise broken from None
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE) or not isinstance(predicate, dict):
        raise broken
    if len(digests) != len(value["subject"]):
        raise broken
    return predicate, digests
