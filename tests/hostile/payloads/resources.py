"""Takes all it can get of processor, memory, processes, descriptors and scratch space."""

import contextlib
import fcntl
import hashlib
import mmap
import os
import resource
import signal
import sys
import threading
import time

from attempts import attempt, main

MIB = 1 << 20
BLOCK = b"x" * MIB


def fork_bomb(_: object) -> None:
    while True:
        with contextlib.suppress(OSError):
            os.fork()


def fork_spin(_: object) -> None:
    """Each generation burns a little and leaves the rest to a child: no process lives long."""
    if os.fork() == 0:
        while True:
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                pass
            with contextlib.suppress(OSError):
                if os.fork():
                    os._exit(0)
    signal.pause()


def thread_spin(_: object) -> None:
    def spin() -> None:
        while True:
            hashlib.sha512(BLOCK).digest()  # without the interpreter's lock

    for _thread in range(8):
        threading.Thread(target=spin).start()


def thread_bomb(_: object) -> dict[str, int]:
    started = 0
    release = threading.Event()
    try:
        while started < 10_000:
            threading.Thread(target=release.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    release.set()
    return {"threads": started}


def zombies(_: object) -> dict[str, int]:
    made = 0
    try:
        while made < 10_000:
            if os.fork() == 0:
                os._exit(0)
            made += 1
    except OSError:
        pass
    return {"zombies": made}


def sleep(_: object) -> None:
    time.sleep(3600)


def ignore_sigterm(_: object) -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def stop_self(_: object) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    print("somebody continued me")


def heap(_: object) -> None:
    held = []
    while True:
        held.append(bytearray(BLOCK))


def child_heap(_: object) -> dict[str, int]:
    """Only the child dies of it; this process goes on and exits 0."""
    if os.fork() == 0:
        heap(None)
    _, status = os.wait()
    return {"child_signal": os.WTERMSIG(status)}


def shared(_: object) -> None:
    """Shared memory is in no process's private memory; only the cgroup sees it."""
    held = []
    while True:
        area = mmap.mmap(-1, 8 * MIB)
        for offset in range(0, 8 * MIB, mmap.PAGESIZE):
            area[offset] = 1
        held.append(area)


def page_cache(arguments: dict[str, object]) -> dict[str, int]:
    """Read more files than fit the limit: cache is given back, so nobody needs to die."""
    read = 0
    for directory, _, names in os.walk("/usr/lib"):
        for entry in names:
            with contextlib.suppress(OSError), open(os.path.join(directory, entry), "rb") as file:
                while block := file.read(MIB):
                    read += len(block)
        if read > int(str(arguments["bytes"])):
            break
    return {"read": read}


def pipes(_: object) -> dict[str, int]:
    """Pipe buffers are kernel memory."""
    held, written = [], 0
    with contextlib.suppress(OSError):
        while True:
            reader, writer = os.pipe()
            held += [reader, writer]
            os.set_blocking(writer, False)
            with contextlib.suppress(OSError):
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, MIB)
            with contextlib.suppress(BlockingIOError):
                while True:
                    written += os.write(writer, BLOCK)
    return {"descriptors": len(held), "written": written}


def fill(path: str) -> int:
    """Write one file until the kernel says no; its size."""
    size = 0
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            size += file.write(BLOCK)
    return size


def scratch(_: object) -> dict[str, int]:
    """/dev/shm may be another name of one of the two; all together are bounded."""
    files = ["/tmp/first", "/out/second", "/dev/shm/third"]
    filled = {path: fill(path) for path in files}
    for path in files:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return filled


def scratch_memory(_: object) -> None:
    fill("/tmp/full")
    time.sleep(3600)


def inodes(_: object) -> dict[str, int]:
    """Empty files, links, directories: nothing with a size."""
    made = 0
    with contextlib.suppress(OSError):
        while made < 1_000_000:
            os.close(os.open(f"/tmp/{made}", os.O_CREAT | os.O_WRONLY, 0o600))
            made += 1
    for number in range(made):
        os.unlink(f"/tmp/{number}")
    return {"files": made}


def descriptors(_: object) -> dict[str, int]:
    held: list[int] = []
    with contextlib.suppress(OSError):
        while len(held) < 10_000_000:
            held.append(os.dup(0))
    for descriptor in held:
        os.close(descriptor)
    return {"descriptors": len(held)}


def raise_limits(_: object) -> dict[str, str]:
    """Every limit of this process is final."""
    answers = {}
    for key in ("NOFILE", "NPROC", "CORE", "MEMLOCK", "FSIZE", "AS"):
        kind = getattr(resource, f"RLIMIT_{key}")
        _soft, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            wanted = (hard + 1, hard + 1)
            try:
                resource.setrlimit(kind, wanted)
                answers[key] = "ok"
            except (OSError, ValueError):
                answers[key] = "refused"
    answers["nice"] = attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
    realtime = os.sched_param(50)
    answers["realtime"] = attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, realtime))
    answers["oom_score_adj"] = attempt(lower_oom_score)
    return answers


def lower_oom_score() -> None:
    """Below zero others are killed first."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1")


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    main(
        {
            action.__name__: action
            for action in (
                fork_bomb, fork_spin, thread_spin, thread_bomb, zombies, sleep, ignore_sigterm,
                stop_self, heap, child_heap, shared, page_cache, pipes, scratch, scratch_memory,
                inodes, descriptors, raise_limits,
            )
        }
    )  # fmt: skip
