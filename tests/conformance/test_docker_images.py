"""Images of the store on Docker: the same tree by digest, or nothing at all."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.engines import docker_image
from fumehood.engines.docker_create import LABEL_DIGEST
from fumehood.images.store import Image, ImageStore
from fumehood.kernel import rootfs
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


# --- the image `host`, which only a label finds


def skeleton(engine: Engine) -> tuple[str, list[str]]:
    """The label of this host's own image `host`, and IDs of what Docker has of it: one."""
    _, digest = docker_image.archive(rootfs.alternatives())
    label = f"{LABEL_DIGEST}={digest}"
    shape = "{{json .RootFS.Layers}} {{json .Config.Entrypoint}}"
    held = engine.docker("images", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    return label, [
        identity
        for identity in held.split()
        if engine.docker("inspect", "--format", shape, identity) == f'["{digest}"] null'
    ]


def imported(engine: Engine, tmp_path: Path, label: str, *tag: str) -> str:
    """The ID of an image of another tree, with our label."""
    (tmp_path / "other").mkdir(exist_ok=True)
    (tmp_path / "other" / "fake").write_text("not the skeleton\n")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "other", ".")
    change = f"LABEL {label}"
    return engine.docker("import", "--change", change, str(tmp_path / "other.tar"), *tag)


LS = docker_plan("ls", "/")


@pytest.mark.parametrize("tag", [(), ("other/thing:1",)])
def test_another_tree_with_our_label_is_not_the_host(
    docker_engine: Engine, tmp_path: Path, tag: tuple[str, ...]
) -> None:
    with docker_launcher(tmp_path, docker_engine) as process:
        genuine = process.call("aaaaaaaa-1", LS).out
    label, ours = skeleton(docker_engine)
    fake = imported(docker_engine, tmp_path, label, *tag)
    try:
        with docker_launcher(tmp_path, docker_engine) as process:
            assert process.call("aaaaaaaa-1", LS).out == genuine
        assert skeleton(docker_engine)[1] == ours
        assert docker_engine.docker("inspect", "--format", "{{.Id}}", fake) == fake
    finally:
        docker_engine.docker("rmi", *(tag or (fake,)))


def test_an_image_made_of_a_sandbox_is_not_the_host(docker_engine: Engine, tmp_path: Path) -> None:
    """`docker commit` hands our label on, and the tool's own entry point with it."""
    with docker_launcher(tmp_path, docker_engine) as process:
        genuine = process.call("aaaaaaaa-1", LS).out
        ends, _ = process.opened("bbbbbbbb-2", docker_plan("cat"))
        container = docker_engine.docker("ps", "--quiet", "--filter", "label=org.fumehood.sandbox")
        made = docker_engine.docker("commit", container)
        process.send(m.Kill("bbbbbbbb-2"))
        process.talk(ends, b"")
        process.last()
    _, ours = skeleton(docker_engine)
    assert len(ours) == 1
    try:
        with docker_launcher(tmp_path, docker_engine) as process:
            assert process.call("aaaaaaaa-1", LS).out == genuine
        assert skeleton(docker_engine)[1] == ours
        assert docker_engine.docker("inspect", "--format", "{{.Id}}", made) == made
    finally:
        docker_engine.docker("rmi", made)


def test_of_earlier_states_only_what_is_ours_alone_is_removed(
    docker_engine: Engine, tmp_path: Path
) -> None:
    """An own one, the same with a name that somebody gave it, and another tree with the label."""
    older = f"{LABEL_DIGEST}=sha256:{'0' * 64}"
    others = imported(docker_engine, tmp_path, older)
    archive = tmp_path / "old.tar"
    archive.write_bytes(docker_image.archive({"older": "/usr/bin/older"})[0])
    _, digest = docker_image.archive({"older": "/usr/bin/older"})
    change = f"LABEL {LABEL_DIGEST}={digest}"
    own = docker_engine.docker("import", "--change", change, str(archive))
    named = docker_engine.docker("import", "--change", change, str(archive), "my/work:1")
    try:
        with docker_launcher(tmp_path, docker_engine) as process:
            process.call("aaaaaaaa-1", LS)
        left = docker_engine.docker("images", "--all", "--quiet", "--no-trunc").split()
        assert own not in left
        assert {named, others} <= set(left)
    finally:
        docker_engine.docker("rmi", "my/work:1", others)


# --- images that left the store


def test_an_image_that_left_the_store_leaves_docker(
    docker_engine: Engine, tmp_path: Path, store: ImageStore, tree: Path
) -> None:
    """When the launcher next connects. Another store's, or one with a name of somebody's, stays."""
    removed = store.import_(tree, "removed")
    (tree / "more").touch()
    named = store.import_(tree, "named")
    (tree / "still").touch()
    kept = store.import_(tree, "kept")
    for process in start(docker_engine, tmp_path):
        for image in (removed, named, kept):
            process.call("aaaaaaaa-1", wanted(image))
    docker_engine.docker("tag", named.config, "their/own:1")
    store.remove("removed")
    store.remove("named")
    elsewhere = tmp_path / "elsewhere"
    ImageStore(elsewhere).create()
    with docker_launcher(tmp_path, docker_engine, image_store=str(elsewhere)) as process:
        process.call("aaaaaaaa-1", LS)
    assert removed.config in held(docker_engine)
    for process in start(docker_engine, tmp_path):
        process.call("aaaaaaaa-1", wanted(kept))
    left = held(docker_engine)
    assert removed.config not in left
    assert {named.config, kept.config} <= left
    tags = docker_engine.docker("inspect", "--format", "{{json .RepoTags}}", named.config)
    docker_engine.docker("rmi", "their/own:1")
    assert tags == '["their/own:1"]'


def held(engine: Engine) -> set[str]:
    return set(engine.docker("images", "--all", "--quiet", "--no-trunc").split())
