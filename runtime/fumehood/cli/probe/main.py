"""Attempts from inside a sandbox what must fail there; must do no harm where it succeeds.

Every attempt is chosen so that its success changes nothing: opened, not written; a mount of a
file system that does not exist; a tracer that does not stop its tracee.

Each attempt is a function that returns what it got when it escaped and raises when it was
refused. It runs in a child of its own, so that one that is killed counts as refused. Standard
library only, for any Python the host has.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pathlib
import signal
import socket
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
PTRACE_SEIZE = 0x4206
BPF = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine)
FAMILIES = {"IPv4": 2, "IPv6": 10, "netlink": 16, "packet": 17, "ALG": 38, "vsock": 40}
Attempt = Callable[[], object]
VARIABLES = {
    "PATH", "HOME", "TMPDIR", "LANG", "USER", "PWD", "LC_CTYPE", "PYTHONDONTWRITEBYTECODE",
}  # fmt: skip


class RefusedError(Exception):
    """The attempt failed, as it must; says how."""


def call(function: Callable[..., int], *arguments: object) -> None:
    """A libc call that reports refusal by -1."""
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def open_sockets() -> object:
    opened, reason = [], ""
    for name, family in FAMILIES.items():
        try:
            socket.socket(family, socket.SOCK_DGRAM if family != 38 else 5).close()
        except OSError as error:
            reason = str(error.strerror)
            continue
        opened.append(name)
    if not opened:
        raise RefusedError(f"{reason} for {', '.join(FAMILIES)}")
    return opened


def use_the_network() -> object:
    # connect(2) on a datagram socket looks a route up and sends nothing; 192.0.2.0/24 is for tests.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
    return "a route to 192.0.2.1"


def see_network_interfaces() -> object:
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()[2:]
    names = [line.split(":")[0].strip() for line in lines]
    if set(names) <= {"lo"}:
        raise RefusedError("only lo is there")
    return names


def read_the_shadow_file() -> object:
    return f"{len(pathlib.Path('/etc/shadow').read_text())} characters of /etc/shadow"


def see_the_host() -> object:
    # Of /sys its parts: gVisor shows one that it made up, with nothing in them.
    places = [f"/{name}" for name in ("root", "home", "var", "run", "boot", "srv", "mnt")]
    places += [f"/sys/{name}" for name in ("module", "bus", "block", "firmware")]
    seen = [place for place in places if os.path.isdir(place) and os.listdir(place)]
    if not seen:
        raise RefusedError("none of " + ", ".join(places))
    return seen


def write(path: str) -> Attempt:
    def attempt() -> object:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.unlink(path)
        return f"made {path}, and removed it"

    return attempt


def open_for_writing(path: str) -> Attempt:
    def attempt() -> object:
        os.close(os.open(path, os.O_WRONLY))  # opened only: nothing is written
        return f"opened {path} for writing"

    return attempt


def make_a_user_namespace() -> object:
    call(LIBC.unshare, CLONE_NEWUSER)
    return "a nested user namespace"


def mount_something() -> object:
    # The kernel asks for the privilege (EPERM) before it looks for the file system (ENODEV).
    try:
        call(LIBC.mount, b"none", b"/tmp", b"fumehood-none", 0, None)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
    return "mounting is allowed"


def make_a_device() -> object:
    os.mknod("/tmp/fumehood-disk", 0o60600, os.makedev(8, 0))
    os.unlink("/tmp/fumehood-disk")
    return "a block device"


def become_root() -> object:
    os.setuid(0)
    return f"uid {os.getuid()}"


def trace_another_process() -> object:
    call(LIBC.ptrace, PTRACE_SEIZE, 1, None, None)
    return "traced process 1"


def see_host_processes() -> object:
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    if len(pids) <= 4:
        raise RefusedError(f"only the sandbox's own {len(pids)}")
    return f"{len(pids)} processes"


def load_a_kernel_program() -> object:
    if BPF is None:
        raise RefusedError("not tried on this architecture")
    try:
        call(LIBC.syscall, BPF, 0, None, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: the kernel looked at the arguments
            raise
    return "bpf(2) reaches the kernel"


def execute_from_scratch() -> object:
    path = "/tmp/fumehood-program"
    pathlib.Path(path).write_text("#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o700)
    try:
        os.waitpid(os.posix_spawn(path, [path], {}), 0)
    finally:
        os.unlink(path)
    return "executed a program from /tmp"


def inherit_descriptors() -> object:
    kept = []
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                kept.append(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
            except OSError:
                continue  # the descriptor that lists the directory
    mine = [entry for entry in kept if "pipe:" in entry]  # the pipe to the probe itself
    if len(kept) <= len(mine) <= 1:
        raise RefusedError("stdin, stdout and stderr only")
    return kept


def status() -> dict[str, str]:
    text = pathlib.Path("/proc/self/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def keep_capabilities() -> object:
    fields = status()
    held = [name for name in fields if name.startswith("Cap") and int(fields[name], 16)]
    if more := set(os.getgroups()) - {os.getgid(), 65534}:
        held.append(f"groups {sorted(more)}")
    if not held:
        raise RefusedError("no capability in any set, no further group")
    return held


def go_unfiltered() -> object:
    fields, held = status(), []
    if fields.get("NoNewPrivs") != "1":
        held.append("new privileges are possible")
    if fields.get("Seccomp") != "2":
        held.append("no seccomp filter")
    if not held:
        raise RefusedError("no_new_privs, seccomp filter")
    return held


def inherit_the_environment() -> object:
    extra = sorted(set(os.environ) - VARIABLES)
    if not extra:
        raise RefusedError("only " + ", ".join(sorted(os.environ)))
    return extra


ATTEMPTS = {
    "open sockets": open_sockets,
    "reach the network": use_the_network,
    "see network interfaces": see_network_interfaces,
    "read /etc/shadow": read_the_shadow_file,
    "see the host's files": see_the_host,
    "write /usr": write("/usr/fumehood-probe"),
    "write /": write("/fumehood-probe"),
    "write its own program": write("/tool/fumehood-probe"),
    "open core_pattern": open_for_writing("/proc/sys/kernel/core_pattern"),
    "open sysrq-trigger": open_for_writing("/proc/sysrq-trigger"),
    "nest a user namespace": make_a_user_namespace,
    "mount": mount_something,
    "make a device": make_a_device,
    "become root": become_root,
    "trace process 1": trace_another_process,
    "see host processes": see_host_processes,
    "load a kernel program": load_a_kernel_program,
    "execute from scratch space": execute_from_scratch,
    "inherit descriptors": inherit_descriptors,
    "keep capabilities": keep_capabilities,
    "go unfiltered": go_unfiltered,
    "inherit the environment": inherit_the_environment,
}


def in_a_child(attempt: Attempt) -> tuple[bool, str]:
    """(escaped, detail) of one attempt."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        try:
            answer = [True, str(attempt())]
        except (OSError, RefusedError) as refusal:
            answer = [False, getattr(refusal, "strerror", None) or str(refusal)]
        os.write(writable, json.dumps(answer).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return False, f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    if not said:
        return True, "the attempt itself failed"
    escaped, detail = json.loads(said)
    return escaped, detail


def main() -> None:
    if os.getuid() == 0:
        sys.exit("the probe is for sandboxes, which never run as root")
    json.load(sys.stdin)
    report = []
    for name, attempt in ATTEMPTS.items():
        escaped, detail = in_a_child(attempt)
        report.append({"name": name, "escaped": escaped, "detail": detail})
    json.dump({"uid": os.getuid(), "attempts": report}, sys.stdout)


main()
