"""A tool, a sandbox or a daemon that cannot run: what its caller, or its operator, is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from support.hood import Hood, comm, command, eventually, processes_of

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


IN_PLACE_OF = 'mount --bind "$1" "$2"; shift 2; exec "$@"'


@pytest.mark.parametrize(("gid", "whose"), [(1_963_000_003, "tools"), (1_963_000_010, "libraries")])
def test_accounts_that_are_somebody_elses_keep_the_daemon_from_starting(
    tmp_path: Path, gid: int, whose: str
) -> None:
    """Of tools' accounts it is the launcher that says why, and ends the daemon with its status."""
    groups = tmp_path / "group"
    groups.write_text(Path("/etc/group").read_text() + f"strangers:x:{gid}:\n")
    config = tmp_path / "config.yaml"
    config.write_text("accounts: {first: 1963000000, count: 10}\n")
    words = ["serve", "--socket", str(tmp_path / "socket"), "--state", str(tmp_path / "state")]
    ended = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", IN_PLACE_OF, "sh",
         str(groups), "/etc/group", *command(*words, "--config", str(config))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    said = ended.stderr.splitlines()
    errors = [line for line in said if line.startswith("error: accounts: ")]
    assert any("strangers" in line for line in errors)
    assert any("for fetching" in line for line in errors) == (whose == "libraries")
    assert any(line.endswith("choose another accounts.first in the configuration") for line in said)
    assert not (tmp_path / "socket").exists()


def test_what_an_engine_enforces_is_logged_once_its_launcher_has_found_it(hood: Hood) -> None:
    lines = [line for line in hood.log.read_text().splitlines() if line.startswith("{")]
    ready = next(json.loads(line) for line in lines if "launcher ready" in line)
    assert {"seccomp", "capabilities", "namespaces", "memory", "pids"} <= set(ready["enforces"])
    assert ready["not_enforced"] == {}
