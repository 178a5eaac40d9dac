"""The master key: made once, kept private, read from a file, a credential or a command."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.crypto import master
from fumehood.crypto.derive import derive, key_id, mac
from fumehood.crypto.master import load_or_create
from fumehood.errors import KeyringError


def test_a_key_is_made_private_and_read_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "root.key"
    made = load_or_create(path)
    again = load_or_create(path)
    assert made == again
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in path.parent.iterdir()] == ["root.key"]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    load_or_create(tmp_path / "k")
    document = json.loads((tmp_path / "k").read_text())
    assert document["algorithm"] == "HMAC-SHA-384"
    assert document["size"] == 384
    assert document["created"].endswith("Z")


def test_each_purpose_and_size_has_its_own_key() -> None:
    keys = [
        derive(b"r" * 48, purpose, bits)
        for purpose in ("audit", "fingerprint")
        for bits in (256, 384)
    ]
    assert len(set(keys)) == 4
    assert [len(key) for key in keys] == [32, 48, 32, 48]


def test_derivation_is_sp_800_108_counter_mode_with_hmac() -> None:
    # K(1) = HMAC(root, [1]_32 || label || 0x00 || context || [L]_32), SP 800-108r1, 4.1.
    from cryptography.hazmat.primitives import hashes, hmac

    block = hmac.HMAC(b"r" * 48, hashes.SHA384())
    block.update(b"\0\0\0\1" + b"fumehood audit" + b"\0" + b"384" + (384).to_bytes(4, "big"))
    assert derive(b"r" * 48, "audit", 384) == block.finalize()


def test_a_keyed_digest_names_its_algorithm_and_differs_by_key() -> None:
    assert mac(b"a" * 48, b"data").startswith("hmac-sha384:")
    assert mac(b"a" * 48, b"data") == mac(b"a" * 48, b"data") != mac(b"b" * 48, b"data")


def test_a_key_never_shows_in_its_repr(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "k")
    assert repr(key.bytes) not in repr(key)
    assert key.id == key_id(key.bytes)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620])
def test_a_key_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k"
    load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyringError) as refused:
        load_or_create(path)
    assert f"{mode:04o}" in refused.value.cause
    assert f"chmod 600 {path}" in refused.value.remedy


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    load_or_create(folder / "k")
    folder.chmod(0o770)
    with pytest.raises(KeyringError, match="folder"):
        load_or_create(folder / "k")


def test_a_link_in_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    load_or_create(tmp_path / "real")
    (tmp_path / "k").symlink_to("real")
    with pytest.raises(KeyringError):
        load_or_create(tmp_path / "k")


def test_a_fifo_in_place_of_the_key_neither_hangs_nor_passes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "k", 0o600)
    with pytest.raises(KeyringError, match="regular file"):
        load_or_create(tmp_path / "k")


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[1]", '{"algorithm": 1, "key": 2, "created": 3}', "\x00" * 99]
)
def test_a_damaged_key_is_refused_and_never_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(KeyringError, match="holds no key"):
        load_or_create(path)
    assert path.read_text() == text


def test_a_key_whose_bytes_were_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    load_or_create(path)
    document = json.loads(path.read_text())
    document["key"] = "A" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(KeyringError, match="holds no key"):
        load_or_create(path)


@given(st.text(max_size=40), st.integers(-8, 10_000))
def test_no_odd_purpose_or_size_gets_a_key(purpose: str, bits: int) -> None:
    allowed = (
        0 < len(purpose) <= 32
        and purpose[0] in "abcdefghijklmnopqrstuvwxyz"
        and set(purpose) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        and bits % 8 == 0
        and 128 <= bits <= 4096
    )
    if allowed:
        assert len(derive(b"r" * 48, purpose, bits)) == bits // 8
    else:
        with pytest.raises(ValueError, match="no key"):
            derive(b"r" * 48, purpose, bits)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="missing") as refused:
        master.from_file(tmp_path / "k")
    assert "key new" in refused.value.remedy
    made = master.create(tmp_path / "k")
    assert master.from_file(tmp_path / "k").bytes == made.bytes
    with pytest.raises(KeyringError, match="exists already"):
        master.create(tmp_path / "k")


def test_a_credential_is_read_from_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "master").write_bytes(base64.b64encode(b"m" * 48) + b"\n")
    assert master.from_credential("master", str(tmp_path)).bytes == b"m" * 48
    for name in ("../master", "", ".", "a/b"):
        with pytest.raises(KeyringError, match="no name"):
            master.from_credential(name, str(tmp_path))
    with pytest.raises(KeyringError) as refused:
        master.from_credential("master", None)
    assert "LoadCredentialEncrypted=master" in refused.value.remedy


def test_a_command_prints_the_key_and_gets_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET", "x")
    text = base64.b64encode(b"c" * 32).decode()
    told = master.from_command(("/bin/sh", "-c", f'test -z "$SECRET" && cat && echo {text}'))
    assert told.bytes == b"c" * 32
    assert "c" * 32 not in repr(told)
    assert repr(told.bytes) not in repr(told)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/bin/sh", "-c", "echo no such slot >&2; exit 3"), "exited with 3: no such slot"),
        (("/bin/true",), "holds no key"),
        (("/bin/echo", "c2hvcnQ="), "holds no key"),
        (("/nonexistent/kms",), "No such file"),
    ],
)
def test_a_command_that_gives_no_key_is_refused(argv: tuple[str, ...], said: str) -> None:
    with pytest.raises(KeyringError, match=said):
        master.from_command(argv)
