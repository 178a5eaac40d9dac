"""Secrets are found whole, and what a tool prints cannot switch the looking off."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import pytest

from fumehood.scan import secrets
from fumehood.scan.detector import Match
from fumehood.scan.private_keys import PrivateKeysDetector
from fumehood.scan.secrets import SecretsDetector
from support.scan import SECRETS, aws_pair, github_token, letters, private_key


def covered(data: bytes, secret: str, matches: list[Match]) -> bool:
    at = data.index(secret.encode())
    return any(m.start <= at and at + len(secret) <= m.end for m in matches)


@pytest.mark.parametrize("kind", sorted(SECRETS))
@pytest.mark.parametrize("frame", ["{}", "token: {} \n", 'x = "{}"', "präfix ☃ {}"])
def test_a_secret_is_found_whole(kingfisher: SecretsDetector, kind: str, frame: str) -> None:
    secret = SECRETS[kind]()
    data = frame.format(secret).encode()
    assert covered(data, secret, kingfisher.find(data, seconds=5))


@pytest.mark.parametrize(
    "frame",
    [
        "aws_access_key_id = {}\naws_secret_access_key = {}\n",
        '{{"AccessKeyId": "{}", "SecretAccessKey": "{}"}}',
        'access_key: "{}"\nsecret: "{}"\n',
    ],
)
def test_both_halves_of_an_aws_pair_are_found(kingfisher: SecretsDetector, frame: str) -> None:
    name, secret = aws_pair()
    data = frame.format(name, secret).encode()
    matches = kingfisher.find(data, seconds=5)
    assert covered(data, name, matches)
    assert covered(data, secret, matches)


def test_whose_secret_it_would_be_is_no_secret(kingfisher: SecretsDetector) -> None:
    data = b"AZURE_TENANT_ID=123e4567-e89b-12d3-a456-426614174000 https://foo.eu.auth0.com"
    assert kingfisher.find(data, seconds=5) == []


@pytest.mark.parametrize(
    "before",
    [b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"a\0b\0" * 40, b"\0" * 9, b"\xef\xbb\xbf"],
)
def test_bytes_that_look_like_another_encoding_hide_nothing(
    kingfisher: SecretsDetector, before: bytes
) -> None:
    token = github_token()
    data = before + token.encode()
    (match,) = kingfisher.find(data, seconds=5)
    assert data[match.start : match.end] == token.encode()


def test_ignore_comments_of_scanners_are_ignored(kingfisher: SecretsDetector) -> None:
    for comment in ("kingfisher:ignore", "gitleaks:allow", "betterleaks:allow", "nosec"):
        data = f"{github_token()} # {comment}".encode()
        assert len(kingfisher.find(data, seconds=5)) == 1


def test_rules_have_short_names_and_keys_are_severe(kingfisher: SecretsDetector) -> None:
    (match,) = kingfisher.find(github_token().encode(), seconds=5)
    assert (match.rule, match.severity, match.kind) == ("github-pat", "high", "secret")


def test_ordinary_output_is_no_secret(kingfisher: SecretsDetector) -> None:
    text = (
        "commit 3f786850e387550fdab836ed7e6dc881de23001b\n"
        "550e8400-e29b-41d4-a716-446655440000 sha256:" + "ab" * 32 + "\n"
        "2026-11-21T08:15:00Z INFO user=kim password reset mail sent\n"
        "the quick brown fox jumps over the lazy dog 1234567890\n"
    )
    assert kingfisher.find(text.encode() * 20, seconds=5) == []


def test_an_expired_budget_is_a_timeout_and_no_empty_answer(kingfisher: SecretsDetector) -> None:
    with pytest.raises(TimeoutError):
        kingfisher.find(b"https://u:p@h," * 40_000, seconds=0.001)


def test_threads_share_one_scanner() -> None:
    detector = SecretsDetector()
    token = github_token().encode()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: detector.find(token, seconds=30), range(16)))
    assert all(len(matches) == 1 for matches in answers)


def test_nothing_of_the_sdk_that_reaches_a_network_is_used() -> None:
    source = inspect.getsource(secrets)
    for name in ("Validator", "Revoker", "validate(", "revoke(", "git_", "ScanInput"):
        assert name not in source


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "])
def test_a_private_key_is_found_from_begin_to_end(kind: str) -> None:
    key = private_key(30, kind)
    data = f"before\n{key}\nafter".encode()
    (match,) = PrivateKeysDetector().find(data, seconds=1)
    assert data[match.start : match.end] == key.encode()


def test_a_private_key_longer_than_any_pattern_is_found_whole() -> None:
    key = private_key(900)
    assert len(key) > 50_000
    (match,) = PrivateKeysDetector().find(b"x " + key.encode() + b" y", seconds=1)
    assert (match.start, match.end) == (2, 2 + len(key))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_private_key_that_was_cut_off_is_found_to_where_it_ends(share: float) -> None:
    key = private_key(20)
    part = key[: int(len(key) * share)]
    for after in ("", "\n\nError: connection lost"):
        data = (part + after).encode()
        (match,) = PrivateKeysDetector().find(data, seconds=1)
        assert match.start == 0
        assert len(part) - 1 <= match.end <= len(part) + 1


@pytest.mark.parametrize("newline", ["\\n", "\\r\\n", "\r\n", '",\n  "', "\n> ", " "])
def test_a_private_key_in_another_dress_is_found(newline: str) -> None:
    key = private_key(10).replace("\n", newline)
    (match,) = PrivateKeysDetector().find(f'"{key}"'.encode(), seconds=1)
    assert match.end - match.start == len(key)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "A key begins with -----BEGIN RSA PRIVATE KEY----- and is private.",
        "PRIVATE KEY " * 50,
        "-----BEGIN CERTIFICATE-----\n" + letters(64) + "\n-----END CERTIFICATE-----",
    ],
)
def test_writing_about_keys_is_no_key(text: str) -> None:
    assert PrivateKeysDetector().find(text.encode(), seconds=1) == []
