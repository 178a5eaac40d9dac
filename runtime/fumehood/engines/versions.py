"""Version gates: which installed programs are older than a fix that matters to a sandbox.

Pure and standard library only. It must never call a version safe that it cannot read: an
unreadable one is treated as older than everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Component = Literal["docker", "containerd", "runc", "bubblewrap", "libseccomp"]


@dataclass(frozen=True, slots=True)
class Advisory:
    """A fault of a component and where it is mended.

    fixed: upstream versions that hold the fix, one for each release line, oldest first; every
        later line has it too.
    packaged: distribution versions (Debian's, as the program reports them) with the fix in an
        older upstream version.
    """

    cve: str
    component: Component
    fixed: tuple[str, ...]
    what: str
    packaged: tuple[str, ...] = ()


# Sources: each project's own security advisories; packaged versions from Debian's changelogs.
# Left out on purpose: faults of features that no plan uses (swarm, build, authorisation plug-ins,
# published ports, checkpoints, terminals: CVE-2025-52565); races against the set-up of a container
# that only a process sharing its mounts or volumes can run, and no sandbox has one (CVE-2024-45310,
# CVE-2025-31133, CVE-2025-52881); and images whose /dev is a link (CVE-2026-41579): in an image of
# the store it is a directory, whatever was imported.
ADVISORIES: Final = (
    Advisory("CVE-2019-5736", "runc", ("1.0.0-rc7",), "a container can overwrite the host's runc"),
    Advisory(
        "CVE-2019-16884", "runc", ("1.0.0-rc9",), "an image can mount over /proc and skip AppArmor"
    ),
    Advisory(
        "CVE-2021-30465",
        "runc",
        ("1.0.0-rc95",),
        "a link raced against a mount puts the host's files into a container",
    ),
    Advisory(
        "CVE-2022-29162", "runc", ("1.1.2",), "containers start with inheritable capabilities"
    ),
    Advisory(
        "CVE-2023-27561", "runc", ("1.1.5",), "an image can mount over /proc and skip AppArmor"
    ),
    Advisory(
        "CVE-2024-21626",
        "runc",
        ("1.1.12",),
        "a leaked descriptor of the host's root reaches the container",
        packaged=("1.1.5+ds1-1+deb12u1", "1.0.0~rc93+ds1-5+deb11u3"),
    ),
    Advisory("CVE-2020-15257", "containerd", ("1.3.9", "1.4.3"), "the shim's socket is abstract"),
    Advisory(
        "CVE-2022-23648",
        "containerd",
        ("1.4.13", "1.5.10", "1.6.1"),
        "image volumes copy host files",
    ),
    Advisory("CVE-2019-14271", "docker", ("19.3.1",), "copying runs a container's library as root"),
    Advisory("CVE-2021-41091", "docker", ("20.10.9",), "others may enter Docker's data directory"),
    Advisory("CVE-2022-36109", "docker", ("20.10.18",), "supplementary groups are not set up"),
)


HOST_ADVISORIES: Final = (
    Advisory("CVE-2017-5226", "bubblewrap", ("0.1.5",), "a sandbox can type into the terminal"),
    Advisory(
        "CVE-2024-42472",
        "bubblewrap",
        ("0.10.0",),
        "a mount through a link shows the host's files",
        packaged=("0.8.0-2+deb12u1",),
    ),
    Advisory("CVE-2019-9893", "libseccomp", ("2.4.0",), "64-bit arguments are compared wrongly"),
)
"""Of what every installation has, told by `audit deps`. The first and the last cannot be accepted:
`bwrap.OLDEST` and `libseccomp.OLDEST` are newer. The one between is refused by
`bwrap.require_fixed` unless it is accepted by name."""


def findings(
    versions: Mapping[str, str], advisories: Sequence[Advisory] = ADVISORIES
) -> tuple[Advisory, ...]:
    """The advisories that these versions do not hold the fix of.

    versions: by component, as the program itself reports it, packaging suffix included.
    """
    return tuple(
        advisory
        for advisory in advisories
        if advisory.component in versions and not _is_fixed(versions[advisory.component], advisory)
    )


def refused(found: Iterable[Advisory], accepted: Iterable[str]) -> tuple[Advisory, ...]:
    """Those that the operator did not accept by name."""
    names = set(accepted)
    return tuple(advisory for advisory in found if advisory.cve not in names)


def sentence(found: Iterable[Advisory], versions: Mapping[str, str]) -> str:
    """One line for a person: what is too old, and why that matters."""
    return "; ".join(
        f"{item.component} {versions[item.component]} has {item.cve} ({item.what}), "
        f"fixed in {item.fixed[-1]}"
        for item in found
    )


def _is_fixed(version: str, advisory: Advisory) -> bool:
    if any(
        _same_package_line(version, p) and _debian(version) >= _debian(p) for p in advisory.packaged
    ):
        return True
    own = _upstream(version)
    if own is None:
        return False
    fixed = [found for text in advisory.fixed if (found := _upstream(text)) is not None]
    if own >= fixed[-1]:
        return True
    return any(own[0][:2] == line[0][:2] and own >= line for line in fixed)


_Upstream = tuple[tuple[int, ...], tuple[int, int]]


def _upstream(version: str) -> _Upstream | None:
    """((1, 1, 5), (1, 0)) for 1.1.5+ds1; a candidate (-rc7, ~rc93) sorts before its release."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-~]rc\.?(\d+))?", version)
    if found is None:
        return None
    numbers = tuple(int(part or 0) for part in found.groups()[:3])
    candidate = found.group(4)
    return numbers, ((0, int(candidate)) if candidate else (1, 0))


def _same_package_line(version: str, packaged: str) -> bool:
    """Debian's fix counts only in Debian's package of the same upstream version."""
    return "deb" in version and _upstream(version) == _upstream(packaged)


def _debian(version: str) -> tuple[int, ...]:
    """The revision's numbers: 1.1.5+ds1-1+deb12u1 → (1, 12, 1)."""
    revision = version.rpartition("-")[2]
    return tuple(int(number) for number in re.findall(r"\d+", revision))
