"""For authors of tools in Python: arguments in, a result out, gone at once.

    from fumehood.tool import run

    import pandas  # imported before a call comes, where `run.warm: started`

    def main(arguments):
        return {"words": len(arguments["text"].split())}

    run(main)

One file, standard library only, Python 3.8 or later, nothing else of Fumehood: `fumehood tool
helper FOLDER` puts it beside a tool, where it is registered and pinned with the tool's other files.
It adds nothing to the contract, which is stdin, stdout, stderr and an exit code; it keeps it, and
leaves without tearing the interpreter down (8 ms with nothing imported, 80 with pandas).
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes a bare interpreter a third of its start
    from typing import Any, Callable, Dict, NoReturn, Optional  # noqa: UP035  (Python 3.8)

    Arguments = Dict[str, Any]  # noqa: UP006

__all__ = ["Failure", "fail", "progress", "run"]


class Failure(Exception):
    """The tool cannot do what was asked. The text is for whoever called it."""


def fail(message: str) -> NoReturn:
    """End the call with status `tool_error`, and say why on stderr."""
    raise Failure(message)


def progress(value: float, total: Optional[float] = None, message: str = "") -> None:  # noqa: UP045
    """Tell the caller how far it is: a part of 1, or so many of `total`. Only after the arguments
    were read, or the tool is not fit to be started ahead of calls."""
    far = f"{value:.15g}" if total is None else f"{value:.15g}/{total:.15g}"
    line = " ".join(f"::progress {far} {message}".split())
    os.write(2, line.encode("utf-8", "replace") + b"\n")


def run(main: Callable[[Arguments], object]) -> NoReturn:
    """Read the arguments, call `main` with them, write what it returns, end the process.

    A str or bytes is written as it is, anything else as JSON, None not at all. An exception is the
    exit code 1, and its traceback is on stderr; for `Failure` its text alone. Neither `atexit`
    handlers nor other threads are waited for: close files inside `main`.
    """
    try:
        code = _run(main)
    except BrokenPipeError:
        code = 1  # nobody reads any more
    os._exit(code)


def _run(main: Callable[[Arguments], object]) -> int:
    try:
        _write(_encoded(main(_arguments())))
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return _flushed(1)
    except SystemExit as leaving:
        return _flushed(_code(leaving))
    except BrokenPipeError:
        raise
    except BaseException:  # noqa: BLE001  (shown, and the exit code tells)
        import traceback

        traceback.print_exc()
        return _flushed(1)
    return _flushed(0)


def _arguments() -> Arguments:
    data = sys.stdin.buffer.read()
    arguments = json.loads(data) if data.strip() else {}
    if not isinstance(arguments, dict):
        fail("the arguments on stdin must be one JSON object")
    return arguments


def _encoded(result: object) -> bytes:
    if result is None:
        return b""
    if isinstance(result, (bytes, bytearray)):
        return bytes(result)
    if isinstance(result, str):
        return result.encode("utf-8", "replace")
    return json.dumps(result, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _write(data: bytes) -> None:
    sys.stdout.flush()  # what was printed comes first
    sys.stdout.buffer.write(data)


def _flushed(code: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _code(leaving: SystemExit) -> int:
    """As the interpreter has it: nothing is 0, a text is shown and 1."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    sys.stderr.write(f"{leaving.code}\n")
    return 1
