"""A caller hears of its call what it asked for, in frames of its era, and nothing after the end."""

from __future__ import annotations

from typing import Any

import pytest

from fumehood.model.live import Progress, Update
from fumehood.model.request import Request
from fumehood.model.result import Result
from support.gateway import FakeSupervisor, Peer, result

pytestmark = pytest.mark.anyio

UPDATES = (
    Update(Progress(1.0, 2.0, "half"), "one\n"),
    Update(Progress(37.0, None), ""),
    Update(None, "two\n"),
)
PROGRESS = [
    {"progressToken": "t", "progress": 1.0, "total": 2.0, "message": "half"},
    {"progressToken": "t", "progress": 37.0},
]
OUTPUT = [
    {"requestId": 1, "stream": "stdout", "text": "one\n"},
    {"requestId": 1, "stream": "stdout", "text": "two\n"},
]


@pytest.fixture
def telling(supervisor: FakeSupervisor) -> FakeSupervisor:
    """With a tool `tell` that tells whoever listens, as much as it wants."""

    async def tell(request: Request) -> Result:
        listener = supervisor.listeners[request.invocation]
        for update in UPDATES if listener else ():
            assert listener is not None
            await listener.tell(update)
        return result(request)

    supervisor.behaviours["tell"] = tell
    return supervisor


async def heard(client: Peer, meta: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The progress and the output until the answer came."""
    await client.request(1, "tools/call", meta=meta, name="tell", arguments={})
    found: dict[str, list[Any]] = {}
    while "id" not in (message := await client.next()):
        found.setdefault(message["method"], []).append(message["params"])
    assert message["result"]["isError"] is False
    progress = found.pop("notifications/progress", [])
    output = found.pop("notifications/fumehood/output", [])
    assert not found
    return progress, output


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({}, ([], [])),
        ({"progressToken": "t"}, (PROGRESS, [])),
        ({"fumehood/follow": True}, ([], OUTPUT)),
        ({"progressToken": "t", "fumehood/follow": True}, (PROGRESS, OUTPUT)),
        ({"fumehood/follow": "yes"}, ([], [])),
    ],
)
async def test_what_was_asked_for(
    client: Peer, telling: FakeSupervisor, meta: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    assert await heard(client, meta) == expected


@pytest.mark.parametrize("token", [True, 1.5, {"a": 1}, "x" * 129])
async def test_a_token_that_cannot_be_one_is_refused(
    client: Peer, telling: FakeSupervisor, token: object
) -> None:
    meta = {"progressToken": token}
    await client.request(1, "tools/call", meta=meta, name="tell", arguments={})
    answer = await client.next()
    assert answer["id"] == 1
    assert "error" in answer


async def test_a_peer_that_left_is_told_nothing(client: Peer, telling: FakeSupervisor) -> None:
    await client.request(1, "tools/call", meta={"progressToken": 1}, name="wait", arguments={})
    await telling.until(lambda: bool(telling.running))
    (listener,) = telling.listeners.values()
    await client.stream.aclose()
    await telling.until(lambda: not telling.running)
    assert listener is not None
    for update in UPDATES * 100:
        await listener.tell(update)
