"""What confines a fetching program, read back from the kernel before its filter lets it go on.

bubblewrap's init has the mounts, namespaces and descriptors that its child gets. Standard library
and kernel room only.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from fumehood.kernel import proc, rootfs

# What bubblewrap itself still has open, and what the program gets as stdin, stdout and stderr.
_HARMLESS = ("pipe:", "anon_inode:", "/dev/null")
_BWRAPS = "/proc"
"""bubblewrap closes it after it has read its filter, before it executes the program."""
_TMP = "/tmp"  # noqa: S108  (the sandbox's own)


def wrong_mounts(init: int, scratch: str, tmp_bytes: int, tmp_inodes: int) -> list[str]:
    """What can be written that must not, or executed that can be written."""
    table = {mount.target: mount for mount in proc.mounts(init)}
    wrong = []
    for target, mount in table.items():
        writable = "rw" in mount.options and "ro" not in mount.super_options
        if "nosuid" not in mount.options:
            wrong.append(f"{target} honours setuid bits")
        elif writable and target in (scratch, _TMP):
            if not {"noexec", "nodev"} <= mount.options:
                wrong.append(f"{target} is executable")
        elif writable and target != "/proc" and not target.startswith("/dev/"):
            wrong.append(f"{target} is writable")
    missing = {"/", "/proc", _TMP, scratch} - table.keys()
    wrong += [f"{target} is no mount" for target in sorted(missing)]
    if not missing and not rootfs.scratch_bounds(tmp_bytes, tmp_inodes - 3) <= (
        table[_TMP].super_options
    ):
        wrong.append(f"{_TMP} is not bounded")
    return wrong


def wrong_descriptors(init: int) -> list[str]:
    """Descriptors of anything but pipes: a folder of the host's would be a way out."""
    found = []
    for name in os.listdir(f"/proc/{init}/fd"):
        try:
            target = os.readlink(f"/proc/{init}/fd/{name}")
        except FileNotFoundError:  # closed meanwhile
            continue
        if not target.startswith(_HARMLESS) and target != _BWRAPS:
            found.append(f"descriptor {name} is {target}")
    return found


def shared_namespaces(init: int, host: dict[str, str], allowed: Collection[str]) -> list[str]:
    """Namespaces that are the host's and should not be."""
    own = proc.namespaces(init)
    return sorted(name for name in own if own[name] == host[name] and name not in allowed)
