"""A private daemon for one command: the same processes and protections, in a temporary place.

It must never outlive the command: it is stopped in every case, and the kernel stops it when
the command is killed. Then its keeper removes the place, with the key and the log in it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Final, NoReturn

import fumehood
from fumehood.errors import CatalogError, ConfigError, EngineError, ExitStatus, FumehoodError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_LOG_BYTES: Final = 16 * 1024
_REMEDY: Final = "`fumehood doctor` shows what this host lacks"


_FAILURES: Final[Mapping[int, type[FumehoodError]]] = {
    ExitStatus.USAGE: ConfigError,
    ExitStatus.REJECTED: CatalogError,
}
"""The daemon's exit status as an error of the same status; any other is EngineError."""


@contextlib.contextmanager
def daemon(
    config: Path | None,
    accept: Sequence[str] = (),
    images: Path | None = None,
    profiles: Path | None = None,
) -> Iterator[Path]:
    """Start a daemon, give the path of its socket once it answers, stop it in the end.

    Args:
        config: the operator's configuration when one was named: its ceilings hold here too.
        accept: controls accepted as not enforced, besides the configuration's.
        images: the image store to use, if it is there.
        profiles: folder of profiles to use in place of the operator's.

    Raises:
        EngineError, ConfigError: it did not start; with its own words.
    """
    previous = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with _daemon(config, accept, images, profiles) as socket:
            yield socket
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind instead of dying at once, so that the daemon is stopped and its place removed."""
    sys.exit(128 + number)


@contextlib.contextmanager
def _daemon(
    config: Path | None, accept: Sequence[str], images: Path | None, profiles: Path | None
) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fumehood-") as name, tempfile.TemporaryFile() as log:
        place = Path(name)
        words = ["--socket", str(place / "socket"), "--state", str(place / "state")]
        words += ["--config", str(config)] if config else []
        words += ["--images", str(images)] if images is not None and images.is_dir() else []
        words += ["--profiles", str(profiles)] if profiles is not None else []
        words += [word for control in accept for word in ("--accept-unenforced", control)]
        process = _start(words, place, log)
        try:
            yield place / "socket"
        finally:
            _stop(process)


def _start(words: list[str], place: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    readable, writable = os.pipe()
    try:
        argv = [
            *_python(),
            "serve",
            *words,
            "--ready-fd",
            str(writable),
            "--with-parent",
            str(os.getpid()),
            "--place",
            str(place),
        ]
        # Its own session: Ctrl-C is ours, and cancels the call before the daemon is stopped.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writable,),
            start_new_session=True,
        )
        os.close(writable)
        try:
            _await_ready(process, readable, log)
        except BaseException:
            _stop(process)
            raise
        return process
    finally:
        os.close(readable)


def _python() -> list[str]:
    """This interpreter and package, whatever the environment and the current folder say."""
    package = str(Path(fumehood.__file__).resolve().parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {package!r}); from fumehood.cli.main import main; main()"
    )
    return [sys.executable, "-I", "-c", code]


def _await_ready(process: subprocess.Popen[bytes], readable: int, log: IO[bytes]) -> None:
    """One byte means that calls are answered; end of file, that nobody is left to send it."""
    ready, _, _ = select.select([readable], [], [], START_SECONDS)
    if not ready:
        raise EngineError(
            f"the private daemon did not start within {START_SECONDS:g} s",
            _REMEDY,
        )
    if os.read(readable, 1):
        return
    raise _failure(process.wait(STOP_SECONDS), log)


def _failure(status: int, log: IO[bytes]) -> FumehoodError:
    log.seek(max(log.seek(0, os.SEEK_END) - _LOG_BYTES, 0))
    cause, remedy = "", ""
    lines = log.read().decode(errors="replace").splitlines()
    for line in lines:
        label, _, text = line.strip().partition(": ")
        if label == "error":
            cause, remedy = text, ""
        elif label == "remedy":
            remedy = text
    if not cause:
        # The keeper's and the launcher's own words; the first says most.
        words = [line for line in lines if line.startswith("fumehood")] or lines[-1:]
        cause = words[0] if words else "the private daemon ended at its start"
    return _FAILURES.get(status, EngineError)(cause, remedy or _REMEDY)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
