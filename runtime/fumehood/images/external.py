"""Images that other programs fetch: `docker save` and skopeo, run with argument lists only.

They are asked for bytes and believed nothing: what they deliver is read like any archive. They
get the few variables that tell them where Docker and its credentials are, and no other.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from fumehood.errors import ImageError
from fumehood.images.streams import CHUNK, Reader

IDLE_SECONDS: Final = 120.0
"""How long a program may deliver nothing; Docker prepares for about 1 s per GiB."""
REGISTRY_SECONDS: Final = 1800.0
LOOK_SECONDS: Final = 0.5
"""Between two looks at how much a program has fetched."""
MAX_OUTPUT: Final = 256 * 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = (
    "DOCKER_CERT_PATH", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST", "DOCKER_TLS_VERIFY",
    "HOME", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE",
    "TMPDIR", "XDG_RUNTIME_DIR", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip
# distribution/reference: a name cannot begin with a dash, so it can be no option.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}\Z")
_MAX_MESSAGE = 400
_MAX_LINES = 20
STOP_SECONDS: Final = 20.0


def environment(*names: str, **more: str) -> dict[str, str]:
    """For the programs of this room. names: of variables that this one may have besides."""
    kept = {name: os.environ[name] for name in (*_PASSED_ON, *names) if name in os.environ}
    return {"PATH": _PATH, "LC_ALL": "C.UTF-8", **kept, **more}


def find(program: str) -> str | None:
    """The absolute path of an installed program; the caller's PATH has no say."""
    return shutil.which(program, path=_PATH)


@contextmanager
def docker_save(name: str) -> Iterator[Reader]:
    """The archive of an image in the local Docker Engine.

    Raises:
        ImageError: no such image, no Docker, or it delivers nothing for IDLE_SECONDS.
    """
    _check(name)
    program = find("docker")
    if program is None:
        raise ImageError(
            "the docker command is not installed",
            "install it, or save the image elsewhere with `docker save` and import the file",
        )
    with tempfile.TemporaryFile() as errors:
        argv = [program, "save", name]
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment()
        )
        try:
            assert process.stdout is not None  # noqa: S101  (PIPE)
            pipe = _Pipe(process.stdout.fileno(), "docker")
            try:
                yield pipe
            except ImageError:
                # What Docker says explains better why its archive ended early.
                if pipe.ended and process.wait(IDLE_SECONDS):
                    raise _failed(argv, errors) from None
                raise
            if process.wait(IDLE_SECONDS):
                raise _failed(argv, errors)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def registry_copy(reference: str, target: Path, most: int) -> None:
    """Fetch `docker://…` into an OCI layout at `target` with skopeo, at most `most` bytes.

    Raises:
        ImageError: skopeo is missing or fails, or the image has more.
    """
    _check(reference.removeprefix("docker://"))
    program = find("skopeo")
    if program is None:
        raise ImageError(
            "a registry is reached through skopeo, which is not installed",
            "apt-get install skopeo, or import a file that `docker save` wrote",
        )
    argv = [program, "copy", "--override-os", "linux", "--quiet", reference, f"oci:{target}:image"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        deadline, status = time.monotonic() + REGISTRY_SECONDS, None
        try:
            while status is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(LOOK_SECONDS)
                if _size(target) > most:
                    raise ImageError(
                        f"the image in the registry has more than {most} bytes",
                        "make room with `fumehood image remove`, or raise storage.images",
                    )
                if time.monotonic() > deadline:
                    raise ImageError(f"skopeo took more than {REGISTRY_SECONDS:.0f} s")
        finally:
            process.kill()
            process.wait()
        if status:
            raise _failed(argv, errors)


def _size(folder: Path) -> int:
    """Bytes on disk of a folder that a program still writes."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
    return total


def output(argv: list[str], *, seconds: float, env: dict[str, str]) -> str:
    """What a program of this host says of its own configuration, at most MAX_OUTPUT bytes.

    Raises:
        ImageError: with the last line of what it said, when it fails or takes too long.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        try:
            status = subprocess.run(
                argv,
                check=False,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                env=env,
                timeout=seconds,
            ).returncode
        except subprocess.TimeoutExpired:
            raise ImageError(f"{Path(argv[0]).name} took more than {seconds:.0f} s") from None
        if status:
            raise _failed(argv, errors)
        said.seek(0)
        return said.read(MAX_OUTPUT).decode(errors="replace")


def follow(
    argv: list[str],
    progress: Callable[[str], None],
    *,
    seconds: float,
    remedy: str,
    extra: dict[str, str] | None = None,
) -> None:
    """Run a program that tells on stderr how far it is, line by line.

    Raises:
        ImageError: with its last lines, when it fails, stalls or takes too long.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(**(extra or {})),
    )
    assert process.stderr is not None  # noqa: S101  (PIPE)
    deadline = time.monotonic() + seconds
    last: deque[str] = deque(maxlen=_MAX_LINES)
    pipe, rest = _Pipe(process.stderr.fileno(), Path(argv[0]).name, seconds), b""
    try:
        while data := pipe.read(CHUNK):
            *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
            rest = rest[-_MAX_MESSAGE:]
            for line in filter(None, (_printable(item) for item in lines)):
                last.append(line)
                progress(line)
            if time.monotonic() > deadline:
                raise ImageError(f"{Path(argv[0]).name} took more than {seconds:.0f} s")
        if process.wait(IDLE_SECONDS):
            said = [line for line in last if line.startswith(("E:", "dpkg: error"))] or list(last)
            raise ImageError(
                f"{Path(argv[0]).name} failed: {'; '.join(said[-3:])}",
                remedy,
                detail=" ".join(argv),
            )
    finally:
        process.terminate()  # it cleans up after itself
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()


class _Pipe:
    """Reads from a pipe, and gives up on a writer that stalls."""

    def __init__(self, fd: int, program: str, seconds: float = IDLE_SECONDS) -> None:
        self._fd = fd
        self._program = program
        self._seconds = seconds
        self.ended = False

    def read(self, size: int, /) -> bytes:
        deadline = time.monotonic() + self._seconds
        while not select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if time.monotonic() >= deadline:
                raise ImageError(
                    f"{self._program} delivered nothing for {self._seconds:.0f} s",
                    "see whether it is alive",
                )
        data = os.read(self._fd, size)
        self.ended = not data
        return data


def _check(name: str) -> None:
    if _NAME.match(name) is None:
        raise ImageError(f"{name[:128]!r} is no name of an image", "write it as docker does")


def _failed(argv: list[str], output: IO[bytes]) -> ImageError:
    output.seek(0)
    last = last_line(output.read(64 * 1024))
    return ImageError(f"{Path(argv[0]).name} failed: {last}", detail=" ".join(argv))


def last_line(said: bytes) -> str:
    """What a program said last, fit for a terminal."""
    lines = [line for line in map(_printable, said.splitlines()) if line]
    return lines[-1] if lines else "no message"


def _printable(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace").strip()[-_MAX_MESSAGE:]
    return "".join(char if char.isprintable() else "?" for char in text)
