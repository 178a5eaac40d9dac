"""The wheels of a tool's requirements: from this host where it has them, else by pip.

pip chooses among wheels and downloads what is missing, always through the caller's `Fetcher`
(see `fetching`), first without any network. It is believed nothing: what it leaves is copied
while it is hashed, and only what the requirements name is used. Nothing of a wheel is run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images.fetching import (
    CERTIFICATES,
    NETWORK_SECONDS,
    PLACE,
    Fetch,
    Fetcher,
    bare_environment,
    certificates_in,
    left_in,
    new_work,
)
from fumehood.images.local_files import indexed, take, take_file
from fumehood.images.pip_settings import PipSettings, pip_settings
from fumehood.images.requirements import Requirement
from fumehood.images.sources import Workplace
from fumehood.images.wheel import Python

OFFLINE_SECONDS: Final = 120.0
MAX_WHEELS: Final = 1000
_OLDEST_GLIBC: Final = 5
"""glibc 2.5 is manylinux1's (PEP 600)."""
_WHEEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,200}\.whl\Z")
_PIP: Final = "/pip"
"""Where the sandbox has the folder with pip's own code in it."""
_LINKS: Final = "/links"
"""Where it has what was found on this host, and the requirements."""
_LISTING, _WHEELS, _OFFLINE = "requirements.txt", "wheels", "--no-index"
_RUN: Final = (
    f"import sys, runpy; sys.path.insert(0, {_PIP!r}); sys.argv[0] = 'pip'; "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


def fetch(
    requirements: tuple[Requirement, ...],
    place: Workplace,
    folders: list[Path],
    python: Python,
    glibc: int,
    fetcher: Fetcher,
    progress: Callable[[str], None],
) -> list[Path]:
    """The wheels of the requirements, each with a hash that is allowed; nothing of them is run.

    folders: searched for wheels before any index is asked.

    Raises:
        ImageError: wheels cannot be had, or are not what they must be.
    """
    links, kept = place.copies / "links", place.copies / "wheels"
    for folder in (links, kept):
        folder.mkdir(mode=0o755)
    choice = _Choice(requirements)
    for folder in folders:
        take(folder, links, "sha256", ".whl", choice)
    listing = "".join(f"{item.line}\n" for item in requirements)
    (links / _LISTING).write_text(listing, encoding="utf-8")
    run = _run(place.copies, links, python, glibc)
    if not (choice.all_in(links) and _succeeds(fetcher, run)):
        settings = pip_settings()
        _search(settings, links, choice)
        try:
            run = replace(run, work=new_work(place.copies, _WHEELS))
            fetcher(run)
        except ImageError as error:
            if not settings.remote:
                raise _none(error, settings) from None
            progress("fetching wheels in a sandbox")
            try:
                run = _with_network(run, settings, new_work(place.copies, _WHEELS))
                fetcher(run)
            except ImageError as failure:
                raise _none(failure, settings) from None
    return _checked(left_in(run.work, _WHEELS, MAX_WHEELS), kept, choice)


def _succeeds(fetcher: Fetcher, run: Fetch) -> bool:
    try:
        fetcher(run)
    except ImageError:
        return False
    return True


def _search(settings: PipSettings, links: Path, choice: _Choice) -> None:
    """Take what the folders and indexes have that the host's configuration names on its disk."""
    for folder in settings.folders:
        take(folder, links, "sha256", ".whl", choice)
    for index in settings.indexes:
        for name in choice.projects:
            for path, digest in indexed(index, name):
                if choice(path.name, digest) is not None:
                    take_file(path, links, "sha256", choice)


def _with_network(offline: Fetch, settings: PipSettings, work: Path) -> Fetch:
    argv = [word for word in offline.argv if word != _OFFLINE] + list(settings.options)
    binds = list(offline.binds)
    if settings.certificates is not None:
        copy = certificates_in(settings.certificates, work.parent)
        binds.append((str(copy), CERTIFICATES))
        argv += ["--cert", CERTIFICATES]
    return replace(
        offline,
        argv=tuple(argv),
        binds=tuple(binds),
        work=work,
        network=True,
        seconds=NETWORK_SECONDS,
    )


class _Choice:
    """Which files may be used: by the project that a wheel's name begins with, and its hash."""

    def __init__(self, requirements: tuple[Requirement, ...]) -> None:
        self.allowed: dict[str, frozenset[str]] = {}
        self.always: set[str] = set()
        """Projects that no marker can make unnecessary."""
        for item in requirements:
            project = normal(re.split(r"[\[ ;=]", item.text, maxsplit=1)[0])
            self.allowed[project] = frozenset(item.hashes)
            if ";" not in item.text:
                self.always.add(project)

    @property
    def projects(self) -> list[str]:
        return list(self.allowed)

    def all_in(self, links: Path) -> bool:
        """Whether there is a file for every project."""
        there = {_project(path.name) for path in links.iterdir()}
        return there >= set(self.allowed)

    def __call__(self, name: str, digest: str) -> str | None:
        if _WHEEL.match(name) is None:
            return None
        return name if digest in self.allowed.get(_project(name), ()) else None


def normal(name: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _project(wheel: str) -> str:
    return normal(wheel.split("-")[0])


def _run(copies: Path, links: Path, python: Python, glibc: int) -> Fetch:
    found = importlib.util.find_spec("pip")
    if found is None or not found.origin:
        raise ImageError(
            "wheels are chosen and fetched with pip, which this Python does not have",
            f"{sys.executable} -m ensurepip",
        )
    interpreter = os.path.realpath(sys.executable)
    binds = [(os.path.dirname(found.origin), f"{_PIP}/pip"), (str(links), _LINKS)]
    if not interpreter.startswith("/usr/"):
        binds.append((sys.base_prefix, sys.base_prefix))
    # Isolated, without the packages and the configuration of the host: what counts is on argv.
    argv = [interpreter, "-I", "-S", "-c", _RUN, "--isolated", "download", "--quiet", "--no-input"]
    argv += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    argv += ["--no-cache-dir", "--dest", f"{PLACE}/{_WHEELS}"]
    argv += ["--requirement", f"{_LINKS}/{_LISTING}", "--find-links", _LINKS]
    argv += ["--python-version", python.version, "--implementation", "cp"]
    for abi in (f"cp{python.version.replace('.', '')}", "abi3", "none"):
        argv += ["--abi", abi]
    for platform in _platforms(glibc):
        argv += ["--platform", platform]
    environment = dict(bare_environment()) | {"PIP_CONFIG_FILE": os.devnull}
    return Fetch(
        argv=(*argv, _OFFLINE),
        environment=tuple(sorted(environment.items())),
        binds=tuple(binds),
        work=new_work(copies, _WHEELS),
        network=False,
        seconds=OFFLINE_SECONDS,
    )


def _platforms(glibc: int) -> list[str]:
    """What wheels may be built for (PEP 600), newest first."""
    machine = os.uname().machine
    newest = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, _OLDEST_GLIBC - 1, -1)]
    return [*newest, f"manylinux2014_{machine}", f"manylinux2010_{machine}",
            f"manylinux1_{machine}", f"linux_{machine}"]  # fmt: skip


def _none(error: ImageError, settings: PipSettings) -> ImageError:
    remedy = (
        "see that pip reaches its index; without a network, put the wheels into a folder and name "
        "it with --wheels"
    )
    if settings.stripped:
        remedy += " (as for an index that asks for a password, which no sandbox is given)"
    return ImageError(
        f"the wheels of run.requirements cannot be had: {error.cause}", remedy, detail=error.detail
    )


def _checked(left: Path, kept: Path, choice: _Choice) -> list[Path]:
    names = sorted(item.name for item in os.scandir(left))
    if len(names) > MAX_WHEELS:
        raise ImageError(f"pip fetched {len(names)} files; at most {MAX_WHEELS} are allowed")
    for name in names:
        if _WHEEL.match(name) is None or not stat.S_ISREG((left / name).lstat().st_mode):
            raise ImageError(f"pip fetched {name[:256]!r}, which is no wheel")
        take_file(left / name, kept, "sha256", choice)
        if not (kept / name).exists():
            raise ImageError(f"{name} has none of the hashes that the requirements allow")
    if missing := choice.always - {_project(name) for name in names}:
        raise ImageError(f"pip fetched no wheel of {min(missing)}")
    return [kept / name for name in names]
