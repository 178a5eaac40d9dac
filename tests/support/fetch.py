"""The real sandbox for pip and npm, as the command line makes it."""

from __future__ import annotations

import shutil
from pathlib import Path

from fumehood.cli.fetching import fetcher
from fumehood.config import Config
from fumehood.images.fetching import Fetch, Fetcher
from support.hood import ACCOUNTS

OWN = {"first": ACCOUNTS["first"] + 200_000, "count": 1}
"""Nobody else's: what is still alive of the account behind it was started here. The same in every
process of a test, which may fetch in one of its own."""


def real() -> Fetcher:
    return fetcher(Config.model_validate({"accounts": OWN}))


def nearby(wanted: Fetch) -> None:
    """In pip's place, where what it would do is not judged: takes every wheel that is there."""
    links = next(Path(source) for source, target in wanted.binds if target == "/links")
    for wheel in links.glob("*.whl"):
        shutil.copy(wheel, wanted.work / "wheels")


def never(wanted: Fetch) -> None:
    """For what must need no program."""
    raise AssertionError(wanted.argv)
