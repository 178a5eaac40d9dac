"""The reference documents name every key, with its true default; no more and no less."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from fumehood.config import config_schema
from fumehood.kernel.seccomp import load_named
from fumehood.model.manifest import manifest_schema
from fumehood.model.outcome import Breach, Status, SyscallCount, Syscalls
from fumehood.model.result import Enforced, Finding, Recorded, Result
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


RESULT = {
    "": "invocation tool status exit_code signal content structured truncated breach findings "
    "usage enforced syscalls timing stderr message retry_after record marking",
    "tool": "name version digest",
    "usage": "wall_seconds cpu_seconds memory_peak_bytes pids_peak stdout_bytes stderr_bytes "
    "stdin_bytes user_seconds system_seconds throttled_seconds oom_kills scratch_bytes "
    "scratch_inodes context_switches held_seconds",
    "enforced": "engine runtime uid seccomp network capabilities no_new_privs limits plan "
    "not_enforced",
    "syscalls": "seen others kills_visible denials_visible complete reason",
    "timing": "queued_ms started_ms ran_ms scanned_ms ahead_ms",
    "record": "seq digest",
}
"""What callers rely on, written down a third time: a key that goes, or gets another name, breaks
them, and is not made good by changing code and document together."""
ELEMENTS = {
    Breach: "control limit observed detail",
    Finding: "rule kind severity place action fingerprint message confidence decoded",
    SyscallCount: "syscall architecture action count",
}


def shape(result: dict[str, Any]) -> dict[str, set[str]]:
    inner = {key: set(result[key]) for key in RESULT if key}
    return {"": set(result), **inner}


def test_a_result_has_these_keys_and_no_others() -> None:
    value = Result(
        "id", "t", "1", "d", "ok",
        enforced=Enforced("e", 1, "s", "none", True, {}, "p"),
        syscalls=Syscalls(),
        record=Recorded(1, "d"),
    ).to_json()  # fmt: skip
    assert shape(value) == {name: set(keys.split()) for name, keys in RESULT.items()}
    for kind, keys in ELEMENTS.items():
        assert {field.name for field in fields(kind)} == set(keys.split())


def test_the_example_of_a_result_has_every_key_and_all_are_explained() -> None:
    text = (DOCS / "results.md").read_text()
    example, _, explained = text.partition("## Keys")
    block = json.loads(example.partition("```json")[2].partition("```")[0])
    wanted = {name: set(keys.split()) for name, keys in RESULT.items()}
    assert shape(block) == wanted
    for key in set().union(*wanted.values()):
        assert f"`{key}`" in explained, key


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
