"""The launcher of the embedded engine: the small privileged process that runs bubblewrap.

Single-threaded, standard library and kernel room only. See `launcher.loop` for what it does; here
it becomes what it is: a stage to build sandboxes from, and no privilege that is not needed.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from pathlib import Path

from fumehood.engines import bwrap
from fumehood.engines.bubblewrap import Bubblewrap, Stage
from fumehood.kernel import (
    accounts,
    cgroup,
    cgroup_sweep,
    libc,
    proc,
    profile_files,
    rootfs,
    seccomp,
    seccomp_logged,
)
from fumehood.kernel.seccomp_logged import Pair
from fumehood.launcher import image_trees, tool_trees
from fumehood.launcher.denials import Denials
from fumehood.launcher.entry import code_paths, serve
from fumehood.launcher.loop import Launcher
from fumehood.model.plan import Ceilings

BASE = "/fumehood"
"""Where the launcher's own mount namespace holds what sandboxes are made from."""
_KEEP = frozenset(
    {
        libc.CAP_SYS_ADMIN,  # mount
        libc.CAP_SETUID,
        libc.CAP_SETGID,
        libc.CAP_KILL,
        libc.CAP_CHOWN,  # scratch directories
        libc.CAP_DAC_OVERRIDE,  # artifacts that a tool made private
        libc.CAP_SYS_PTRACE,  # /proc/PID/ns of other accounts
    }
)
DESCRIPTORS_EACH = 8
"""Of this process for each sandbox: pidfds, gate, status, and its pipes on their way."""
_SANDBOX_RLIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MEMLOCK, 64 * 1024),
    (resource.RLIMIT_MSGQUEUE, 0),
)


def main(argv: list[str]) -> int:
    """See `launcher.entry.serve`."""
    return serve(argv, Ceilings, prepare)


def prepare(channel: socket.socket, limits: Ceilings) -> tuple[Launcher, str, int]:
    """Sweep, build the stage, and give up every privilege that is not needed after that."""
    os.setsid()  # a terminal's Ctrl-C is the keeper's to handle
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    rootless = limits.uid_own >= 0
    bwrap.require_fixed(bwrap.installed(), limits.accepted)
    if not rootless:
        accounts.check_range(limits.uid_first, limits.uid_count)
    denials = Denials.open(rootless=rootless)
    profiles, filters, logged = _load_profiles(limits, logging=denials.fd >= 0)
    layout = cgroup.discover()
    swept = cgroup_sweep.sweep(layout)
    cgroups = cgroup.Instance.create(layout)
    host = proc.namespaces("self")
    stage = _build_stage(limits, layout, rootless=rootless)
    if not rootless:
        os.setgroups([])
        libc.limit_capabilities(_KEEP)
    descriptors = 512 + DESCRIPTORS_EACH * limits.sandboxes
    for kind, most in (*_SANDBOX_RLIMITS, (resource.RLIMIT_NOFILE, max(4096, descriptors))):
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
    own = max(proc.read_status(os.getpid()).seccomp_filters, 0)
    engine = Bubblewrap(stage, cgroups, filters, host, rootless, logged, own)
    launcher = Launcher(channel, engine, limits, profiles, image_trees.has, denials)
    return launcher, layout.mode, swept


def _load_profiles(
    limits: Ceilings, *, logging: bool
) -> tuple[dict[str, str], dict[str, bytes], dict[str, Pair]]:
    """Digest and compiled filter of every profile, shipped or the operator's; and the pair that
    logs, where anybody would hear of it and a process tells how many filters it has."""
    digests, filters, logged = {}, {}, {}
    logging = logging and proc.read_status(os.getpid()).seccomp_filters >= 0
    for name, path in profile_files.find(limits.profiles, limits.own_profiles).items():
        profile = seccomp.load_profile(path)
        digests[name], filters[name] = profile.digest, seccomp.compile_bpf(profile)
        if logging and (pair := seccomp_logged.pair(profile)) is not None:
            logged[name] = pair
    return digests, filters, logged


def _build_stage(limits: Ceilings, layout: cgroup.Layout, *, rootless: bool) -> Stage:
    """Our own root: what sandboxes are made from, cgroups, our code, and nothing else.

    It also makes bubblewrap faster, which reads the whole mount table for every bind.
    """
    if rootless:
        rootfs.user_namespace()
    else:
        rootfs.private_namespace()
    store = tool_trees.open_store(limits.store)
    binds = [rootfs.Bind(f"/proc/self/fd/{store}", f"{BASE}/store")]
    binds += [rootfs.Bind(path) for path in code_paths()]
    trees = image_trees.open_trees(limits.image_store)
    if trees >= 0:
        binds.append(rootfs.Bind(f"/proc/self/fd/{trees}", image_trees.PLACE))
    alternatives = rootfs.alternatives()
    groups = {str(path) for path in layout.v1.values()}
    if layout.unified:
        groups.add(str(layout.unified))
    binds += [rootfs.Bind(path, read_only=False) for path in sorted(groups)]
    rootfs.enter(binds, tmp_bytes=64 * 1024)
    os.close(store)
    if trees >= 0:
        os.close(trees)
    stage = Stage(
        f"{BASE}/root", f"{BASE}/dev", f"{BASE}/store", f"{BASE}/sandboxes", image_trees.PLACE
    )
    for path in (stage.skeleton, stage.devices, stage.sandboxes):
        os.mkdir(path)
    rootfs.skeleton(Path(stage.skeleton), alternatives)
    rootfs.device_directory(Path(stage.devices))
    return stage
