"""What a new version of a tool changes, for whoever reviews it. Pure.

A tool that was reviewed once must not become another one under the same name: what models read,
what rules go by and what the sandbox allows needs a new look.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fumehood.catalog.trees import HOW, Listing, differences
from fumehood.model.manifest import Manifest

Kind = Literal["told", "permission", "run", "files"]
TOLD: Final = (
    "title", "description", "inputSchema", "outputSchema", "annotations", "labels",
)  # fmt: skip
"""What models read and rules go by."""
WIDER_IF_OTHER: Final = ("seccomp", "network")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. review: whether it needs approval again, and why in a word."""

    kind: Kind
    key: str
    old: str
    new: str
    review: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "key": self.key, "old": self.old, "new": self.new,
            "review": self.review,
        }  # fmt: skip


def compare(
    old: Manifest, new: Manifest, old_files: Listing | None, new_files: Listing | None
) -> list[Change]:
    """Everything that differs, what needs a new look first."""
    one, two = old.model_dump(mode="json"), new.model_dump(mode="json")
    changes = [
        Change("told", key, _shown(one[key]), _shown(two[key]), f"{key} changed")
        for key in TOLD
        if one[key] != two[key]
    ]
    changes += _limits(old, new)
    changes += [
        Change("permission", key, str(one[key]), str(two[key]), f"{key} changed")
        for key in WIDER_IF_OTHER
        if one[key] != two[key]
    ]
    known = {*TOLD, *WIDER_IF_OTHER, "name", "version", "limits", "run"}
    changes += [
        Change("permission", key, _shown(one[key]), _shown(two[key]), f"{key} changed")
        for key in two
        if key not in known and one.get(key) != two[key]
    ]
    changes += _run(one["run"], two["run"])
    changes += of_files(differences(old_files or {}, new_files or {}))
    return sorted(changes, key=lambda change: not change.review)


def of_files(words: Sequence[str]) -> list[Change]:
    """What `trees.differences` says, or why files cannot be compared."""
    split = [word.partition(" ") for word in words]
    return [
        Change("files", path, "", how)
        if how in HOW
        else Change("files", f"{how} {path}", "", "", "files cannot be compared")
        for how, _, path in split
    ]


def reasons(changes: Sequence[Change]) -> tuple[str, ...]:
    """Why the new version needs approval again; empty when it does not."""
    return tuple(change.review for change in changes if change.review)


def _limits(old: Manifest, new: Manifest) -> list[Change]:
    before, after = old.limits.to_plan(), new.limits.to_plan()
    shown = old.limits.model_dump(mode="json"), new.limits.model_dump(mode="json")
    changes = []
    if before != after:
        for key in shown[1]:
            if shown[0].get(key) != shown[1][key]:
                wider = _is_wider(old, new, key)
                review = f"limits.{key} is wider" if wider else ""
                one, two = str(shown[0].get(key)), str(shown[1][key])
                changes.append(Change("permission", f"limits.{key}", one, two, review))
    return changes


def _is_wider(old: Manifest, new: Manifest, key: str) -> bool:
    one, two = getattr(old.limits, key), getattr(new.limits, key)
    if two is None or one is None:  # no limit of its own is the widest
        return one is not None
    return bool(two > one)


def _run(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return [
        # Another engine or runtime enforces other things; on the host's /usr there is most to use.
        Change("run", f"run.{key}", _shown(old.get(key)), _shown(new[key]), _run_review(key, new))
        for key in new
        if old.get(key) != new[key]
    ]


def _run_review(key: str, new: dict[str, Any]) -> str:
    if key in ("engine", "runtime") or (key == "image" and new[key] == "host"):
        return f"run.{key} changed"
    if key == "warm" and new[key] == "started":  # its code runs before, and without, any call
        return "run.warm is started"
    if key == "trace" and new[key]:  # it is told the ids of its callers' traces
        return "run.trace is asked for"
    return ""


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
