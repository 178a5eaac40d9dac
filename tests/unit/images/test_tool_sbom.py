"""A tool's bill of materials: its root, what it requires, its files, and nothing called whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fumehood.errors import ImageError
from fumehood.images.tool_sbom import Root, Tool, make

DIGEST = "sha384:" + "0a" * 48
IMAGE = "sha256:" + "1b" * 32
BASH = {"type": "library", "name": "bash", "version": "5.2", "purl": "pkg:deb/debian/bash@5.2"}
TOOL = Tool("t", "1.2.3", DIGEST, {"main.py": "-" + "ab" * 48, "bin/run": "x" + "cd" * 48})
REQUIREMENTS = (
    f"Some_Thing[more]==1.0 --hash=sha256:{'1' * 64} --hash=sha256:{'2' * 64}\n"
    f"other==2.0 ; python_version > '3' --hash=sha256:{'3' * 64}\n"
)


def parts(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [part for part in document["components"] if part["type"] == kind]


def values(part: dict[str, Any]) -> list[str]:
    return [item["value"] for item in part["properties"]]


def test_a_document_names_the_tool_its_image_and_the_hash_of_every_file() -> None:
    document = make(TOOL, Root(IMAGE, [BASH]), None)
    about = document["metadata"]["component"]
    assert (about["name"], about["version"]) == ("t", "1.2.3")
    assert about["hashes"] == [{"alg": "SHA-384", "content": "0a" * 48}]
    (image,) = parts(document, "container")
    assert image["hashes"] == [{"alg": "SHA-256", "content": "1b" * 32}]
    assert image["components"] == [BASH]
    found = {part["name"]: (part["hashes"][0], values(part)) for part in parts(document, "file")}
    assert found == {
        "/tool/main.py": ({"alg": "SHA-384", "content": "ab" * 48}, ["false"]),
        "/tool/bin/run": ({"alg": "SHA-384", "content": "cd" * 48}, ["true"]),
    }


def test_requirements_are_there_with_the_archives_that_may_be_used() -> None:
    document = make(TOOL, Root(IMAGE, []), REQUIREMENTS)
    found = {part["purl"]: values(part) for part in parts(document, "library")}
    assert found == {
        "pkg:pypi/some-thing@1.0": ["1" * 64, "2" * 64],
        "pkg:pypi/other@2.0": ["3" * 64],
    }


def test_a_node_package_that_is_there_twice_is_listed_twice() -> None:
    integrity = "sha512-" + "A" * 86 + "=="
    entry = {"version": "1.0.0", "integrity": integrity}
    packages = {"node_modules/a": entry, "node_modules/b/node_modules/a": entry}
    lock = json.dumps({"lockfileVersion": 3, "packages": packages})
    found = parts(make(TOOL, Root(IMAGE, []), lock), "library")
    assert [part["purl"] for part in found] == ["pkg:npm/a@1.0.0"] * 2
    assert len({part["bom-ref"] for part in found}) == 2


def test_all_of_it_is_named_once_and_the_tool_depends_on_it() -> None:
    document = make(TOOL, Root(IMAGE, []), REQUIREMENTS)
    named = [part["bom-ref"] for part in document["components"]]
    assert len(set(named)) == len(named) == 5
    assert document["dependencies"] == [{"ref": DIGEST, "dependsOn": named}]


@pytest.mark.parametrize(("cut", "aggregate"), [(True, "incomplete"), (False, "unknown")])
def test_what_is_cut_is_told_and_nothing_is_called_complete(*, cut: bool, aggregate: str) -> None:
    document = make(TOOL, Root("host", [BASH], cut=cut), None)
    assert document["compositions"] == [{"aggregate": aggregate, "assemblies": ["root:host"]}]
    (root,) = parts(document, "operating-system")
    assert "hashes" not in root


def test_malformed_requirements_are_an_error() -> None:
    with pytest.raises(ImageError):
        make(TOOL, Root(IMAGE, []), "other>=2.0\n")


def test_equal_tools_have_equal_documents() -> None:
    root = Root(IMAGE, [BASH])
    assert make(TOOL, root, REQUIREMENTS) == make(TOOL, root, REQUIREMENTS)
