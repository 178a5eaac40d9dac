"""`fumehood receipt …`: as the command line shows it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fumehood.crypto import dsse
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.crypto.signing import SigningKey
from fumehood.verify import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from support.cli import Cli
from support.gateway import FakeSupervisor

KEY = SigningKey.generate()
LINE = '{"seq":3,"time":"2026","invocation":"one","tool":"echo","status":"ok","plan":"p"}'


def receipt(line: str = LINE, key: SigningKey = KEY) -> dict[str, object]:
    digest = hashlib.sha384(line.encode()).hexdigest()
    value = {
        "_type": STATEMENT_TYPE, "predicateType": PREDICATE_TYPE,
        "subject": [{"name": "x", "digest": {"sha384": digest}}],
        "predicate": {"line": line, "plan": None, "digest_key": ""},
    }  # fmt: skip
    return dsse.sign(PAYLOAD_TYPE, json.dumps(value).encode(), key)


def test_a_receipt_is_got_by_its_invocation_and_verified_offline(
    cli: Cli, supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    supervisor.receipts["one"] = receipt()
    ended = cli("receipt", "one", "--out", str(tmp_path / "r.json"))
    assert ended.status == 0, ended.err
    assert json.loads(cli("receipt", "one").out) == json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "trust.pem").write_text(KEY.public.pem)
    words = ["receipt", "verify", str(tmp_path / "r.json"), "--trust", str(tmp_path / "trust.pem")]
    ended = cli(*words)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("ok: one\ntool: echo\n")
    assert f"signed: by key {KEY.id}\n" in ended.out
    assert json.loads(cli(*words, "--json").out)["record"]["seq"] == 3
    ended = cli(*words, "--digest", "sha384:0")
    assert (ended.status, "not of" in ended.err) == (1, True)


def test_a_receipt_of_somebody_else_is_refused(
    cli: Cli, supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    (tmp_path / "r.json").write_text(json.dumps(receipt()))
    (tmp_path / "trust.pem").write_text(SigningKey.generate().public.pem)
    ended = cli(
        "receipt", "verify", str(tmp_path / "r.json"), "--trust", str(tmp_path / "trust.pem")
    )
    assert (ended.status, "no trusted key" in ended.err) == (1, True)


@pytest.mark.parametrize("every", [(), ("--all",)])
def test_what_a_revoked_key_signed_is_refused_with_the_keys_of_now(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FUMEHOOD_STATE", str(tmp_path))
    monkeypatch.delenv("FUMEHOOD_CONFIG", raising=False)
    key = open_ring(tmp_path, Periods()).signer("receipt")
    (tmp_path / "r.json").write_text(json.dumps(receipt(key=key)))
    words = ("receipt", "verify", str(tmp_path / "r.json"), "--trust", str(tmp_path / "t.pem"))

    def exported() -> None:
        (tmp_path / "t.pem").write_text(cli("key", "export-public", "receipt", *every).out)

    cli("key", "rotate", "receipt")
    exported()
    assert cli(*words).status == 0
    cli("key", "revoke", key.id, "--yes")
    exported()
    ended = cli(*words)
    assert (ended.status, "no trusted key" in ended.err) == (1, True), ended.err


def test_a_file_of_nothing_but_marked_keys_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(receipt()))
    (tmp_path / "t.pem").write_text(f"# {KEY.id} receipt revoked, created x\n{KEY.public.pem}")
    words = ("receipt", "verify", str(tmp_path / "r.json"), "--trust", str(tmp_path / "t.pem"))
    ended = cli(*words)
    assert (ended.status, "is marked revoked" in ended.err) == (1, True), ended.err


def test_an_unknown_invocation_has_no_receipt(cli: Cli, supervisor: FakeSupervisor) -> None:
    ended = cli("receipt", "two")
    assert ended.status == 3
    assert "no such invocation" in ended.err


def test_nothing_is_overwritten(cli: Cli, supervisor: FakeSupervisor, tmp_path: Path) -> None:
    supervisor.receipts["one"] = receipt()
    (tmp_path / "there").write_text("mine")
    assert cli("receipt", "one", "--out", str(tmp_path / "there")).status == 2
    assert (tmp_path / "there").read_text() == "mine"
