"""Writes one record of the audit log to stdout in the form that was asked for; must never pass a
record that was changed for what was written."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from fumehood import __version__
from fumehood.cli.present import note, out

if TYPE_CHECKING:
    from fumehood.audit.query import Hit


class Form(enum.StrEnum):
    """How records are exported."""

    ocsf = "ocsf"
    cef = "cef"
    ecs = "ecs"
    jsonl = "jsonl"


def exported(form: Form, hit: Hit, host: str) -> bool:
    """Write a record, on a line; what is wrong with it to stderr. Whether nothing is."""
    from fumehood.audit.ocsf import render
    from fumehood.audit.query import NO_RECORD

    try:
        known = hit.record["event"] != NO_RECORD
        line = render(form.value, hit.record, version=__version__, host=host) if known else ""
    except (KeyError, TypeError, ValueError, AttributeError):
        if hit.sound:
            raise
        line = ""
    if not hit.sound:
        what = "was changed" if line else "is none any more, and left out"
        note("bad", f"record {hit.record['seq']} {what}; see `fumehood audit verify`", "1;31")
    if line:
        out(line + "\n")
    return hit.sound
