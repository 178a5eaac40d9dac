"""Signatures on tools: what they cover, whose are believed, and what a revocation does."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from fumehood.admission.authorize import Authorizer
from fumehood.admission.policy import Policy
from fumehood.catalog.pins import signed_digests
from fumehood.config import Config
from fumehood.crypto.signing import SigningKey
from fumehood.crypto.trust import Signer, Subject, TrustRoots, UnknownKey, sign
from fumehood.errors import ConfigError, KeyringError
from fumehood.model.rules import Rule
from fumehood.model.tree import ToolFile
from fumehood.model.trust import Publisher
from support.manifests import TEXT, tool
from support.rules import TEAM

FILES = {"main.py": ToolFile(b"print()", executable=False)}
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
NOW = "2026-11-26T12:00:00Z"


def public(key: SigningKey) -> str:
    return key.public.pem


def subject(text: str = TEXT, files: Mapping[str, ToolFile] = FILES, **changes: str) -> Subject:
    given = {"name": "word-count", "version": "1.0.0", **changes}
    return Subject(given["name"], given["version"], signed_digests(text, files))


def roots(
    *,
    key: SigningKey = KEY,
    revoked: tuple[str, ...] = (),
    today: str = "2026-11-26",
    **period: str,
) -> TrustRoots:
    acme = Publisher.model_validate({"keys": [{"key": public(key), **period}]})
    return TrustRoots({"acme": acme}, revoked, today=lambda: today)


def envelope(key: SigningKey = KEY, signed: str = NOW) -> dict[str, Any]:
    return sign(subject(), key, signed=signed)


def test_what_a_known_publisher_signed_is_believed() -> None:
    assert roots().verify(envelope(), subject()) == Signer("acme", KEY.id, NOW)


def test_the_statement_names_every_digest_and_how_it_was_signed() -> None:
    statement = json.loads(base64.b64decode(envelope()["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [item["name"] for item in statement["subject"]] == ["files", "manifest"]
    predicate = statement["predicate"]
    assert (predicate["algorithm"], predicate["keySize"], predicate["keyid"]) == (
        "ECDSA-P384-SHA384",
        384,
        KEY.id,
    )


def test_spacing_and_order_of_a_manifest_do_not_matter_its_content_does() -> None:
    assert roots().verify(envelope(), subject(TEXT + "\n# a comment\n"))
    for other in (
        subject(TEXT.replace("Counts words", "Counts Words")),
        subject(files={"main.py": ToolFile(b"evil", executable=False)}),
        subject(files={"main.py": ToolFile(b"print()", executable=True)}),
        subject(files={}),
        subject(version="1.0.1"),
        subject(name="other"),
    ):
        with pytest.raises(KeyringError, match="another tool or other content"):
            roots().verify(envelope(), other)


def named(value: dict[str, Any], key_id: str) -> dict[str, Any]:
    """The same, as if another key had signed it."""
    forged = copy.deepcopy(value)
    forged["signatures"][0]["keyid"] = key_id
    return forged


def changed(value: dict[str, Any]) -> dict[str, Any]:
    """The same with another tool's name in what was signed."""
    other = copy.deepcopy(value)
    payload = base64.b64decode(other["payload"]).replace(b"word-count", b"word-sword")
    other["payload"] = base64.b64encode(payload).decode()
    return other


def test_an_unknown_key_is_exactly_that() -> None:
    for trusted, key in ((roots(), OTHER), (TrustRoots({}), KEY)):
        with pytest.raises(UnknownKey, match="no key of a publisher here") as unknown:
            trusted.verify(envelope(key), subject())
        assert unknown.value.key_id == key.id
    with pytest.raises(UnknownKey) as unknown:
        roots().verify(named(envelope(OTHER), "\x1b[2J\u202e"), subject())
    assert unknown.value.key_id == "?", "what is no id is not shown"
    assert roots(key=OTHER).publisher_of(f":{OTHER.id}") == "", "also when it is listed later"


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        (named(envelope(OTHER), KEY.id), f"no signature of the key {KEY.id} of acme"),
        (changed(envelope()), f"no signature of the key {KEY.id} of acme"),
        (changed(envelope(OTHER)), "another tool or other content"),
        ({"payload": "", "payloadType": "x", "signatures": []}, "no signed envelope"),
    ],
)
def test_a_signature_that_is_bad_for_the_content_is_no_unknown_key(
    envelope: dict[str, Any], why: str
) -> None:
    with pytest.raises(KeyringError, match=why) as bad:
        roots().verify(envelope, subject())
    assert not isinstance(bad.value, UnknownKey)


def test_a_revoked_key_is_no_unknown_key_whatever_it_calls_itself() -> None:
    for trusted, value in (
        (roots(revoked=(KEY.id,)), envelope()),
        (roots(revoked=(KEY.id,)), named(envelope(), OTHER.id)),
        (TrustRoots({}, (KEY.id,)), envelope()),
    ):
        with pytest.raises(KeyringError, match=f"the key {KEY.id} is revoked"):
            trusted.verify(value, subject())


@pytest.mark.parametrize(
    ("period", "signed", "good"),
    [
        ({"since": "2026-11-26", "until": "2026-11-26"}, NOW, True),
        ({"until": "2026-11-25"}, NOW, False),
        ({"since": "2026-11-27"}, NOW, False),
        ({}, "2026-11-27T00:00:00Z", False),
        ({}, "yesterday", False),
        ({}, "", False),
    ],
)
def test_a_key_counts_within_its_period(period: dict[str, str], signed: str, *, good: bool) -> None:
    if good:
        roots(**period).verify(envelope(signed=signed), subject())
    else:
        with pytest.raises(KeyringError):
            roots(**period).verify(envelope(signed=signed), subject())


def test_a_revoked_key_stops_counting_for_what_is_registered() -> None:
    signer = f"acme:{KEY.id}"
    assert roots().publisher_of(signer) == "acme"
    assert roots(revoked=(KEY.id,)).publisher_of(signer) == ""
    assert roots(key=OTHER).publisher_of(signer) == ""
    assert roots().publisher_of(f"evil:{KEY.id}") == ""
    assert roots().publisher_of("") == ""


def test_a_rule_can_ask_for_a_publisher() -> None:
    from dataclasses import replace

    rule = Rule.model_validate({"effect": "allow", "publishers": ["acme"]})
    signed = replace(tool(), signer=f"acme:{KEY.id}")
    held = Policy([rule], roots().publisher_of)
    assert held.decide(TEAM, signed, {}).effect == "allow"
    assert held.decide(TEAM, tool(), {}).effect == "deny"
    assert not held.knows(TEAM, tool())
    assert "not signed by a known publisher" in held.trace(TEAM, tool(), {})[0].why
    revoked = Policy([rule], roots(revoked=(KEY.id,)).publisher_of)
    assert revoked.decide(TEAM, signed, {}).effect == "deny"


def test_a_configuration_with_a_bad_key_is_refused() -> None:
    bad = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    config = Config.model_validate({"publishers": {"acme": {"keys": [{"key": bad}]}}})
    with pytest.raises(ConfigError, match=r"publishers.acme.keys\[0\]: this is no P-384"):
        Authorizer(config, own_uid=0)
    twice = {"keys": [{"key": public(KEY)}, {"key": public(KEY)}]}
    config = Config.model_validate({"publishers": {"acme": twice}})
    with pytest.raises(ConfigError, match="stands twice"):
        Authorizer(config, own_uid=0)
