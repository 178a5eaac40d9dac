"""A trace goes through a call: from `_meta` into spans, to a tool that asks, into the result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.collector import Collector, attributes
from support.hood import Hood
from support.hood import hood as start

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"
ECHO = "import sys; sys.stdout.write(sys.stdin.read())"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[Hood]:
    with start(config={"telemetry": {"to": collector.address, "interval": "1s"}}) as found:
        command = ["/usr/bin/python3", "-c", ECHO]
        found.register(None, "asks", command=command, run={"trace": True})
        found.register(None, "plain", command=command)
        yield found


def answer(hood: Hood, tool: str, traceparent: str | None) -> dict[str, Any]:
    """The whole `CallToolResult`."""
    meta = {} if traceparent is None else {"_meta": {"traceparent": traceparent}}
    params = {"name": tool, "arguments": {"word": "private-7f3a"}, **meta}
    with hood.client() as client:
        return dict(client._request("tools/call", params, timeout=60))


def text(told: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(told["content"][0]["text"]))


def test_a_call_is_a_trace_of_its_steps(traced: Hood, collector: Collector) -> None:
    told = answer(traced, "asks", GIVEN)
    invocation = told["_meta"]["fumehood/result"]["invocation"]
    own = invocation.replace("-", "")[16:]
    assert told["_meta"]["traceparent"] == f"00-{TRACE}-{own}-01"
    assert text(told) == {
        "word": "private-7f3a", "_meta": {"traceparent": f"00-{TRACE}-{own}-01"},
    }  # fmt: skip

    def mine() -> list[Any]:
        return [span for span in collector.spans if span.trace_id.hex() == TRACE]

    collector.until(lambda: len(mine()) >= 7, "its spans arrive")
    whole, *steps = mine()
    assert (whole.parent_span_id.hex(), whole.span_id.hex()) == (PARENT, own)
    assert attributes(whole)["fumehood.invocation"] == invocation
    assert [step.name for step in steps] == ["admission", "queue", "open", "run", "scan", "audit"]
    assert all(step.parent_span_id == whole.span_id for step in steps)
    collector.until(
        lambda: (
            "fumehood_invocations" in collector.metrics
            and "fumehood_step_seconds" in collector.metrics
        ),
        "metrics arrive",
    )
    assert not any(b"private-7f3a" in body for body in collector.bodies)
    shown = json.loads(traced.cli("audit", "show", invocation, "--json", check=True).stdout)
    assert shown[-1]["trace"] == TRACE


def test_a_tool_that_does_not_ask_is_told_nothing(traced: Hood) -> None:
    told = answer(traced, "plain", GIVEN)
    assert text(told) == {"word": "private-7f3a"}
    assert told["_meta"]["traceparent"].startswith(f"00-{TRACE}-")


def test_a_call_without_a_trace_begins_one_that_its_invocation_names(
    traced: Hood, collector: Collector
) -> None:
    told = answer(traced, "plain", None)
    trace = told["_meta"]["fumehood/result"]["invocation"].replace("-", "")
    assert told["_meta"]["traceparent"].split("-")[1] == trace
    collector.until(
        lambda: any(span.trace_id.hex() == trace for span in collector.spans), "it arrives"
    )


def test_without_telemetry_a_trace_is_passed_on_as_it_came(hood: Hood) -> None:
    hood.register(None, "asks", command=["/usr/bin/python3", "-c", ECHO], run={"trace": True})
    told = answer(hood, "asks", GIVEN)
    assert told["_meta"]["traceparent"] == GIVEN
    assert text(told)["_meta"] == {"traceparent": GIVEN}
    assert "traceparent" not in answer(hood, "asks", None)["_meta"]
    assert "traceparent" not in answer(hood, "asks", "garbage")["_meta"]
