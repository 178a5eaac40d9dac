"""The launcher of the Docker engine: the only process that holds Docker's socket.

It stays in the host's mount namespace, because dockerd binds the scratch spaces that are mounted
here. Whoever has Docker's socket is root, so this process is small, and is started only where
the operator configured it. What dead launchers left is swept before anything is imported that
takes time.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Final

from fumehood.engines import docker_scratch, docker_seccomp, elf, fit
from fumehood.engines.docker_scratch import ScratchSpaces
from fumehood.errors import EngineError
from fumehood.kernel import accounts, cgroup, cgroup_sweep, libc, proc, profile_files, seccomp
from fumehood.launcher import tool_trees
from fumehood.launcher.denials import Denials
from fumehood.launcher.entry import serve
from fumehood.launcher.loop import Launcher
from fumehood.model.plan import Ceilings, DockerLaunch

_KEEP: Final = frozenset(
    {
        libc.CAP_SYS_ADMIN,  # mount
        libc.CAP_KILL,
        libc.CAP_CHOWN,  # scratch directories
        libc.CAP_DAC_OVERRIDE,  # artifacts that a tool made private, Docker's socket
        libc.CAP_SYS_PTRACE,  # the gate, and /proc/PID of other accounts
    }
)
_DESCRIPTORS: Final = 4096
_INITS: Final = ("docker-init", "tini-static", "tini", "catatonit")
_PLACES: Final = "/usr/bin:/usr/local/bin:/usr/libexec/docker:/usr/libexec/podman"


_SWITCH_SECONDS: Final = 0.0005
"""How long a worker's Python may keep the loop waiting, after each of the loop's system calls. With
Python's 5 ms a few workers held it up for longer than a container takes from its first process to
its program, which was then seized too late (1 of 100 calls on two busy cores)."""


def main(argv: list[str]) -> int:
    """See `launcher.entry.serve`."""
    return serve(argv, DockerLaunch, prepare)


def prepare(channel: socket.socket, given: DockerLaunch) -> tuple[Launcher, str, int]:
    """Sweep, find what is needed, and give up every privilege that is not."""
    os.setsid()  # a terminal's Ctrl-C is the keeper's to handle
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    limits = given.ceilings
    if limits.uid_own >= 0:
        raise EngineError(
            "the Docker engine needs root",
            "run Fumehood as root, or leave docker out of engines",
            control="service_account",
        )
    layout = cgroup.discover()
    swept = cgroup_sweep.sweep(layout) + docker_scratch.sweep()
    accounts.check_range(limits.uid_first, limits.uid_count)
    init = find_init()
    cgroups = cgroup.Instance.create(layout, nested=True)
    try:
        scratch = ScratchSpaces(cgroups.name, tool_trees.open_store(limits.store))
    except (OSError, EngineError):
        cgroups.close()
        raise
    denials = Denials.open()
    # Before there is a second thread: capabilities are each thread's own.
    os.setgroups([])
    libc.limit_capabilities(_KEEP)
    return _make(channel, given, cgroups, scratch, init, denials), layout.mode, swept


def _make(
    channel: socket.socket,
    given: DockerLaunch,
    cgroups: cgroup.Instance,
    scratch: ScratchSpaces,
    init: str,
    denials: Denials,
) -> Launcher:
    # Docker's package takes half a second to import; what a crash left is gone by now.
    from fumehood.engines.docker import Docker
    from fumehood.engines.docker_images import DockerImages
    from fumehood.engines.docker_link import Link

    limits = given.ceilings
    accepted = frozenset(limits.accepted)
    digests, documents, unfit = load_profiles(limits)
    link = Link(given.docker.socket, accepted, docker_scratch.is_alive)
    images = DockerImages(link, limits.image_store)
    engine = Docker(
        link=link,
        runtimes=frozenset(given.docker.runtimes),
        accepted=accepted,
        cgroups=cgroups,
        scratch=scratch,
        images=images,
        seccomp=documents,
        unfit=unfit,
        host_namespaces=proc.namespaces("self"),
        init=init,
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    sys.setswitchinterval(_SWITCH_SECONDS)
    _watch_children(engine.child_changed)
    # Finds the daemon, sweeps its containers and loads the image before the first call does;
    # without a daemon the launcher lives all the same, and each call tells what is missing.
    threading.Thread(target=engine.warm, name="warm", daemon=True).start()
    return Launcher(channel, engine, limits, digests, images.has, denials)


def _watch_children(changed: Callable[[], None]) -> None:
    """Call `changed` after each SIGCHLD: a traced process stopped or ended.

    A handler written in Python would not do: a signal that arrives just before epoll_wait(2) is
    noted and does not end the wait. The byte that the C handler writes is never lost.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    def relay() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        while os.read(reading, 4096):
            changed()

    threading.Thread(target=relay, name="children", daemon=True).start()


def find_init() -> str:
    """A static init on this host, to be the first process of every container.

    Raises:
        EngineError: there is none.
    """
    for name in _INITS:
        found = shutil.which(name, path=_PLACES)
        if found and elf.is_static(real := os.path.realpath(found)):
            return real
    raise EngineError(
        "no static init for containers is installed (docker-init, tini-static)",
        "apt-get install tini, or install Docker's own packages completely",
        control="init",
    )


def load_profiles(limits: Ceilings) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Digest and Docker's document of every profile, shipped or the operator's; and for those that
    no container may have the cause."""
    digests, documents, unfit = {}, {}, {}
    names = docker_seccomp.known_calls()
    for path in profile_files.find(limits.profiles, limits.own_profiles).values():
        profile = seccomp.load_profile(path)
        seccomp.compile_bpf(profile)  # refuses what could not be enforced as written
        with open(path, "rb") as file:
            data = file.read()
        digests[profile.name] = profile.digest
        documents[profile.name] = docker_seccomp.seccomp_document(data, names)
        if cause := fit.container_unfit(profile):
            unfit[profile.name] = cause
    return digests, documents, unfit
