"""One digest is one tree on every engine: Docker's own ID of it, and each sandbox, say so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fumehood.images.store import Image, ImageStore
from support.docker import Engine
from support.engines import BUBBLEWRAP, TARGETS
from support.hood import Hood
from support.images import base_store

DOCKERS_OWN = ("/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf")
"""Docker makes these in every container; docs/engines.md names them."""
MOUNTED = ("dev", "out", "proc", "sys", "tmp", "tool")
# Everything that a digest promises, as seen from inside. Docker's own files give the two folders
# that they are in another time.
CENSUS = f"""
cd /
everything() {{
    find . \\( {" -o ".join(f"-path ./{name}" for name in MOUNTED)} \\) -prune -o "$@" |
        grep -vE '^\\.({"|".join(re.escape(path) for path in DOCKERS_OWN)})( |$)' | LC_ALL=C sort
}}
everything -printf '%p %y %m %T@ %l\\n' |
    sed -E 's#^(\\.|\\./etc) d ([0-7]+) [0-9.]+#\\1 d \\2#' | md5sum
everything -type f -print | tr '\\n' '\\0' | xargs -0 cat | md5sum
everything -print | wc -l
"""


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


def test_every_engine_shows_the_same_tree(engines: Hood, store: ImageStore, base: Image) -> None:
    """One name in three manifests, pinned to one digest; each sandbox counts all of it."""
    tree = str(store.path(base.digest))
    done = engines.cli("image", "import", tree, "--name", "base", "--json")
    assert done.returncode == 0, done.stderr
    seen = {}
    for target in TARGETS:
        name = target.tool("census")
        registered = engines.register(
            None,
            name,
            command=[],
            files={"census.sh": CENSUS},
            run={**target.run, "image": "base", "command": ["bash", "/tool/census.sh"]},
            limits={"timeout": "60s", "memory": "256MiB", **target.limits},
        )
        assert registered["manifest"]["run"]["image"] == f"base@{base.digest}"
        result = engines.call(name)
        assert result["status"] == "ok", result
        seen[target.name] = result["content"][0]["text"]
    assert int(seen[BUBBLEWRAP.name].split()[-1]) > 500, seen
    assert len(set(seen.values())) == 1, seen


def test_what_docker_adds_to_a_tree_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs/engines.md").read_text()
    assert all(f"`{path}`" in text for path in DOCKERS_OWN)


def test_a_name_that_moves_takes_no_tool_with_it(
    engines: Hood, store: ImageStore, base: Image, tmp_path: Path
) -> None:
    """On no engine, also after something else was removed: the digest is what a tool is pinned
    to."""
    for name, text in (("one", "first"), ("two", "second"), ("three", "third")):
        tree = tmp_path / name
        shutil.copytree(store.path(base.digest), tree, symlinks=True)
        (tree / "usr").chmod(0o755)
        (tree / "usr/which").write_text(text)
    put(engines, tmp_path / "one", "moves")
    names = [target.tool("moves") for target in TARGETS]
    for name, target in zip(names, TARGETS, strict=True):
        run = {**target.run, "image": "moves", "command": ["cat", "/usr/which"], "warm": "none"}
        engines.register(None, name, command=[], run=run, limits=target.limits)
    put(engines, tmp_path / "two", "moves")
    put(engines, tmp_path / "three", "passing")
    assert engines.cli("image", "remove", "passing").returncode == 0
    for name in names:
        result = engines.call(name)
        assert (result["status"], result["content"][0]["text"]) == ("ok", "first"), result


def put(engines: Hood, tree: Path, name: str) -> None:
    done = engines.cli("image", "import", str(tree), "--name", name)
    assert done.returncode == 0, done.stderr


CONTRADICTIONS = (
    "USER 0:0", 'ENTRYPOINT ["/bin/sh", "-c", "echo the image was here", "--"]', "CMD evil",
    "ENV LD_PRELOAD=/evil.so PATH=/evil TOKEN=x", "VOLUME /data /tmp", "WORKDIR /root",
    "EXPOSE 22", "ONBUILD RUN evil", "HEALTHCHECK --interval=1ms CMD touch /tmp/healthy",
)  # fmt: skip
WHO = "id -u; pwd; echo ${TOKEN-none} ${LD_PRELOAD-none}; test -e /data || echo no volume"


def test_an_image_that_contradicts_the_plan_has_no_say(
    engines: Hood, store: ImageStore, base: Image, docker_engine: Engine, tmp_path: Path
) -> None:
    """Who runs, what runs and where is the plan's; of the image only the tree is taken, so that
    it is the very image that it was made from."""
    archive, saved = tmp_path / "base.tar", tmp_path / "saved.tar"
    with archive.open("wb") as file:
        store.export_tar(base.digest, file)
    changes = [word for line in CONTRADICTIONS for word in ("--change", line)]
    docker_engine.docker("import", *changes, str(archive), "contradicts:1")
    docker_engine.docker("save", "--output", str(saved), "contradicts:1")
    docker_engine.docker("rmi", "contradicts:1")
    done = engines.cli("image", "import", str(saved), "--name", "contradicts", "--json")
    assert done.returncode == 0, done.stderr
    for target in TARGETS:
        name = target.tool("contradicted")
        entry = engines.register(
            None,
            name,
            command=[],
            files={"who.sh": WHO},
            run={**target.run, "image": "contradicts", "command": ["sh", "/tool/who.sh"]},
            limits=target.limits,
        )
        assert entry["manifest"]["run"]["image"] == f"contradicts@{base.digest}"
        result = engines.call(name)
        assert result["status"] == "ok", result
        said = result["content"][0]["text"].splitlines()
        assert said == [str(engines.account(name)), "/tmp", "none none", "no volume"]
