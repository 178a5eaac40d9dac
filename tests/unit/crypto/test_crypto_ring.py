"""The key ring: every key within its time, nothing readable without the master key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fumehood.crypto import derive
from fumehood.crypto.keyring import Digester, named, open_ring, refusal
from fumehood.crypto.master import Master, load_or_create
from fumehood.crypto.purposes import PURPOSES
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import KeyringError

MASTER = Master("m" * 16, "test", "", b"m" * 48)


class Clock:
    now = "2026-01-01T00:00:00Z"

    def __call__(self) -> str:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> Ring:
    return Ring.open(tmp_path / "ring.json", MASTER, Periods(10, 100, 3), clock=clock)


def again(tmp_path: Path, clock: Clock, master: Master = MASTER) -> Ring:
    return Ring.open(tmp_path / "ring.json", master, clock=clock, create=False)


def test_a_new_ring_has_one_active_key_for_each_purpose(ring: Ring, tmp_path: Path) -> None:
    entries = ring.entries()
    assert [entry.purpose for entry in entries] == list(PURPOSES)
    assert {entry.state("2026-01-01T00:00:00Z") for entry in entries} == {"active"}
    assert {e.algorithm for e in entries} == {"ECDSA-P384-SHA384", "HMAC-SHA-384", "AES-256-GCM"}
    assert len({entry.id for entry in entries}) == len(PURPOSES)
    assert (tmp_path / "ring.json").stat().st_mode & 0o777 == 0o600


def test_it_is_read_back_the_same(ring: Ring, tmp_path: Path, clock: Clock) -> None:
    other = again(tmp_path, clock)
    assert other.entries() == ring.entries()
    assert other.secret("digest", 384) == ring.secret("digest", 384)
    assert other.signer("audit").to_bytes() == ring.signer("audit").to_bytes()


def test_no_secret_stands_in_the_file(ring: Ring, tmp_path: Path) -> None:
    text = (tmp_path / "ring.json").read_bytes()
    assert ring.secret("digest", 384)[1] not in text
    assert b"PRIVATE" not in text
    with pytest.raises(KeyringError, match="another master key"):
        Ring.open(tmp_path / "ring.json", Master("x", "", "", b"x" * 48), create=False)


def test_rotation_keeps_old_data_readable(ring: Ring) -> None:
    old_key, value = ring.signer("receipt"), ring.seal(b"data", b"bound")
    for purpose in PURPOSES:
        ring.rotate(purpose)
    assert ring.signer("receipt").id != old_key.id
    assert [key.id for key in ring.public_keys("receipt")] == [
        ring.signer("receipt").id, old_key.id,
    ]  # fmt: skip
    assert ring.unseal(value, b"bound") == b"data"
    assert ring.seal(b"data", b"bound")["key"] != value["key"]
    assert not ring.missing()


def test_the_log_that_was_noted_outlives_every_change_of_the_keys(
    ring: Ring, tmp_path: Path, clock: Clock
) -> None:
    assert ring.log == ""
    ring.note_log("a" * 16)
    before = ring.generation
    ring.note_log("a" * 16)
    assert ring.generation == before, "nothing to write"
    ring.rotate("audit")
    ring.revoke(ring.signer("audit").id)
    assert again(tmp_path, clock).log == "a" * 16
    ring.note_log("b" * 16)
    assert again(tmp_path, clock).log == "b" * 16


def test_a_state_of_the_ring_is_followed_by_what_came_from_it_and_nothing_else(
    ring: Ring, tmp_path: Path, clock: Clock
) -> None:
    old = (tmp_path / "ring.json").read_bytes()
    early = ring.standing
    ring.rotate("audit")
    seen = [early, ring.standing]
    ring.rewrap(Master("n" * 16, "test", "", b"n" * 48))
    assert all(ring.follows(standing) for standing in [*seen, ring.standing])
    (tmp_path / "ring.json").write_bytes(old)
    other = again(tmp_path, clock)
    assert other.follows(early)
    for _ in range(3):
        assert not other.follows(seen[1])
        other.rotate("audit")
    assert other.follows(early)


def test_a_ring_remembers_a_bounded_number_of_its_states(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fumehood.crypto.ring.MAX_PAST", 3)
    seen = [ring.standing]
    for number in range(5):
        ring.note_log(f"{number:016}")
        seen.append(ring.standing)
    assert all(ring.follows(standing) for standing in seen)
    assert not ring.follows("3." + "0" * 12)
    assert ring.follows("2." + "0" * 12), "too long ago to be known"


def test_a_sealed_value_is_bound_to_its_place(ring: Ring) -> None:
    value = ring.seal(b"data", b"one")
    with pytest.raises(KeyringError, match="does not open"):
        ring.unseal(value, b"two")
    assert ring.seal(b"data", b"one") != value  # a fresh nonce each time


def test_an_active_key_is_warned_of_then_refused_then_of_no_use(ring: Ring, clock: Clock) -> None:
    value, signer = ring.seal(b"data", b""), ring.signer("audit").id
    assert not ring.expiring()
    clock.now = "2026-01-09T00:00:00Z"
    assert {entry.purpose for entry in ring.expiring()} == set(PURPOSES)
    assert refusal(ring) == ""
    clock.now = "2026-01-11T00:00:00Z"
    assert ring.missing() == list(PURPOSES)
    for purpose in PURPOSES:
        assert f"`fumehood key rotate {purpose}`" in refusal(ring)
    for use in (
        lambda: ring.signer("audit"),
        lambda: ring.seal(b"", b""),
        lambda: ring.secret("digest", 256),
    ):
        with pytest.raises(KeyringError, match="expired") as refused:
            use()
        for purpose in PURPOSES:
            assert f"`fumehood key rotate {purpose}`" in refused.value.remedy
    assert ring.unseal(value, b"") == b"data"
    assert [key.id for key in ring.public_keys("audit")] == [signer]
    ring.rotate("audit")
    assert ring.signer("audit").id != signer
    clock.now = "2026-06-01T00:00:00Z"
    with pytest.raises(KeyringError, match="expired at"):
        ring.unseal(value, b"")
    assert signer not in [key.id for key in ring.public_keys("audit")]


def test_revoking_erases_the_secret_and_gives_the_active_key_a_successor(
    ring: Ring, tmp_path: Path
) -> None:
    value = ring.seal(b"data", b"")
    revoked, successor = ring.revoke(value["key"])
    assert successor is not None
    assert ring.seal(b"", b"")["key"] == successor.id
    with pytest.raises(KeyringError, match="was revoked"):
        ring.unseal(value, b"")
    held = json.loads((tmp_path / "ring.json").read_text())["ring"]["keys"]
    assert [item["secret"] for item in held if item["key"]["id"] == revoked.id] == [None]
    with pytest.raises(KeyringError, match="was revoked"):
        ring.revoke(revoked.id)


def test_a_revoked_signature_key_is_not_trusted(ring: Ring) -> None:
    old = ring.signer("receipt").id
    ring.rotate("receipt")
    _, successor = ring.revoke(old)
    assert successor is None
    assert [key.id for key in ring.public_keys("receipt")] == [ring.signer("receipt").id]


def test_a_change_by_another_process_is_seen(ring: Ring, tmp_path: Path, clock: Clock) -> None:
    before, generation = ring.signer("audit").id, ring.generation
    made = again(tmp_path, clock).rotate("audit")
    assert (ring.signer("audit").id, ring.generation) == (made.id, generation + 1)
    assert made.id != before


def test_two_processes_that_change_it_lose_nothing(ring: Ring, tmp_path: Path) -> None:
    load_or_create(tmp_path / "state" / "keys" / "root.json")
    script = """
