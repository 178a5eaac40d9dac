"""A call starts fast, and ends properly whatever it was given for stdin, stdout and stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fumehood

PACKAGE = str(Path(fumehood.__file__).parent.parent)
HEAVY = {
    "anyio", "asyncio", "cryptography", "jsonschema", "kingfisher", "mcp", "psutil", "pydantic",
    "re2", "rich", "structlog", "yaml",
}  # fmt: skip
LIST = """
import json, sys
sys.path.insert(0, sys.argv[1])
from fumehood.cli.main import execute
status = execute(sys.argv[2:])
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize(
    "argv", [("call", "echo", "{}"), ("tool", "list"), ("status",), ("--version",)]
)
def test_nothing_heavy_is_imported(argv: tuple[str, ...], tmp_path: Path) -> None:
    words = argv if argv[0] == "--version" else (*argv, "--socket", str(tmp_path / "none"))
    done = subprocess.run(
        [sys.executable, "-c", LIST, PACKAGE, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == (0 if argv[0] == "--version" else 6)
    assert not HEAVY & set(modules)


# --- what a process is started with


SPAWN = """
import sys
sys.path[:0] = sys.argv.pop(1).split(":")
from fumehood.__main__ import main
main()
"""


def started(
    *argv: str, path: str = PACKAGE, redirect: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command line from its first import, through a shell that redirects as a person does."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", SPAWN, path, *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_ctrl_c_while_the_command_line_is_imported_ends_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = started("--version", path=f"{tmp_path}:{PACKAGE}")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("redirect", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stream_that_nobody_needs_changes_nothing(redirect: str) -> None:
    done = started("--version", redirect=redirect)
    assert done.returncode == 0
    assert done.stdout.startswith("fumehood ")


def test_a_closed_stdout_is_the_callers_mistake() -> None:
    done = started("--version", redirect=">&-")
    assert done.returncode == 2
    assert done.stderr.startswith("error: stdout is closed\nremedy: ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("argv", "status", "cause"),
    [
        (("tool", "schema"), 2, "stdout cannot be written: No space left on device"),
        (("--version",), 2, "stdout cannot be written: No space left on device"),
        (("audit", "verify", "--json", "--state", "/none"), 6, "there is no audit log in /none"),
    ],
)
def test_a_full_stdout_is_told_on_stderr_and_is_no_failure_of_a_tool(
    argv: tuple[str, ...],
    status: int,
    cause: str,
    unbuffered: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = started(*argv, redirect=">/dev/full")
    assert done.returncode == status
    assert done.stderr.startswith(f"error: {cause}\nremedy: ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("redirect", ["2>/dev/full", ">/dev/full 2>/dev/full"])
def test_streams_that_take_nothing_keep_the_exit_status(redirect: str) -> None:
    assert started("call", redirect=redirect).returncode == 2
