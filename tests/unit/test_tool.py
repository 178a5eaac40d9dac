"""The helper for authors of tools, as a tool runs it: one file and a bare interpreter."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fumehood.cli import vendor
from fumehood.errors import UsageError

PYTHON = shutil.which("python3", path="/usr/bin") or sys.executable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vendor.helper(tmp_path)
    return tmp_path


def run(
    folder: Path, body: str, stdin: bytes = b'{"text": "x"}'
) -> subprocess.CompletedProcess[bytes]:
    program = f"from fumehood.tool import fail, progress, run\ndef main(arguments):\n {body}\n"
    (folder / "main.py").write_text(f"import atexit, os, sys\n{program}run(main)\n")
    return subprocess.run(
        [PYTHON, "-S", str(folder / "main.py")],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return {'got': arguments['text'], 'ä': [1, None]}", '{"got": "x", "ä": [1, null]}'),
        ("return 'as it is\\n'", "as it is\n"),
        ("return b'\\xc3\\xa4'", "ä"),
        ("print('said')", "said\n"),
        ("print('said'); return 5", "said\n5"),
        ("return [] if arguments == {'text': 'x'} else 1", "[]"),
        ("sys.exit()", ""),
        ("atexit.register(print, 'never'); return 'at once'", "at once"),
    ],
)
def test_a_result_is_written_and_the_exit_code_is_zero(
    folder: Path, body: str, expected: str
) -> None:
    done = run(folder, body)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, expected, b"")


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("fail('there is no such thing')", 1, "there is no such thing\n"),
        ("sys.exit('no')", 1, "no\n"),
        ("sys.exit(7)", 7, ""),
        ("return float('nan')", 1, "Out of range float values"),
        ("return {1, 2}", 1, "not JSON serializable"),
        ("raise KeyError('text')", 1, "KeyError: 'text'"),
    ],
)
def test_a_failure_is_told_on_stderr_and_by_the_exit_code(
    folder: Path, body: str, code: int, said: str
) -> None:
    done = run(folder, body)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.decode()
    assert ("Traceback" in done.stderr.decode()) == ("return" in body or "raise" in body)


def test_no_arguments_are_an_empty_object_and_no_object_is_refused(folder: Path) -> None:
    assert run(folder, "return arguments", b"").stdout == b"{}"
    refused = run(folder, "return arguments", b"[]")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"one JSON object" in refused.stderr


def test_progress_is_one_plain_line_each(folder: Path) -> None:
    body = "progress(0.5); progress(3, 10, 'of\\nmany  rows'); return ''"
    assert run(folder, body).stderr == b"::progress 0.5\n::progress 3/10 of many rows\n"


def test_it_needs_nothing_but_the_standard_library_of_an_old_python() -> None:
    text = vendor.SOURCE.read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


def test_it_is_put_there_once_and_never_over_something_else(tmp_path: Path) -> None:
    target, written = vendor.helper(tmp_path)
    assert (target, written) == (tmp_path / "fumehood/tool.py", True)
    assert vendor.helper(tmp_path) == (target, False)
    target.write_text("mine")
    with pytest.raises(UsageError, match="differs"):
        vendor.helper(tmp_path)
    assert vendor.helper(tmp_path, force=True) == (target, True)
    with pytest.raises(UsageError, match="no folder"):
        vendor.helper(tmp_path / "nowhere")


def test_what_a_tool_prints_after_its_arguments_is_one_document(folder: Path) -> None:
    assert json.loads(run(folder, "return {'a': os.getpid() > 0}").stdout) == {"a": True}
