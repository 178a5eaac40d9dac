"""A store of its own for every test, and a bounded one for bombs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.images.bounds import Bounds
from fumehood.images.store import ImageStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "images"


@pytest.fixture
def store(directory: Path) -> ImageStore:
    return ImageStore(directory)


@pytest.fixture
def small(directory: Path) -> ImageStore:
    bounds = Bounds(
        entries=50, bytes=1 << 20, file_bytes=1 << 19, depth=8, path_bytes=300, layers=4,
        document_bytes=4096, header_bytes=4096, headers_bytes=1 << 16,
    )  # fmt: skip
    return ImageStore(directory, bounds)
