"""A call starts fast: what costs time is imported only by the commands that need it."""

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
