"""Names of images move, tools stay: on what they were pinned to, watched, and removed on purpose
only. Small images with one static program, and a daemon of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import FumehoodError
from support.archives import entry, tar
from support.hood import Hood
from support.hood import hood as start_hood

PROGRAM = '#include <stdio.h>\nint main(void) { puts("%s"); return 0; }\n'


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tar archives of images whose program prints their name."""
    folder = tmp_path_factory.mktemp("images")
    found = {}
    for name in ("one", "two", "three", "four"):
        program = folder / name
        subprocess.run(
            ["gcc", "-static", "-x", "c", "-o", program, "-"],
            input=PROGRAM % name, text=True, check=True,
        )  # fmt: skip
        found[name] = folder / f"{name}.tar"
        found[name].write_bytes(tar(entry("usr/bin/p", program.read_bytes(), mode=0o755)))
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "place"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def hood(place: Path) -> Iterator[Hood]:
    """Nobody may call anything: what is in use does not depend on who may call it."""
    with start_hood(place, config={"rules": []}) as running:
        yield running


def put(hood: Hood, archive: Path, name: str) -> str:
    done = hood.cli("image", "import", str(archive), "--name", name, "--json", check=True)
    return str(json.loads(done.stdout)["digest"])


def add(hood: Hood, name: str, image: str, **manifest: Any) -> str:
    """Register a version; its state."""
    run = {"image": image, "command": ["/usr/bin/p"], "warm": "none"}
    return str(hood.register(None, name, command=[], run=run, **manifest)["state"])


def says(hood: Hood, name: str) -> str:
    result = hood.call(name)
    assert result["status"] == "ok", result
    return str(result["content"][0]["text"])


def test_a_moved_name_leaves_its_image_and_that_is_watched(
    archives: dict[str, Path], place: Path
) -> None:
    with start_hood(place) as hood:
        pinned = put(hood, archives["one"], "mv")
        add(hood, "steady", "mv")
        put(hood, archives["two"], "mv")
        put(hood, archives["three"], "other")
        assert says(hood, "steady") == "one\n"
        hood.cli("image", "remove", "other", check=True)
        hood.cli("image", "prune", check=True)
        assert says(hood, "steady") == "one\n"
        program = hood.state / "images/trees" / pinned[7:] / "usr/bin/p"
        program.chmod(0o755)
        program.write_bytes((archives["two"].parent / "two").read_bytes())
        program.chmod(0o555)
        told = hood.cli("image", "verify")
        assert told.returncode == 1
        assert f"{pinned[:19]} /usr/bin/p has another" in told.stderr
    with start_hood(place) as hood:
        assert f"image {pinned} is not used: /usr/bin/p has another" in hood.log.read_text()
        result = hood.call("steady")
        assert result["status"] in ("engine_error", "rejected"), result
        assert put(hood, archives["one"], "back") == pinned
        assert says(hood, "steady") == "one\n"


def test_a_store_of_a_former_version_keeps_its_tools(
    archives: dict[str, Path], place: Path
) -> None:
    """It had forgotten the image when the name moved, and kept its tree."""
    with start_hood(place) as hood:
        pinned = put(hood, archives["one"], "mv")
        add(hood, "steady", "mv")
        put(hood, archives["two"], "mv")
    path = place / "state/images/index.json"
    index = json.loads(path.read_text())
    del index["annotations"]
    index["manifests"] = [item for item in index["manifests"] if item["digest"] != pinned]
    path.write_text(json.dumps(index))
    with start_hood(place) as hood:
        hood.cli("image", "prune", check=True)
        assert says(hood, "steady") == "one\n"
        listed = json.loads(hood.cli("image", "list", "--json", check=True).stdout)
        assert ("", pinned) in [(item["name"], item["digest"]) for item in listed]


def test_an_image_that_any_version_names_is_in_use(archives: dict[str, Path], hood: Hood) -> None:
    """Also a version that is superseded, for going back to it, or that waits for approval; whoever
    may call them."""
    for name, archive in archives.items():
        put(hood, archive, name)
    assert add(hood, "tool", "one") == "active"
    assert add(hood, "tool", "two", version="2.0.0") == "active"
    changed = {"version": "3.0.0", "description": "Something else."}
    assert add(hood, "tool", "three", **changed) == "pending"
    assert add(hood, "other", "four") == "active"
    hood.cli("tool", "remove", "other", check=True)
    for running in (True, False):
        if not running:
            assert hood.stop() == 0
        for name in ("one", "two", "three"):
            refused = hood.cli("image", "remove", name)
            assert refused.returncode == 1, refused.stdout
            assert "a registered tool uses" in refused.stderr
    hood.cli("image", "remove", "four", check=True)


@pytest.mark.parametrize("state", ["superseded", "pending"])
def test_a_version_whose_image_is_gone_is_not_approved(
    archives: dict[str, Path], hood: Hood, state: str
) -> None:
    gone, kept = put(hood, archives["one"], "gone"), put(hood, archives["two"], "kept")
    order = (gone, kept) if state == "superseded" else (kept, gone)
    add(hood, "tool", order[0])
    text = "A test tool." if state == "pending" else "A test tool named tool."
    add(hood, "tool", order[1], version="2.0.0", description=text)
    version = "1.0.0" if state == "superseded" else "2.0.0"
    with hood.client() as client:
        assert client.show_tool("tool", version)["state"] == state
        hood.cli("image", "remove", "gone", "--force", check=True)
        with pytest.raises(FumehoodError, match=r"run\.image: there is no image") as refused:
            client.approve_tool("tool", version)
        assert "again" in refused.value.remedy
        assert client.show_tool("tool", version)["state"] == state
        put(hood, archives["one"], "gone")
        assert client.approve_tool("tool", version)["state"] == "active"
