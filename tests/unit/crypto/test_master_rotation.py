"""The master key is rotated whole or not at all, wherever that is cut; old data stays readable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fumehood.crypto import keyring, master
from fumehood.crypto.keyring import open_ring, rotate_master, wrapped_under
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import KeyringError

BOUND = b"of a test"


class Cut(Exception):
    """Power is lost."""


def ring(state: Path) -> Ring:
    return open_ring(state, Periods())


def test_everything_made_before_is_read_and_verified_after(tmp_path: Path) -> None:
    before = ring(tmp_path)
    before.note_log("a" * 16)
    sealed = before.seal(b"kept", BOUND)
    secret, signer = before.secret("digest", 384), before.signer("audit")
    old = before.master.id
    made = rotate_master(before, tmp_path / "keys")
    after = ring(tmp_path)
    assert after.master.id == made.id != old
    assert after.unseal(sealed, BOUND) == b"kept"
    assert (after.secret("digest", 384), after.signer("audit").id) == (secret, signer.id)
    assert [e.id for e in after.entries()] == [e.id for e in before.entries()]
    assert (after.generation, after.log) == (3, "a" * 16)
    assert not (tmp_path / "keys" / keyring.NEXT).exists()
    assert made.source.endswith(keyring.NEXT)


@pytest.mark.parametrize("step", ["made", "rewrapped", "replaced"])
def test_a_power_cut_between_steps_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = ring(tmp_path)
    sealed, old = before.seal(b"kept", BOUND), before.master.id

    def cut(*_: object, **__: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        if step == "made":
            patch.setattr(Ring, "_write", cut)
        elif step == "rewrapped":
            patch.setattr(keyring, "settle", cut)
        else:
            patch.setattr(keyring, "sync_directory", cut)
        with pytest.raises(Cut):
            rotate_master(before, tmp_path / "keys")
    after = ring(tmp_path)
    assert after.unseal(sealed, BOUND) == b"kept"
    assert (after.master.id == old) == (step == "made")
    rotated = rotate_master(after, tmp_path / "keys")
    assert ring(tmp_path).master.id == rotated.id
    assert ring(tmp_path).unseal(sealed, BOUND) == b"kept"


def test_a_ring_under_another_key_does_not_open(tmp_path: Path) -> None:
    before = ring(tmp_path)
    elsewhere = master.create(tmp_path / "elsewhere")
    before.rewrap(elsewhere)
    assert wrapped_under(tmp_path / "keys" / "ring.json") == elsewhere.id
    with pytest.raises(KeyringError, match="another master key"):
        ring(tmp_path)
    before.rewrap(master.from_file(tmp_path / "keys" / "root.json"))
    assert ring(tmp_path).entries()


def test_a_key_that_waits_and_is_not_the_rings_takes_no_place(tmp_path: Path) -> None:
    before = ring(tmp_path)
    os.rename(_created(tmp_path), tmp_path / "keys" / keyring.NEXT)
    assert ring(tmp_path).master.id == before.master.id


def _created(folder: Path) -> Path:
    master.create(folder / "stray")
    return folder / "stray"
