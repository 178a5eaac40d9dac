"""Signatures and signed envelopes: only what a trusted key signed, as the type it signed."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from fumehood.crypto import dsse
from fumehood.crypto.signing import PublicKey, SigningKey, read_public_keys
from fumehood.errors import KeyringError

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
KIND = "application/vnd.test+json"


def signed(payload: bytes = b'{"a":1}') -> dict[str, Any]:
    return dsse.sign(KIND, payload, KEY)


def test_a_payload_comes_back_with_the_key_that_signed_it() -> None:
    payload, key = dsse.verify(signed(), [OTHER.public, KEY.public], payload_type=KIND)
    assert (payload, key) == (b'{"a":1}', KEY.public)


def test_the_encoding_is_that_of_the_specification() -> None:
    # dsse/protocol.md, the example: PAE("http://example.com/HelloWorld", "hello world")
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_openssl_agrees(tmp_path: Path) -> None:
    envelope = signed()
    (tmp_path / "key.pem").write_text(KEY.public.pem)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "data").write_bytes(dsse.pae(KIND, b'{"a":1}'))
    words = ["openssl", "dgst", "-sha384", "-verify", "key.pem", "-signature", "sig", "data"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "Verified OK\n"


def test_nobody_is_trusted_by_default() -> None:
    for trusted in ([], [OTHER.public]):
        with pytest.raises(KeyringError, match="no trusted key") as refused:
            dsse.verify(signed(), trusted, payload_type=KIND)
        assert KEY.id in refused.value.cause


def test_another_type_is_refused_even_with_its_signature() -> None:
    with pytest.raises(KeyringError, match="not 'application/other'"):
        dsse.verify(signed(), [KEY.public], payload_type="application/other")
    moved = signed() | {"payloadType": "application/other"}
    with pytest.raises(KeyringError, match="no trusted key"):
        dsse.verify(moved, [KEY.public], payload_type="application/other")


def test_the_key_id_is_only_a_hint() -> None:
    envelope = signed()
    envelope["signatures"][0]["keyid"] = OTHER.id
    assert dsse.verify(envelope, [KEY.public], payload_type=KIND)[1] == KEY.public
    with pytest.raises(KeyringError):
        dsse.verify(envelope, [OTHER.public], payload_type=KIND)


ENVELOPE = signed()


@given(st.data())
def test_no_changed_payload_or_signature_passes(data: st.DataObject) -> None:
    envelope = copy.deepcopy(ENVELOPE)
    part = data.draw(st.sampled_from(["payload", "sig"]))
    where = envelope if part == "payload" else envelope["signatures"][0]
    raw = bytearray(base64.b64decode(where[part]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    where[part] = base64.b64encode(bytes(raw)).decode()
    with pytest.raises(KeyringError):
        dsse.verify(envelope, [KEY.public], payload_type=KIND)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["payload", "payloadType", "signatures", "sig"]), inner)
    ),
    max_leaves=6,
)


@given(JSON)
def test_garbage_is_no_envelope(value: object) -> None:
    with pytest.raises(KeyringError):
        dsse.verify(value, [KEY.public], payload_type=KIND)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b"x" * 5_000_000])
def test_garbage_bytes_are_no_envelope(data: bytes) -> None:
    with pytest.raises(KeyringError):
        dsse.read(data)


def test_too_many_signatures_are_refused() -> None:
    envelope = signed()
    envelope["signatures"] *= 17
    with pytest.raises(KeyringError, match="more than 16"):
        dsse.verify(json.loads(json.dumps(envelope)), [KEY.public], payload_type=KIND)


def test_a_key_survives_being_stored_and_never_shows() -> None:
    again = SigningKey.from_bytes(KEY.to_bytes())
    assert again == KEY
    assert PublicKey.from_pem(KEY.public.pem) == KEY.public
    assert repr(KEY.to_bytes()) not in repr(KEY)


def pem(key: Any) -> bytes:
    public = key.public_key()
    return bytes(
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x" * 9000,
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed25519.Ed25519PrivateKey.generate()),
        KEY.to_bytes(),
    ],
)
def test_only_p384_is_a_key(text: bytes) -> None:
    with pytest.raises(KeyringError, match="P-384"):
        PublicKey.from_pem(text)


@pytest.mark.parametrize("mark", ["revoked", "expired"])
def test_a_key_that_is_marked_is_none_to_trust(mark: str) -> None:
    marked = f"# {OTHER.id} receipt {mark}, created 2026-11-27T00:00:00Z\n{OTHER.public.pem}"
    with pytest.raises(KeyringError, match=f"is marked {mark}"):
        PublicKey.from_pem(marked)
    active = f"# {KEY.id} receipt active, created 2026-11-27T00:00:00Z\n{KEY.public.pem}"
    assert read_public_keys(marked + active) == ([KEY.public], 1)
    assert read_public_keys(active + marked) == ([KEY.public], 1)
    assert read_public_keys(OTHER.public.pem + active + marked) == ([KEY.public], 1)


def test_one_key_is_one_key() -> None:
    """Of several only the first would be read."""
    with pytest.raises(KeyringError, match="several public keys"):
        PublicKey.from_pem(KEY.public.pem + OTHER.public.pem)
