"""Images of the store on Docker: the same tree by digest, or nothing at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.images.store import Image, ImageStore
from fumehood.launcher import messages as m
from fumehood.launcher.docker_process import find_init
from support.docker import DockerProcess, Engine, docker_launcher, docker_plan


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root file system with one static program, which prints its version."""
    root = tmp_path / "tree"
    (root / "bin").mkdir(parents=True)
    shutil.copy(find_init(), root / "bin" / "program")
    return root


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    store = ImageStore(tmp_path / "images")
    store.create()
    return store


def start(engine: Engine, tmp_path: Path) -> Iterator[DockerProcess]:
    with docker_launcher(tmp_path, engine, image_store=str(tmp_path / "images")) as process:
        yield process


@pytest.fixture
def containers(docker_engine: Engine, tmp_path: Path, store: ImageStore) -> Iterator[DockerProcess]:
    yield from start(docker_engine, tmp_path)


def wanted(image: Image) -> m.Plan:
    return docker_plan("/bin/program", "--version", image=image.digest)


def test_an_image_that_others_remove_is_loaded_again(
    containers: DockerProcess, docker_engine: Engine, store: ImageStore, tree: Path
) -> None:
    image = store.import_(tree, "small")
    assert containers.call("aaaaaaaa-1", wanted(image)).out
    docker_engine.docker("rmi", "--force", image.config)
    assert containers.call("aaaaaaaa-2", wanted(image)).out


def test_an_image_that_left_the_store_is_refused(
    containers: DockerProcess, store: ImageStore, tree: Path
) -> None:
    image = store.import_(tree, "small")
    store.remove("small")
    ends = containers.open("aaaaaaaa-1", wanted(image))
    end = containers.last()
    assert isinstance(end, m.Refused)
    assert end.control == "image"
    containers.talk(ends, b"")


@pytest.mark.parametrize("name", ["tmp", "out", "dev", "proc", "sys"])
def test_an_image_cannot_lead_a_mount_elsewhere(
    containers: DockerProcess, store: ImageStore, tree: Path, name: str
) -> None:
    (tree / "elsewhere").mkdir()
    (tree / name).symlink_to("/elsewhere")
    call = containers.call("aaaaaaaa-1", wanted(store.import_(tree, "small")))
    assert b"version" in call.out
    assert {"mount./tmp", "mount./out"} <= set(call.proofs)
