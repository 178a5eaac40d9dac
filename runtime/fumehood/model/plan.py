"""The plan: the complete, frozen list of what will be enforced for one sandbox.

Standard library only, because the privileged launcher decodes and checks it. A plan holds
no promise that nobody reads back: every field is either enforced by the engine and proven
by the launcher before input is fed, or attacked by a test in `tests/conformance`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from fumehood.model.codec import encode

MountKind = Literal["tool", "scratch"]

TOOL_MOUNT = "/tool"
SCRATCH_MOUNTS = ("/tmp", "/out")  # noqa: S108  (paths inside the sandbox)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use. All integers, so that equal plans have equal digests.

    timeout_ms: wall time from start to death, milliseconds.
    cpu_millis: CPU bandwidth, thousandths of one core (1000 = one core).
    memory_bytes: resident memory and tmpfs together; swap is always none.
    pids: processes and threads together.
    scratch_bytes, scratch_inodes: /tmp and /out together.
    output_bytes: each of stdout and stderr, and all artifacts together.
    cpu_time_ms: CPU time from start to death, user and system, milliseconds; 0 is no limit of
        its own (timeout_ms and cpu_millis together bound it).
    grace_ms: between SIGTERM and the kill, when it is stopped at its deadline or cancelled.
    """

    timeout_ms: int
    cpu_millis: int
    memory_bytes: int
    pids: int
    scratch_bytes: int
    scratch_inodes: int
    output_bytes: int
    cpu_time_ms: int = 0
    grace_ms: int = 500


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount besides the root. `source` is a store digest for `tool`, empty for `scratch`."""

    kind: MountKind
    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine takes. Only `admission.planner` builds one; the launcher believes none.

    image: the root file system: `host` is the host's /usr, read-only; `sha256:<hex>` is the
        tree of that OCI manifest digest in the image store.
    argv: the program and its fixed arguments; caller data never appears here.
    environment: name/value pairs, sorted by name; the sandbox sees nothing else.
    seccomp: name of a profile in the profile directory.
    seccomp_digest: `sha384:<hex>` of that profile's file, so that a change is seen.
    accepted: controls that the operator accepted as not enforced on this host, sorted.
    runtime: what runs a container: `runc`, `runsc`, `kata`; empty is the engine's own default,
        and the only value for engines that have none.
    log_denials: the operator wants to be told of denied calls too, where the engine can; a tool
        that makes many is stopped for the rest of each second.
    """

    engine: str
    image: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    uid: int
    gid: int
    seccomp: str
    seccomp_digest: str
    network: Literal["none"]
    limits: Limits
    accepted: tuple[str, ...] = ()
    runtime: Literal["", "runc", "runsc", "kata"] = ""
    log_denials: bool = False

    def digest(self) -> str:
        """`sha384:<hex>` over the canonical JSON of the plan."""
        return _digest(self)


@functools.lru_cache(maxsize=1024)
def _digest(plan: Plan) -> str:
    """Plans are equal from call to call; encoding one costs thirty times the look-up."""
    text = json.dumps(encode(plan), sort_keys=True, separators=(",", ":"))
    return "sha384:" + hashlib.sha384(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the operator lets any plan have. Root-owned; the launcher checks every plan against it.

    uid_first, uid_count: the range of service accounts; both zero when rootless, where the
        only account is `uid_own`.
    uid_own: the launcher's own UID when rootless, -1 otherwise.
    store: directory of registered tool files; `tool` mounts come from nowhere else.
    profiles: directory of seccomp profiles.
    images: names of root file systems that may be used without being in the image store.
    sandboxes: how many may exist at once.
    accepted: controls that the operator accepted as not enforced (rootless hosts).
    image_store: directory of the image store; images come from nowhere else. Empty: there is none.
    own_profiles: directory of the operator's seccomp profiles. Empty: there is none.
    """

    uid_first: int
    uid_count: int
    uid_own: int
    store: str
    profiles: str
    images: tuple[str, ...]
    limits: Limits
    sandboxes: int
    accepted: tuple[str, ...] = ()
    image_store: str = ""
    own_profiles: str = ""


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """Which Docker Engine to use. runtimes: those that plans may name."""

    socket: str = "/var/run/docker.sock"
    runtimes: tuple[str, ...] = ("runc",)


@dataclass(frozen=True, slots=True)
class DockerLaunch:
    """What the Docker launcher is started with."""

    ceilings: Ceilings
    docker: DockerSettings
