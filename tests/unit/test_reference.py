"""The reference documents name every key, with its true default; no more and no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from fumehood.config import config_schema
from fumehood.kernel.seccomp import load_named
from fumehood.model.manifest import manifest_schema
from fumehood.model.outcome import Status
from fumehood.model.result import Enforced, Result
from fumehood.resources import profile_directory

DOCS = Path(__file__).parents[2] / "docs"
NO_DEFAULT = {"required", "none", "", "`[]`", "`{}`"}


def rows(name: str) -> dict[str, list[str]]:
    """Every table row of a document by the key in its first cell."""
    found = {}
    for line in (DOCS / name).read_text().splitlines():
        if match := re.match(r"\| `([\w.]+)`(?:, `\w+`)* \|(.*)\|$", line):
            found[match[1]] = [cell.strip() for cell in match[2].split("|")]
    return found


def keys(schema: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys of a schema's leaves, with their defaults or None."""
    found = {}
    for name, value in schema["properties"].items():
        target = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2])
        if target and name != "annotations":
            for inner, field in target["properties"].items():
                found[f"{name}.{inner}"] = field.get("default")
        else:
            found[name] = value.get("default")
    return found


@pytest.mark.parametrize(
    ("document", "schema"),
    [("manifest.md", manifest_schema()), ("configuration.md", config_schema())],
    ids=["manifest", "configuration"],
)
def test_every_key_is_documented_with_its_default(document: str, schema: dict[str, Any]) -> None:
    documented, known = rows(document), keys(schema)
    assert set(documented) == set(known)
    for key, default in known.items():
        cell = documented[key][0]
        if cell.startswith("`") and cell not in NO_DEFAULT:
            written = str(default).lower() if isinstance(default, bool) else str(default)
            assert cell.strip("`") == written.replace("'", ""), key


def test_every_key_of_a_result_is_documented() -> None:
    text = (DOCS / "results.md").read_text()
    value = Result(
        "id", "t", "1", "d", "ok", enforced=Enforced("e", 1, "s", "none", True, {}, "p")
    ).to_json()
    for key in {*value, *value["enforced"], *value["usage"], *value["timing"], *value["tool"]}:
        assert f"`{key}`" in text, key


def test_every_status_is_documented() -> None:
    assert set(get_args(Status)) <= set(rows("results.md"))


def test_every_profile_is_documented() -> None:
    shipped = {path.stem for path in profile_directory().glob("*.json")}
    assert shipped <= set(rows("seccomp.md"))
    assert load_named(str(profile_directory()), "compute").digest.startswith("sha384:")
