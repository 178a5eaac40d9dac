"""A tool whose program cannot run, and a sandbox that a stranger kills: what its caller is told."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

import pytest

from support.hood import Hood, comm, eventually, processes_of

SLEEPER = "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"


@pytest.mark.parametrize(
    ("name", "command", "files"),
    [
        ("no-program", ["no-such-program"], {}),
        ("no-interpreter", ["/tool/run"], {"run": "#!/usr/bin/no-such-interpreter\n"}),
    ],
)
def test_a_missing_program_is_named_as_cause_with_a_remedy(
    hood: Hood, name: str, command: list[str], files: dict[str, str]
) -> None:
    with hood.client() as client:
        packed = {path: (text.encode(), True) for path, text in files.items()}
        manifest = (
            f"name: {name}\nversion: 1.0.0\ndescription: It cannot run.\n"
            f"inputSchema: {{type: object}}\nrun:\n  command: {command}\n"
            + ("  files: .\n" if files else "")
        )
        client.add_tool(manifest, packed)
    result = hood.call(name)
    assert (result["status"], result["exit_code"], result["breach"]) == ("engine_error", None, None)
    assert "could not be executed (control: command)" in result["message"]
    assert "run.command" in result["message"]
    assert "no-such" not in result["message"]
    said = hood.cli("call", name)
    assert said.returncode == 6
    assert "could not be executed" in said.stderr


def test_a_sandbox_killed_by_a_stranger_is_no_missing_program(hood: Hood) -> None:
    hood.register(None, "killed", command=["python3", "/tool/main.py"], files={"main.py": SLEEPER},
                  limits={"timeout": "50s"})  # fmt: skip
    results: list[dict[str, Any]] = []
    call = threading.Thread(target=lambda: results.append(hood.call("killed")))
    call.start()
    eventually(lambda: "python3" in map(comm, hood.alive("killed")), 20, "the tool runs")
    for pid in processes_of(hood.account("killed")) + processes_of(*hood.leased):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    call.join(30)
    assert [result["status"] for result in results] == ["engine_error"]
    assert "(control: sandbox)" in results[0]["message"]
