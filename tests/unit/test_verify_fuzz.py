"""Whatever it is given, the public verifier answers with its own errors, and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fumehood.audit.chain import AuditLog
from fumehood.audit.head import START
from fumehood.crypto import dsse
from fumehood.crypto.signing import PublicKey, SigningKey
from fumehood.errors import AuditError, KeyringError
from fumehood.verify import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Receipt,
    ReceiptError,
    plan_digest,
    verify_log,
    verify_receipt,
)
from support.audit import KEYS

KEY = SigningKey.generate()
TRUST = [KEY.public]
PLAN = {"image": "host", "limits": {"pids": 1}}
RECORD = {
    "seq": 1, "invocation": "i", "tool": "t", "status": "ok", "plan": plan_digest(PLAN),
    "arguments": "k:00", "result": "k:00",
}  # fmt: skip

DEEP = "[" * 900 + "]" * 900
"""Parsed, and too deep to be written again once some frames are in use."""
ODD = [
    None, True, 0, -1, 1e999, "", "\ud800", "\x00", "9" * 5000, [], {}, [[]], {"sha384": 1},
    {"": None}, b"", b"\xff",
]  # fmt: skip
odd = st.recursive(
    st.sampled_from([value for value in ODD if not isinstance(value, bytes)])
    | st.text(st.characters(), max_size=8)
    | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
few = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def statement(record: object = RECORD, plan: object = PLAN) -> dict[str, Any]:
    line = record if isinstance(record, str) else json.dumps(record)
    found = hashlib.sha384(line.encode(errors="surrogatepass")).hexdigest()
    return {
        "_type": STATEMENT_TYPE, "predicateType": PREDICATE_TYPE,
        "subject": [{"digest": {"sha384": found}}],
        "predicate": {"line": line, "plan": plan, "digest_key": "00"},
    }  # fmt: skip


def signed(payload: bytes) -> dict[str, Any]:
    return dsse.sign(PAYLOAD_TYPE, payload, KEY)


def judged(receipt: Any, trust: Any = TRUST, **more: Any) -> Receipt | None:
    """The receipt, or None where it is refused with the error that is documented."""
    try:
        return verify_receipt(receipt, trust, **more)
    except ReceiptError as error:
        said = error.cause
    said.encode()  # it may be printed anywhere
    return None


def replaced(value: Any, path: list[int], new: object) -> Any:
    """`value` with one part of it, found by going down `path`, exchanged or left out."""
    if not isinstance(value, dict | list) or not value or not path:
        return new
    if isinstance(value, dict):
        name = sorted(value)[path[0] % len(value)]
        if new is ...:
            return {key: part for key, part in value.items() if key != name}
        return {**value, name: replaced(value[name], path[1:], new)}
    at = path[0] % len(value)
    return [*value[:at], replaced(value[at], path[1:], new), *value[at + 1 :]]


paths = st.lists(st.integers(0, 9), min_size=1, max_size=5)


def test_the_untouched_receipt_verifies() -> None:
    assert judged(signed(json.dumps(statement()).encode())) is not None


@few
@given(odd | st.binary(max_size=40) | st.text(st.characters(), max_size=40))
@example("\ud800")
@example(DEEP)
@example("[" * 100_000)
@example("9" * 5000)
def test_any_value_in_place_of_the_envelope(value: object) -> None:
    assert judged(value) is None
    if not isinstance(value, str | bytes):
        assert judged(json.dumps(value)) is None


@few
@given(paths, odd | st.just(...))
def test_any_value_in_a_part_of_the_envelope(path: list[int], value: object) -> None:
    envelope = signed(json.dumps(statement()).encode())
    judged(replaced(envelope, path, value))


@few
@given(st.text(st.characters(), max_size=64), st.binary(max_size=100))
def test_any_signature_and_name_of_a_key(name: str, signature: bytes) -> None:
    envelope = dsse.envelope(PAYLOAD_TYPE, b"{}", [(name, signature)])
    assert judged(envelope) is None


@few
@given(paths, odd | st.just(...))
@example([1, 0], 1e999)
def test_any_value_in_a_part_of_what_was_signed(path: list[int], value: object) -> None:
    judged(signed(json.dumps(replaced(statement(), path, value)).encode()))


@few
@given(odd, odd)
@example("\ud800", None)
def test_any_record_and_plan(record: object, plan: object) -> None:
    judged(signed(json.dumps(statement(record, plan)).encode()))
    judged(signed(json.dumps(statement({**RECORD, "plan": record}, plan)).encode()))


@few
@given(st.binary(max_size=60))
@example(DEEP.encode())
@example(b"[" * 100_000)
@example(b"9" * 5000)
@example(b'{"_type":1e999}')
def test_any_bytes_that_were_signed(payload: bytes) -> None:
    assert judged(signed(payload)) is None


PEM = KEY.public.pem


@few
@given(
    st.lists(st.sampled_from(ODD) | st.text(st.characters(), max_size=20) | st.binary(max_size=60))
    | st.sampled_from([*ODD, PEM])
    | st.integers(0, len(PEM) - 1).map(lambda at: [PEM[:at] + "A" + PEM[at + 1 :]])
)
@example([-1])
@example([10**18])
def test_any_trusted_keys(trust: object) -> None:
    judged(signed(json.dumps(statement()).encode()), trust)


@few
@given(st.sampled_from(ODD) | st.text(st.characters(), max_size=20))
def test_any_digest(digest: object) -> None:
    judged(signed(json.dumps(statement()).encode()), digest=digest)


@few
@given(odd, odd)
@example({"a": {1}}, {"content": {1}})
@example("\ud800", "no result")
@example(1, 1)
def test_any_arguments_and_result(arguments: object, result: Any) -> None:
    receipt = judged(signed(json.dumps(statement()).encode()))
    assert receipt is not None
    for given_ in ({"arguments": arguments}, {"result": result}):
        try:
            receipt.is_of(**given_)
        except ReceiptError:
            continue
        assert next(iter(given_.values())) is None


@pytest.mark.parametrize("depth", [100, 900, 960, 980, 990])
def test_what_is_nested_deeper_than_python_follows(depth: int) -> None:
    """By hand: no generator prints such values."""
    text = "[" * depth + "]" * depth
    try:
        deep = json.loads(text)
    except RecursionError:
        deep = []
    envelope = signed(json.dumps(statement()).encode())
    judged(text)
    judged({**envelope, "payload": deep})
    judged({**envelope, "signatures": [{"keyid": deep, "sig": ""}]})
    judged(signed(text.encode()))
    judged(signed(b'{"_type":%b}' % text.encode()))
    record = json.dumps({**RECORD, "tool": "HERE"}).replace('"HERE"', text)
    judged(signed(json.dumps(statement(record, None)).encode()))
    whole = json.dumps(statement(RECORD, "HERE")).replace('"HERE"', text)
    judged(signed(whole.encode()))
    receipt = judged(envelope)
    assert receipt is not None
    for of in ({"arguments": deep}, {"result": {"content": deep, "structured": deep}}):
        with pytest.raises(ReceiptError, match="of other"):
            receipt.is_of(**of)


# --- logs


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("log") / "audit"
    with AuditLog.open(directory, KEYS, segment_bytes=2500) as opened:
        for n in range(12):
            opened.append("test", {"n": n}).result(10)
    return directory


def checked(directory: Path, trust: Any, **more: Any) -> bool:
    """Whether it is whole; False also where that is refused with an error that is documented."""
    try:
        return verify_log(directory, trust, **more).ok
    except (AuditError, KeyringError) as error:
        said = error.cause
    said.encode()
    return False


pems = [key.pem for key in KEYS.public()]
NASTY = [
    b"", b"\n", b"\xff", b"{", DEEP.encode(), b"[" * 100_000, b"9" * 5000, b"1e999",
    b'{"seq":9999999999999999999,"time":"\xff","event":"',
]  # fmt: skip


def claims(kind: str) -> list[bytes]:
    """Envelopes with payloads that only somebody odd would write; nobody signed them."""
    values = [*NASTY, b'{"chain":1,"first":1e999,"last":1,"digest":1,"epoch":[1,1],"time":1}']
    values.append(b'{"chain":1,"first":1,"last":1,"digest":1,"epoch":[1e999,1],"time":1}')
    return [json.dumps(dsse.envelope(kind, value, [("", b"")])).encode() for value in values]


@settings(parent=few)
@given(st.data())
def test_any_bytes_in_any_file_of_a_log(log: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(log, Path(folder) / "copy"))
        path = copy / data.draw(st.sampled_from([*sorted(p.name for p in copy.iterdir()), "base"]))
        before = path.read_bytes() if path.exists() else b""
        new = data.draw(
            st.sampled_from([*NASTY, *claims("application/vnd.fumehood.audit-base+json")])
            | st.binary(max_size=60)
        )
        at = data.draw(st.integers(0, len(before)))
        to = data.draw(st.sampled_from([0, at, min(at + 9, len(before)), len(before)]))
        path.write_bytes(before[:at] + new + before[max(to, at) :])
        # As a power cut leaves it, and told as a note: a last line that is not finished.
        torn = path == max(copy.glob("segment-*.jsonl")) and at == len(before) and b"\n" not in new
        for trust in (pems, []):
            passes = not trust or path.read_bytes() == before or path.name in OPEN or torn
            assert not checked(copy, trust) or passes


OPEN = {"first.key", "lock", "head"}
"""Whose bytes are not part of the log, or only this host can check."""


@few
@given(
    st.sampled_from([*ODD, *pems]) | st.lists(st.sampled_from(ODD) | st.text(st.characters())),
    st.text(st.characters(), max_size=30) | st.just("fumehood-seal-1:" + "0" * 16 + ":" + "A" * 64),
)
def test_any_keys_for_a_log(log: Path, trust: object, first_key: str) -> None:
    checked(log, trust, first_key=first_key)


def test_the_untouched_log_verifies_and_its_end_is_asked_for(log: Path) -> None:
    first_key = (log / "first.key").read_text()
    assert checked(log, pems, first_key=first_key, at_least=12)
    assert checked(log, [PublicKey.from_pem(pems[0])])
    several = verify_log(log, ["# audit retired\n" + "".join(reversed(pems))])
    assert several.ok
    assert several.signed > 0
    assert set(several.signers) <= {PublicKey.from_pem(pem).id for pem in pems}
    report = verify_log(log, pems, at_least=13)
    assert report.first_bad is not None
    assert report.first_bad.kind == "truncated"
    assert report.last != START
