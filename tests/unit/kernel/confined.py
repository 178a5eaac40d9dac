"""Make system calls for real under a compiled filter, and say how each one ended.

Run as a program, because a filter cannot be taken off again:

    confined.py calls          JSON {"filter": base64, "calls": [[abi, number, args…], …]} on
                               stdin; prints one of `ok`, `errno N` or `signal N` for each call.
                               Each call has a process of its own.
    confined.py exec FILE ARGV…   load the filter in FILE, then become ARGV.
"""

from __future__ import annotations

import base64
import ctypes
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
NATIVE, I386 = "native", "i386"
Call = tuple[str | int, ...]
_pages: list[mmap.mmap] = []


class SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def run(program: bytes, calls: Sequence[Call]) -> list[str]:
    """How each (abi, number, args…) ended under the filter."""
    request = {"filter": base64.b64encode(program).decode(), "calls": [list(c) for c in calls]}
    done = subprocess.run(
        [sys.executable, "-I", __file__, "calls"],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    answers: list[str] = json.loads(done.stdout)
    return answers


def load(program: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fprog = SockFprog(len(program) // 8, program)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def i386_call(number: int) -> Callable[[], int]:
    """A call without arguments through the i386 ABI: mov eax, number; int 0x80; ret."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8" + number.to_bytes(4, "little") + b"\xcd\x80\xc3")
    _pages.append(page)  # or it would be unmapped before the call
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


def attempt(program: bytes, abi: str, number: int, args: list[int]) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        libc = ctypes.CDLL(None, use_errno=True)
        foreign = i386_call(number) if abi == I386 else None  # before a filter forbids the page
        load(program)
        if foreign:
            result = foreign()
            answer = f"errno {-result}" if result < 0 else "ok"
        else:
            words = [ctypes.c_ulong(arg & (2**64 - 1)) for arg in args]
            failed = libc.syscall(ctypes.c_long(number), *words) == -1
            answer = f"errno {ctypes.get_errno()}" if failed else "ok"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else answer


def main(argv: list[str]) -> None:
    if argv[1] == "exec":
        with open(argv[2], "rb") as file:
            load(file.read())
        os.execvp(argv[3], argv[3:])
    request = json.load(sys.stdin)
    program = base64.b64decode(request["filter"])
    answers = [attempt(program, abi, number, args) for abi, number, *args in request["calls"]]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
