"""What is told of a fetch that failed: which package, and why, in pip's own words."""

from __future__ import annotations

import pytest

from fumehood.cli.fetching import MAX_NAMED, _why

UNPINNED = """\
ERROR: In --require-hashes mode, all requirements must have their versions pinned with ==. \
These do not:
    six from https://example.org/six-1.0-py3-none-any.whl (from lib==1.0->-r a.txt (line 1))

[notice] A new release of pip is available
"""
MISMATCH = """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.
    lib==1.0 from file:///links/lib-1.0-py3-none-any.whl (from -r b.txt (line 1)):
        Expected sha256 aaaa
             Got        5c54

"""
FAULT = """\
ERROR: Exception:
Traceback (most recent call last):
  File "/pip/pip/_internal/cli/base_command.py", line 160, in exc_logging_wrapper
    status = run_func(*args)
pip._vendor.packaging.markers.InvalidMarker: Invalid marker: "nosuch == '1'"
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (UNPINNED, "These do not: six from https://example.org/six-1.0-py3-none-any.whl (from lib"),
        (MISMATCH, "REQUIREMENTS FILE. lib==1.0 from file:///links/lib-1.0-py3-none-any.whl"),
        (MISMATCH, "Expected sha256 aaaa; Got        5c54"),
        (FAULT, "InvalidMarker: Invalid marker: \"nosuch == '1'\""),
        ("ERROR: one\nERROR: No matching distribution found for six==2.0\n", "for six==2.0"),
        ("npm error code E404\n", "npm error code E404"),
        ("", "no message"),
    ],
)
def test_the_package_and_the_reason_are_told(said: str, told: str) -> None:
    assert told in _why(said)
    assert "notice" not in _why(said)


def test_what_is_told_is_bounded_and_fit_for_a_terminal() -> None:
    said = "ERROR: These do not:\n" + "    a\x1b[2J from x\n" * 1000
    assert len(_why(said)) < 600
    assert f"and {1000 - MAX_NAMED} lines more" in _why(said)
    assert _why(said).isprintable()
