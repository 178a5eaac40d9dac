"""One digest is one tree on both engines: Docker's own ID of it, and both sandboxes, say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.images.store import Image, ImageStore
from support import launcher as real
from support.docker import Engine, docker_launcher, docker_plan
from support.images import base_store
from support.launcher import plan

# Everything that a digest promises, as seen from inside.
# In /etc Docker mounts hosts, hostname and resolv.conf of its own.
CENSUS = (
    "cd / && find bin home lib lib64 opt root sbin srv usr var -printf '%p %y %m %T@ %l\\n'"
    " | sort | md5sum; find usr var etc/passwd etc/alternatives -type f | sort | xargs cat | md5sum"
)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return base_store()


@pytest.fixture(scope="module")
def base(store: ImageStore) -> Image:
    return store.resolve("base")


@pytest.fixture(scope="module")
def loaded(
    store: ImageStore, base: Image, docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The image as Docker has it; returns its ID."""
    archive = tmp_path_factory.mktemp("docker") / "base.tar"
    with archive.open("wb") as file:
        store.export_docker(base.digest, file, "fumehood/base:test")
    docker_engine.docker("load", "--input", str(archive))
    return docker_engine.docker("image", "inspect", "--format", "{{.Id}}", "fumehood/base:test")


def test_docker_gives_it_the_identity_that_the_store_knows(base: Image, loaded: str) -> None:
    assert loaded == base.config


def test_what_docker_has_can_be_imported_to_the_same_digest(
    store: ImageStore,
    base: Image,
    loaded: str,
    docker_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    assert store.import_("docker:fumehood/base:test", "from-docker").digest == base.digest
    store.remove("from-docker")


def test_both_engines_show_the_same_tree(
    store: ImageStore, base: Image, docker_engine: Engine, tmp_path: Path
) -> None:
    with real.launcher(tmp_path, image_store=str(store.directory)) as process:
        ended, embedded = process.run("cafe0001", plan("bash", "-c", CENSUS, image=base.digest))
        assert ended.exit_code == 0
    with docker_launcher(tmp_path, docker_engine, image_store=str(store.directory)) as containers:
        ended, in_docker = containers.run(
            "cafe0002", docker_plan("bash", "-c", CENSUS, image=base.digest)
        )
        assert ended.exit_code == 0
    assert len(embedded.split()) == 4
    assert in_docker == embedded
