"""Every promise of a plan, from inside the sandbox and from outside, through the socket."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from fumehood.kernel import proc
from support.gateway import mcp_transport
from support.hood import Hood

PROBE = Path(__file__).parent / "probe"
FIRST_ACCOUNT = 1_900_000_000


@pytest.fixture(scope="session")
def answer(hood: Hood) -> dict[str, Any]:
    """One call of the probe by the official client: the whole `CallToolResult`."""
    hood.register(PROBE, "probe", command=["python3", "/tool/main.py"])

    async def call() -> Any:
        async with Client(mcp_transport(hood.socket), mode="auto") as client:
            listed = await client.list_tools()
            assert "probe" in [tool.name for tool in listed.tools]
            return await client.call_tool("probe", {"text": "schön"})

    return dict(anyio.run(call).model_dump(by_alias=True))


@pytest.fixture(scope="session")
def inside(answer: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(answer["content"][0]["text"]))


@pytest.fixture(scope="session")
def result(answer: dict[str, Any]) -> dict[str, Any]:
    return dict(answer["_meta"]["fumehood/result"])


@cache
def host_namespaces() -> dict[str, str]:
    return proc.namespaces("self")


def test_the_result_is_whole(answer: dict[str, Any], result: dict[str, Any]) -> None:
    assert answer["isError"] is False
    assert result["status"] == "ok"
    assert (result["exit_code"], result["signal"], result["breach"]) == (0, None, None)
    assert result["tool"]["name"] == "probe"
    assert result["tool"]["digest"].startswith("sha384:")
    assert result["usage"]["stdout_bytes"] > 0
    assert result["usage"]["cpu_seconds"] > 0
    assert result["usage"]["memory_peak_bytes"] > 1 << 20
    assert result["usage"]["pids_peak"] >= 1


def test_arguments_arrive_on_stdin_unchanged(inside: dict[str, Any]) -> None:
    assert inside["arguments"] == {"text": "schön"}


def test_the_tool_runs_as_its_own_account(
    hood: Hood, inside: dict[str, Any], result: dict[str, Any]
) -> None:
    account = hood.account("probe")
    assert account >= FIRST_ACCOUNT
    assert result["enforced"]["uid"] == account
    assert inside["status"]["Uid"].split() == [str(account)] * 4
    assert inside["status"]["Gid"].split() == [str(account)] * 4
    assert inside["uid_map"] == [str(account), str(account), "1"]
    assert inside["status"]["Groups"].split() in ([], [str(account)])


def test_no_capability_is_in_any_set(inside: dict[str, Any], result: dict[str, Any]) -> None:
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(inside["status"][name], 16) == 0
    assert result["enforced"]["capabilities"] == []


def test_no_new_privs_and_seccomp_hold(inside: dict[str, Any], result: dict[str, Any]) -> None:
    assert inside["status"]["NoNewPrivs"] == "1"
    assert inside["status"]["Seccomp"] == "2"
    assert result["enforced"]["seccomp"] == "compute"
    assert result["enforced"]["no_new_privs"] is True


@pytest.mark.parametrize("name", proc.NAMESPACES)
def test_each_namespace_is_its_own(inside: dict[str, Any], name: str) -> None:
    assert inside["namespaces"][name] != host_namespaces()[name]


def test_only_three_descriptors_are_inherited(inside: dict[str, Any]) -> None:
    assert set(inside["descriptors"]) == {"0", "1", "2"}
    assert all(target.startswith("pipe:") for target in inside["descriptors"].values())


def test_the_environment_is_clean(inside: dict[str, Any]) -> None:
    expected = {"PATH", "HOME", "TMPDIR", "LANG", "USER", "PYTHONDONTWRITEBYTECODE", "PWD"}
    assert set(inside["environment"]) - {"LC_CTYPE"} == expected


def test_it_sees_only_its_own_processes(inside: dict[str, Any]) -> None:
    assert inside["processes"] == [1, 2]
    assert inside["session"] <= 2


def test_the_root_holds_usr_and_nothing_else_of_the_host(inside: dict[str, Any]) -> None:
    known = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "out", "proc", "sbin", "tmp"}
    assert set(inside["root"]) <= known | {"tool", "usr"}
    for line in inside["mounts"]:
        target, options = line.split()[4], line.split()[5].split(",")
        assert "nosuid" in options, target
        if target not in ("/tmp", "/out", "/proc") and not target.startswith("/dev/"):
            assert "ro" in options, target
        if target in ("/tmp", "/out"):
            assert {"noexec", "nodev"} <= set(options)


def test_scratch_is_bounded_in_bytes_and_inodes(inside: dict[str, Any]) -> None:
    size, inodes = inside["scratch"]
    assert size == 8 << 20
    assert 64 <= inodes <= 8 << 10


def test_devices_are_the_harmless_five(inside: dict[str, Any]) -> None:
    links = {"fd", "stdin", "stdout", "stderr", "shm"}
    assert set(inside["devices"]) - links == {"null", "zero", "full", "random", "urandom"}


def test_there_is_no_network_but_an_unused_loopback(inside: dict[str, Any]) -> None:
    assert [line.split(":")[0].strip() for line in inside["interfaces"]] == ["lo"]


def test_no_core_is_dumped_and_the_host_has_no_name(inside: dict[str, Any]) -> None:
    assert inside["core"] == [0, 0]
    assert inside["hostname"] == "sandbox"
    assert inside["hostname"] != os.uname().nodename
    assert inside["cwd"] == "/tmp"


def test_limits_are_read_back(result: dict[str, Any]) -> None:
    limits = result["enforced"]["limits"]
    assert limits["memory_bytes"] == 64 << 20
    assert limits["pids"] == 32
    assert result["enforced"]["plan"].startswith("sha384:")
    assert result["enforced"]["network"] == "none"
    assert result["enforced"]["not_enforced"] == []


def test_nothing_survives_into_the_next_invocation(hood: Hood) -> None:
    script = "ls /tmp /out; touch /tmp/x /out/y"
    hood.register(None, "leaver", command=["sh", "-c", script])
    first, second = hood.call("leaver"), hood.call("leaver")
    assert first["content"][0]["text"] == second["content"][0]["text"] == "/out:\n\n/tmp:\n"


def test_the_handshake_era_gets_the_same(hood: Hood) -> None:
    hood.register(None, "echo", command=["cat"])

    async def call() -> Any:
        async with Client(mcp_transport(hood.socket), mode="legacy") as client:
            return await client.call_tool("echo", {"a": 1})

    answer = anyio.run(call)
    assert answer.content[0].text == '{"a":1}'
