"""Says what a tool can see of its own confinement; every answer is checked from outside."""

import json
import os
import resource
import sys

arguments = json.load(sys.stdin)


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return f"{error.strerror}"


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the directory listing itself
    return found


status = dict(
    line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line
)
scratch = os.statvfs("/tmp")
print(
    json.dumps(
        {
            "arguments": arguments,
            "status": status,
            "namespaces": {
                n: os.readlink(f"/proc/self/ns/{n}") for n in os.listdir("/proc/self/ns")
            },
            "mounts": read("/proc/self/mountinfo").splitlines(),
            "environment": dict(os.environ),
            "descriptors": descriptors(),
            "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
            "root": sorted(os.listdir("/")),
            "devices": sorted(os.listdir("/dev")),
            "interfaces": read("/proc/net/dev").splitlines()[2:],
            "uid_map": read("/proc/self/uid_map").split(),
            "session": os.getsid(0),
            "scratch": [scratch.f_blocks * scratch.f_frsize, scratch.f_files],
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "cwd": os.getcwd(),
            "hostname": os.uname().nodename,
        }
    )
)
