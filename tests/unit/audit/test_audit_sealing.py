"""Whoever takes the host with all its keys cannot rewrite what was sealed before."""

from __future__ import annotations

import contextlib
import json
import os
import random
from pathlib import Path

import pytest

from fumehood.audit import chain, clock
from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import SEGMENT_TYPE, RingCustody
from fumehood.audit.first_key import take_first_key
from fumehood.audit.head import (
    Signed,
    parse_first_key,
    read_first_key,
    read_head,
    render_head,
    show_first_key,
    signature_path,
    write_signed,
)
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import GENESIS, Epoch, Position
from fumehood.audit.report import Report, Trust
from fumehood.audit.verify import verify
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.errors import AuditError, KeyringError
from support.audit import KEYS
from support.tamper import TAMPERINGS, WITH_EARLIER, judge, trust, write


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    directory = tmp_path_factory.mktemp("log") / "audit"
    return directory, write(directory, 120, pruned=0)


def test_only_forward() -> None:
    ratchet = Ratchet.first(b"k" * 48)
    seen = {ratchet.state}
    for _ in range(5):
        ratchet.advance()
        seen.add(ratchet.state)
    ratchet.next_segment()
    seen.add(ratchet.state)
    assert len(seen) == 7
    assert ratchet.epoch == Epoch(1, 0)
    assert not ratchet.to(Epoch(0, 9), most=100)
    assert not ratchet.to(Epoch(1, 9), most=8)
    other = Ratchet.first(b"k" * 48)
    assert other.to(Epoch(1, 0), most=100)
    assert other.state == ratchet.state


