"""The images that are shipped, really built from Debian's packages, once for a run of tests."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fumehood.images import build, recipe
from fumehood.images.store import Image, ImageStore

RECIPES = Path(__file__).parents[2] / "images"
TWICE = ("python", "node")
"""Built twice to be compared; the packages of `base` are in both."""


@functools.cache
def _store() -> ImageStore:
    place = Path(tempfile.mkdtemp(prefix="fh-images-", dir="/tmp"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    return ImageStore(place / "images")


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3)


@functools.cache
def start(which: str, name: str) -> Future[Image]:
    """Begin to build, as `fumehood image build` does. Builds mostly wait for each other's disk
    and network, so they are begun together where all will be needed."""
    wanted = recipe.load(RECIPES / which)
    return _pool().submit(
        _store().add,
        lambda place: build.build(wanted, place, lambda _: None),
        name,
        source="built for tests",
    )


def begin(*, twice: bool) -> None:
    """Begin what the suite will ask for, so that it waits for none of it. twice: see TWICE."""
    start("base", "base")
    for which in TWICE if twice else ():
        for name in (which, f"{which}-again"):
            start(which, name)


def base_store() -> ImageStore:
    """A store with `base` in it. Tests may add to it and must leave `base` alone."""
    start("base", "base").result()
    return _store()


def python_image() -> Image:
    """`python`, in the same store."""
    return start("python", "python").result()
