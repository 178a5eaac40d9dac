"""Times on the command line: RFC 3339 or how it begins, and nothing else."""

from __future__ import annotations

import pytest

from fumehood.cli.moment import moment
from fumehood.errors import UsageError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026", "2026-01-01T00:00:00.000000Z"),
        ("2026-11", "2026-11-01T00:00:00.000000Z"),
        ("2026-11-27", "2026-11-27T00:00:00.000000Z"),
        ("2026-11-27T09", "2026-11-27T09:00:00.000000Z"),
        ("2026-11-27 09:59", "2026-11-27T09:59:00.000000Z"),
        ("2026-11-27T09:59:07Z", "2026-11-27T09:59:07.000000Z"),
        ("2026-11-27t09:59:07.25z", "2026-11-27T09:59:07.250000Z"),
        ("2026-11-27T09:59:07.123456789", "2026-11-27T09:59:07.123456Z"),
        ("2026-11-27T09:59:00+02:00", "2026-11-27T07:59:00.000000Z"),
        ("2026-11-27T23:59-00:30", "2026-11-28T00:29:00.000000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
    ],
)
def test_a_time_is_where_it_begins_in_utc(text: str, meant: str) -> None:
    assert moment(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "27.11.2026", "2026/01/01", "2026-13", "2026-02-30", "2026-11-2",
        "20261127", "2026-11-27T24", "2026-11-27T09:60", "2026-11-27T09:59:61",
        "2026-11-27T09+02:00", "2026-11-27+02:00", "2026-11-27T09:59:00+24:00",
        "2026-11-27T09:59:00+0200", "2026-11-27 ", "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:60Z", "-2026", "\u0662\u0660\u0662\u0666", "2026-11-27\n",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        moment(text)
