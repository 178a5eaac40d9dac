"""The scratch folder of a run and what competitors need in it: a root file system, a Docker Engine.

On the disk that holds /var/tmp, because an audit log on tmpfs would never wait for its fsync.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from bench import ROOT
from bench.peers.base import Place
from bench.peers.commands import Docker

PARENT = "/var/tmp"
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_EMPTY = ("usr", "proc", "dev", "tmp", "etc", "tool", "sys", "sandbox")


@contextlib.contextmanager
def place(*, docker: bool = True) -> Iterator[Place]:
    """A folder for one run. docker: also start a private Docker Engine there, when root can."""
    folder = Path(tempfile.mkdtemp(prefix="fumehood-bench-", dir=PARENT))
    folder.chmod(0o755)
    engine = folder / "docker"
    found = Place(str(folder))
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        _root_file_system(found.rootfs)
        if docker:
            found = Place(str(folder), docker=_start_docker(engine, found.rootfs))
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)
        if docker and engine.exists():
            _run([str(ROOT / "scripts/dockerd-for-tests"), "stop", str(engine)])
        shutil.rmtree(folder, ignore_errors=True)


def _leave(number: int, _frame: object) -> NoReturn:
    """A run that is ended takes its daemons and its Docker Engine along."""
    sys.exit(128 + number)


def _root_file_system(root: Path) -> None:
    root.mkdir()
    for name in _EMPTY:
        (root / name).mkdir()
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    (root / "etc/alternatives").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")


def _start_docker(folder: Path, rootfs: Path) -> str:
    """The engine's socket, or "" where none can run: its rows then say so."""
    if os.geteuid() or shutil.which("dockerd", path="/usr/sbin:/usr/bin") is None:
        return ""
    started = _run([str(ROOT / "scripts/dockerd-for-tests"), "start", str(folder)])
    if started.returncode:
        return ""
    socket = started.stdout.decode().strip()
    archive = folder.parent / "rootfs.tar"
    _run(["tar", "-C", str(rootfs), "-cf", str(archive), "."])
    # llm-sandbox starts the image's own command and expects a shell that stays.
    change = ["--change", 'CMD ["/bin/sh"]']
    imported = _run(
        ["docker", "-H", f"unix://{socket}", "import", *change, str(archive), Docker.IMAGE]
    )
    return "" if imported.returncode else socket


def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    # No pipe for stderr: a daemon that inherits it would keep us waiting for its end.
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
