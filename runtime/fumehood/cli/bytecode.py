"""Compiles the Python libraries of an image inside a sandbox of that image.

The compiler reads what strangers wrote, so it runs as a tool does: through a launcher of its own,
with all protections, no network and nothing to write but its scratch space. What comes out is one
archive, which `images.derive` holds to bytecode beside its sources.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from fumehood.cli.errand import errand
from fumehood.errors import EngineError
from fumehood.images.derive import Compiler
from fumehood.images.index import Image
from fumehood.images.wheel import Python
from fumehood.kernel.seccomp import load_named
from fumehood.launcher import messages as m
from fumehood.model.plan import SCRATCH_MOUNTS, Ceilings, Limits, Mount, Plan
from fumehood.places import Places
from fumehood.resources import profile_directory

if TYPE_CHECKING:
    from fumehood.config import Config

LIMITS: Final = Limits(
    timeout_ms=600_000,
    cpu_millis=2000,
    memory_bytes=2 << 30,
    pids=8,
    scratch_bytes=1 << 30,
    scratch_inodes=64,
    output_bytes=1 << 30,
)
PROFILE: Final = "compute"
ANSWER_SECONDS: Final = 30.0
ARCHIVE: Final = "bytecode.tar"
# unchecked-hash: an image never changes, so nobody needs to compare. Files that Python cannot
# compile stay without: some packages carry templates.
_SCRIPT = """
import os, sys, tarfile, importlib.util as u, py_compile as p
with tarfile.open("/out/bytecode.tar", "w", format=tarfile.PAX_FORMAT) as archive:
    for folder, names, files in os.walk(sys.argv[1]):
        names.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            cache = u.cache_from_source(path)
            if not name.endswith(".py") or os.path.exists(cache):
                continue
            mode = p.PycInvalidationMode.UNCHECKED_HASH
            try:
                p.compile(path, "/tmp/pyc", path, True, invalidation_mode=mode)
            except (p.PyCompileError, RecursionError, MemoryError, ValueError):
                continue
            info = tarfile.TarInfo(cache.lstrip("/"))
            info.size = os.path.getsize("/tmp/pyc")
            with open("/tmp/pyc", "rb") as data:
                archive.addfile(info, data)
            os.unlink("/tmp/pyc")
"""

Message = TypeVar("Message", m.Hello, m.OpenedMessage, m.StartedMessage, m.EndedMessage)


def compiler(places: Places, config: Config) -> Compiler:
    """What `images.derive` takes. config: for the range of accounts and what is accepted."""

    @contextmanager
    def compiled(image: Image, python: Python) -> Iterator[BinaryIO]:
        ceilings = _ceilings(places, config)
        with errand("process", ceilings, ANSWER_SECONDS) as channel:
            descriptor = _run(channel, _plan(image, python, ceilings))
        with os.fdopen(descriptor, "rb") as archive:
            yield archive

    return compiled


def _ceilings(places: Places, config: Config) -> Ceilings:
    root = os.geteuid() == 0
    return Ceilings(
        uid_first=config.accounts.libraries if root else 0,
        uid_count=1 if root else 0,
        uid_own=-1 if root else os.geteuid(),
        store=str(places.state / "images" / "blobs"),  # no plan of ours mounts a tool
        profiles=str(profile_directory()),
        images=(),
        limits=LIMITS,
        sandboxes=1,
        accepted=tuple(sorted(config.accept_unenforced)),
        image_store=str(places.state / "images"),
    )


def _plan(image: Image, python: Python, ceilings: Ceilings) -> Plan:
    rootless = ceilings.uid_own >= 0
    return Plan(
        engine="bubblewrap",
        image=image.digest,
        argv=(python.interpreter, "-I", "-c", _SCRIPT, f"/{python.site}"),
        environment=(("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin:/bin")),
        mounts=tuple(Mount("scratch", "", target, read_only=False) for target in SCRATCH_MOUNTS),
        uid=ceilings.uid_own if rootless else ceilings.uid_first,
        gid=os.getegid() if rootless else ceilings.uid_first,
        seccomp=PROFILE,
        seccomp_digest=load_named(ceilings.profiles, PROFILE).digest,
        network="none",
        limits=LIMITS,
        accepted=ceilings.accepted,
    )


def _run(channel: socket.socket, plan: Plan) -> int:
    """The plan from opening to end; returns a descriptor of the archive that it left."""
    _expect(channel, m.Hello)
    name = secrets.token_hex(16)
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
    try:
        socket.send_fds(channel, [m.pack(m.Open(name, plan))], theirs)
        m.close_all(theirs)
        _expect(channel, m.OpenedMessage)
        channel.send(m.pack(m.Start(name)))
        _expect(channel, m.StartedMessage)
        channel.settimeout(plan.limits.timeout_ms / 1000 + ANSWER_SECONDS)
        ended, descriptors = _expect(channel, m.EndedMessage)
        said = os.read(ours[2], 4096).decode(errors="replace")
    finally:
        m.close_all(ours)
    collected = [item.name for item in ended.artifacts if not item.refused]
    if ended.exit_code != 0 or collected != [ARCHIVE]:
        m.close_all(descriptors)
        raise EngineError(
            f"the libraries could not be compiled (exit status {ended.exit_code})",
            "see whether the image's Python runs at all",
            control="sandbox",
            detail=said or str(ended),
        )
    return descriptors[0]


def _expect(channel: socket.socket, kind: type[Message]) -> tuple[Message, list[int]]:
    try:
        data, descriptors = m.receive(channel)
    except OSError as error:
        raise EngineError(f"the launcher does not answer: {error}", control="launcher") from error
    if not data:
        raise EngineError("the launcher ended", "see its message above", control="launcher")
    message = m.unpack(data, m.FROM_LAUNCHER)
    if isinstance(message, kind):
        return message, descriptors
    m.close_all(descriptors)
    if isinstance(message, m.Refused):
        raise EngineError(message.cause, control=message.control, detail=message.detail)
    raise EngineError("the launcher does not keep to its protocol", control="launcher")
