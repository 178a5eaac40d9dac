"""`fumehood sbom`: from the daemon, the image store and the stored files, or an error."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fumehood.images.store import ImageStore
from support.archives import entry, tar
from support.cli import Cli
from support.cyclonedx import faults
from support.gateway import FakeSupervisor, registered

STATUS = b"Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n"
LOCK = f"some==1.0 --hash=sha256:{'1' * 64}\n".encode()
TREE = "sha384:" + "0f" * 48


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "state"
    place.mkdir(mode=0o700)
    monkeypatch.setenv("FUMEHOOD_STATE", str(place))
    return place


def imaged(state: Path) -> str:
    """A tool's run.image as it is pinned, with the image in the store."""
    archive = state.parent / "x.tar"
    archive.write_bytes(
        tar(entry("usr/bin/x", b"1", mode=0o755), entry("var/lib/dpkg/status", STATUS))
    )
    return "x@" + ImageStore(state / "images").import_(archive, "x").digest


def stored(state: Path, supervisor: FakeSupervisor, image: str, text: bytes) -> None:
    """A tool with requirements, of which `text` lies in the store."""
    run: dict[str, Any] = {
        "command": ["x"], "files": ".", "image": image, "requirements": "requirements.txt",
    }  # fmt: skip
    supervisor.catalog["echo"] = replace(registered("echo", run=run), files=TREE)
    supervisor.listings["echo"] = {"requirements.txt": "-" + hashlib.sha384(LOCK).hexdigest()}
    folder = state / "store" / TREE[7:]
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_bytes(text)


def test_it_has_image_requirements_and_files(
    cli: Cli, supervisor: FakeSupervisor, state: Path
) -> None:
    image = imaged(state)
    stored(state, supervisor, image, LOCK)
    document = json.loads(cli("sbom", "echo").out)
    assert document["specVersion"] == "1.5"
    root, some, file = document["components"]
    assert root["name"] == image[2:]
    assert [part["name"] for part in root["components"]] == ["bash", "/usr/bin/x"]
    assert some["purl"] == "pkg:pypi/some@1.0"
    assert file["hashes"][0]["content"] == hashlib.sha384(LOCK).hexdigest()
    assert document["compositions"][0]["aggregate"] == "unknown"
    assert faults(document) == []
    document["components"][0]["type"] = "thing"
    assert faults(document), "the schema is looked at"


def test_a_stored_file_that_is_not_the_pinned_one_is_an_error(
    cli: Cli, supervisor: FakeSupervisor, state: Path
) -> None:
    stored(state, supervisor, "host", LOCK.replace(b"1.0", b"1.1"))
    ended = cli("sbom", "echo")
    assert (ended.status != 0, ended.out) == (True, "")
    assert "not what was registered" in ended.err


def test_what_cannot_be_read_is_an_error_and_not_left_out(
    cli: Cli, supervisor: FakeSupervisor, state: Path
) -> None:
    stored(state, supervisor, "x@sha256:" + "0" * 64, LOCK)
    ended = cli("sbom", "echo")
    assert (ended.status != 0, ended.out) == (True, "")
    assert "no image" in ended.err or "images" in ended.err
    stored_file = state / "store" / TREE[7:] / "requirements.txt"
    stored_file.unlink()
    assert "cannot be read" in cli("sbom", "echo").err


def test_on_the_hosts_root_the_hosts_packages_are_listed_and_said_to_be_not_all(
    cli: Cli, supervisor: FakeSupervisor, state: Path
) -> None:
    document = json.loads(cli("sbom", "echo").out)
    root = document["components"][0]
    assert (root["type"], root["name"]) == ("operating-system", "host")
    assert document["compositions"][0]["aggregate"] == "incomplete"
    assert {part["name"] for part in document["components"][1:]} == {
        "/tool/main.py", "/tool/run.sh",
    }  # fmt: skip


def test_an_unknown_tool_is_told(cli: Cli, supervisor: FakeSupervisor, state: Path) -> None:
    ended = cli("sbom", "none")
    assert (ended.status != 0, ended.out) == (True, "")
