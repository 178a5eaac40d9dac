"""Secrets as programs print them, and objects of Kubernetes."""

from __future__ import annotations

import pytest

from fumehood.scan import assigned, traffic, wallets
from fumehood.scan.clusters import ClustersDetector

ASSIGNED = assigned.detector()
TRAFFIC = traffic.detector()
WALLETS = wallets.detector()
KEY = "aGVsbG8gd29ybGQgdGhpcyBpcyBhIGtleSBvZiAzMgo="[:43] + "="
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WORDS = "garlic hamster candy zebra oblige captain wagon fabric magnet donkey saddle iceberg"
PRINTED = {
    "  private key: @\n": KEY,
    "wg0\t@\t" + KEY + "\t51820\toff\n": KEY,
    "Unseal Key 1: @\n": KEY,
    '{"unseal_keys_b64": ["@"]}': KEY,
    "SecretID:         @\n": "6f1c7d2e-3b4a-4c5d-8e9f-0a1b2c3d4e5f",
    "| SecretAccessKey |  @ |": "q7Zr2Lk9Xw4Tn8Vb1Ms6Hd3Gf5Jp0Cy7Aa1Bb2Cc",
    " app | SCRAM-SHA-256$4096:@": "c2FsdHNhbHRzYWx0c2FsdA==$" + KEY + ":" + KEY,
    "CLIENT_RANDOM " + HEX + " @\n": HEX + HEX[:32],
    "config/master.key\n@\n": HEX[:32],
    "$ vault kv get -field=password kv/db\n@\n": "Copper41Velvet!",
    "@\n": WORDS,
}


@pytest.mark.parametrize("text", PRINTED)
def test_what_a_program_prints_gives_its_secret_away(text: str) -> None:
    data = text.replace("@", PRINTED[text]).encode()
    found = TRAFFIC.find(data, seconds=5)
    assert any(PRINTED[text].encode() in data[m.start : m.end] for m in found)


@pytest.mark.parametrize(
    "text",
    [
        "  private key: (hidden)\n", "  public key: " + KEY, HEX + "  a.txt", "*" + HEX[:40],
        "break case class const continue debugger default delete export extends finally import\n",
        "able about above accept account across action active actual address advance advice\n",
        "Password:\n\nEnter it below\n", "modulus:\n    00:ab:cd:ef:01:02\n",
    ],
)  # fmt: skip
def test_what_is_printed_without_a_secret_is_left_alone(text: str) -> None:
    found = TRAFFIC.find(text.encode(), seconds=5)
    assert [m for m in found if m.confidence != "low"] == []


def test_the_key_of_a_wallet_is_told_by_its_checksum_alone() -> None:
    # BIP 32, test vector 1; the last letter decides.
    key = (
        b"xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKm"
        b"PGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
    )
    (match,) = WALLETS.find(b"k=" + key + b"\n", seconds=5)
    assert (match.start, match.end) == (2, 2 + len(key))
    assert WALLETS.find(b"k=" + key[:-1] + b"j\n", seconds=5) == []


SECRETS = {
    "kind: Secret\ndata:\n  a: QUFBQQ==\n  b: QkJCQg==\nmetadata:\n  name: db\n": 2,
    "data:\n  a: QUFBQQ==\nkind: Secret\n": 1,
    "items:\n- data:\n    a: QUFBQQ==\n  kind: Secret\n"
    "- data:\n    a: QUFBQQ==\n  kind: ConfigMap\n": 1,
    "kind: Secret\nstringData:\n  a: |\n    one=1\n    two=2\n  b: three\n": 3,
    '{"data": {"a": "QUFBQQ==", "b": "QkJCQg=="}, "kind": "Secret"}': 2,
    '{"kind": "Secret", "metadata": {"name": "db"}, "data": {"a": "QUFBQQ=="}}': 1,
    '{"items": [{"data": {"a": "QUFBQQ=="}, "kind": "ConfigMap"}, {"kind": "Secret"}]}': 0,
    "kind: ConfigMap\ndata:\n  a: QUFBQQ==\n---\nkind: Secret\n": 0,
    "kind: SecretList\ndata:\n  a: QUFBQQ==\n": 0,
}


@pytest.mark.parametrize("text", SECRETS)
def test_each_value_of_a_kubernetes_secret_is_one(text: str) -> None:
    found = ClustersDetector().find(text.encode(), seconds=5)
    assert len(found) == SECRETS[text]
    values = [text.encode()[m.start : m.end] for m in found]
    assert not any(c in value for value in values for c in b' "\n:')


def test_of_objects_within_objects_no_line_is_read_without_end() -> None:
    text = b"".join(b" " * (1000 - n) + b"kind: Secret\n" for n in range(1000))
    assert ClustersDetector().find(text, seconds=5) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ELASTIC_PASSWORD", True), ("plastic_token", True), ("password_last_changed", False),
        ("tokenLastUsed", False), ("last_token", False),
    ],
)  # fmt: skip
def test_only_a_word_of_its_own_says_that_a_name_is_about_one(name: str, *, found: bool) -> None:
    data = f"{name}=Lantern17orbitX9q2\n".encode()
    assert bool(ASSIGNED.find(data, seconds=5)) is found
