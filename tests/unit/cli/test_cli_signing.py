"""`fumehood tool sign`, `tool verify`, and what `tool add` sends along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fumehood.cli import pack
from fumehood.crypto import keyring
from fumehood.crypto.ring import Periods
from support.cli import Cli
from support.gateway import FakeSupervisor

MANIFEST = """\
name: signed-tool
version: 1.0.0
description: A tool.
inputSchema: {type: object}
run: {command: [python3, /tool/main.py], files: src}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tool, a key ring, and a configuration that believes its `tool` key."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print()")
    (tmp_path / "tool.yaml").write_text(MANIFEST)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    ring = keyring.open_ring(state, Periods(), "", "", create=True)
    publishers = {"acme": {"keys": [{"key": ring.public_keys("tool")[0].pem}]}}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"publishers": publishers}))
    config.chmod(0o600)
    monkeypatch.setenv("FUMEHOOD_STATE", str(state))
    monkeypatch.setenv("FUMEHOOD_CONFIG", str(config))
    return tmp_path


def test_a_tool_is_signed_verified_and_sent(
    cli: Cli, folder: Path, supervisor: FakeSupervisor
) -> None:
    manifest = str(folder / "tool.yaml")
    missing = cli("tool", "verify", manifest)
    assert (missing.status, "does not exist" in missing.err) == (2, True)
    signed = cli("tool", "sign", manifest)
    assert signed.status == 0, signed.err
    verified = cli("tool", "verify", manifest, "--json")
    assert (verified.status, json.loads(verified.out)["publisher"]) == (0, "acme")
    assert cli("tool", "add", manifest).status == 0
    assert supervisor.signature == json.loads((folder / "tool.yaml.sig").read_text())
    (folder / "src" / "main.py").write_text("evil()")
    changed = cli("tool", "verify", manifest)
    assert changed.status == 1
    assert "other content: files" in changed.err


def test_a_signature_beside_the_files_it_covers_is_none_of_them(
    cli: Cli, folder: Path, supervisor: FakeSupervisor
) -> None:
    """As the examples have it: `files: .`."""
    manifest = folder / "src" / "tool.yaml"
    manifest.write_text(MANIFEST.replace("files: src", "files: ."))
    for _ in range(2):  # also with the one before lying there
        assert cli("tool", "sign", str(manifest)).status == 0
        assert cli("tool", "verify", str(manifest)).status == 0
    assert sorted(pack.load(manifest).files) == ["main.py", "tool.yaml"]
    (folder / "src" / "lib").mkdir()
    (folder / "src" / "lib" / "tool.yaml.sig").write_text("{}")
    (folder / "src" / "other.sig").write_text("{}")
    more = sorted(pack.load(manifest).files)
    assert more == ["lib/tool.yaml.sig", "main.py", "other.sig", "tool.yaml"], "others are files"


def test_a_signature_is_never_written_through_a_link(cli: Cli, folder: Path) -> None:
    """Whoever's folder it is would choose what root overwrites."""
    victim = folder / "victim"
    victim.write_text("precious")
    envelope = folder / "tool.yaml.sig"
    envelope.symlink_to(victim)
    ended = cli("tool", "sign", str(folder / "tool.yaml"))
    assert ended.status == 0, ended.err
    assert victim.read_text() == "precious"
    assert not envelope.is_symlink()
    assert cli("tool", "verify", str(folder / "tool.yaml")).status == 0
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".tool")]


def test_a_signature_that_cannot_take_its_place_leaves_nothing(cli: Cli, folder: Path) -> None:
    (folder / "tool.yaml.sig").mkdir()
    ended = cli("tool", "sign", str(folder / "tool.yaml"))
    assert (ended.status, "tool.yaml.sig cannot be written: Is a" in ended.err) == (2, True)
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".tool")]


def test_a_signature_is_not_read_through_a_link(
    cli: Cli, folder: Path, supervisor: FakeSupervisor
) -> None:
    (folder / "elsewhere").write_text("{}")
    (folder / "tool.yaml.sig").symlink_to(folder / "elsewhere")
    for command in ("verify", "add"):
        ended = cli("tool", command, str(folder / "tool.yaml"))
        assert (ended.status, "tool.yaml.sig is not a plain file" in ended.err) == (2, True)


def test_a_stranger_is_not_believed(cli: Cli, folder: Path) -> None:
    manifest = str(folder / "tool.yaml")
    assert cli("tool", "sign", manifest).status == 0
    (folder / "config.yaml").write_text("{}")
    ended = cli("tool", "verify", manifest)
    assert (ended.status, "no key of a publisher here" in ended.err) == (1, True)
