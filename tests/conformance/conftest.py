"""What the suites of this folder share: a Docker launcher of a module's own, and the probe's
answer on each engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from support import images
from support.docker import DockerProcess, Engine, docker_launcher
from support.engines import Target
from support.gateway import mcp_transport
from support.hood import Hood

PROBE = Path(__file__).parent / "probe"


@pytest.fixture(scope="session", autouse=True)
def _images_begun(request: pytest.FixtureRequest) -> None:
    """Building waits for disk and network for a minute, beside the tests before its own."""
    wanted = [item for item in request.session.items if item.path.name == "test_images.py"]
    if wanted:
        images.begin(twice=any("two_builds" in item.name for item in wanted))


@pytest.fixture(scope="module")
def containers(
    docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerProcess]:
    """A Docker launcher; whatever a test leaves in it is the next one's trouble, so none does."""
    with docker_launcher(tmp_path_factory.mktemp("store"), docker_engine) as process:
        yield process


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The engine that a test of a promise runs on."""
    given = request.param
    assert isinstance(given, Target)
    return given


@pytest.fixture(scope="session")
def answer(engines: Hood, target: Target) -> dict[str, Any]:
    """One call of the probe by the official client: the whole `CallToolResult`."""
    name = target.tool("probe")
    command = ["python3", "/tool/main.py"]
    engines.register(PROBE, name, command=command, run=target.run, limits=target.limits)

    async def call() -> Any:
        async with Client(mcp_transport(engines.socket), mode="auto") as client:
            listed = await client.list_tools()
            assert name in [tool.name for tool in listed.tools]
            return await client.call_tool(name, {"text": "schön"})

    return dict(anyio.run(call).model_dump(by_alias=True))


@pytest.fixture(scope="session")
def inside(answer: dict[str, Any]) -> dict[str, Any]:
    """What the tool saw of itself."""
    assert answer["isError"] is False, answer
    return dict(json.loads(answer["content"][0]["text"]))


@pytest.fixture(scope="session")
def result(answer: dict[str, Any]) -> dict[str, Any]:
    return dict(answer["_meta"]["fumehood/result"])


class Acts:
    """Calls of the payload `acts.py` on one engine, each action a tool of its own."""

    def __init__(self, hood: Hood, target: Target) -> None:
        self.hood = hood
        self.target = target

    def name(self, action: str) -> str:
        """Of the tool."""
        return self.target.tool(f"act-{action.replace('_', '-')}")

    def register(self, action: str, **manifest: Any) -> str:
        """Register the tool; its name."""
        name = self.name(action)
        manifest["run"] = {**self.target.run, **manifest.get("run", {})}
        manifest["limits"] = {**self.target.limits, **manifest.get("limits", {})}
        command = ["python3", "/tool/acts.py", action]
        self.hood.register(PROBE, name, command=command, **manifest)
        return name

    def __call__(self, action: str, arguments: Any = None, **manifest: Any) -> dict[str, Any]:
        return self.hood.call(self.register(action, **manifest), arguments)


@pytest.fixture(scope="session")
def acts(engines: Hood, target: Target) -> Acts:
    return Acts(engines, target)
