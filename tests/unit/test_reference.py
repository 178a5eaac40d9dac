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


ROOT = DOCS.parent
PACKAGE = ROOT / "runtime/fumehood"
NOT_OURS = {"build", "dist", "venv", "__init__.py", "py.typed"}


def listed() -> tuple[set[str], set[str]]:
    """The folders at the top, and what is directly in the package, as architecture.md has them."""
    text = (DOCS / "architecture.md").read_text()
    (block,) = re.findall(r"^## Folders\n```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    top = re.findall(r"^(\w+)/", block, re.MULTILINE)
    inside = re.findall(r"^  ([\w.]+)/? ", block, re.MULTILINE)
    return set(top), set(inside)


def held(folder: Path) -> set[str]:
    """What lies in a folder, without links, hidden names and what was built or left behind."""
    return {
        path.name
        for path in folder.iterdir()
        if path.name[0] != "." and path.name not in NOT_OURS and not path.is_symlink()
        if path.is_file() or any(p.is_file() and p.suffix != ".pyc" for p in path.rglob("*"))
    }


def test_every_folder_and_every_room_is_in_the_house_plan() -> None:
    top, inside = listed()
    assert top == {name for name in held(ROOT) if (ROOT / name).is_dir()}
    assert inside == held(PACKAGE)


def test_every_status_is_documented() -> None:
    assert set(get_args(Status)) <= set(rows("results.md"))


def test_every_profile_is_documented() -> None:
    shipped = {path.stem for path in profile_directory().glob("*.json")}
    assert shipped <= set(rows("seccomp.md"))
    assert load_named(str(profile_directory()), "compute").digest.startswith("sha384:")
