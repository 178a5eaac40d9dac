"""docker and skopeo as sources: stand-ins for them that deliver, fail, stall and shout."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images import external
from fumehood.images.store import ImageStore
from support.archives import docker_save, files, leftovers, oci_layout

LAYER = files(usr__a=b"1")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of every program that is looked for."""
    path = tmp_path / "program"
    monkeypatch.setattr(external, "find", lambda _: str(path))
    return path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_an_image_of_the_local_engine_is_read(
    store: ImageStore, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "saved").write_bytes(docker_save(LAYER))
    script(program, f'[ "$*" = "save my/image:1" ] && cat {tmp_path}/saved')
    assert store.import_("docker:my/image:1", "x").name == "x:latest"


def test_what_docker_says_is_the_error(store: ImageStore, program: Path) -> None:
    script(program, "echo 'noise' >&2; echo 'No such image: x' >&2; exit 1")
    with pytest.raises(ImageError, match="failed: No such image: x"):
        store.import_("docker:x", "x")
    assert leftovers(store.directory) == []


def test_a_failure_behind_a_whole_archive_counts(
    store: ImageStore, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "saved").write_bytes(docker_save(LAYER))
    script(program, f"cat {tmp_path}/saved; echo broken >&2; exit 3")
    with pytest.raises(ImageError, match="failed: broken"):
        store.import_("docker:x", "x")
    assert store.list() == []


def test_a_program_that_delivers_nothing_is_given_up(
    store: ImageStore, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(external._Pipe.__init__, "__defaults__", (0.2,))
    script(program, "exec sleep 60")
    with pytest.raises(ImageError, match="delivered nothing"):
        store.import_("docker:x", "x")


def test_escape_sequences_of_a_program_do_not_reach_a_terminal(
    store: ImageStore, program: Path
) -> None:
    script(program, "printf 'evil \\033]0;x\\007\\n' >&2; exit 1")
    with pytest.raises(ImageError) as caught:
        store.import_("docker:x", "x")
    assert caught.value.cause.isprintable()


def test_a_program_gets_only_the_variables_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("LD_PRELOAD", "/x")
    monkeypatch.setenv("DOCKER_HOST", "unix:///x")
    found = external.environment()
    assert found["DOCKER_HOST"] == "unix:///x"
    assert not {"AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"} & set(found)


def test_a_registry_is_read_through_skopeo(
    store: ImageStore, program: Path, tmp_path: Path
) -> None:
    layout = oci_layout(tmp_path / "oci", LAYER)
    script(
        program, f'for last; do :; done; path=${{last#oci:}}; cp -r {layout}/. "${{path%:image}}"'
    )
    assert store.import_("docker://example.org/x:1", "x").source == "docker://example.org/x:1"


@pytest.mark.parametrize("source", ["docker:x", "docker://example.org/x"])
def test_without_the_program_the_error_says_what_to_install(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(external, "find", lambda _: None)
    with pytest.raises(ImageError, match="not installed") as caught:
        store.import_(source, "x")
    assert "install" in caught.value.remedy


@pytest.mark.parametrize("name", ["-v", "--help", "", "a b", "a\n", "$(x)", "x" * 600])
def test_a_name_can_be_no_option(store: ImageStore, program: Path, name: str) -> None:
    script(program, "touch /tmp/must-not-happen; exit 1")
    with pytest.raises(ImageError, match="is no name of an image"):
        store.import_(f"docker:{name}", "x")


def test_progress_is_told_line_by_line_and_a_failure_by_its_errors(
    program: Path,
) -> None:
    script(program, "echo 'I: one...' >&2; printf 'a\\rb\\n' >&2; echo 'E: broken' >&2; exit 1")
    seen: list[str] = []
    with pytest.raises(ImageError, match="failed: E: broken"):
        external.follow([str(program)], seen.append, seconds=20, remedy="x")
    assert seen == ["I: one...", "a", "b", "E: broken"]
