"""Where the data files shipped with the package are; it reads none of them and creates nothing.

Standard library only. The seccomp profiles live in `profiles/` at the root of the source
tree; `fumehood/profiles` is a link to it there and a real folder in an installed package.
"""

from __future__ import annotations

from pathlib import Path


def profile_directory() -> Path:
    """The absolute, link-free path of the folder with the shipped seccomp profiles."""
    return (Path(__file__).resolve().parent / "profiles").resolve()
