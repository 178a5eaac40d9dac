"""Plain requests are answered without the SDK, word for word as the SDK would; the rest is its."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.gateway import lean, mcp
from fumehood.gateway.jsonrpc import Message
from fumehood.gateway.mcp import Gateway
from support.gateway import MODERN, FakeSupervisor, Peer, peer, registered, serving

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
CALL = {"name": "echo", "arguments": {"a": [1, None]}}
ENVELOPED = {**CALL, "_meta": MODERN}


def message(method: str = "tools/call", **params: Any) -> Message:
    return Message(method, 1, params)


class TestWhatIsPlain:
    @pytest.mark.parametrize(
        "plain",
        [
            message(**ENVELOPED),
            message(name="echo", _meta=MODERN),
            message("tools/list", _meta=MODERN),
            message("server/discover", _meta={**MODERN, "progressToken": "t"}),
            message("tools/list", _meta={k: v for k, v in MODERN.items() if "Info" not in k}),
        ],
    )
    def test_in_the_modern_era(self, plain: Message) -> None:
        assert lean.Peer().is_plain(plain)

    @pytest.mark.parametrize(
        "odd",
        [
            message(**CALL),
            message("ping", _meta=MODERN),
            message("initialize", _meta=MODERN),
            message("tools/list", cursor="x", _meta=MODERN),
            message(**ENVELOPED, task={}),
            message(**{**ENVELOPED, "name": 5}),
            message(**{**ENVELOPED, "arguments": []}),
            message(**{**ENVELOPED, "arguments": None}),
            message(**CALL, _meta={**MODERN, lean.VERSION_KEY: "2027-01-01"}),
            message(**CALL, _meta={**MODERN, lean.CAPABILITIES_KEY: []}),
            message(**CALL, _meta={lean.VERSION_KEY: lean.MODERN}),
            message(**CALL, _meta={**MODERN, "io.modelcontextprotocol/clientInfo": {"name": "x"}}),
            message(**CALL, _meta={**MODERN, "io.modelcontextprotocol/clientInfo": None}),
            message(**CALL, _meta={**MODERN, "progressToken": 0.5}),
            message(**CALL, _meta={**MODERN, "progressToken": True}),
            Message("tools/call", None, ENVELOPED),
            Message("tools/call", 1, None),
        ],
    )
    def test_and_what_is_not(self, odd: Message) -> None:
        assert not lean.Peer().is_plain(odd)

    def test_the_handshake_era_only_after_the_handshake_and_without_an_envelope(self) -> None:
        known = lean.Peer()
        assert not known.is_plain(message("initialize"))
        assert not known.is_plain(message(**CALL))
        known.handshaken = True
        assert known.is_plain(message(**CALL))
        assert known.is_plain(message(**CALL, _meta={"progressToken": 1}))
        assert not known.is_plain(message(**ENVELOPED))
        assert not known.is_plain(message("tools/list"))

    def test_the_first_request_decides_the_era(self) -> None:
        known = lean.Peer()
        assert known.is_plain(message(**ENVELOPED))
        known.handshaken = True
        assert not known.is_plain(message(**CALL))


REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("server/discover", {}),
    ("tools/list", {}),
    ("tools/call", CALL),
    ("tools/call", {"name": "echo"}),
    ("tools/call", {"name": "nope"}),
)


def never(*_: object) -> bool:
    return False


@contextlib.asynccontextmanager
async def talking(folder: Path, speaker: str) -> AsyncIterator[tuple[Gateway, Peer]]:
    """A gateway that answers by itself where it can, or leaves everything to the SDK."""
    supervisor = FakeSupervisor()
    supervisor.catalog["full"] = registered(
        "full", title="T", outputSchema={"type": "object"}, annotations={"readOnlyHint": True}
    )
    path = folder / speaker
    with pytest.MonkeyPatch.context() as patch:
        if speaker == "sdk":
            patch.setattr(lean, "_has_plain_params", never)
        async with serving(supervisor, path) as gateway, peer(path) as client:
            yield gateway, client


def settled(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from call to call."""
    whole = answer.get("result", {}).get("_meta", {}).get("fumehood/result")
    if whole is not None:
        assert whole.pop("invocation")
    return answer


@pytest.mark.anyio
class TestTheSameAnswers:
    async def test_in_the_modern_era(self, tmp_path: Path) -> None:
        found = {}
        for speaker in ("lean", "sdk"):
            async with talking(tmp_path, speaker) as (gateway, client):
                answers = []
                for number, (method, params) in enumerate(REQUESTS):
                    await client.request(number, method, **params)
                    answers.append(settled(await client.next()))
                found[speaker] = answers
                assert (gateway._speaker is None) == (speaker == "lean")
        assert found["lean"] == found["sdk"]

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_in_the_handshake_era(self, tmp_path: Path, version: str) -> None:
        found = {}
        for speaker in ("lean", "sdk"):
            async with talking(tmp_path, speaker) as (_, client):
                await shake_hands(client, version)
                answers = []
                for number, (method, params) in enumerate(REQUESTS[2:], start=2):
                    await client.send({"id": number, "method": method, "params": params})
                    answers.append(settled(await client.next()))
                found[speaker] = answers
        assert found["lean"] == found["sdk"]


async def shake_hands(client: Peer, version: str) -> None:
    info = {"name": "test", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": info}
    await client.send({"id": 1, "method": "initialize", "params": params})
    assert (await client.next())["result"]["protocolVersion"] == version
    await client.send({"method": "notifications/initialized"})


@pytest.mark.anyio
class TestTheRestOfTheProtocol:
    async def test_stays_the_sdks_after_calls_that_never_reached_it(self, client: Peer) -> None:
        await client.call(1, "echo")
        assert "result" in await client.next()
        await client.request(2, "ping")
        assert (await client.next())["error"]["code"] == -32601
        await client.send({"id": 3, "method": "initialize", "params": {}})
        refused = (await client.next())["error"]
        assert refused["code"] == -32022, "a connection keeps the era it began in"
        await client.send({"id": 4, "method": "tools/call", "params": CALL})
        assert (await client.next())["error"]["code"] == -32602
        await client.call(5, "echo")
        assert "result" in await client.next()

    async def test_an_envelope_in_the_handshake_era_is_refused(self, client: Peer) -> None:
        await shake_hands(client, VERSIONS[-1])
        await client.call(2, "echo")
        assert (await client.next())["error"]["code"] == -32600

    async def test_progress_tokens_that_cannot_be_one_are_refused(self, client: Peer) -> None:
        await client.request(1, "tools/call", name="echo", meta={"progressToken": "x" * 129})
        assert (await client.next())["error"]["code"] == -32602


def test_the_sdk_is_not_imported_before_a_client_needs_it() -> None:
    program = "import sys, fumehood.daemon; print('mcp' in sys.modules, 'mcp_types' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["False", "False"]
    assert not hasattr(mcp, "Server")
