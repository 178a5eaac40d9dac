"""A version on its way in, before anybody agreed to it. Pure.

Must never say anything of what else there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fumehood.catalog.pins import tool_digest
from fumehood.catalog.rows import NO_ACCOUNT, PENDING
from fumehood.model.manifest import Manifest, canonical
from fumehood.model.request import RegisteredTool
from fumehood.model.tree import ToolFile, tree_digest


def as_pending(
    manifest: Manifest,
    files: Mapping[str, ToolFile],
    *,
    by: str,
    notes: Sequence[str],
    signer: str,
) -> RegisteredTool:
    """A version as it is before anybody agreed to it; says nothing of what else there is."""
    tree = tree_digest(files) if files else None
    digest = tool_digest(canonical(manifest), tree)
    return RegisteredTool(
        manifest, digest, tree, NO_ACCOUNT, PENDING, now(), tuple(notes), by, signer
    )


def better(known: str, signer: str) -> str:
    """Of two signers the one that counts: a key that nobody knows takes no publisher's place."""
    return known if not signer or (known and signer.startswith(":")) else signer


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
