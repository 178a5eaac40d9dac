"""The way to dockerd: found when it is needed, noticed when it is lost, checked each time.

A daemon is used only after its versions, its cgroup driver and its security options were looked
at. When it ends (its stream of events ends) every sandbox that it holds is told at once.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fumehood.engines import docker_api, versions
from fumehood.engines.docker_api import Api, Facts
from fumehood.engines.docker_create import LABEL_INSTANCE, instance_of
from fumehood.errors import EngineError

MAX_SETTLED: Final = 8
"""Debts paid by one worker, so that no caller waits for all of them."""


@dataclass(slots=True)
class Link:
    """One daemon, for all threads of the launcher.

    is_alive: whether the launcher behind an instance's name still lives.
    on_lost: called from another thread, once for each daemon that ended. on_meddled: called from
    another thread, with the ID of a container that is sent a signal or removed through Docker.
    """

    path: str
    accepted: frozenset[str]
    is_alive: Callable[[str], bool]
    on_lost: Callable[[], None] = lambda: None
    on_meddled: Callable[[str], None] = lambda _: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _facts: Facts | None = None
    generation: int = 0
    """Grows with each daemon that is found: what an earlier one had says nothing."""
    _owed: set[str] = field(default_factory=set)

    def facts(self) -> Facts:
        """The daemon's facts; connects, checks and sweeps when there is no daemon yet.

        Raises:
            EngineError: there is no daemon, or none that may be used; `control` says why.
        """
        with self._lock:
            if self._facts is None:
                self._facts = self._connect()
            return self._facts

    def api(self) -> Api:
        """A connection of the caller's own."""
        return Api(self.path, self.facts().api)

    # --- debts

    def owe(self, container: str) -> None:
        with self._lock:
            self._owed.add(container)

    def settle(self, api: Api) -> None:
        for _ in range(MAX_SETTLED):
            with self._lock:
                if not self._owed:
                    return
                container = self._owed.pop()
            try:
                api.remove(container)
            except EngineError:
                self.owe(container)
                return

    # --- connecting

    def _connect(self) -> Facts:
        facts = docker_api.connect(self.path)
        check(facts, self.accepted)
        with contextlib.closing(Api(self.path, facts.api)) as api:
            for found in api.labelled(LABEL_INSTANCE):
                instance = instance_of(found.name, found.labels)
                if instance and not self.is_alive(instance):
                    api.remove(found.identity)
        self.generation += 1
        threading.Thread(target=self._follow, args=(facts,), name="events", daemon=True).start()
        return facts

    def _follow(self, facts: Facts) -> None:
        """Tell of containers that somebody meddles with, and of the daemon's end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        with contextlib.suppress(EngineError), contextlib.closing(Api(self.path, facts.api)) as api:
            for container in api.meddled(LABEL_INSTANCE):
                self.on_meddled(container)
        with self._lock:
            self._facts = None
        self.on_lost()


def check(facts: Facts, accepted: frozenset[str]) -> None:
    """Refuse a daemon that cannot keep a plan's promises.

    Raises:
        EngineError: naming what is missing, with the command or setting that mends it.
    """
    if facts.rootless:
        raise EngineError(
            "this Docker Engine is rootless, so it can give no tool an account of its own",
            "name the socket of an engine that runs as root in docker.socket",
            control="service_account",
        )
    if not facts.seccomp:
        raise EngineError(
            "this Docker Engine was built or started without seccomp",
            "install a Docker Engine with seccomp support",
            control="seccomp",
        )
    if facts.cgroup_driver != "cgroupfs":
        raise EngineError(
            f"Docker's cgroup driver is {facts.cgroup_driver!r}; limits and kills need parent "
            "groups by path, which only cgroupfs takes",
            'set "exec-opts": ["native.cgroupdriver=cgroupfs"] in /etc/docker/daemon.json, or run '
            "an engine of its own for Fumehood",
            control="cgroup",
        )
    told = {"docker": facts.engine, "containerd": facts.containerd, "runc": facts.runc}
    installed = {name: version or "of unknown version" for name, version in told.items()}
    found = versions.findings(installed)
    old = versions.refused(found, accepted)
    if old:
        names = ", ".join(item.cve for item in old)
        raise EngineError(
            f"too old: {versions.sentence(old, installed)}",
            f"upgrade, or accept by name under accept_unenforced: {names}",
            control=old[0].cve,
        )
