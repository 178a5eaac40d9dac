"""A classic BPF machine in Python: what would the kernel do with this system call?

It runs what `compile_bpf` made over a struct seccomp_data, instruction by instruction, so that
a test can ask for calls that it must not really make. Instructions that the kernel's own
seccomp checker refuses (kernel/seccomp.c, seccomp_check_filter) raise here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_AARCH64 = 0xC00000B7
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_ARM = 0x40000028
X32_SYSCALL_BIT = 0x40000000

_DATA_BYTES = 64
_UINT32 = 2**32 - 1
_UINT64 = 2**64 - 1

_LD_W_ABS, _LD_IMM = 0x20, 0x00
_RET_K, _JA = 0x06, 0x05
_Operation = Callable[[int, int], int]
_JUMPS: dict[int, _Operation] = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}
_ALU: dict[int, _Operation] = {
    0x54: lambda a, k: a & k,
    0x44: lambda a, k: a | k,
    0x74: lambda a, k: a >> k,
    0x64: lambda a, k: (a << k) & _UINT32,
}


@dataclass(frozen=True)
class Verdict:
    """The filter's answer: `allow`, `errno`, `kill_process`, `kill_thread` or `log`, the errno,
    the cost."""

    action: str
    errno: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return f"errno {self.errno}" if self.action == "errno" else self.action


def evaluate(
    program: bytes, number: int, *args: int, arch: int = AUDIT_ARCH_X86_64, ip: int = 0
) -> Verdict:
    """What `program` answers to system call `number` with up to six arguments."""
    padded = [arg & _UINT64 for arg in args] + [0] * (6 - len(args))
    data = struct.pack("<IIQ6Q", number & _UINT32, arch, ip, *padded)
    value, steps = _run(list(struct.iter_unpack("<HBBI", program)), data)
    action, low = value & 0xFFFF0000, value & 0xFFFF
    name = {
        0x7FFF0000: "allow",
        0x7FFC0000: "log",
        0x00050000: "errno",
        0x80000000: "kill_process",
        0x00000000: "kill_thread",
    }[action]
    return Verdict(name, low if name == "errno" else 0, steps)


def _run(code: list[tuple[int, int, int, int]], data: bytes) -> tuple[int, int]:
    accumulator, pc, steps = 0, 0, 0
    while True:
        operation, jt, jf, k = code[pc]  # running off the end is an IndexError: no verdict
        pc, steps = pc + 1, steps + 1
        if operation == _RET_K:
            return k, steps
        if operation == _LD_W_ABS:
            if k % 4 or k >= _DATA_BYTES:
                raise ValueError(f"load from offset {k}")
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif operation == _LD_IMM:
            accumulator = k
        elif operation == _JA:
            pc += k
        elif operation in _JUMPS:
            pc += jt if _JUMPS[operation](accumulator, k) else jf
        elif operation in _ALU:
            accumulator = _ALU[operation](accumulator, k)
        else:
            raise ValueError(f"instruction {operation:#x} is not expected in a seccomp filter")