import sys
from pathlib import Path
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
ring = open_ring(Path(sys.argv[1]), Periods())
for _ in range(5):
    ring.rotate("digest")
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "state")]) for _ in range(3)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    shared = open_ring(tmp_path / "state", Periods(), create=False)
    assert len([e for e in shared.entries() if e.purpose == "digest"]) == 16
    assert shared.generation == 16


def test_a_ring_that_is_put_back_is_seen_by_who_knew_the_later_one(
    ring: Ring, tmp_path: Path
) -> None:
    old = (tmp_path / "ring.json").read_bytes()
    ring.rotate("audit")
    (tmp_path / "ring.json").write_bytes(old)
    with pytest.raises(KeyringError, match="put back"):
        ring.signer("audit")
    assert "put back" in refusal(ring)


def test_a_ring_that_was_put_back_and_changed_does_not_pass_for_a_later_one(
    ring: Ring, tmp_path: Path, clock: Clock
) -> None:
    old = (tmp_path / "ring.json").read_bytes()
    ring.rotate("audit")
    (tmp_path / "ring.json").write_bytes(old)
    for _ in range(3):
        again(tmp_path, clock).rotate("digest")
    with pytest.raises(KeyringError, match="put back"):
        ring.signer("audit")


def test_keys_that_ended_check_what_was_signed_before_and_revoked_ones_do_not(
    ring: Ring, clock: Clock
) -> None:
    first = ring.signer("audit").id
    ring.rotate("audit")
    clock.now = "2036-01-01T00:00:00Z"
    ring.rotate("audit")
    assert first not in [key.id for key in ring.public_keys("audit")]
    assert first in [key.id for key in ring.public_keys("audit", ended=True)]
    ring.revoke(first)
    assert first not in [key.id for key in ring.public_keys("audit", ended=True)]


