"""The image `base`, really built from Debian's packages, once for a whole run of tests."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from fumehood.images import build, recipe
from fumehood.images.store import Image, ImageStore

RECIPES = Path(__file__).parents[2] / "images"


@functools.cache
def base_store() -> ImageStore:
    """A store with `base` in it. Tests may add to it and must leave `base` alone."""
    place = Path(tempfile.mkdtemp(prefix="fh-images-", dir="/tmp"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    store = ImageStore(place / "images")
    build_base(store, "base")
    return store


@functools.cache
def python_image() -> Image:
    """`python` in the same store."""
    return _built(base_store(), "python", "python")


def build_base(store: ImageStore, name: str) -> Image:
    """Build it as `fumehood image build images/base` does."""
    return _built(store, "base", name)


def _built(store: ImageStore, which: str, name: str) -> Image:
    wanted = recipe.load(RECIPES / which)
    return store.add(
        lambda place: build.build(wanted, place, lambda _: None), name, source="built for tests"
    )
