"""Names of images: four forms, and nothing that only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ImageError
from fumehood.images.reference import Reference, parse, parse_name

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("python", Reference("python", "latest", "")),
        ("python:3.11-slim", Reference("python", "3.11-slim", "")),
        (f"python@sha256:{HEX}", Reference("python", "latest", f"sha256:{HEX}")),
        (f"python:3@sha256:{HEX}", Reference("python", "3", f"sha256:{HEX}")),
        (f"sha256:{HEX}", Reference("", "", f"sha256:{HEX}")),
    ],
)
def test_the_forms(text: str, reference: Reference) -> None:
    assert parse(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:x", "Python", "-x", "../x", "a/b", "a:", "a@", "a@sha256:12", "sha256:12",
     f"sha256:{HEX.upper()}", f"@sha256:{HEX}", "a\n", "a b", "ä", "a" * 64, "a:" + "b" * 129],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ImageError):
        parse(text)


@given(st.text(max_size=100))
def test_nothing_crashes_it(text: str) -> None:
    try:
        reference = parse(text)
    except ImageError:
        return
    assert "/" not in reference.name + reference.tag


def test_a_digest_cannot_be_given_as_a_name() -> None:
    with pytest.raises(ImageError, match="cannot be given"):
        parse_name(f"python@sha256:{HEX}")