def change_time(document: dict[str, dict[str, list[dict[str, dict[str, str]]]]]) -> None:
    document["ring"]["keys"][0]["key"]["active_until"] = "2099-01-01T00:00:00Z"


def drop(document: dict[str, dict[str, list[object]]]) -> None:
    document["ring"]["keys"].pop()


def older(document: dict[str, dict[str, int]]) -> None:
    document["ring"]["generation"] -= 1


def other_log(document: dict[str, dict[str, str]]) -> None:
    document["ring"]["log"] = "b" * 16


@pytest.mark.parametrize("harm", [change_time, drop, older, other_log, lambda d: d.clear()])
def test_no_part_of_it_can_be_changed(
    ring: Ring, tmp_path: Path, clock: Clock, harm: Callable[[object], None]
) -> None:
    document = json.loads((tmp_path / "ring.json").read_text())
    harm(document)
    (tmp_path / "ring.json").write_text(json.dumps(document))
    with pytest.raises(KeyringError, match="changed"):
        again(tmp_path, clock)


def test_a_ring_that_others_can_read_is_refused(ring: Ring, tmp_path: Path, clock: Clock) -> None:
    os.chmod(tmp_path / "ring.json", 0o640)
    with pytest.raises(KeyringError, match="0640"):
        again(tmp_path, clock)


def test_a_missing_ring_is_not_replaced_when_it_must_be_there(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(KeyringError, match="cannot be read"):
        again(tmp_path, clock)
    assert not (tmp_path / "ring.json").exists()


def test_a_key_is_named_by_how_its_id_begins(ring: Ring) -> None:
    entries = ring.entries()
    assert named(entries, entries[2].id[:12]) == entries[2]
    for prefix in ("", "zz"):
        with pytest.raises(KeyringError):
            named(entries, prefix)


def test_a_digest_names_its_key_and_follows_a_rotation(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Digester(ring)
    name, key = ring.secret("digest", 384)
    assert digest(b"data") == f"hmac-sha384:{name}:{derive.hmac_sha384(key, b'data').hex()}"
    ring.rotate("digest")
    monkeypatch.setattr("time.monotonic", lambda: float("inf"))
    assert digest(b"data").split(":")[1] == ring.secret("digest", 384)[0]
