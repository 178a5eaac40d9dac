"""Docker Engine's API as far as this engine needs it: bounded calls, typed answers, one error.

Every call has a time limit, and whatever goes wrong leaves here as EngineError with the control
`docker` (or `container`, when it is gone). Nothing here decides what a sandbox may do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

import docker
import docker.constants
import docker.errors
import requests.exceptions
import urllib3.exceptions

from fumehood.errors import EngineError

QUICK_SECONDS: Final = 5.0
"""Questions, and removals: 50 ms on a quiet machine."""
START_SECONDS: Final = 15.0
"""Creating and starting a container: 0.3 s on a quiet machine."""
LOAD_SECONDS: Final = 300.0
"""Importing an image."""
MAX_API: Final = "1.45"
"""The newest API this was written against; older daemons are asked in theirs."""
_MINIMUM_API: Final = (1, 41)
"""Engine 20.10: private cgroup namespaces."""


class ContainerGoneError(EngineError):
    """Docker knows no such container (any more)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a daemon says of itself when it is connected."""

    api: str
    engine: str
    containerd: str
    runc: str
    cgroup_driver: str
    runtimes: tuple[str, ...]
    remapped: bool
    rootless: bool
    seccomp: bool
    programs: Mapping[str, str] = field(default_factory=dict)
    """Path of each runtime's program, where the daemon names one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How Docker saw a container end."""

    running: bool
    pid: int
    exit_code: int


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image as Docker has it.

    environment: names that it sets. layers: digests of the archives that it is made of. plain: it
    sets nothing that a container would take over, but for labels.
    """

    identity: str
    environment: tuple[str, ...]
    volumes: bool
    layers: tuple[str, ...]
    tags: tuple[str, ...]
    plain: bool


@dataclass(frozen=True, slots=True)
class Labelled:
    """A container that has a label of ours, by its ID, name and all labels."""

    identity: str
    name: str
    labels: Mapping[str, str]


_MEDDLING: Final = {"type": "container", "event": ["destroy", "kill"]}
_TAKEN_OVER: Final = (
    "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "OnBuild", "Shell", "StopSignal",
    "User", "Volumes", "WorkingDir",
)  # fmt: skip
"""What of an image's configuration a container takes over where it is not told otherwise."""


