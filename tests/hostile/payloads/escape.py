"""Looks for a way out of the sandbox: privilege, mounts, kernel files, other processes, roots."""

import ctypes
import os
import shutil
import stat
import subprocess

from attempts import attempt, main, name, write

Arguments = dict[str, list[str]]
Answers = dict[str, object]
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x20000, 0x40000000
MFD_CLOEXEC = 1


def call(function: str, *args: object) -> str:
    result = getattr(libc, function)(*args)
    return name(ctypes.get_errno()) if result == -1 else "ok"


def run(*argv: str) -> str:
    """What a program printed, on either stream, and its exit code."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return repr(error)
    return f"{done.returncode} {done.stdout}{done.stderr}"


def privilege(_: Arguments) -> Answers:
    """setuid programs, setuid itself, and files made setuid."""
    shutil.copy("/usr/bin/id", "/tmp/id")
    os.chmod("/tmp/id", 0o6755)
    setuid = [
        entry.path
        for entry in os.scandir("/usr/bin")
        if entry.is_file(follow_symlinks=False) and entry.stat().st_mode & stat.S_ISUID
    ]
    return {
        "setuid": attempt(lambda: os.setuid(0)),
        "setresuid": attempt(lambda: os.setresuid(0, 0, 0)),
        "setgid": attempt(lambda: os.setgid(0)),
        "setgroups": attempt(lambda: os.setgroups([0])),
        "capset": call("capset", None, None),
        "groups": [group for group in os.getgroups() if group != os.getgid()],
        "programs": {path: "uid=0" in run(path, "-c", "id") for path in setuid},
        "own": run("/tmp/id"),
        "chown": attempt(lambda: os.chown("/tmp/id", 0, 0)),
        "chroot": attempt(lambda: os.chroot("/tmp")),
        "euid": os.geteuid() == os.getuid(),
        "unshare program": run("unshare", "--user", "--map-root-user", "id"),
    }


def namespaces(_: Arguments) -> Answers:
    def enter(path: str) -> str:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return call("setns", descriptor, 0)
        finally:
            os.close(descriptor)

    return {
        "unshare user": call("unshare", CLONE_NEWUSER),
        "unshare user and mount": call("unshare", CLONE_NEWUSER | CLONE_NEWNS),
        "unshare network": call("unshare", CLONE_NEWNET),
        "setns own user": enter("/proc/self/ns/user"),
        "setns of init": enter("/proc/1/ns/mnt") if os.path.exists("/proc/1/ns/mnt") else "ENOENT",
        "bwrap": run("bwrap", "--unshare-user", "--ro-bind", "/", "/", "true").split()[0] == "0",
    }


def mounts(_: Arguments) -> Answers:
    os.mkdir("/tmp/m")
    return {
        "tmpfs": call("mount", b"none", b"/tmp/m", b"tmpfs", 0, None),
        "proc": call("mount", b"none", b"/tmp/m", b"proc", 0, None),
        "bind": call("mount", b"/usr", b"/tmp/m", None, 4096, None),
        "remount": call("mount", b"none", b"/usr", None, 4096 | 32, None),
        "umount tool": call("umount2", b"/tool", 2),
        "umount proc": call("umount2", b"/proc", 2),
        "pivot_root": call("pivot_root", b"/tmp", b"/tmp/m"),
        "fsopen": call("fsopen", b"tmpfs", 0),
        "open_tree": call("open_tree", -100, b"/", 1),
        "char device": attempt(
            lambda: os.mknod("/tmp/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        ),
        "block device": attempt(
            lambda: os.mknod("/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))
        ),
    }


TARGETS = {
    "/proc/sys/kernel/core_pattern": "|/tmp/x",
    "/proc/sys/kernel/hostname": "hacked",
    "/proc/sys/kernel/modprobe": "/tmp/x",
    "/proc/sys/kernel/randomize_va_space": "0",
    "/proc/sys/vm/overcommit_memory": "1",
    "/proc/sys/net/ipv4/ip_forward": "1",
    "/proc/sysrq-trigger": "h",
    "/proc/self/uid_map": "0 0 1",
    "/proc/self/setgroups": "allow",
    "/proc/1/oom_score_adj": "-1000",
    "/proc/1/mem": "x",
    "/proc/irq/default_smp_affinity": "1",
    "/proc/bus/pci/00/00.0": "x",
    "/proc/scsi/scsi": "x",
    "/proc/acpi/wakeup": "x",
    "/sys/kernel/uevent_helper": "/tmp/x",
    "/sys/fs/cgroup/release_agent": "/tmp/x",
    "/sys/fs/cgroup/cgroup.procs": "0",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "-1",
    "/sys/fs/cgroup/memory/release_agent": "/tmp/x",
    "/sys/power/state": "mem",
    "/dev/mem": "x",
    "/dev/kmsg": "x",
    "/dev/sda": "x",
    "/dev/vda": "x",
    "/usr/bin/env": "x",
    "/tool/escape.py": "x",
    "/etc/passwd": "x",
}


def kernel_files(_: Arguments) -> Answers:
    """Writes to what controls the host; a missing file is as good as a refused one."""

    def try_write(path: str, text: str) -> str:
        return attempt(lambda: write(path, text))

    def try_read(path: str) -> str:
        def read() -> None:
            with open(path, "rb") as file:
                file.read(16)

        return attempt(read)

    reads = ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/etc/shadow", "/proc/1/environ")
    return {
        "writes": {path: try_write(path, text) for path, text in TARGETS.items()},
        "reads": {path: try_read(path) for path in reads},
    }


def roots(_: Arguments) -> Answers:
    """Names under which a careless sandbox shows the host's root."""

    def listing(path: str) -> object:
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            return name(error.errno)

    ways = ["/proc/self/root", "/proc/1/root", "/proc/2/root", "/proc/self/cwd/..", "/.."]
    ways += ["/tool/../../..", "/proc/thread-self/root", "/proc/1/cwd", "/dev/fd/0/.."]
    ways += [f"/proc/self/fd/{number}" for number in range(64)]
    root = {entry: listing(f"/{entry}") for entry in os.listdir("/")}
    return {"/": root, **{way: listing(way) for way in ways}}


