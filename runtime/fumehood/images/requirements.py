"""`run.requirements`: the Python distributions a tool needs, each with version and hash. Pure.

The format is pip's, in its strictest part: `name==1.2 --hash=sha256:…`, nothing else. No option,
no URL and no range can be said, so that the same text always means the same files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import npm_lock, oci

MAX_BYTES: Final = 256 * 1024
MAX_REQUIREMENTS: Final = 500
FORMAT: Final = 1
"""Of derived images; raised when what is made from the same wheels changes."""

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\Z")
# PEP 508 names and extras, PEP 440 versions without wildcard, PEP 508 markers.
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?)"
    r"(?P<extras>\[[A-Za-z0-9._, -]{1,256}\])?"
    r" ?== ?(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]{0,63})"
    r"( ?;(?P<marker>[A-Za-z0-9_.<>=!~'\"() ,-]{1,512}))?\Z"
)
_MARKER_VARIABLES: Final = frozenset(
    (
        "implementation_name", "implementation_version", "os_name", "platform_machine",
        "platform_python_implementation", "platform_release", "platform_system",
        "platform_version", "python_full_version", "python_version", "sys_platform",
        # What setuptools took before PEP 508, and pip still does.
        "os.name", "platform.machine", "platform.python_implementation", "platform.version",
        "python_implementation", "sys.platform",
    )
)  # fmt: skip
"""Of PEP 508, without `extra`, which says nothing of a requirement that nobody requires."""
_REMEDY = "write it with `pip-compile --generate-hashes`, or `uv pip compile --generate-hashes`"


@dataclass(frozen=True, slots=True)
class Requirement:
    """hashes: SHA-256, hex, of the files that may be used for it."""

    text: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The one form, as pip takes it."""
        return " ".join([self.text, *(f"--hash=sha256:{digest}" for digest in self.hashes)])


def parse(text: str) -> tuple[Requirement, ...]:
    """Read a requirements file.

    Raises:
        ImageError: naming the line.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ImageError(f"requirements: more than {MAX_BYTES} bytes")
    found: dict[str, Requirement] = {}
    for number, line in _logical_lines(text):
        requirement, name = _requirement(line, number)
        if name in found:
            raise ImageError(f"requirements, line {number}: {name} is there twice")
        found[name] = requirement
    if not found or len(found) > MAX_REQUIREMENTS:
        raise ImageError(f"requirements: {len(found)} of them; 1 to {MAX_REQUIREMENTS} are allowed")
    return tuple(found[name] for name in sorted(found))


def key(requirements: tuple[Requirement, ...]) -> str:
    """What they come to, as a digest: equal requirements over an equal base make one image."""
    lines = [requirement.line for requirement in requirements]
    return oci.sha256(oci.encode({"format": FORMAT, "requirements": lines}))


def key_of(text: str) -> str:
    """The same of a requirements file of either kind: pip's, or npm's package-lock.json.

    Raises:
        ImageError: it is malformed.
    """
    if npm_lock.is_lock(text):
        return npm_lock.key(npm_lock.parse(text))
    return key(parse(text))


def _logical_lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    pending, began = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        began = began or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        if whole := " ".join((pending + line).split()):
            lines.append((began, whole))
        pending, began = "", 0
    if pending.strip():
        raise ImageError(f"requirements, line {began}: the file ends after a backslash")
    return lines


def _requirement(line: str, number: int) -> tuple[Requirement, str]:
    words = line.split(" ")
    first = next((i for i, word in enumerate(words) if word.startswith("--hash=")), len(words))
    text, hashes = " ".join(words[:first]), [_HASH.match(word) for word in words[first:]]
    found = _REQUIREMENT.match(text)
    if found is None or text.startswith("-"):
        raise ImageError(
            f"requirements, line {number}: {text[:80]!r} is not NAME==VERSION",
            f"options, URLs and ranges are refused; {_REMEDY}",
        )
    _check_marker(found["marker"] or "", number)
    digests = sorted({match[1] for match in hashes if match is not None})
    if not digests or None in hashes:
        raise ImageError(
            f"requirements, line {number}: {found['name']} has no hash, or one that is not sha256",
            _REMEDY,
        )
    name = re.sub(r"[-_.]+", "-", found["name"]).lower()  # PEP 503
    return Requirement(text, tuple(digests)), name


def _check_marker(marker: str, number: int) -> None:
    """pip ends with a traceback over a name that it does not know."""
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_.]*", re.sub(r"'[^']*'|\"[^\"]*\"", " ", marker))
    for word in words:
        if word not in _MARKER_VARIABLES and word not in ("and", "or", "in", "not"):
            raise ImageError(
                f"requirements, line {number}: {word[:40]!r} is no variable of a marker (PEP 508)",
                "such are python_version, sys_platform, platform_machine",
            )
