"""Durations, sizes, CPU shares and limits as a person writes them."""

from __future__ import annotations

import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fumehood.model.faults import explain
from fumehood.model.limits import KIB, MIB, CeilingsSpec, LimitsSpec, above
from fumehood.model.plan import Limits
from fumehood.model.units import (
    FieldError,
    format_cpu,
    format_duration,
    format_size,
    parse_cpu,
    parse_duration,
    parse_size,
)
from support.refusals import refused


@given(st.integers(1, 10**9))
def test_durations_and_sizes_survive_being_written(number: int) -> None:
    assert parse_duration(format_duration(min(number, 10**8))) == min(number, 10**8)
    assert parse_size(format_size(number)) == number


@given(st.integers(1, 10**6))
def test_cpu_shares_survive_being_written(millis: int) -> None:
    assert parse_cpu(format_cpu(millis)) == millis


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.binary())
def test_anything_else_is_a_field_error(value: object) -> None:
    for parse in (parse_duration, parse_size, parse_cpu):
        error = refused(FieldError, functools.partial(parse, value))
        assert type(parse(value)) is int if error is None else len(error.cause) < 200


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "0s",
        "-1s",
        "1.5s",
        "10 s",
        "10S",
        "1d",
        "s",
        "\uff110s",
        "9" * 20 + "s",
        "10s\n",
        True,
        10,
        None,
        math.nan,
    ],
)
def test_a_duration_needs_a_whole_number_and_a_unit(text: object) -> None:
    with pytest.raises(FieldError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["128", "128MB", "128M", "0MiB", "-1MiB", "1.5GiB", "1e3MiB", "MiB", True, 128, "128mib"],
)
def test_a_size_needs_a_whole_number_and_a_binary_unit(text: object) -> None:
    with pytest.raises(FieldError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    "value", [True, "1", math.nan, math.inf, -math.inf, None, 10**400, 1e300, 0.0001]
)
def test_a_cpu_share_is_a_plain_number(value: object) -> None:
    with pytest.raises(FieldError, match="cores"):
        parse_cpu(value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("timeout", "1ms", "1ms is below the least allowed, 10ms"),
        ("timeout", "25h", "25h is above the most allowed, 24h"),
        ("cpu", 0, "0.0 is below the least allowed, 0.01"),
        ("cpu", -1, "-1.0 is below the least allowed, 0.01"),
        ("cpu", 2000, "2000.0 is above the most allowed, 1024.0"),
        ("memory", "1MiB", "1MiB is below the least allowed, 4MiB"),
        ("memory", "2TiB", "2TiB is above the most allowed, 1TiB"),
        ("pids", 0, "0 is below the least allowed, 4"),
        ("pids", -1, "-1 is below the least allowed, 4"),
        ("pids", True, "expected a whole number, got true"),
        ("pids", 32.0, "expected a whole number, got 32.0"),
        ("pids", 10**400, "got an integer beyond 64 bits"),
        ("scratch", "1KiB", "1KiB is below the least allowed, 64KiB"),
        ("output", "1B", "1B is below the least allowed, 1KiB"),
        ("output", "0B", "expected a size"),
    ],
)
def test_a_limit_out_of_bounds_names_both_numbers(key: str, value: object, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LimitsSpec.model_validate({key: value})
    fault = explain(LimitsSpec, caught.value)
    assert fault.path == (key,)
    assert says in fault.cause


def test_limits_become_the_integers_of_a_plan() -> None:
    spec = LimitsSpec.model_validate(
        {
            "timeout": "1m",
            "cpu": 0.5,
            "memory": "1GiB",
            "pids": 8,
            "scratch": "1MiB",
            "output": "2KiB",
        }
    )
    assert spec.to_plan() == Limits(60_000, 500, 1 << 30, 8, MIB, 256, 2 * KIB)


@pytest.mark.parametrize(
    ("scratch", "inodes"), [("64KiB", 64), ("1MiB", 256), ("256MiB", 65_536), ("64GiB", 65_536)]
)
def test_scratch_inodes_are_derived_within_bounds(scratch: str, inodes: int) -> None:
    assert LimitsSpec.model_validate({"scratch": scratch}).to_plan().scratch_inodes == inodes


def test_defaults_stay_below_the_default_ceilings() -> None:
    assert above(LimitsSpec().to_plan(), CeilingsSpec().to_plan()) is None


def test_above_a_ceiling_both_numbers_are_named() -> None:
    asked = LimitsSpec.model_validate({"memory": "4GiB"}).to_plan()
    assert above(asked, CeilingsSpec().to_plan()) == (
        "memory",
        "4GiB is above this installation's ceiling of 2GiB",
    )


@given(st.integers(10, 24 * 3_600_000), st.integers(10, 24 * 3_600_000))
def test_above_is_exactly_above(asked: int, most: int) -> None:
    limits = [LimitsSpec.model_validate({"timeout": f"{n}ms"}).to_plan() for n in (asked, most)]
    assert (above(*limits) is not None) == (asked > most)
