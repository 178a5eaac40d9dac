"""A receipt proves what is recorded, to somebody who has nothing but the public key."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fumehood import verify as public
from fumehood.audit import receipt as audit_receipt
from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.audit.find import find, find_plan
from fumehood.audit.receipt import PAYLOAD_TYPE, released, statement
from fumehood.crypto import dsse
from fumehood.crypto.keyring import Digester, open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.crypto.signing import SigningKey
from fumehood.model.codec import encode
from fumehood.model.ids import uuid7
from fumehood.model.plan import Limits, Plan
from fumehood.verify import ReceiptError, verify_receipt

ID, OTHER = uuid7(), uuid7()
PLAN = Plan(
    engine="bubblewrap", image="host", argv=("/bin/true",), environment=(), mounts=(), uid=1, gid=1,
    seccomp="compute", seccomp_digest="sha384:1", network="none",
    limits=Limits(1, 1, 1, 1, 1, 1, 1),
)  # fmt: skip
ARGUMENTS = {"text": "grüße", "b": [1, 2]}
CONTENT = [{"type": "text", "text": "done"}]


class Place:
    """A log with one invocation, and its receipt."""

    def __init__(self, folder: Path) -> None:
        self.ring: Ring = open_ring(folder, Periods())
        self.digester = Digester(self.ring)
        self.log = folder / "audit"
        with AuditLog.open(self.log, RingCustody(self.ring)) as log:
            log.append("plan.used", {"plan": PLAN.digest(), "content": encode(PLAN)})
            arguments, result = self.digester.of(
                ID, public.canonical(ARGUMENTS), released(CONTENT, None)
            )
            fields = {
                "invocation": ID, "tool": "echo", "status": "ok", "plan": PLAN.digest(),
                "arguments": arguments, "result": result, "caller": {"uid": 7},
            }  # fmt: skip
            log.append("invocation.launched", {"invocation": ID, "plan": PLAN.digest()})
            log.append("invocation.ended", fields).result(10)
        self.envelope = self.sign(self.payload())

    def payload(self) -> bytes:
        return statement(
            find(self.log, ID).lines[-1],
            plan=find_plan(self.log, PLAN.digest(), 3),
            digest_key=self.digester.reveal(self.ring.secret("digest", 384)[0], ID),
            issued="2026",
            version="1",
        )

    def sign(self, payload: bytes) -> dict[str, Any]:
        return dsse.sign(PAYLOAD_TYPE, payload, self.ring.signer("receipt"))

    @property
    def trust(self) -> list[str]:
        return [key.pem for key in self.ring.public_keys("receipt")]


KEYS = (SigningKey.generate(), SigningKey.generate())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


def test_the_constants_of_both_sides_are_the_same() -> None:
    for name in ("PAYLOAD_TYPE", "STATEMENT_TYPE", "PREDICATE_TYPE"):
        assert getattr(public, name) == getattr(audit_receipt, name)
    assert public.released(CONTENT, {"b": 1, "a": 2}) == released(CONTENT, {"b": 1, "a": 2})
    assert public.plan_digest(encode(PLAN)) == PLAN.digest()


def test_it_verifies_with_the_public_key_alone(place: Place) -> None:
    receipt = verify_receipt(json.dumps(place.envelope), place.trust)
    assert (receipt.invocation, receipt.tool, receipt.status) == (ID, "echo", "ok")
    assert receipt.plan is not None
    assert receipt.plan["seccomp"] == "compute"
    assert receipt.record["caller"] == {"uid": 7}
    line = find(place.log, ID).lines[-1]
    assert json.loads(line)["seq"] == 3
    assert verify_receipt(place.envelope, place.trust, digest=receipt.digest) == receipt


def test_it_is_of_these_arguments_and_this_result_only(place: Place) -> None:
    receipt = verify_receipt(place.envelope, place.trust)
    receipt.is_of(arguments=ARGUMENTS, result={"content": CONTENT, "structured": None})
    with pytest.raises(ReceiptError, match="other arguments"):
        receipt.is_of(arguments={**ARGUMENTS, "b": [1, 3]})
    with pytest.raises(ReceiptError, match="other result"):
        receipt.is_of(result={"content": [], "structured": None})


def test_the_digests_of_two_calls_tell_nothing_of_each_other(place: Place) -> None:
    assert place.digester.of(ID, b"same") != place.digester.of(OTHER, b"same")
    assert place.digester(b"same") == place.digester(b"same")


def test_another_digest_than_the_result_carries_is_refused(place: Place) -> None:
    with pytest.raises(ReceiptError, match="not of sha384:000"):
        verify_receipt(place.envelope, place.trust, digest="sha384:" + "0" * 96)


def test_nobody_elses_key_is_trusted(place: Place) -> None:
    other = SigningKey.generate()
    for trust in ([], [other.public]):
        with pytest.raises(ReceiptError, match="no trusted key"):
            verify_receipt(place.envelope, trust)


def test_a_file_of_several_keys_is_trusted_but_for_those_that_it_marks(place: Place) -> None:
    (mine,) = place.trust
    more = [f"# {key.id} receipt retired\n{key.pem}" for key in (KEYS[0].public, KEYS[1].public)]
    for text in (f"{more[0]}# receipt active\n{mine}", f"{mine}{more[0]}", "".join((*more, mine))):
        for trust in ([text], [text.encode()], [more[1], text]):
            receipt = verify_receipt(place.envelope, trust)
            assert receipt.signer == place.ring.public_keys("receipt")[0].id
    marked = f"# receipt revoked\n{mine}"
    with pytest.raises(ReceiptError, match="marked revoked or expired"):
        verify_receipt(place.envelope, [marked])
    for trust in ([f"{more[0]}{marked}"], [marked, more[0]], [f"{mine}{marked}"], [mine, marked]):
        with pytest.raises(ReceiptError):
            verify_receipt(place.envelope, trust)
    with pytest.raises(ReceiptError, match="P-384"):
        verify_receipt(place.envelope, [more[0], "no key"])


def status(value: dict[str, Any]) -> None:
    value["predicate"]["line"] = value["predicate"]["line"].replace('"ok"', '"no"')


def plan(value: dict[str, Any]) -> None:
    value["predicate"]["plan"]["limits"]["pids"] = 9


def kind(value: dict[str, Any]) -> None:
    value["predicateType"] = "urn:other"


def subject(value: dict[str, Any]) -> None:
    value["subject"] = []


@pytest.mark.parametrize("change", [status, plan, kind, subject])
def test_even_signed_a_receipt_must_hold_together(
    place: Place, change: Callable[[dict[str, Any]], None]
) -> None:
    value = json.loads(place.payload())
    change(value)
    with pytest.raises(ReceiptError):
        verify_receipt(place.sign(json.dumps(value).encode()), place.trust)


def test_a_changed_payload_is_refused(place: Place) -> None:
    changed = copy.deepcopy(place.envelope)
    payload = base64.b64decode(changed["payload"]).replace(b"echo", b"ehco")
    changed["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(ReceiptError, match="no trusted key"):
        verify_receipt(changed, place.trust)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "x" * 99])
def test_what_is_no_receipt_is_refused(place: Place, text: str) -> None:
    with pytest.raises(ReceiptError):
        verify_receipt(text, place.trust)


def test_a_revoked_digest_key_leaves_the_receipt_and_closes_the_digests(tmp_path: Path) -> None:
    place = Place(tmp_path)
    receipt = verify_receipt(
        place.sign(
            statement(
                find(place.log, ID).lines[-1], plan=None, digest_key="", issued="", version=""
            )
        ),
        place.trust,
    )
    assert receipt.plan is None
    with pytest.raises(ReceiptError, match="digest key is gone"):
        receipt.is_of(arguments=ARGUMENTS)
