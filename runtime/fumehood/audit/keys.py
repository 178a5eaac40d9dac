"""What happened to keys, as records: for a daemon that watches its ring, and for `fumehood key`
where none runs. Must never hold a secret.
"""

from __future__ import annotations

from fumehood.audit.opening import STANDING
from fumehood.audit.record import Field
from fumehood.crypto.ring import Entry


def changes(before: dict[str, Entry], after: dict[str, Entry]) -> list[tuple[str, Entry]]:
    """What happened to keys, as events: created, retired (rotated away), revoked."""
    found = [("key.created", entry) for name, entry in after.items() if name not in before]
    for name, entry in after.items():
        old = before.get(name)
        if entry.revoked and (old is None or not old.revoked):
            found.append(("key.revoked", entry))
        elif old is not None and entry.active_until != old.active_until:
            found.append(("key.retired", entry))
    return found


def fields_of(entry: Entry, standing: str) -> dict[str, Field]:
    """standing: of the ring, with the change in it."""
    return {
        "key_id": entry.id,
        "purpose": entry.purpose,
        "algorithm": entry.algorithm,
        "active_until": entry.active_until,
        "verify_until": entry.verify_until,
        STANDING: standing,
    }
