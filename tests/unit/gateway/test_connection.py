"""What hostile, clumsy and slow peers of the real socket get, and that others never notice."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from fumehood.errors import AuditError, EngineError, FumehoodError
from fumehood.gateway.bounds import Bounds, Shares
from fumehood.gateway.connection import ANSWER_CANCELLED, Connection
from fumehood.gateway.mcp import Gateway
from fumehood.model.request import Caller, Request
from fumehood.model.result import Result
from support.gateway import MODERN, FakeSupervisor, Peer, peer, raising, result, serving

pytestmark = pytest.mark.anyio

Send = Callable[[Peer], Awaitable[None]]


def with_bounds(**bounds: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bounds", [Bounds(**bounds)])


async def answers(client: Peer, request_id: int | str = 99) -> dict[str, Any]:
    """That the connection still serves: the answer to one more call."""
    await client.call(request_id, "echo", still="here")
    message = await client.next()
    assert message["id"] == request_id, message
    assert message["result"]["structuredContent"] == {"still": "here"}
    return message


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", -32700),
        (b"garbage", -32700),
        (b"\x00\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"', -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1e999}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}', -32700),
        (b'{"jsonrpc":"2.0","id":' + b"1" * 5000 + b',"method":"ping"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 90_000, -32700),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":5,"result":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
    ],
)
async def test_a_bad_frame_gets_one_error_and_the_connection_goes_on(
    client: Peer, frame: bytes, code: int
) -> None:
    await client.send(frame + b"\n")
    refusal = await client.next()
    assert refusal["error"]["code"] == code
    assert refusal["id"] is None
    await answers(client)


async def test_a_refusal_keeps_the_requests_id_when_it_has_one(client: Peer) -> None:
    await client.send(b'{"jsonrpc":"2.0","id":"mine","method":7}\n')
    assert (await client.next())["id"] == "mine"


async def test_many_bad_frames_at_once_get_one_error_each_in_order(client: Peer) -> None:
    await client.send(b"x\n" * 200 + b"[]\n" * 200)
    codes = [(await client.next())["error"]["code"] for _ in range(400)]
    assert codes == [-32700] * 200 + [-32600] * 200
    await answers(client)


async def test_a_flood_of_bad_frames_leaves_the_loop_to_others() -> None:
    ours, theirs = socket.socketpair()
    frames = 1000
    theirs.send(b"x\n" * frames)
    theirs.shutdown(socket.SHUT_WR)
    caller = Caller(uid=1, gid=1, pid=1, name="test")
    connection = Connection(
        ours, caller, route=lambda _: None, bounds=Bounds(), held=Shares(10**6, 10**6)
    )
    turns_of_others = 0

    async def others() -> None:
        nonlocal turns_of_others
        while True:
            await anyio.lowlevel.checkpoint()
            turns_of_others += 1

    async def protocol(connection: Connection) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(others)
            assert await connection.next() is None
            group.cancel_scope.cancel()

    with theirs:
        await connection.run(protocol)
    assert turns_of_others >= frames


@with_bounds(frame_bytes=2000)
async def test_an_endless_frame_gets_an_error_and_the_end(client: Peer) -> None:
    await client.send(b"x" * 100_000)
    refusal = await client.next()
    assert refusal["error"]["code"] == -32600
    assert "2000 bytes" in refusal["error"]["message"]
    assert await client.ended()


async def test_a_truncated_frame_gets_an_error_and_the_end(client: Peer) -> None:
    await client.send(b'{"jsonrpc":"2.0","id":1')
    await client.stream.send_eof()
    assert "inside a frame" in (await client.next())["error"]["message"]
    assert await client.ended()


@with_bounds(frame_seconds=0.05)
async def test_one_byte_a_minute_is_timed_out_in_the_middle_of_a_frame(client: Peer) -> None:
    await answers(client)
    await client.send(b"{")
    assert "not complete within" in (await client.next())["error"]["message"]
    assert await client.ended()


async def test_an_argument_of_megabytes_arrives_whole(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    text = "ä\n" * 500_000
    await client.call(1, "echo", text=text)
    assert (await client.next())["result"]["structuredContent"] == {"text": text}
    assert json.loads(supervisor.requests[0].arguments_json) == {"text": text}


async def test_arguments_are_encoded_anew_and_numbers_survive(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    await client.send(
        b'{"jsonrpc":"2.0", "id":1, "method":"tools/call", "params":{"name":"echo",'
        b'"arguments":{ "big" : 18446744073709551615, "small":-9223372036854775808,'
        b'"f":0.10, "e":1e2, "text":"\\u00e4\\/", "n":null },"_meta":'
        + json.dumps(MODERN).encode()
        + b"}}\n"
    )
    answer = await client.next()
    assert (
        supervisor.requests[0].arguments_json
        == (
            '{"big":18446744073709551615,"small":-9223372036854775808,'
            '"f":0.1,"e":100.0,"text":"ä/","n":null}'
        ).encode()
    )
    assert answer["result"]["structuredContent"]["big"] == 2**64 - 1
    assert answer["result"]["structuredContent"]["small"] == -(2**63)


@pytest.mark.parametrize("arguments", [{}, None])
async def test_a_call_without_arguments_has_an_empty_object(
    client: Peer, supervisor: FakeSupervisor, arguments: object
) -> None:
    params: dict[str, Any] = {"name": "echo"} if arguments is None else {
        "name": "echo", "arguments": arguments,
    }  # fmt: skip
    await client.request(1, "tools/call", **params)
    assert "result" in await client.next()
    assert supervisor.requests[0].arguments_json == b"{}"


async def test_a_live_id_is_refused_and_free_again_after_its_answer(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    await client.call(7, "wait")
    await supervisor.until(lambda: len(supervisor.running) == 1)
    for taken in (7, "7"):
        await client.call(taken, "echo")
        refusal = await client.next()
        assert refusal["id"] is None  # an answer under the id would end the request that has it
        assert "new id" in refusal["error"]["message"]
    supervisor.release.set()
    assert (await client.next())["id"] == 7
    await answers(client, 7)
    assert [r.tool for r in supervisor.requests] == ["wait", "echo"]


@with_bounds(in_flight=5)
async def test_pipelined_calls_start_no_more_handlers_than_the_cap(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    for request_id in range(300):
        await client.call(request_id, "wait")
    refused = [await client.next() for _ in range(295)]
    assert {message["id"] for message in refused} == set(range(5, 300))
    assert {message["error"]["data"]["code"] for message in refused} == {"over_quota"}
    supervisor.release.set()
    assert {(await client.next())["id"] for _ in range(5)} == set(range(5))
    assert supervisor.most_running == 5
    await answers(client)


@with_bounds(in_flight=2)
async def test_cancellation_is_not_held_up_by_the_calls_it_is_to_stop(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    await client.call(1, "wait")
    await client.call(2, "wait")
    await supervisor.until(lambda: len(supervisor.running) == 2)
    await client.cancel(1)
    await supervisor.until(lambda: len(supervisor.cancelled) == 1)
    assert supervisor.cancelled == [supervisor.requests[0].invocation]
    await answers(client)  # by the freed place; the cancelled call itself is not answered
    supervisor.release.set()
    assert (await client.next())["id"] == 2


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_cancelled_call_is_answered_for_who_asks_for_it(
    client: Peer, supervisor: FakeSupervisor, era: str
) -> None:
    params: dict[str, Any] = {"name": "wait", "_meta": {ANSWER_CANCELLED: True}}
    if era == "modern":
        params["_meta"].update(MODERN)
    else:
        await shake_hands(client)
    await client.send({"id": "c", "method": "tools/call", "params": params})
    await supervisor.until(lambda: len(supervisor.running) == 1)
    await client.cancel("c")
    answer = await client.next()
    assert (answer["id"], answer["error"]["code"]) == ("c", -32800)
    assert not supervisor.running, "answered only when nothing of it runs"
    assert len(supervisor.cancelled) == 1


@pytest.mark.parametrize("method", ["tools/call", "fumehood/tools/remove"])
async def test_a_cancellation_by_the_supervisor_ends_that_request_only(
    client: Peer, supervisor: FakeSupervisor, method: str
) -> None:
    supervisor.behaviours["stopped"] = raising(asyncio.CancelledError())
    supervisor.remove_tool = raising(asyncio.CancelledError())  # type: ignore[assignment,method-assign]  # a double
    await client.call(1, "wait")
    await supervisor.until(lambda: len(supervisor.running) == 1)
    await client.request(2, method, name="stopped")
    answer = await client.next()
    assert (answer["id"], answer["error"]["data"]["code"]) == (2, "cancelled")
    supervisor.release.set()
    assert "result" in await client.next()


@pytest.mark.parametrize("target", [99, "1", None, True, 1.5, [], {}])
async def test_cancelling_what_is_not_live_does_nothing(client: Peer, target: Any) -> None:
    await answers(client, 1)
    await client.send({"method": "notifications/cancelled", "params": {"requestId": target}})
    await answers(client, 2)


async def test_notifications_are_never_answered(client: Peer) -> None:
    for method in ("notifications/unknown", "notifications/progress", "tools/call", "x"):
        await client.send({"method": method})
        await client.send({"method": method, "params": {"progressToken": 1, "progress": "x"}})
    await answers(client)


async def test_leaving_cancels_what_runs(path: Path, supervisor: FakeSupervisor) -> None:
    async with serving(supervisor, path) as gateway:
        async with peer(path) as client:
            for request_id in range(3):
                await client.call(request_id, "wait")
            await client.request(3, "fumehood/status")
            await supervisor.until(lambda: len(supervisor.running) == 3)
        await supervisor.until(lambda: not supervisor.running)
        assert len(supervisor.cancelled) == 3
        async with peer(path) as client:
            await answers(client)
    assert gateway.held.taken == 0


async def test_stopping_the_gateway_cancels_what_runs_and_says_so(
    path: Path, supervisor: FakeSupervisor
) -> None:
    async with serving(supervisor, path), anyio.create_task_group() as group:
        stream = await anyio.connect_unix(path)
        client = Peer(stream)
        await client.call(1, "wait")
        await supervisor.until(lambda: len(supervisor.running) == 1)
        group.cancel_scope.cancel()
    assert len(supervisor.cancelled) == 1
    async with stream:
        assert (await client.next())["error"]["message"] == "Connection closed"
        assert await client.ended()


def filling(supervisor: FakeSupervisor, size: int) -> None:
    async def flood(request: Request) -> Result:
        return result(request, content=({"type": "text", "text": "x" * size},))

    supervisor.behaviours["flood"] = flood


@with_bounds(unsent_bytes=100_000, unsent_seconds=0.2)
async def test_who_never_reads_answers_is_given_up(
    client: Peer, supervisor: FakeSupervisor, path: Path
) -> None:
    filling(supervisor, 1_000_000)
    await client.call(0, "wait")
    for request_id in range(1, 5):
        await client.call(request_id, "flood")
    await supervisor.until(lambda: len(supervisor.cancelled) == 1)  # the peer is gone for us
    async with peer(path) as other:
        await answers(other)


@with_bounds(unsent_bytes=100_000)
async def test_refusals_that_nobody_reads_end_the_connection(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    await client.call(0, "wait")
    await supervisor.until(lambda: len(supervisor.running) == 1)
    with anyio.fail_after(20), contextlib.suppress(anyio.BrokenResourceError):
        while True:
            await client.send(b"x\n" * 10_000)
    await supervisor.until(lambda: not supervisor.running)


@with_bounds(unsent_bytes=100_000)
async def test_a_slow_reader_gets_every_answer_whole(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    filling(supervisor, 1_000_000)
    for request_id in range(20):
        await client.call(request_id, "flood")
    await supervisor.until(lambda: len(supervisor.requests) == 20)
    seen = set()
    for _ in range(20):
        message = await client.next()
        assert len(message["result"]["content"][0]["text"]) == 1_000_000
        seen.add(message["id"])
    assert seen == set(range(20))


@with_bounds(held_bytes=100_000, held_bytes_per_uid=50_000)
async def test_callers_hold_a_bounded_share_of_memory(
    client: Peer, supervisor: FakeSupervisor, path: Path
) -> None:
    await client.call(1, "wait", text="x" * 40_000)
    await supervisor.until(lambda: len(supervisor.running) == 1)
    async with peer(path) as other:
        await other.call(2, "echo", text="x" * 8_000)
        assert "result" in await other.next()
        await other.call(3, "echo", text="x" * 20_000)
        assert (await other.next())["error"]["data"]["code"] == "over_quota"
    supervisor.release.set()
    assert "result" in await client.next()
    await client.call(4, "echo", text="x" * 40_000)
    assert "result" in await client.next()


SECRET = "/var/lib/fumehood/SECRET"


@pytest.mark.parametrize("era", ["modern", "handshake"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(SECRET),
        KeyError(SECRET),
        TimeoutError(SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        FumehoodError(SECRET, SECRET, detail=SECRET),
        AuditError(SECRET, SECRET, detail=SECRET),
        EngineError("the seccomp profile", detail=SECRET, control="seccomp"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_the_text_of_an_exception_never_leaves(
    client: Peer, supervisor: FakeSupervisor, error: Exception, era: str
) -> None:
    supervisor.behaviours["bad"] = raising(error)
    meta = MODERN if era == "modern" else {}
    if era == "handshake":
        await shake_hands(client)
    await client.send({"id": 1, "method": "tools/call", "params": {"name": "bad", "_meta": meta}})
    answer = await client.next()
    assert answer["error"]["code"] == -32603
    assert "SECRET" not in json.dumps(answer)


@pytest.mark.parametrize("era", ["modern", "handshake"])
@pytest.mark.parametrize(
    "fields",
    [
        {"structured": {"x": "\ud800"}},
        {"content": ({"type": "text", "text": "\ud800 SECRET"},)},
        {"content": (object(),)},
    ],
)
async def test_an_answer_that_cannot_be_sent_becomes_an_internal_error(
    client: Peer, supervisor: FakeSupervisor, fields: Any, era: str
) -> None:
    async def bad(request: Request) -> Result:
        return dataclasses.replace(result(request), **fields)

    supervisor.behaviours["bad"] = bad
    meta = MODERN if era == "modern" else {}
    if era == "handshake":
        await shake_hands(client)
    await client.send({"id": 1, "method": "tools/call", "params": {"name": "bad", "_meta": meta}})
    answer = await client.next()
    assert answer["error"]["code"] == -32603
    assert "SECRET" not in json.dumps(answer)
    await client.send({"id": 2, "method": "tools/call", "params": {"name": "echo", "_meta": meta}})
    assert "result" in await client.next()


@with_bounds(connections=3, connections_per_uid=2)
async def test_connections_are_capped_and_the_one_too_many_is_told(
    gateway: Gateway, path: Path
) -> None:
    async with peer(path) as one, peer(path) as two:
        await answers(one)
        await answers(two)
        async with peer(path) as three:
            refusal = await three.next()
            assert (refusal["id"], refusal["error"]["data"]["code"]) == (None, "over_quota")
            assert await three.ended()
        await one.stream.aclose()
        await answers(two, 2)
        async with peer(path) as again:
            await answers(again)


async def test_who_may_not_connect_is_told_and_closed(
    path: Path, supervisor: FakeSupervisor
) -> None:
    seen = []

    def nobody(caller: Any) -> bool:
        seen.append(caller)
        return False

    async with serving(supervisor, path, may_connect=nobody), peer(path) as client:
        assert (await client.next())["error"]["data"]["code"] == "unauthorized"
        assert await client.ended()
    assert len(seen) == 1
    assert [event for event, _ in supervisor.attempts] == ["connection.refused"]


async def test_a_burst_that_ends_at_once_leaves_nothing(
    path: Path, supervisor: FakeSupervisor
) -> None:
    async with serving(supervisor, path) as gateway:
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.send(b'{"jsonrpc":"2.0","id":1,"method":"fumehood/status"}\n{"json')
        async with peer(path) as client:
            await answers(client)
    assert gateway.held.taken == 0


async def shake_hands(client: Peer) -> dict[str, Any]:
    """The handshake era's opening."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    await client.send({"id": 0, "method": "initialize", "params": params})
    answer = await client.next()
    await client.send({"method": "notifications/initialized"})
    return answer