class Api:
    """One caller's connection to a daemon; not to be shared between threads."""

    def __init__(self, path: str, version: str, seconds: float = QUICK_SECONDS) -> None:
        """Raises EngineError."""
        # A user's ~/.docker/config.json may add headers, proxies and keys to detach by.
        os.environ["DOCKER_CONFIG"] = "/nonexistent"
        with _translated("connect"):
            self._client = docker.APIClient(
                base_url=f"unix://{path}", version=version, timeout=seconds
            )

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _within(self, seconds: float, call: str) -> Iterator[None]:
        before = self._client.timeout
        self._client.timeout = seconds
        try:
            with _translated(call):
                yield
        finally:
            self._client.timeout = before

    # --- containers

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container; returns its ID."""
        with self._within(START_SECONDS, "create"):
            return str(self._client.create_container_from_config(body, name)["Id"])

    def attach(self, container: str) -> socket.socket:
        """The connection that carries the container's streams; attach before it starts."""
        query = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        with self._within(QUICK_SECONDS, "attach"):
            hijacked = self._client.attach_socket(container, params=query)
            # Docker sends nothing before the container starts, so nothing was read ahead.
            return socket.socket(fileno=os.dup(hijacked.fileno()))

    def start(self, container: str) -> None:
        with self._within(START_SECONDS, "start"):
            self._client.start(container)

    def ending(self, container: str) -> Ending:
        with self._within(QUICK_SECONDS, "inspect"):
            state = self._client.inspect_container(container)["State"]
            return Ending(bool(state["Running"]), int(state["Pid"]), int(state["ExitCode"]))

    def remove(self, container: str) -> None:
        """Remove a container by ID or name, running or not; one that is gone is fine."""
        with contextlib.suppress(ContainerGoneError), self._within(QUICK_SECONDS, "remove"):
            self._client.remove_container(container, force=True)  # no container of ours has volumes

    def labelled(self, label: str) -> list[Labelled]:
        """Every container that has the label, whoever gave it to it."""
        with self._within(QUICK_SECONDS, "list"):
            found = self._client.containers(all=True, filters={"label": label})
            return [
                Labelled(
                    identity=str(item["Id"]),
                    name=str(item["Names"][0]).removeprefix("/") if item.get("Names") else "",
                    labels={str(key): str(value) for key, value in item["Labels"].items()},
                )
                for item in found
            ]

    def meddled(self, label: str) -> Iterator[str]:
        """IDs of containers with a label that are sent a signal or removed, as that happens, until
        the daemon ends; it waits without limit."""
        with self._within(None, "events"):  # type: ignore[arg-type]  # requests: no limit
            filters = {"label": label, **_MEDDLING}
            for event in self._client.events(filters=filters, decode=True):
                yield str(event["Actor"]["ID"])

    def was_meddled(self, container: str) -> bool:
        """Whether Docker sent the container a signal, or removed it, as far as the daemon
        remembers (its last 256 events)."""
        with self._within(QUICK_SECONDS, "past events"):
            filters = {"container": container, **_MEDDLING}
            past = self._client.events(until=f"{time.time():.9f}", filters=filters, decode=True)
            return any(True for _ in past)

    # --- images

    def image(self, identity: str) -> HeldImage | None:
        """An image by its ID or tag; None: there is no such image."""
        with self._within(QUICK_SECONDS, "inspect image"):
            try:
                found = self._client.inspect_image(identity)
            except docker.errors.ImageNotFound:
                return None
            config = found.get("Config") or {}
            return HeldImage(
                identity=str(found["Id"]),
                environment=tuple(str(item).split("=")[0] for item in config.get("Env") or ()),
                volumes=bool(config.get("Volumes")),
                layers=tuple(str(item) for item in found["RootFS"].get("Layers") or ()),
                tags=tuple(str(item) for item in found.get("RepoTags") or ()),
                plain=not any(config.get(key) for key in _TAKEN_OVER),
            )

    def images_labelled(self, label: str) -> dict[str, str]:
        """ID to the label's value, of every image that has the label, the newest first. An image
        that somebody makes of a container of ours has it too, and hides ours unless asked for all.
        """
        with self._within(QUICK_SECONDS, "images"):
            found = self._client.images(all=True, filters={"label": label})
            return {str(item["Id"]): str(item["Labels"].get(label, "")) for item in found}

    def tags(self, repository: str) -> list[str]:
        """Every tag of a repository, as `repository:tag`."""
        with self._within(QUICK_SECONDS, "images"):
            return [
                str(tag)
                for item in self._client.images(name=repository)
                for tag in item.get("RepoTags") or ()
                if str(tag).startswith(f"{repository}:")
            ]

    def tag(self, identity: str, repository: str, tag: str) -> None:
        with self._within(QUICK_SECONDS, "tag"):
            self._client.tag(identity, repository, tag)

    def load_image(self, archive: IO[bytes]) -> None:
        """`docker load`."""
        with self._within(LOAD_SECONDS, "load"):
            for line in self._client.load_image(archive):
                if "error" in line:
                    raise EngineError(
                        "Docker did not load the image", control="image", detail=str(line)
                    )

    def import_image(self, archive: bytes, label: str) -> str:
        """Make an image of a tar archive of a root file system; returns its ID."""
        with self._within(LOAD_SECONDS, "import"):
            answer = self._client.import_image_from_data(archive, changes=[f"LABEL {label}"])
        for part in reversed(str(answer).split('"')):
            if part.startswith("sha256:"):
                return part
        raise EngineError("Docker did not import the image", control="image", detail=str(answer))

    def remove_image(self, identity: str) -> None:
        """Remove an image by ID, or a tag, and the image with its last tag; one that is in use, or
        gone, stays as it is."""
        with contextlib.suppress(EngineError), self._within(QUICK_SECONDS, "remove image"):
            self._client.remove_image(identity)

    # --- the daemon

    def ping(self) -> None:
        """Return when the daemon answers. Raises EngineError: it does not."""
        with self._within(QUICK_SECONDS, "ping"):
            self._client.ping()

    def version(self) -> dict[str, Any]:
        """What the daemon says of its version, in whatever API it speaks."""
        with self._within(QUICK_SECONDS, "version"):
            return dict(self._client.version(api_version=False))

    def info(self) -> dict[str, Any]:
        with self._within(QUICK_SECONDS, "info"):
            return dict(self._client.info())


