"""What a tool does that a promise must bear: one action a call, named on the command line."""

import contextlib
import ctypes
import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

STARTED = time.clock_gettime(time.CLOCK_MONOTONIC)
"""As the first thing of the tool: it has no time namespace."""
LIBC = ctypes.CDLL(None, use_errno=True)
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
MIB = 1 << 20


def name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def attempt(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return name(error)
    return "ok"


def libc(function: str, *arguments: object) -> str:
    return name(OSError(ctypes.get_errno(), "")) if getattr(LIBC, function)(*arguments) else "ok"


def bounds() -> object:
    """Fill scratch space by bytes, then by files."""
    found: dict[str, object] = {}
    written = 0
    try:
        with open("/tmp/big", "wb", buffering=0) as file:
            while True:
                written += file.write(bytes(MIB))
    except OSError as error:
        found["bytes"] = [written, name(error)]
    os.remove("/tmp/big")
    made = 0
    try:
        while True:
            os.close(os.open(f"/out/{made}", os.O_CREAT | os.O_WRONLY, 0o600))
            made += 1
    except OSError as error:
        found["files"] = [made, name(error)]
    for entry in os.listdir("/out"):
        os.remove(f"/out/{entry}")
    return found


def execute() -> object:
    found = {}
    for place in ("/tmp", "/out", "/dev/shm"):
        path = f"{place}/true"
        shutil.copy("/usr/bin/true", path)
        os.chmod(path, 0o755)
        found[place] = attempt(lambda path=path: subprocess.run([path], check=False))
        os.remove(path)
    return found


def privilege() -> object:
    shutil.copy("/usr/bin/id", "/tmp/id")
    su = next((path for path in ("/usr/bin/su", "/bin/su") if os.path.exists(path)), "/usr/bin/id")
    ran = subprocess.run(
        [su, "-c", "id"], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return {
        "setuid": attempt(lambda: os.setuid(0)),
        "setgid": attempt(lambda: os.setgid(0)),
        "setgroups": attempt(lambda: os.setgroups([0])),
        "chown": attempt(lambda: os.chown("/tmp/id", 0, 0)),
        "su": "ok" if b"uid=0" in ran.stdout else "nothing",
    }


def nesting() -> object:
    flags = {"user": 0x10000000, "mount": 0x20000, "network": 0x40000000, "pid": 0x20000000}
    return {kind: libc("unshare", flag) for kind, flag in flags.items()}


def kernel() -> object:
    def write(path: str) -> str:
        def action() -> None:
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.write(descriptor, b"fumehood")
            finally:
                os.close(descriptor)

        return attempt(action)

    files = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger")
    return {
        **{path: write(path) for path in files},
        "mount": libc("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "umount": libc("umount2", b"/tool", 2),
        "chroot": attempt(lambda: os.chroot("/tmp")),
        "device": attempt(lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0))),
        "hostname": libc("sethostname", b"fumehood", 8),
    }


def tool_files() -> object:
    return {
        "read": len(open("/tool/acts.py").read()) > 0,
        "new": attempt(lambda: open("/tool/new", "x").close()),
        "old": attempt(lambda: open("/tool/acts.py", "a").close()),
        "remove": attempt(lambda: os.remove("/tool/acts.py")),
        "chmod": attempt(lambda: os.chmod("/tool/acts.py", 0o777)),
    }


def processes() -> object:
    seen = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return {
        "others": [pid for pid in seen if pid not in (1, os.getpid())],
        "trace": libc("ptrace", 16, 1, None, None),
        "memory": "ok" if LIBC.process_vm_readv(1, None, 0, None, 0, 0) != -1 else "denied",
    }


def leave() -> object:
    found = sorted(os.listdir("/tmp")) + sorted(os.listdir("/out"))
    for path in ("/tmp/x", "/out/y", "/dev/shm/z"):
        open(path, "w").close()
    return found


def heap() -> object:
    held = []
    while True:
        held.append(bytearray(b"x" * MIB))


def child_heap() -> object:
    if os.fork() == 0:
        heap()
    _, status = os.wait()
    return {"signal": os.WTERMSIG(status)}


def fork() -> object:
    """Processes at once, this one included."""
    made = 1
    with contextlib.suppress(OSError):
        while made < 1000:
            if os.fork() == 0:
                signal.pause()
            made += 1
    return made


def burn() -> object:
    """Half a second of CPU time, all of it a child's that is dead in the end."""
    if os.fork() == 0:
        while time.process_time() < 0.5:
            pass
        os._exit(0)
    os.wait()
    return None


def spin(seconds: float) -> object:
    """As much CPU time for each of two children at once."""
    for _ in range(2):
        if os.fork() == 0:
            while time.process_time() < seconds:
                pass
            os._exit(0)
    for _ in range(2):
        os.wait()
    return None


def deaf() -> object:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    while True:
        time.sleep(3600)


def flood() -> object:
    while True:
        os.write(1, b"x" * 65536)


def carry() -> object:
    """Everything back, with a mark on the other stream."""
    sys.stderr.write("diagnostics\n")
    while data := os.read(0, 1 << 16):
        while data:
            data = data[os.write(1, data) :]
    sys.exit(0)


def exit7() -> object:
    sys.exit(7)


def kill() -> object:
    os.kill(os.getpid(), signal.SIGTERM)
    return signal.pause()


def orphan() -> object:
    """A daemon of two forks that holds no stream, and one that holds them all."""
    for keep in (False, True):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                if not keep:
                    for descriptor in range(3):
                        os.close(descriptor)
                while True:
                    time.sleep(3600)
            os._exit(0)
    return None


def artifacts() -> object:
    os.mkdir("/out/d")
    for path in ("/out/a", "/out/d/b"):
        with open(path, "w") as file:
            file.write(path)
    os.symlink("/etc/passwd", "/out/link")
    os.mkfifo("/out/fifo")
    return None


def tripwire() -> object:
    LIBC.syscall(BPF, 0, None, 0, 0)
    return "survived"


def sockets() -> object:
    """Families that can be had, by number and type."""
    import socket

    had = []
    for family in range(1, 46):
        for kind in (1, 2, 3, 5):
            with contextlib.suppress(OSError):
                socket.socket(family, kind).close()
                had.append([family, kind])
    pair = socket.socketpair()
    return {"had": had, "pair": len(pair)}


def network(port: int, abstract: str) -> object:
    """Reach for listeners of the host; nothing is sent where there is a real interface."""
    import socket

    with open("/proc/net/dev") as file:
        interfaces = [line.split(":")[0].strip() for line in file.readlines()[2:]]
    if set(interfaces) - {"lo"}:
        return {"interfaces": interfaces}

    def connect(family: int, address: object) -> None:
        with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as s:
            s.settimeout(2)
            s.connect(address)  # type: ignore[arg-type]  # its shape depends on the family

    return {
        "loopback": attempt(lambda: connect(socket.AF_INET, ("127.0.0.1", port))),
        "any": attempt(lambda: connect(socket.AF_INET, ("0.0.0.0", port))),
        "loopback6": attempt(lambda: connect(socket.AF_INET6, ("::1", port))),
        "metadata": attempt(lambda: connect(socket.AF_INET, ("169.254.169.254", 80))),
        "abstract": attempt(lambda: connect(socket.AF_UNIX, "\0" + abstract)),
        "vsock": attempt(lambda: connect(40, (2, 1024))),
    }


def started() -> object:
    return STARTED


def wait() -> object:
    """Until somebody ends it."""
    time.sleep(3600)
    return None


if __name__ == "__main__":
    if sys.argv[1] == "carry":
        carry()
    arguments = json.load(sys.stdin)
    print(json.dumps(globals()[sys.argv[1]](**arguments)), flush=True)
