"""Says what a tool can see of its own confinement; every answer is checked from outside."""

import json
import os
import resource
import stat
import sys

arguments = json.load(sys.stdin)


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return f"{error.strerror}"


def links(directory: str) -> dict[str, str]:
    found = {}
    for name in os.listdir(directory):
        try:
            found[name] = os.readlink(f"{directory}/{name}")
        except OSError:
            continue  # the directory listing itself
    return found


def entries(path: str) -> int:
    """How many names are in a directory, or bytes in a file; -1 when it cannot be read."""
    try:
        return len(os.listdir(path)) if os.path.isdir(path) else os.stat(path).st_size
    except OSError:
        return -1


def devices() -> dict[str, str]:
    """Device files that can be opened by anybody, by name."""
    found = {}
    for directory, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path)
            if stat.S_ISCHR(mode.st_mode) or stat.S_ISBLK(mode.st_mode):
                kind = "c" if stat.S_ISCHR(mode.st_mode) else "b"
                found[path] = f"{kind} {os.major(mode.st_rdev)}:{os.minor(mode.st_rdev)}"
    return found


def can_make(directory: str) -> bool:
    path = f"{directory}/fumehood-probe"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError:
        return False
    os.unlink(path)
    return True


status = dict(
    line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line
)
root = sorted(os.listdir("/"))
places = ["/", *(f"/{name}" for name in root), "/usr/bin", "/dev/mqueue", "/dev/pts", "/dev/shm"]
places += ["/proc/sys/kernel", "/sys/fs/cgroup", "/etc/alternatives"]
print(
    json.dumps(
        {
            "arguments": arguments,
            "uids": os.getresuid(),
            "gids": os.getresgid(),
            "groups": os.getgroups(),
            "status": status,
            "namespaces": links("/proc/self/ns"),
            "environment": dict(os.environ),
            "descriptors": links("/proc/self/fd"),
            "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
            "root": {name: entries(f"/{name}") for name in root},
            "devices": devices(),
            "interfaces": read("/proc/net/dev").splitlines()[2:],
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "cwd": os.getcwd(),
            "hostname": os.uname().nodename,
            "names": read("/etc/resolv.conf"),
            "writable": [place for place in places if os.path.isdir(place) and can_make(place)],
            "mounts": read("/proc/self/mountinfo").splitlines(),
            "uid_map": read("/proc/self/uid_map").split(),
        }
    )
)
