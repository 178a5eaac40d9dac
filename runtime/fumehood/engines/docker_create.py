"""From a plan to the container that Docker is asked for, in the Engine API's own words. Pure.

It must never leave a field to the daemon's or the image's defaults that a plan decides.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fumehood.engines.docker_group import opening_limits
from fumehood.engines.docker_scratch import TOOL
from fumehood.kernel.cgroup import CPU_PERIOD_US
from fumehood.model.plan import Plan

LABEL_INSTANCE: Final = "org.fumehood.instance"
LABEL_SANDBOX: Final = "org.fumehood.sandbox"
LABEL_DIGEST: Final = "org.fumehood.digest"
_INSTANCE: Final = re.compile(r"fumehood-[0-9]{1,10}-[0-9]{1,20}-[0-9a-f]{6}")
_SANDBOX: Final = re.compile(r"[0-9a-f-]{8,64}")
INIT: Final = "/dev/.fumehood-init"
"""Where the container's init is bound: below /dev, which is the runtime's own tmpfs, so that no
image has to have a place for it, and no /usr of the host hides it."""
OOM_SCORE: Final = 1000
"""The kernel's highest: a sandbox dies before anything else does (bubblewrap's have it too)."""
MEMORY_LOCK_BYTES: Final = 64 * 1024
OPEN_FILES: Final = 4096
# Docker's own (moby oci/defaults.go), and what bubblewrap's sandboxes do not have either.
MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys",
    "/dev/mqueue",
    "/dev/pts",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container needs from this host, besides its plan.

    image: Docker's ID of the image. binds: host paths shown read-only, by their target.
    image_environment: names that the image sets, to be unset. scratch: the directory of all
    scratch spaces. parent: the parent cgroup. runtime: as the daemon calls it. init: a static
    init of the host. resolv: an empty file.
    """

    image: str
    image_environment: Sequence[str]
    binds: Mapping[str, str]
    scratch: str
    parent: str
    runtime: str
    seccomp: str
    init: str
    empty: str
    instance: str
    remapped: bool


def container_name(sandbox: str) -> str:
    """Ours to choose, so that it can be removed even if Docker's answer never came."""
    return f"fumehood-{sandbox}-{secrets.token_hex(8)}"


def instance_of(name: str, labels: Mapping[str, str]) -> str:
    """The instance whose container this is; empty: none of ours, whatever its labels say. Anybody
    can set a label, and whoever commits a container of ours hands them on."""
    instance, sandbox = labels.get(LABEL_INSTANCE, ""), labels.get(LABEL_SANDBOX, "")
    ours = _INSTANCE.fullmatch(instance) and _SANDBOX.fullmatch(sandbox)
    if not ours or not re.fullmatch(f"fumehood-{sandbox}-[0-9a-f]{{16}}", name):
        return ""
    return instance


def container(name: str, plan: Plan, here: Surroundings) -> dict[str, Any]:
    """The body of `POST /containers/create`."""
    return {
        "Image": here.image,
        "Hostname": "sandbox",
        "Domainname": "",
        "User": f"{plan.uid}:{plan.gid}",
        "Entrypoint": [INIT, "--", *plan.argv],
        "Cmd": [],
        # A name without `=` unsets what the image or Docker itself would set.
        "Env": [*(f"{key}={value}" for key, value in plan.environment), *_unset(plan, here)],
        "WorkingDir": "/tmp",  # noqa: S108  (the sandbox's own)
        "Labels": {LABEL_INSTANCE: here.instance, LABEL_SANDBOX: name},
        "Healthcheck": {"Test": ["NONE"]},
        "NetworkDisabled": True,
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGKILL",
        "Volumes": {},
        "ExposedPorts": {},
        "HostConfig": _host_config(name, plan, here),
    }


def _unset(plan: Plan, here: Surroundings) -> list[str]:
    wanted = {key for key, _ in plan.environment}
    return sorted({"HOSTNAME", *here.image_environment} - wanted)


def _host_config(name: str, plan: Plan, here: Surroundings) -> dict[str, Any]:
    outer = opening_limits(plan.limits)
    return {
        "Runtime": here.runtime,
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "Privileged": False,
        "CapAdd": [],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={here.seccomp}"],
        "MaskedPaths": list(MASKED_PATHS),
        "ReadonlyPaths": list(READONLY_PATHS),
        "IpcMode": "none",
        "CgroupnsMode": "private",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "host" if here.remapped else "",
        "CgroupParent": here.parent,
        # A second fence, as wide as the runtime itself needs; the plan's limits are those of the
        # parent group, which the kernel holds too and which Docker does not remove.
        "Memory": outer.memory_bytes,
        "MemorySwap": outer.memory_bytes,
        "PidsLimit": outer.pids,
        "CpuPeriod": CPU_PERIOD_US,
        "CpuQuota": plan.limits.cpu_millis * CPU_PERIOD_US // 1000,
        "OomScoreAdj": OOM_SCORE,
        "OomKillDisable": False,
        "Ulimits": [
            _ulimit("core", 0),
            _ulimit("memlock", MEMORY_LOCK_BYTES),
            _ulimit("msgqueue", 0),
            _ulimit("nofile", OPEN_FILES),
        ],
        # json-file grew 29 MB in 2 s from one container, and gave no back-pressure.
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "PublishAllPorts": False,
        "Init": False,
        "Devices": [],
        "Mounts": _mounts(name, plan, here),
    }


def _ulimit(name: str, value: int) -> dict[str, object]:
    return {"Name": name, "Soft": value, "Hard": value}


def _mounts(name: str, plan: Plan, here: Surroundings) -> list[dict[str, Any]]:
    mounts = [_bind(source, target, read_only=True) for target, source in here.binds.items()]
    mounts.append(_bind(here.init, INIT, read_only=True))
    # Docker would show the host's own name servers here.
    mounts.append(_bind(here.empty, "/etc/resolv.conf", read_only=True))
    scratch = f"{here.scratch}/{name}"
    for mount in plan.mounts:
        if mount.kind == "scratch":
            mounts.append(_bind(f"{scratch}{mount.target}", mount.target, read_only=False))
        else:
            mounts.append(_bind(f"{scratch}{TOOL}", mount.target, read_only=True))
    mounts.append(_bind(f"{scratch}/tmp", "/dev/shm", read_only=False))  # noqa: S108
    return mounts


def _bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    """Mounts below the source stay out: Docker before 25 leaves them writable."""
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }
