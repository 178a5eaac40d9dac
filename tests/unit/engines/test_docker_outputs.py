"""The writing ends that a container's output is marked by are the program's own, or none."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.engines.docker_sandbox import _outputs_of


@contextlib.contextmanager
def program(stdout: int, stderr: int) -> Iterator[int]:
    """The PID of one that waits for its input."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=stdout, stderr=stderr)
    try:
        yield process.pid
    finally:
        process.communicate()


def test_what_is_written_there_comes_behind_what_the_program_wrote() -> None:
    out, out_write = os.pipe()
    err, err_write = os.pipe()
    with program(out_write, err_write) as pid:
        os.write(out_write, b"before ")
        found = _outputs_of(pid)
        for fd in found:
            os.write(fd, b"mark")
            os.close(fd)
    assert len(found) == 2
    assert (os.read(out, 100), os.read(err, 100)) == (b"before mark", b"mark")
    for fd in (out, out_write, err, err_write):
        os.close(fd)


@pytest.mark.parametrize("which", [1, 2])
def test_where_one_is_no_pipe_nothing_is_marked(which: int, tmp_path: Path) -> None:
    readable, writable = os.pipe()
    with (tmp_path / "file").open("wb") as file:
        ends = {1: writable, 2: writable, which: file.fileno()}
        with program(ends[1], ends[2]) as pid:
            before = len(os.listdir("/proc/self/fd"))
            assert _outputs_of(pid) == []
            assert len(os.listdir("/proc/self/fd")) == before
    os.close(readable)
    os.close(writable)


def test_nothing_is_marked_of_a_program_that_is_gone() -> None:
    with program(subprocess.DEVNULL, subprocess.DEVNULL) as pid:
        pass
    assert _outputs_of(pid) == []
