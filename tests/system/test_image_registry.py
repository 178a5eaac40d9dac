"""Images from a real registry, through the real skopeo and the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images.bounds import DEFAULT
from fumehood.images.store import ImageStore
from support.archives import entry, tar
from support.hood import command
from support.registry import Registry, registry


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def images(
    place: Path, *words: str, served: Registry | None = None
) -> subprocess.CompletedProcess[str]:
    state = {"FUMEHOOD_STATE": str(place / "state"), "FUMEHOOD_SOCKET": str(place / "socket")}
    return subprocess.run(
        command("image", *words),
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **state,
             **(served.environment if served else {})},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pushed(served: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of an image in another store, which was pushed as group/small:1."""
    place = tmp_path_factory.mktemp("origin")
    (place / "small.tar").write_bytes(
        tar(entry("usr/bin/x", os.urandom(1 << 16), mode=0o755), entry("etc/y", b"2"))
    )
    done = images(place, "import", str(place / "small.tar"), "--json")
    assert done.returncode == 0, done.stderr
    done_export = images(place, "export", "small", str(place / "saved.tar"), "--docker")
    assert done_export.returncode == 0, done_export.stderr
    served.push(place / "saved.tar", "group/small:1")
    return str(json.loads(done.stdout)["digest"])


def test_an_image_comes_out_of_a_registry_with_the_digest_it_went_in_with(
    served: Registry, pushed: str, tmp_path: Path
) -> None:
    reference = f"docker://{served.name}/group/small:1"
    done = images(tmp_path, "import", reference, "--json", served=served)
    assert done.returncode == 0, done.stderr
    image = json.loads(done.stdout)
    assert (image["name"], image["digest"]) == ("small:1", pushed)
    assert image["source"] == reference
    assert images(tmp_path, "verify").stdout == "ok: all images\n"


def test_an_image_that_is_too_large_is_cut_off(
    served: Registry, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    bounds = replace(DEFAULT, bytes=1 << 15)
    store = ImageStore(tmp_path / "state" / "images", bounds)
    with pytest.raises(ImageError, match="in the registry has more than 32768 bytes"):
        store.import_(f"docker://{served.name}/group/small:1", "small")
    assert left(tmp_path) == []


def left(place: Path) -> list[str]:
    store = place / "state" / "images"
    found = [name for name in os.listdir(store) if name.startswith(("new-", "old-"))]
    return found + os.listdir(store / "trees")


@pytest.mark.parametrize("name", ["group/small:2", "group/other:1"])
def test_what_the_registry_does_not_have_is_one_error(
    served: Registry, pushed: str, tmp_path: Path, name: str
) -> None:
    done = images(tmp_path, "import", f"docker://{served.name}/{name}", "--json", served=served)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "image"
    assert "skopeo failed" in error["cause"]
    assert left(tmp_path) == []


def test_an_authority_that_is_not_trusted_is_refused(
    served: Registry, pushed: str, tmp_path: Path
) -> None:
    home = {"HOME": str(served.home)}
    state = {"FUMEHOOD_STATE": str(tmp_path / "state")}
    done = subprocess.run(
        command("image", "import", f"docker://{served.name}/group/small:1"),
        env={"PATH": "/usr/bin:/bin", **home, **state},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "certificate" in done.stderr
    assert left(tmp_path) == []


def test_a_layer_that_was_exchanged_in_the_registry_is_refused(
    served: Registry, pushed: str, tmp_path: Path
) -> None:
    layer = served.blobs()[0]
    whole = layer.read_bytes()
    try:
        layer.write_bytes(whole[:-100] + bytes(100))
        reference = f"docker://{served.name}/group/small:1"
        done = images(tmp_path, "import", reference, "--json", served=served)
    finally:
        layer.write_bytes(whole)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "image"
    assert left(tmp_path) == []
