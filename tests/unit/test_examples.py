"""Every example is a good manifest with a sample call that its own schema accepts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from fumehood.cli import pack
from fumehood.config import Config
from fumehood.model.limits import above
from fumehood.model.manifest import load_manifest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").iterdir())


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_can_be_registered_and_called(folder: Path) -> None:
    package = pack.load(folder / "tool.yaml")
    manifest = load_manifest(package.manifest, source=folder.name)
    assert manifest.name == folder.name
    assert above(manifest.limits.to_plan(), Config().ceilings.to_plan()) is None
    arguments = json.loads((folder / "example.json").read_text())
    schema = manifest.inputSchema
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(arguments)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_can_be_read_in_a_minute(folder: Path) -> None:
    programs = [path for path in folder.iterdir() if path.suffix in (".py", ".sh")]
    assert len(programs) == 1
    assert len(programs[0].read_text().splitlines()) <= 80
