"""How much of the disk a fetching program takes, with what it hides from a look at names.

A file that is unlinked while it is open, mapped, or on its way through a socket has no name and
need not be in any table of descriptors, yet it takes blocks. So it is asked twice: what the names
in the work folder hold, and by how much the file system's free space fell. The second also counts
what others write there meanwhile; it is never taken for less than it is.

Must never follow a link. Standard library only.
"""

from __future__ import annotations

import os

MAX_DEPTH = 64
"""Of folders in it; deeper, paths grow past PATH_MAX and hide what is in them."""
SLACK_BYTES = 256 << 20
SLACK_FILES = 100_000
"""What others may take of the same file system meanwhile, beside the bounds."""


class Disk:
    """One work folder, from before the program starts.

    most_bytes, most_files: what may lie in it, and what its file system may lose meanwhile.
    """

    def __init__(self, folder: str, most_bytes: int, most_files: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._before = os.statvfs(folder)

    def lost(self) -> str:
        """Why the program may not go on, or an empty string: what the file system lost. Cheap."""
        now, before = os.statvfs(self._folder), self._before
        # f_bfree: with the blocks that only root may take, which a service account cannot.
        if (before.f_bfree - now.f_bfree) * before.f_frsize > self._most_bytes + SLACK_BYTES:
            return f"the disk lost more than {self._most_bytes} bytes while it ran"
        if before.f_ffree - now.f_ffree > self._most_files + SLACK_FILES:
            return f"the disk lost more than {self._most_files} files while it ran"
        return ""

    def named(self) -> str:
        """The same of what the names hold; looks at each of them."""
        left, files = self._most_bytes, 0
        folders = [(self._folder, 0)]
        while folders:
            path, depth = folders.pop()
            if depth > MAX_DEPTH:
                return f"it left more than {MAX_DEPTH} folders within each other"
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        files += 1
                        if entry.is_dir(follow_symlinks=False):
                            folders.append((entry.path, depth + 1))
                        else:
                            left -= entry.stat(follow_symlinks=False).st_blocks * 512
                        if files > self._most_files or left < 0:
                            return (
                                f"it left more than {self._most_bytes} bytes or "
                                f"{self._most_files} files"
                            )
            except (FileNotFoundError, NotADirectoryError):  # removed while we look
                continue
            except OSError as error:
                return f"it left a folder that cannot be read: {error.strerror}"
        return ""