def connect(path: str) -> Facts:
    """Look at the socket, then ask who answers. Raises EngineError."""
    _check_socket(path)
    with contextlib.closing(Api(path, MAX_API)) as api:
        version = api.version()
    with _translated("version"):
        spoken = _negotiate(str(version["ApiVersion"]), str(version["Version"]))
    with contextlib.closing(Api(path, spoken)) as api:
        info = api.info()
    with _translated("info"):
        parts = {item["Name"].lower(): item for item in version.get("Components") or ()}
        security = {str(option).split(",")[0] for option in info.get("SecurityOptions") or ()}
        return Facts(
            api=spoken,
            engine=str(version["Version"]),
            containerd=_version(parts.get("containerd")),
            runc=_version(parts.get("runc")),
            cgroup_driver=str(info.get("CgroupDriver", "")),
            runtimes=tuple(sorted(info.get("Runtimes") or {})),
            remapped="name=userns" in security,
            rootless="name=rootless" in security,
            seccomp="name=seccomp" in security,
            programs={
                str(name): str(runtime["path"])
                for name, runtime in (info.get("Runtimes") or {}).items()
                if runtime.get("path")
            },
        )


def _negotiate(theirs: str, engine: str) -> str:
    if _numbers(theirs) < _MINIMUM_API:
        raise EngineError(
            f"Docker Engine {engine} is too old",
            "install Docker Engine 20.10 or later",
            control="docker",
        )
    return theirs if _numbers(theirs) < _numbers(MAX_API) else MAX_API


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _check_socket(path: str) -> None:
    """Whoever may write to the socket is root here, so it must not be everybody."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise EngineError(
            f"there is no Docker Engine at {path}",
            "start it (`systemctl start docker`), or set docker.socket in the configuration",
            control="docker",
            detail=str(error),
        ) from error
    if not stat.S_ISSOCK(found.st_mode):
        raise EngineError(f"{path} is no socket", "set docker.socket", control="docker")
    if found.st_uid != 0 or found.st_mode & stat.S_IWOTH:
        raise EngineError(
            f"{path} can be used by others than root and its group",
            f"chown root {path}; chmod o-w {path}",
            control="docker",
        )


def _version(component: dict[str, Any] | None) -> str:
    """runc's package version stands in its commit (`1.1.5+ds1-1+deb12u1`), where packaged."""
    if component is None:
        return ""
    commit = str((component.get("Details") or {}).get("GitCommit", ""))
    version = str(component.get("Version", ""))
    return commit if "deb" in commit or "ubuntu" in commit else version


@contextlib.contextmanager
def _translated(call: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound as error:
        kind = ContainerGoneError if "No such container" in str(error) else EngineError
        raise kind(
            "Docker does not know the container or image any more",
            control="container",
            detail=f"{call}: {error}",
        ) from error
    except docker.errors.DockerException as error:
        raise EngineError(
            f"Docker refused to {call}", control="docker", detail=f"{call}: {error}"
        ) from error
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise EngineError(
            "Docker Engine does not answer",
            "see the log of dockerd",
            control="docker",
            detail=f"{call}: {error!r}",
        ) from error
