"""What runs can be looked at before it is killed, on every engine that shows its processes."""

from __future__ import annotations

import concurrent.futures
import json

import pytest

from fumehood.errors import Cancelled
from support.engines import TARGETS, Target
from support.hood import Hood, eventually

HOLD = """
import time
loot = open("/tmp/loot", "w"); loot.write("x"); loot.flush()
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name, indirect=True)
def test_a_stop_captures_what_it_kills(engines: Hood, target: Target) -> None:
    name = target.tool("held")
    engines.register(
        None, name, command=["python3", "-c", HOLD], run=target.run,
        limits={**target.limits, "timeout": "2m"},
    )  # fmt: skip

    def writes() -> bool:
        with engines.client() as client:
            found = client.invocations()["invocations"]
            return any(item["tool"] == name and item["stdout_bytes"] for item in found)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(engines.call, name)
        eventually(writes, 60, "it runs")
        engines.cli("stop", name, "--capture", check=True)
        with pytest.raises(Cancelled):
            call.result(60)
    engines.cli("resume", name, check=True)
    open_ones = json.loads(engines.cli("incident", "list", "--json").stdout)
    (incident,) = [item["incident"] for item in open_ones if item["tool"] == name]
    shown = engines.cli("incident", "show", incident, "--capture", "--json", check=True).stdout
    engines.cli("incident", "close", incident, "--note", "a test", check=True)
    sandbox = json.loads(shown)["capture"]["sandbox"]
    assert sandbox["reason"] == ""
    assert "time" not in sandbox["cut"]
    assert sandbox["processes"]
    assert [file["path"] for file in sandbox["files"]] == ["/tmp/loot"]
    if target.runtime != "runsc":  # gVisor keeps a tool's files in a kernel of its own
        files = [path for process in sandbox["processes"] for path in process["files"].values()]
        assert any(path.endswith("/tmp/loot") for path in files), files
