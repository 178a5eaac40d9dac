"""Shows a tool's stdout while it runs, and at the end what of the answer was not shown yet.

The answer, scanned as a whole, is what counts: where it differs from what was shown it is said
so, and shown from there on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fumehood.cli.present import note, out_part


class Followed:
    """What was shown of one call."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    def show(self, text: str) -> None:
        """More of stdout."""
        self._shown.append(text)
        out_part(text)
        sys.stdout.flush()

    def explain(self, why: str) -> None:
        """Why there is nothing to show."""
        note("note", why)

    def rest_of(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The result without what was shown of its answer."""
        shown = "".join(self._shown)
        if not shown:
            return dict(result)
        content = [dict(block) for block in result.get("content", ())]
        first = next((block for block in content if block.get("type") == "text"), None)
        if first is None:
            note("warning", f"what was shown is not in the answer ({result.get('status')})", "1;33")
        else:
            first["text"] = _rest(shown, str(first.get("text", "")))
        return {**result, "content": content}


def _rest(shown: str, whole: str) -> str:
    if whole.startswith(shown):
        return whole[len(shown) :]
    ours, theirs = shown.splitlines(keepends=True), whole.splitlines(keepends=True)
    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    note(
        "warning",
        f"scanned as a whole the answer differs from what was shown; here it is from line "
        f"{same + 1} on",
        "1;33",
    )
    return "".join(theirs[same:])
