"""The methods of fumehood/*: beside MCP on the same socket, in either era, before any handshake."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import pytest

from fumehood.model.manifest import load_manifest
from support.gateway import FakeSupervisor, Peer

pytestmark = pytest.mark.anyio

MANIFEST = json.dumps(
    {
        "name": "new",
        "version": "1.0.0",
        "description": "New.",
        "inputSchema": {"type": "object"},
        "run": {"command": ["cat"]},
    }
)


async def ask(client: Peer, method: str, **params: Any) -> dict[str, Any]:
    await client.send({"id": 1, "method": f"fumehood/{method}", "params": params})
    return await client.next()


async def test_a_tool_is_added_shown_and_removed(client: Peer, supervisor: FakeSupervisor) -> None:
    files = {
        "main.py": {"data": base64.b64encode(b"\x00print()").decode(), "executable": True},
        "data/x": {"data": ""},
    }
    added = (await ask(client, "tools/add", manifest=MANIFEST, files=files))["result"]["tool"]
    assert added["manifest"]["name"] == "new"
    assert added["state"] == "active"
    assert supervisor.files["main.py"].data == b"\x00print()"
    assert [f.executable for f in supervisor.files.values()] == [True, False]
    shown = (await ask(client, "tools/show", name="new"))["result"]["tool"]
    assert shown == added
    assert load_manifest(json.dumps(shown["manifest"]), source="x").name == "new"
    removed = (await ask(client, "tools/remove", name="new"))["result"]["tool"]
    assert removed == {**added, "quarantine_kept": []}
    gone = await ask(client, "tools/show", name="new")
    assert gone["error"]["data"]["code"] == "unknown_tool"


async def test_invocations_are_listed_looked_into_and_cancelled(
    client: Peer, supervisor: FakeSupervisor
) -> None:
    await client.call(7, "wait")
    await supervisor.until(lambda: bool(supervisor.running))
    (name,) = supervisor.running
    listed = (await ask(client, "invocations/list"))["result"]
    assert listed["invocations"] == [{"invocation": name}]
    logs = (await ask(client, "invocations/logs", invocation=name))["result"]["logs"]
    assert logs["invocation"] == {"invocation": name}
    stopped = (await ask(client, "invocations/cancel", invocation=name))["result"]["stopped"]
    assert stopped == {"invocation": name, "status": "cancelled"}
    unknown = await ask(client, "invocations/cancel", invocation="x")
    assert unknown["error"]["data"]["code"] == "unknown_invocation"
    assert unknown["error"]["data"]["cause"] == "no such invocation"
    supervisor.release.set()
    assert (await client.next())["id"] == 7


async def test_status_is_told(client: Peer) -> None:
    assert (await ask(client, "status"))["result"]["status"] == {"running": 0}


async def test_a_manifests_fault_names_its_field(client: Peer) -> None:
    answer = await ask(client, "tools/add", manifest=MANIFEST.replace('"name"', '"nmae"'))
    assert answer["error"]["code"] == -32602
    assert answer["error"]["data"]["code"] == "manifest"
    assert answer["error"]["data"]["field"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("status", {"x": 1}),
        ("invocations/list", {"all": True}),
        ("invocations/logs", {}),
        ("invocations/logs", {"invocation": "x" * 65}),
        ("invocations/cancel", {"invocation": 5}),
        ("tools/show", {}),
        ("tools/show", {"name": 5}),
        ("tools/show", {"name": ""}),
        ("tools/show", {"name": "x" * 65}),
        ("tools/show", {"name": "echo", "force": True}),
        ("tools/remove", {"nmae": "echo"}),
        ("tools/add", {}),
        ("tools/add", {"manifest": 5}),
        ("tools/add", {"manifest": "x" * 300_000}),
        ("tools/add", {"manifest": MANIFEST, "files": []}),
        ("tools/add", {"manifest": MANIFEST, "files": {"a": "text"}}),
        ("tools/add", {"manifest": MANIFEST, "files": {"a": {}}}),
        ("tools/add", {"manifest": MANIFEST, "files": {"a": {"data": "%%%"}}}),
        ("tools/add", {"manifest": MANIFEST, "files": {"a": {"data": "ä"}}}),
        ("tools/add", {"manifest": MANIFEST, "files": {"a": {"data": "", "mode": 7}}}),
        ("tools/add", {"manifest": MANIFEST, "files": {"a": {"data": "", "executable": 1}}}),
    ],
)
async def test_params_that_cannot_be_taken(
    client: Peer, supervisor: FakeSupervisor, method: str, params: dict[str, Any]
) -> None:
    answer = await ask(client, method, **params)
    assert answer["error"]["code"] == -32602
    assert len(answer["error"]["message"]) < 300
    assert set(supervisor.catalog) == {"wait", "echo"}
    recorded = ["tool.add_refused"] if method == "tools/add" else []
    assert [event for event, _ in supervisor.attempts] == recorded


async def test_a_method_of_ours_can_be_cancelled(client: Peer, supervisor: FakeSupervisor) -> None:
    entered, left = anyio.Event(), anyio.Event()

    async def slow(*_: Any) -> Any:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()

    supervisor.remove_tool = slow  # type: ignore[method-assign]  # a double within a double
    meta = {"fumehood/answer_cancelled": True}
    await client.request(5, "fumehood/tools/remove", meta=meta, name="echo")
    await entered.wait()
    await client.cancel(5)
    answer = await client.next()
    assert (answer["id"], answer["error"]["data"]["code"]) == (5, "cancelled")
    assert left.is_set()
    await client.request(6, "fumehood/tools/remove", name="echo")
    await client.cancel(6)
    await client.request(7, "fumehood/status")
    assert (await client.next())["id"] == 7  # 6 had not asked to be answered


@pytest.mark.parametrize(
    "name",
    ["00", "007", "\u0660", "\uff11", "1_0", "+1", "-1", " 1", "1\n", "", "4294967295", "9" * 400],
)
async def test_a_caller_that_is_not_written_as_a_uid_is_not_stopped(
    client: Peer, supervisor: FakeSupervisor, name: str
) -> None:
    answer = await ask(client, "stops/add", kind="caller", name=name)
    assert answer["error"]["data"]["code"] == "usage"
    assert "'name' of a caller must be a UID" in answer["error"]["data"]["cause"]
    assert supervisor.response.stops == []


@pytest.mark.parametrize("name", ["0", "10", "4294967294"])
async def test_a_caller_is_stopped_by_its_uid(
    client: Peer, supervisor: FakeSupervisor, name: str
) -> None:
    await ask(client, "stops/add", kind="caller", name=name)
    assert [stop["name"] for stop in supervisor.response.stops] == [name]
