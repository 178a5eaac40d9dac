"""What dead launchers left of their cgroups: found by their locks, killed, and removed.

Standard library only. Must never touch the instance of a launcher that lives.
"""

from __future__ import annotations

import os

from fumehood.kernel import proc
from fumehood.kernel.cgroup import PREFIX, Layout, parent_in_unified, remove_tree
from fumehood.kernel.held import is_held


def sweep(layout: Layout) -> int:
    """Kill and remove what dead launchers left; returns how many instances were removed.

    An instance whose lock is held, or whose process lives, belongs to a living launcher and is
    left alone (the lock speaks for launchers in other PID namespaces); so is one of another
    user, which only root may remove.
    """
    parents = {*layout.v1.values(), *layout.others}
    if unified := parent_in_unified(layout):
        parents.add(unified)
    names = {
        entry.name
        for parent in parents
        for entry in os.scandir(parent)
        if entry.name.startswith(PREFIX) and _may_remove(entry)
    }
    removed = 0
    for name in sorted(names):
        paths = [path for parent in parents if (path := parent / name).is_dir()]
        if not (_owner_lives(name) or any(is_held(path) for path in paths)):
            for path in paths:
                remove_tree(path)
            removed += 1
    return removed


def _may_remove(entry: os.DirEntry[str]) -> bool:
    try:
        owner = entry.stat(follow_symlinks=False).st_uid
        return entry.is_dir(follow_symlinks=False) and os.geteuid() in (0, owner)
    except FileNotFoundError:  # another launcher sweeps as well
        return False


def _owner_lives(name: str) -> bool:
    """Whether the launcher that an instance is named after still runs: it may have made the
    directory and not yet locked it."""
    words = name.removeprefix(PREFIX).split("-")
    if len(words) != 3 or not (words[0].isdigit() and words[1].isdigit()):
        return False
    try:
        return proc.start_time(int(words[0])) == int(words[1])
    except (FileNotFoundError, ProcessLookupError):
        return False
