"""Manifests that could not run here are refused at registration."""

from __future__ import annotations

import pytest

from fumehood.catalog.lint import lint, lint_files
from fumehood.engines.fit import Unfit
from fumehood.errors import ManifestError
from fumehood.model.tree import ToolFile
from support.manifests import CEILINGS, manifest

SCRIPT = ToolFile(b"#!/bin/sh\n", executable=True)
DATA = ToolFile(b"", executable=False)


def test_the_sample_passes() -> None:
    lint(manifest(), CEILINGS, profiles={"compute"})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("timeout", "11m", "11m is above this installation's ceiling of 10m"),
        ("cpu", 2.5, "2.5 is above this installation's ceiling of 2.0"),
        ("memory", "3GiB", "3GiB is above this installation's ceiling of 2GiB"),
        ("pids", 513, "513 is above this installation's ceiling of 512"),
        ("scratch", "1GiB", "1GiB is above this installation's ceiling of 512MiB"),
        ("output", "17MiB", "17MiB is above this installation's ceiling of 16MiB"),
    ],
)
def test_a_limit_above_its_ceiling_names_both_numbers(key: str, value: object, says: str) -> None:
    with pytest.raises(ManifestError) as caught:
        lint(manifest(**{f"limits__{key}": value}), CEILINGS)
    assert caught.value.field == f"limits.{key}"
    assert says in caught.value.cause


def test_a_limit_at_its_ceiling_passes() -> None:
    lint(manifest(limits__timeout="10m", limits__memory="2GiB", limits__pids=512), CEILINGS)


def test_an_unknown_image_or_profile_names_the_nearest() -> None:
    with pytest.raises(ManifestError, match=r"run\.image.*did you mean 'host'"):
        lint(manifest(run__image="hots"), CEILINGS)
    with pytest.raises(ManifestError, match=r"seccomp.*did you mean 'compute'"):
        lint(manifest(seccomp="computer"), CEILINGS, profiles={"compute"})


def test_what_an_engine_has_against_a_tool_is_told_at_once() -> None:
    def says(_: object) -> Unfit:
        return Unfit("run.runtime", "runsc cannot enforce it", "accept it")

    with pytest.raises(ManifestError, match=r"run\.runtime: runsc cannot enforce it") as caught:
        lint(manifest(), CEILINGS, unfit=says)
    assert (caught.value.field, caught.value.remedy) == ("run.runtime", "accept it")


@pytest.mark.parametrize("key", ["inputSchema", "outputSchema"])
@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"properties": {"a": {"$ref": "https://example.org/x"}}}, "leads out of the schema"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "RE2 refuses the pattern"),
        ({"$ref": "#"}, "circle"),
    ],
)
def test_both_schemas_are_checked(key: str, schema: dict[str, object], says: str) -> None:
    with pytest.raises(ManifestError, match=says) as caught:
        lint(manifest(**{key: {"type": "object", **schema}}), CEILINGS)
    assert caught.value.field.startswith(key)


def test_files_and_manifest_fit_each_other() -> None:
    lint_files(manifest(), {"main.py": DATA})
    lint_files(manifest(run__command=["/tool/bin/run"]), {"bin/run": SCRIPT})
    lint_files(manifest(run__command=["wc"], run__files=None), {})
    for changes, files, says in (
        ({"run__files": None}, {"main.py": DATA}, "the manifest names none"),
        ({}, {}, "the folder is empty"),
        ({"run__command": ["/tool/none"]}, {"main.py": DATA}, "none of the files"),
        ({"run__command": ["/tool/main.py"]}, {"main.py": DATA}, "not executable"),
        ({"run__command": ["/tool/x"], "run__files": None}, {}, "none of the files"),
    ):
        with pytest.raises(ManifestError, match=says):
            lint_files(manifest(**changes), files)
