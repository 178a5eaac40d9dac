"""The seccomp filters that the kernel holds for a process: `PTRACE_SECCOMP_GET_FILTER`."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_DETACH: Final = 17
_GET_FILTER: Final = 0x420C
_WALL: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long


def loaded(pid: int) -> list[bytes]:
    """Every filter of a process, the oldest first, as struct sock_filter; it stops meanwhile."""
    _ptrace(_SEIZE, pid, 0, None)
    try:
        _ptrace(_INTERRUPT, pid, 0, None)
        os.waitpid(pid, _WALL)
        programs: list[bytes] = []
        while True:
            try:
                length = _ptrace(_GET_FILTER, pid, len(programs), None)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return programs
                raise
            buffer = ctypes.create_string_buffer(8 * length)
            _ptrace(_GET_FILTER, pid, len(programs), buffer)
            programs.append(buffer.raw)
    finally:
        _ptrace(_DETACH, pid, 0, None)


def _ptrace(request: int, pid: int, address: int, data: object) -> int:
    result = _libc.ptrace(
        ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(address),
        data if data is not None else ctypes.c_void_p(0),
    )  # fmt: skip
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