def descriptors(_: Arguments) -> Answers:
    """What was left open from outside: everything above 2 that this process did not open."""
    found: Answers = {}
    for number in range(4096):
        try:
            found[str(number)] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
    return found


def writable(arguments: Arguments) -> Answers:
    """Every directory that can be written, and every socket that can be reached."""
    directories, sockets = [], []
    skipped = ("/proc", *arguments.get("skip", ()))
    for directory, _names, names in os.walk("/"):
        if directory.startswith(skipped):
            continue
        if os.access(directory, os.W_OK):
            directories.append(directory)
        if not directory.startswith("/usr/share"):
            for entry in names:
                path = os.path.join(directory, entry)
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    sockets.append(path)
    return {"directories": directories, "sockets": sockets}


def execution(_: Arguments) -> Answers:
    """Native code from where a tool can write."""
    answers: Answers = {}
    for place in ("/tmp", "/out", "/dev/shm"):
        program = f"{place}/true"
        shutil.copy("/usr/bin/true", program)
        os.chmod(program, 0o755)
        answers[place] = run(program)
        loader = next(p for p in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
                      if os.path.exists(p))  # fmt: skip
        answers[f"loader {place}"] = run(loader, program)
        if os.path.lexists(program):
            os.unlink(program)
    answers["memfd"] = attempt(lambda: os.memfd_create("x", MFD_CLOEXEC))
    return answers


def others(_: Arguments) -> Answers:
    """Processes that can be seen, traced, read or signalled."""
    seen = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return {
        "seen": seen,
        "self": os.getpid(),
        "trace": call("ptrace", 16, 1, None, None),
        "read memory": call("process_vm_readv", 1, None, 0, None, 0, 0),
        "kill all": attempt(lambda: os.kill(-1, 0)),
        "shared memory": call("shmget", 0x5EC2E7, 4096, 0o1666),
        "message queue": call("msgget", 0x5EC2E7, 0o1666),
        "hostname": call("sethostname", b"hacked", 6),
    }


if __name__ == "__main__":
    main(
        {
            action.__name__: action
            for action in (
                privilege, namespaces, mounts, kernel_files, roots, descriptors, writable,
                execution, others,
            )
        }
    )  # fmt: skip
