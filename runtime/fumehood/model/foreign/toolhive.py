"""ToolHive's permission profiles.

Source: "Custom permissions" of ToolHive's documentation and pkg/permissions/profile.go of
stacklok/toolhive. A profile says what a server may reach, nothing of what it is.
"""

from __future__ import annotations

from fumehood.model.foreign.draft import NO_HOST_FILES, NO_NETWORK, Part


def read(part: Part) -> None:
    draft = part.draft
    if (name := part.text("name")) is not None:
        draft.leave(("name",), f"the profile's name, not a tool's: {name[:64]!r}")
    for key in ("read", "write"):
        for number, _ in enumerate(part.texts(key)):
            draft.leave((key, number), NO_HOST_FILES)
    if part.flag("privileged"):
        draft.leave(("privileged",), "no tool has a privilege")
    reaches = False
    network = part.part("network")
    if network is not None:
        for side in ("outbound", "inbound"):
            if (rules := network.part(side)) is not None:
                for key, value in rules.value.items():
                    if value not in (False, [], None):
                        reaches = True
                        draft.leave((*rules.path, key), NO_NETWORK)
        if network.text("mode") not in (None, "none", ""):
            reaches = True
            draft.leave(("network", "mode"), NO_NETWORK)
        network.rest()
    if not reaches:
        draft.set("network", "none", ("network",))
    part.rest()
