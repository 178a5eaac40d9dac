"""Refuses a manifest that could never run here, before anything of it is stored. Pure.

Must never be the only place where a ceiling holds: the planner and the launcher check again,
because ceilings change after registration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from fumehood.errors import ManifestError
from fumehood.model.document import shown
from fumehood.model.faults import nearest
from fumehood.model.limits import above
from fumehood.model.manifest import Manifest
from fumehood.model.plan import TOOL_MOUNT, Ceilings
from fumehood.model.schema import check_schema
from fumehood.model.tree import ToolFile


class Unfit(Protocol):
    """Why an engine can open no sandbox for a tool; key is the manifest's."""

    @property
    def key(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def remedy(self) -> str: ...


def lint(
    manifest: Manifest,
    ceilings: Ceilings,
    *,
    profiles: Collection[str] | None = None,
    engines: Collection[str] | None = None,
    unfit: Callable[[Manifest], Unfit | None] = lambda _: None,
) -> None:
    """Refuse what this installation does not allow.

    Args:
        profiles: names of the seccomp profiles there are; None leaves that to the planner.
        engines: those that run here; None as above.
        unfit: what the tool's engine has against it.

    Raises:
        ManifestError: naming the key and, for a limit, both numbers.
    """
    lint_schemas(manifest)
    if (found := above(manifest.limits.to_plan(), ceilings.limits)) is not None:
        key, cause = found
        raise _error(f"limits.{key}", cause, "lower it, or raise `ceilings` in the configuration")
    root = manifest.run.root
    if root not in ceilings.images and not (ceilings.image_store and root.startswith("sha256:")):
        raise _error(
            "run.image",
            f"there is no image {shown(manifest.run.image)} here",
            nearest(manifest.run.image, ceilings.images),
        )
    engine = manifest.run.engine
    if engines is not None and engine is not None and engine not in engines:
        raise _error(
            "run.engine",
            f"the engine {engine} does not run here",
            f"leave it out, or add {engine} to engines in the configuration",
        )
    if profiles is not None and manifest.seccomp not in profiles:
        raise _error(
            "seccomp",
            f"there is no profile {shown(manifest.seccomp)} here",
            nearest(manifest.seccomp, profiles),
        )
    if (reason := unfit(manifest)) is not None:
        raise _error(reason.key, reason.cause, reason.remedy)


def lint_schemas(manifest: Manifest) -> None:
    """Refuse schemas that are not enforced wholly; raises ManifestError."""
    check_schema(manifest.inputSchema, "inputSchema")
    if manifest.outputSchema is not None:
        check_schema(manifest.outputSchema, "outputSchema")


def lint_files(manifest: Manifest, files: Mapping[str, ToolFile]) -> None:
    """Refuse a manifest that its files do not fit; raises ManifestError."""
    if manifest.run.files is None and files:
        raise _error("run.files", "files came along, but the manifest names none", "add run.files")
    if manifest.run.files is not None and not files:
        raise _error("run.files", "the folder is empty", "put the tool's files there")
    program = manifest.run.command[0]
    if not program.startswith(TOOL_MOUNT + "/"):
        return
    file = files.get(program.removeprefix(TOOL_MOUNT + "/"))
    if file is None:
        raise _error(
            "run.command", f"{shown(program)} is none of the files", "add it, or correct it"
        )
    if not file.executable:
        raise _error("run.command", f"{shown(program)} is not executable", "chmod +x it")


def _error(key: str, cause: str, remedy: str) -> ManifestError:
    return ManifestError(f"{key}: {cause}", remedy, field=key)
