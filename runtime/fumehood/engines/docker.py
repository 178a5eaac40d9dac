"""The Docker engine: plans become containers that keep the promises of a plan, or are refused.

It runs in a launcher of its own, the only process that holds Docker's socket. It believes
Docker's account of nothing: what was promised is read back from the kernel, kills go through
our own cgroups, and a daemon that hangs or dies takes no sandbox with it unseen.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from fumehood.engines import docker_create, docker_image
from fumehood.engines.docker_api import Api
from fumehood.engines.docker_group import DockerGroup, remove_instance
from fumehood.engines.docker_images import HOST, DockerImages
from fumehood.engines.docker_link import Link
from fumehood.engines.docker_sandbox import DockerSandbox
from fumehood.engines.docker_scratch import ScratchSpaces
from fumehood.engines.docker_worker import Broken, Meddled, Order, Worker
from fumehood.engines.fit import CONTAINER_REMEDY
from fumehood.engines.promises import lacking
from fumehood.errors import EngineError, PlanRefused
from fumehood.kernel import cgroup
from fumehood.model.plan import Plan

CLOSE_SECONDS: Final = 8.0
"""How long the last containers may take to be removed when the launcher ends."""


@dataclass(slots=True)
class Docker:
    """The engine. runtimes: those that the operator allows. seccomp: the document of a profile by
    name, as Docker takes it. unfit: profiles that no container may have, each with
    the cause. init: a static init of the host, PID 1 of every container."""

    link: Link
    runtimes: frozenset[str]
    accepted: frozenset[str]
    cgroups: cgroup.Instance
    scratch: ScratchSpaces
    images: DockerImages
    seccomp: Mapping[str, str]
    unfit: Mapping[str, str]
    host_namespaces: Mapping[str, str]
    init: str
    name: str = "docker"
    _sandboxes: dict[str, DockerSandbox] = field(default_factory=dict)
    _workers: list[Worker] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.link.on_lost = self.lost
        self.link.on_meddled = self.meddled

    def unenforceable(self) -> dict[str, str]:
        return dict(self.cgroups.problems)

    def open(self, name: str, plan: Plan, stdio: tuple[int, int, int]) -> DockerSandbox:
        runtime = plan.runtime or "runc"
        unseen = self._accepted(plan, runtime)
        try:
            # Its groups outlive a sandbox for a moment: no other one's may be called the same.
            group = DockerGroup(self.cgroups, f"{name}.{next(self._numbers)}", plan.limits)
            try:
                scratch = self.scratch.make(name, plan)
            except OSError:
                group.remove()
                raise
        except OSError as error:
            raise EngineError(
                "the sandbox could not be opened", control="sandbox", detail=str(error)
            ) from error

        def order(api: Api) -> Order:
            image = self.images.get(api, plan.image)
            binds = docker_image.binds() if plan.image == HOST else {}
            here = docker_create.Surroundings(
                image=image.identity,
                image_environment=image.environment,
                binds=binds,
                scratch=self.scratch.directory,
                parent=group.parent,
                runtime=self._offered(runtime),
                seccomp=self.seccomp[plan.seccomp],
                init=self.init,
                empty=self.scratch.empty,
                instance=self.cgroups.name,
                remapped=self.link.facts().remapped,
            )
            return Order(docker_create.container(name, plan, here), tuple(binds))

        traced = not unseen
        pipes = (os.dup(stdio[0]), os.dup(stdio[1]), os.dup(stdio[2]))
        worker = Worker(self, name, order, pipes, traced=traced, remove_group=group.remove)
        sandbox = DockerSandbox(
            name=name,
            plan=plan,
            group=group,
            worker=worker,
            scratch=scratch,
            host_namespaces=self.host_namespaces,
            traced=traced,
            unproven=unseen,
            released=self._forget,
            init=self.init,
        )
        with self._lock:
            self._sandboxes[name] = sandbox
            self._workers = [item for item in self._workers if item.is_alive()] + [worker]
        worker.start()
        return sandbox

    def _accepted(self, plan: Plan, runtime: str) -> dict[str, str]:
        """What the runtime cannot enforce; all of it was accepted by name."""
        unseen = lacking(runtime)
        missing = sorted(set(unseen) - (self.accepted & set(plan.accepted)))
        if missing:
            raise PlanRefused(
                f"not enforceable with {runtime}: {unseen[missing[0]]}",
                f"accept by name under accept_unenforced: {', '.join(missing)}",
                control=missing[0],
            )
        if not unseen and (cause := self.unfit.get(plan.seccomp)):
            raise PlanRefused(cause, CONTAINER_REMEDY, control="seccomp")
        return unseen

    def _offered(self, runtime: str) -> str:
        offered = self.link.facts().runtimes
        if runtime not in offered:
            raise EngineError(
                f"this Docker Engine offers no runtime {runtime!r}",
                f"it offers {', '.join(offered)}; add it to /etc/docker/daemon.json",
                control="runtime",
            )
        return runtime

    # --- for workers; any thread

    def api(self) -> Api:
        return self.link.api()

    def owe(self, container: str) -> None:
        self.link.owe(container)

    def settle(self, api: Api) -> None:
        self.link.settle(api)

    def lost(self) -> None:
        """The daemon ended: nothing that it held can go on."""
        error = EngineError(
            "Docker Engine ended while the sandbox existed",
            "call again; it is found by itself once it runs again",
            control="docker",
        )
        with self._lock:
            for sandbox in self._sandboxes.values():
                sandbox.worker.post(Broken(error))

    def meddled(self, container: str) -> None:
        """Somebody had Docker send a container a signal, or remove it."""
        with self._lock:
            for sandbox in self._sandboxes.values():
                if sandbox.worker.container == container:
                    sandbox.worker.post(Meddled())

    # --- for the launcher

    def warm(self) -> None:
        """Find the daemon, load the image that most tools use, before anybody waits for it, and
        remove copies of images that the store no longer has.
        Without a daemon every call tells what is missing, so nothing is said here."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        with contextlib.suppress(EngineError), contextlib.closing(self.link.api()) as api:
            self.images.get(api, HOST)
            self.images.forget_removed(api)

    def child_changed(self) -> None:
        """Some traced process stopped or ended; the sandboxes find out whose. Any thread."""
        with self._lock:
            for sandbox in self._sandboxes.values():
                sandbox.worker.nudge()

    def _forget(self, name: str) -> None:
        """The scratch space first: without it Docker cannot start this container ever again."""
        self.scratch.remove(name)
        with self._lock:
            self._sandboxes.pop(name, None)

    def close(self) -> None:
        for worker in self._workers:
            worker.join(CLOSE_SECONDS / max(len(self._workers), 1))
        self.cgroups.close()
        remove_instance(self.cgroups)
        self.scratch.close()
