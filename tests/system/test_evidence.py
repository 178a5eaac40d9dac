"""From a call to its proof, through the front door of a real daemon."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fumehood.errors import UnknownInvocation
from fumehood.verify import ReceiptError, verify_receipt
from support.hood import Hood

SAY = "import json,sys; print(json.dumps({'said': json.load(sys.stdin)['word']}))"


@pytest.fixture(scope="module")
def spoken(hood: Hood) -> dict[str, object]:
    hood.register(None, "say", command=["/usr/bin/python3", "-c", SAY])
    return hood.call("say", {"word": "hello"})


def test_a_call_has_a_receipt_that_verifies_with_the_exported_key(
    hood: Hood, spoken: dict[str, object]
) -> None:
    record = spoken["record"]
    assert isinstance(record, dict)
    invocation = str(spoken["invocation"])
    trust = hood.cli("key", "export-public", "receipt", check=True).stdout
    with hood.client() as client:
        envelope = client.receipt(invocation)
        with pytest.raises(UnknownInvocation):
            client.receipt("01900000-0000-7000-8000-000000000000")
    receipt = verify_receipt(envelope, [trust], digest=record["digest"])
    assert (receipt.status, receipt.record["seq"]) == ("ok", record["seq"])
    assert receipt.record["proofs"]["no_new_privs"] == "1"
    assert receipt.plan is not None
    assert receipt.plan["seccomp_digest"] == receipt.record["seccomp"]
    receipt.is_of(arguments={"word": "hello"}, result=spoken)
    with pytest.raises(ReceiptError):
        receipt.is_of(arguments={"word": "other"})


def test_the_command_line_writes_and_verifies_it(
    hood: Hood, spoken: dict[str, object], tmp_path: Path
) -> None:
    file, trust, result = (tmp_path / name for name in ("r.json", "t.pem", "result.json"))
    trust.write_text(hood.cli("key", "export-public", check=True).stdout)
    result.write_text(json.dumps(spoken))
    hood.cli("receipt", str(spoken["invocation"]), "--out", str(file), check=True)
    words = ("receipt", "verify", str(file), "--trust", str(trust))
    shown = hood.cli(*words, "--result", str(result), check=True)
    assert shown.stdout == f"ok: {spoken['invocation']}\n"
    result.write_text(json.dumps({**spoken, "content": []}))
    assert "other result" in hood.cli(*words, "--result", str(result)).stderr


def test_a_key_that_is_rotated_while_the_daemon_runs_is_used_and_recorded(hood: Hood) -> None:
    made = json.loads(hood.cli("key", "rotate", "receipt", "--json", check=True).stdout)
    (key,) = made["keys"]
    called = hood.call("say", {"word": "again"})
    with hood.client() as client:
        envelope = client.receipt(str(called["invocation"]))
    assert [signature["keyid"] for signature in envelope["signatures"]] == [key["id"]]
    until = time.monotonic() + 60
    wanted = f'"key_id":"{key["id"]}"'.encode()
    while not any(
        b'"event":"key.created"' in line and wanted in line
        for path in (hood.state / "audit").glob("segment-*.jsonl")
        for line in path.read_bytes().splitlines()
    ):
        assert time.monotonic() < until, "the daemon records the new key"
        hood.call("say", {"word": "waiting"})
