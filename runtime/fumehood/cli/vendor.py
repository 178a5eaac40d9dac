"""Copies `fumehood/tool.py` beside a tool. Must never replace what somebody else wrote unasked."""

from __future__ import annotations

from pathlib import Path

import fumehood
from fumehood.errors import UsageError

SOURCE = Path(fumehood.__file__).with_name("tool.py")


def helper(folder: Path, *, force: bool = False) -> tuple[Path, bool]:
    """Put the helper into `folder`; where it is, and whether it was written just now.

    In a directory without `__init__.py`, so that an installed Fumehood wins where there is one.

    Raises:
        UsageError: there is no such folder, or a file that differs and `force` is not given.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give the folder that holds the tool's files")
    target = folder / "fumehood" / "tool.py"
    wanted = SOURCE.read_bytes()
    try:
        if target.is_symlink():
            raise UsageError(f"{target} is a link", "remove it")
        if target.exists():
            if target.read_bytes() == wanted:
                return target, False
            if not force:
                raise UsageError(f"{target} differs from this version's", "replace it with --force")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(wanted)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", "name another folder"
        ) from error
    return target, True