def test_a_verifier_elsewhere_finds_every_random_tampering_and_none_in_an_untouched_log(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "audit"
    key = write(directory, 160, segments=8)
    report = verify(directory, trust(key))
    assert (report.ok, report.records, report.sealed) == (True, 160, True)
    assert report.signed >= 2
    assert report.removed
    rounds = 12 * len([*TAMPERINGS, *WITH_EARLIER])
    found = judge(directory, key, range(rounds), seed=random.randrange(1 << 32))
    assert found.missed == []


def rewritten(log: Path, target: Path) -> Ratchet:
    """What an intruder can do who has everything that the host has: an old record is changed, all
    links after it are mended, ends and head are signed and sealed anew with what is there."""
    head = read_head(log)
    assert head is not None
    ratchet = head.opened(KEYS)
    target.mkdir()
    last, sealer = Position(0, GENESIS), ratchet.sealer()
    for path in sorted(log.glob("segment-*.jsonl")):
        lines = []
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            fields = {k: v for k, v in record.items() if k not in chain_fields}
            fields["status"] = "rewritten" if record["seq"] == 3 else record["status"]
            text = "," + json.dumps(fields, sort_keys=True, separators=(",", ":"))[1:-1]
            own, last = sealer.seal(last, record["time"], record["event"], text)
            epoch = b'"epoch":"%s"' % record["epoch"].encode()
            lines.append(own.replace(b'"epoch":"%s"' % str(sealer.epoch).encode(), epoch))
            last = Position(last.seq, chain_digest(lines[-1][:-1]))
        (target / path.name).write_bytes(b"".join(lines))
        if signature_path(path).exists():
            first, epoch_ = json.loads(lines[0])["seq"], json.loads(lines[-1])["epoch"].split(".")
            end = Signed(ratchet.chain, first, last, Epoch(*map(int, epoch_)), "2026")
            write_signed(signature_path(target / path.name), end, KEYS, SEGMENT_TYPE)
    (target / "head").write_bytes(render_head(ratchet, sealer, last, KEYS))
    return ratchet


chain_fields = {"seq", "time", "event", "alg", "key", "epoch", "prev", "mac"}


def chain_digest(line: bytes) -> str:
    from fumehood.audit.record import digest

    return digest(line)


def test_with_all_keys_of_the_host_the_past_cannot_be_rewritten(
    log: tuple[Path, bytes], tmp_path: Path
) -> None:
    directory, key = log
    rewritten(directory, tmp_path / "forged")
    # Nothing that the host still has tells it apart ...
    assert verify(tmp_path / "forged", Trust(None, KEYS.public(), KEYS)).ok
    # ... but the key that was taken away does.
    bad = verify(tmp_path / "forged", trust(key)).first_bad
    assert bad is not None
    assert (bad.kind, bad.line) == ("edited", 1)


def test_the_host_holds_no_key_of_the_past(log: tuple[Path, bytes]) -> None:
    directory, key = log
    head = read_head(directory)
    assert head is not None
    state = head.opened(KEYS).state
    past = Ratchet.first(key)
    while past.epoch < head.epoch:
        assert past.state[48:] not in state
        if not past.to(Epoch(past.epoch.segment, past.epoch.step + 1), most=1):
            break
        if past.epoch.step > 200:
            past.next_segment()


def test_an_old_head_and_a_cut_tail_do_not_go_together_with_the_newer_key(tmp_path: Path) -> None:
    """Records cut off, and a head made for what is left, by who has the host's present keys."""
    directory = tmp_path / "audit"
    key = write(directory, 2, segments=1, pruned=0)
    (segment,) = directory.glob("segment-*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    epochs = [json.loads(line)["epoch"] for line in lines]
    assert len(set(epochs[-2:])) == 2, "groups of their own"
    segment.write_bytes(b"".join(lines[:-1]))
    head = read_head(directory)
    assert head is not None
    ratchet = head.opened(KEYS)
    end = json.loads(lines[-2])
    position = Position(end["seq"], chain_digest(lines[-2][:-1]))
    (directory / "head").write_bytes(render_head(ratchet, ratchet.sealer(), position, KEYS))
    bad = verify(directory, trust(key)).first_bad
    assert bad is not None
    assert bad.kind == "head"


def test_an_earlier_head_put_back_with_a_cut_is_found_by_a_number_known_elsewhere(
    tmp_path: Path,
) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        log.append("test", {}).result(10)
        early = (tmp_path / "head").read_bytes()
        for _ in range(20):
            log.append("test", {}).result(10)
    (segment,) = tmp_path.glob("segment-*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:10]))
    (tmp_path / "head").write_bytes(early)
    report = verify(tmp_path, Trust(None, (), KEYS))
    assert report.ok, "no file beside the log can show it"
    bad = report.reaching(21).first_bad
    assert bad is not None
    assert bad.kind == "truncated"
    assert report.reaching(10).ok


def test_the_first_key_is_shown_once(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    text = take_first_key(tmp_path / "audit", RingCustody(ring))
    with pytest.raises(AuditError, match="shown before"):
        take_first_key(tmp_path / "audit", RingCustody(ring))
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as log:
        log.append("test", {}).result(10)
    assert read_first_key(tmp_path / "audit") is None
    report = verify(tmp_path / "audit", Trust(parse_first_key(text), ring.public_keys("audit")))
    assert (report.ok, report.sealed, report.records) == (True, True, 2)
    assert not verify(tmp_path / "audit", Trust(None, ring.public_keys("audit"))).sealed


def test_a_log_that_a_daemon_began_keeps_its_first_key_until_it_is_taken(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        log.append("test", {}).result(10)
        assert (tmp_path / "first.key").stat().st_mode & 0o777 == 0o600
        text = take_first_key(tmp_path, KEYS)
        assert not (tmp_path / "first.key").exists()
        log.append("test", {}).result(10)
    assert verify(tmp_path, trust(parse_first_key(text))).records == 2


@pytest.mark.parametrize("harm", [lambda t: t[:-1], lambda t: t[:-2] + "AA", lambda t: "x" + t])
def test_a_first_key_with_a_typing_error_is_no_key(harm: object) -> None:
    text = show_first_key(b"k" * 48)
    assert parse_first_key(text + "\n") == b"k" * 48
    with pytest.raises(KeyringError, match="no first key"):
        parse_first_key(harm(text))  # type: ignore[operator]


def test_rotating_the_hosts_keys_breaks_nothing(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    for _ in range(3):
        with AuditLog.open(tmp_path / "audit", RingCustody(ring), segment_bytes=500) as log:
            log.append("test", {"text": "x" * 500}).result(10)
        for purpose in ("chain", "audit"):
            ring.rotate(purpose)
    keys = RingCustody(ring)
    report = verify(tmp_path / "audit", Trust(None, keys.public(), keys))
    assert (report.ok, report.segments, report.signed) == (True, 3, 2)


def test_a_revoked_signature_key_makes_what_it_signed_unsigned(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    for _ in range(2):
        with AuditLog.open(tmp_path / "audit", RingCustody(ring), segment_bytes=100) as log:
            log.append("test", {}).result(10)
    ring.revoke(ring.signer("audit").id)
    bad = verify(tmp_path / "audit", Trust(None, ring.public_keys("audit"))).first_bad
    assert bad is not None
    assert bad.kind == "signature"
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as log:  # the host goes on
        log.append("test", {}).result(10)


def test_keys_that_cannot_be_used_stop_the_log_until_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr("fumehood.audit.custody.LOOK_SECONDS", 0.0)
    ring = open_ring(tmp_path, Periods())
    away = tmp_path / "keys" / "away"
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as log:
        os.rename(tmp_path / "keys" / "ring.json", away)
        with pytest.raises(AuditError, match="keys cannot be used") as refused:
            log.append("test", {"n": 1}).result(10)
        assert "fumehood key list" in refused.value.remedy
        os.rename(away, tmp_path / "keys" / "ring.json")
        while log.last.seq < 1:
            with contextlib.suppress(AuditError):
                log.append("test", {}).result(10)
    assert verify(tmp_path / "audit", Trust(None, None, RingCustody(ring))).ok


def steps(directory: Path) -> Report:
    return verify(directory, Trust(None, KEYS.public(), KEYS))


def test_a_clock_that_is_set_back_is_recorded_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        log.append("test", {}).result(10)
        monkeypatch.setattr(clock, "now", lambda: "2020-01-01T00:00:00.000000Z")
        before = clock.skew
        monkeypatch.setattr(clock, "skew", lambda: before() - 3600)
        log.append("test", {}).result(10)
        while log.last.seq < 4:
            log.append("test", {}).result(10)
    report = steps(tmp_path)
    assert report.ok
    assert report.clock_steps >= 1
    assert report.steps[0].startswith("2: 20")
    found = [json.loads(line) for line in next(tmp_path.glob("*.jsonl")).read_text().splitlines()]
    assert [r["seconds"] for r in found if r["event"] == chain.STEPPED] == [-3600]
