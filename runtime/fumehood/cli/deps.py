"""What Fumehood itself is made of: installed distributions against the lock file, and the host's
programs against the version gates. `fumehood audit deps` shows it.

Reads only. Must never call something pinned that the lock file does not hold, nor a lock file
understood of which it skipped a line. What is installed is believed as far as its metadata goes:
the hashes in a lock file are of archives, which are gone once they are unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Final, Literal

import fumehood
from fumehood.engines import bwrap, versions
from fumehood.errors import EngineError, UsageError

MAX_LOCK_BYTES: Final = 4 << 20
OURS: Final = frozenset({"fumehood"})
BUNDLED: Final = frozenset({"pip"})
"""What python -m venv puts into every environment (ensurepip); no lock file holds it."""
_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9,._-]+\])?==(?P<version>[A-Za-z0-9.!+_-]+)"
    r"(?P<hashes>(\s+--hash=sha(256|384|512):[0-9a-f]{64,128})*)"
)

State = Literal["ok", "different", "missing", "extra", "bundled", "unpinned", "old"]
FINE: Final = frozenset({"ok", "bundled"})


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock file. hashes: how many archives it takes."""

    version: str
    hashes: int


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that Fumehood is made of. wanted, installed: versions, empty where there is none.

    state: `unpinned` is in the lock file without a hash, `old` lacks a fix that matters.
    """

    kind: Literal["python", "system"]
    name: str
    installed: str
    wanted: str
    state: State
    note: str = ""


def lock_file() -> Path:
    """The lock file of the source tree that this package runs from; raises UsageError."""
    path = Path(fumehood.__file__).resolve().parents[2] / "requirements.lock"
    if not path.is_file():
        raise UsageError(
            "this Fumehood does not run from a source tree, so its lock file is not beside it",
            "name it with --lock: requirements.lock of this version",
        )
    return path


def pins(path: Path) -> dict[str, Pin]:
    """What a lock file as pip-compile writes it holds, by normal name.

    Raises:
        UsageError: it cannot be read, or a line is not `name==version` with hashes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LOCK_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a requirements.lock") from None
    if len(data) > MAX_LOCK_BYTES:
        raise UsageError(f"{path} has more than {MAX_LOCK_BYTES >> 20} MiB", "name a lock file")
    found: dict[str, Pin] = {}
    start, line = 1, ""
    for number, text in enumerate(data.decode(errors="replace").splitlines(), 1):
        start = start if line else number
        line += text.partition("#")[0].rstrip()
        if line.endswith("\\"):
            line = line[:-1] + " "
            continue
        if line.strip():
            _add(found, line.strip(), path, start)
        line = ""
    if line.strip():
        raise UsageError(f"{path}, line {start}: the line has no end", "write the file anew")
    return found


def _add(found: dict[str, Pin], line: str, path: Path, number: int) -> None:
    match = _PIN.fullmatch(line)
    if match is None:
        raise UsageError(
            f"{path}, line {number}: not name==version with hashes",
            "`make lock` writes such a file",
        )
    name = normal(match["name"])
    if name in found:
        raise UsageError(f"{path}, line {number}: {name} stands twice", "keep one")
    found[name] = Pin(match["version"], match["hashes"].count("--hash="))


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Every distribution that this interpreter would import from, the first of a name first."""
    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(normal(name), one.version)
    return found


def compare(wanted: Mapping[str, Pin], present: Mapping[str, str]) -> list[Part]:
    """Every distribution that is locked or installed, by name; our own is not in its lock."""
    parts = []
    for name in sorted({*wanted, *present} - OURS):
        pin, version = wanted.get(name), present.get(name, "")
        state, note = _state(name, pin, version)
        parts.append(Part("python", name, version, pin.version if pin else "", state, note))
    return parts


def _state(name: str, pin: Pin | None, version: str) -> tuple[State, str]:
    if pin is None:
        return ("bundled", "") if name in BUNDLED else ("extra", "not in the lock file")
    if not version:
        return "missing", ""
    if version != pin.version:
        return "different", ""
    return ("ok", "") if pin.hashes else ("unpinned", "the lock file has no hash of it")


def system() -> list[Part]:
    """bubblewrap and libseccomp, against what is known of their versions."""
    from fumehood.kernel import seccomp

    parts = []
    try:
        program = bwrap.installed()
    except EngineError as error:
        parts.append(Part("system", "bubblewrap", "", "", "missing", error.cause))
    else:
        package = bwrap.package_version()
        # A package's version tells of the program only while it is that package's.
        version = package if package.startswith(f"{program}-") else program
        proof = bwrap.proof_of_fix(program)
        parts.append(judged("bubblewrap", version, {bwrap.CVE} if proof else set()))
    try:
        library = ".".join(map(str, seccomp.library_version()))
    except EngineError as error:
        parts.append(Part("system", "libseccomp", "", "", "missing", error.cause))
    else:
        parts.append(judged("libseccomp", library, set()))
    return parts


def judged(name: versions.Component, version: str, mended: set[str]) -> Part:
    """mended: advisories whose fix is proven otherwise, by the package's changelog."""
    known = versions.findings({name: version}, versions.HOST_ADVISORIES)
    found = [item for item in known if item.cve not in mended]
    if not found:
        return Part("system", name, version, "", "ok")
    wanted = max((item.fixed[-1] for item in found), key=_numbers)
    return Part("system", name, version, wanted, "old", versions.sentence(found, {name: version}))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
