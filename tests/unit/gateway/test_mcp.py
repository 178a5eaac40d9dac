"""The official MCP client lists and calls tools over the Unix socket, in both protocol eras."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from fumehood.gateway.mcp import Gateway
from fumehood.model.outcome import Breach, Usage
from fumehood.model.request import Request
from fumehood.model.result import Enforced, Finding, Result, Timing
from support.gateway import FakeSupervisor, Peer, mcp_transport, registered, result

pytestmark = pytest.mark.anyio

OBJECT = {"type": "object"}


@pytest.fixture(params=["auto", "2026-07-28", "legacy"])
async def mcp(
    gateway: Gateway, path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Client]:
    async with Client(mcp_transport(path), mode=request.param) as client:
        yield client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_server_is_fumehood_and_has_tools_and_nothing_else(
    gateway: Gateway, path: Path, mode: str
) -> None:
    async with Client(mcp_transport(path), mode=mode) as client:
        assert client.server_info is not None
        assert client.server_info.name == "fumehood"
        offered = client.server_capabilities.model_dump(exclude_none=True)
        assert offered == {"tools": {"list_changed": False}}


async def test_tools_are_listed_by_name_with_the_manifests_mcp_fields_only(
    mcp: Client, supervisor: FakeSupervisor
) -> None:
    supervisor.catalog["a"] = registered(
        "a",
        title="The A",
        inputSchema={**OBJECT, "properties": {"x": {"default": None, "type": "string"}}},
        outputSchema={**OBJECT, "required": ["n"]},
        annotations={"readOnlyHint": True},
        limits={"timeout": "3s"},
    )
    listed = await mcp.list_tools()
    assert [tool.name for tool in listed.tools] == ["a", "echo", "wait"]
    assert listed.next_cursor is None
    assert listed.tools[0].model_dump(by_alias=True, exclude_none=True) == {
        "name": "a",
        "title": "The A",
        "description": "The tool a.",
        "inputSchema": {**OBJECT, "properties": {"x": {"default": None, "type": "string"}}},
        "outputSchema": {**OBJECT, "required": ["n"]},
        "annotations": {"readOnlyHint": True},
    }


async def test_a_cursor_nobody_gave_out_is_refused(mcp: Client) -> None:
    with pytest.raises(MCPError) as caught:
        await mcp.list_tools(cursor="x")
    assert caught.value.code == -32602


async def test_a_call_carries_arguments_there_and_the_result_back(
    mcp: Client, supervisor: FakeSupervisor
) -> None:
    arguments = {"big": 2**63, "f": 0.1, "text": "ä", "none": None, "list": [1, {}]}
    answer = await mcp.call_tool("echo", arguments)
    assert answer.is_error is False
    assert answer.structured_content == arguments
    assert json.loads(answer.content[0].text) == arguments
    (request,) = supervisor.requests
    assert request.arguments == arguments
    assert json.loads(request.arguments_json) == arguments
    assert answer.meta["fumehood/result"]["invocation"] == request.invocation
    assert answer.meta["fumehood/result"]["status"] == "ok"


async def test_the_caller_is_who_the_kernel_says(mcp: Client, supervisor: FakeSupervisor) -> None:
    await mcp.call_tool("echo", {})
    caller = supervisor.requests[0].caller
    assert (caller.uid, caller.gid, caller.pid) == (os.getuid(), os.getgid(), os.getpid())


async def test_the_whole_result_stands_beside_the_answer_unchanged(
    mcp: Client, supervisor: FakeSupervisor
) -> None:
    whole: list[Result] = []

    async def full(request: Request) -> Result:
        blocks: tuple[dict[str, Any], ...] = (
            {"type": "text", "text": "out"},
            {
                "type": "resource",
                "resource": {
                    "uri": f"fumehood:///{request.invocation}/out/a%20b.txt",
                    "mimeType": "text/plain",
                    "text": "file",
                },
            },
            {
                "type": "resource",
                "resource": {
                    "uri": f"fumehood:///{request.invocation}/out/c",
                    "mimeType": "application/octet-stream",
                    "blob": "AAAA",
                },
            },
        )
        whole.append(
            result(
                request,
                "tool_error",
                exit_code=3,
                content=blocks,
                structured={"a": None, "b": [None, 2**53 + 1]},
                truncated=True,
                breach=Breach("memory", 100, 200),
                findings=(Finding("rule", "secret", "high", "stdout#/a", "redact", "0a0b0c0d"),),
                usage=Usage(1.5, None, 3, None, 5, 6),
                enforced=Enforced(
                    "bubblewrap", 1, "compute", "none", True, {"pids": 3}, "sha384:0"
                ),
                timing=Timing(1, 2, 3, 4),
                stderr="why",
                message="the tool failed",
            )
        )
        return whole[0]

    supervisor.behaviours["full"] = full
    answer = await mcp.call_tool("full", {})
    assert answer.is_error is True
    assert answer.meta["fumehood/result"] == json.loads(json.dumps(whole[0].to_json()))
    dumped = [block.model_dump(mode="json", exclude_none=True) for block in answer.content]
    assert dumped[1]["resource"]["uri"] == whole[0].content[1]["resource"]["uri"]
    assert dumped[2]["resource"]["blob"] == "AAAA"
    assert answer.structured_content == {"a": None, "b": [None, 2**53 + 1]}


async def test_an_unknown_tool_is_a_protocol_error(mcp: Client, supervisor: FakeSupervisor) -> None:
    with pytest.raises(MCPError) as caught:
        await mcp.call_tool("nope", {})
    assert caught.value.code == -32602
    assert caught.value.data["code"] == "unknown_tool"
    assert not supervisor.requests


async def test_other_refusals_are_results_that_a_model_can_read(
    mcp: Client, supervisor: FakeSupervisor
) -> None:
    async def refuse(request: Request) -> Result:
        return result(request, "rejected", message="/text: 5 is no string (give a string)")

    supervisor.behaviours["picky"] = refuse
    answer = await mcp.call_tool("picky", {"text": 5})
    assert answer.is_error is True
    assert answer.content[0].text == "/text: 5 is no string (give a string)"
    assert answer.meta["fumehood/result"]["status"] == "rejected"


async def test_a_structured_value_that_is_no_object_stays_in_the_whole_result(
    mcp: Client, supervisor: FakeSupervisor
) -> None:
    async def listing(request: Request) -> Result:
        return dataclasses.replace(result(request), structured=[1, 2])

    supervisor.behaviours["listing"] = listing
    answer = await mcp.call_tool("listing", {})
    assert answer.structured_content is None
    assert answer.meta["fumehood/result"]["structured"] == [1, 2]


async def test_cancelling_in_the_client_cancels_the_invocation(
    mcp: Client, supervisor: FakeSupervisor
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(mcp.call_tool, "wait", {})
        await supervisor.until(lambda: len(supervisor.running) == 1)
        group.cancel_scope.cancel()
    await supervisor.until(lambda: len(supervisor.cancelled) == 1)
    assert (await mcp.call_tool("echo", {"x": 1})).structured_content == {"x": 1}


async def test_calls_run_side_by_side(mcp: Client, supervisor: FakeSupervisor) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(mcp.call_tool, "wait", {})
        await supervisor.until(lambda: len(supervisor.running) == 20)
        supervisor.release.set()
    assert supervisor.most_running == 20


async def test_methods_that_do_not_exist_are_refused(client: Peer) -> None:
    await client.request(1, "prompts/list")
    assert (await client.next())["error"]["code"] == -32601
    await client.request(2, "fumehood/nope")
    assert (await client.next())["error"]["code"] == -32601


@pytest.mark.parametrize(
    "params",
    [{}, {"name": 5}, {"name": "echo", "arguments": []}, {"name": "echo", "arguments": "x"}],
)
@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_malformed_calls_are_invalid_params_and_say_which(
    client: Peer, supervisor: FakeSupervisor, params: dict[str, Any], era: str
) -> None:
    if era == "modern":
        await client.request(1, "tools/call", **params)
    else:
        await client.send({"id": 1, "method": "tools/call", "params": params})
    answer = await client.next()
    assert answer["error"]["code"] == -32602
    told = answer["error"]["data"]
    assert told["cause"].startswith('"arguments"' if params.get("name") == "echo" else '"name"')
    assert told["remedy"]
    assert not supervisor.requests


async def test_methods_and_params_that_only_the_sdk_knows_are_refused_with_a_remedy_too(
    client: Peer,
) -> None:
    await client.send({"id": 1, "method": "initialize", "params": {"x": 1}})
    told = (await client.next())["error"]
    assert told["code"] == -32602
    assert "handshake" not in told["data"]["cause"]
    assert told["data"]["remedy"]
    await client.send({"id": 2, "method": "prompts/list"})
    told = (await client.next())["error"]
    assert told["code"] == -32601
    assert told["data"]["remedy"]


async def test_a_call_before_the_handshake_is_refused_and_the_handshake_still_works(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    await client.send({"id": 1, "method": "tools/call", "params": {"name": "echo"}})
    told = (await client.next())["error"]
    assert told["code"] == -32602
    assert told["data"]["cause"] == "nothing is answered before a handshake"
    assert "initialize" in told["data"]["remedy"]
    assert not supervisor.requests


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_every_handshake_version_is_served(client: Peer, version: str) -> None:
    info = {"name": "test", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": info}
    await client.send({"id": 1, "method": "initialize", "params": params})
    answer = (await client.next())["result"]
    assert answer["protocolVersion"] == version
    assert answer["serverInfo"]["name"] == "fumehood"
    await client.send({"method": "notifications/initialized"})
    await client.send({"id": 2, "method": "ping"})
    assert (await client.next())["result"] == {}
    await client.send({"id": 3, "method": "tools/list"})
    assert len((await client.next())["result"]["tools"]) == 2
    await client.send({"id": 4, "method": "tools/call", "params": {"name": "echo"}})
    assert (await client.next())["result"]["isError"] is False
