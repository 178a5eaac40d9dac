"""Starts the privileged process of one errand, and sees it end with the command.

It knows no errand: what the process is told, and what it answers, is its callers' business.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fumehood
from fumehood.model.codec import encode


@contextmanager
def errand(module: str, settings: object, seconds: float) -> Iterator[socket.socket]:
    """Our end of the channel of `fumehood.launcher.<module>`, started with `settings` in a memfd.

    When the channel closes, however that happens, the process ends; it is waited for. seconds: how
    long one answer may take, after which reading raises TimeoutError.
    """
    package = str(Path(fumehood.__file__).resolve().parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {package!r}); "
        f"from fumehood.launcher.{module} import main; sys.exit(main(sys.argv[1:]))"
    )
    memory = os.memfd_create(f"fumehood-{module}")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.write(memory, json.dumps(encode(settings)).encode())
        os.lseek(memory, 0, os.SEEK_SET)
        given = (theirs.fileno(), memory)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, *map(str, given)],
            stdin=subprocess.DEVNULL,
            pass_fds=given,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except BaseException:
        ours.close()
        raise
    finally:
        os.close(memory)
        theirs.close()
    try:
        ours.settimeout(seconds)
        yield ours
    finally:
        ours.close()
        process.wait()
