"""The engines of this host side by side: there or not, which version, and what a probe proved.

Must never call an engine usable that the launcher would refuse: it asks with the launcher's own
rules, and a promise counts as kept only when every attempt to break it was made in a sandbox, and
failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from fumehood.engines import bwrap, versions
from fumehood.engines.promises import PROMISES, gap, lacking
from fumehood.errors import EngineError

if TYPE_CHECKING:
    from fumehood.config import Config
    from fumehood.engines.docker_api import Facts

ATTEMPTS: Final = {
    "use another account": "account",
    "keep capabilities": "privilege",
    "become root": "privilege",
    "go unfiltered": "seccomp",
    "load a kernel program": "tripwire",
    "open sockets": "sockets",
    "nest a user namespace": "nesting",
    "reach the network": "network",
    "see network interfaces": "network",
    "see host processes": "processes",
    "trace process 1": "processes",
    "read /etc/shadow": "root",
    "see the host's files": "root",
    "write /": "root",
    "write /usr": "root",
    "write its own program": "tool",
    "open core_pattern": "kernel",
    "open sysrq-trigger": "kernel",
    "mount": "kernel",
    "make a device": "kernel",
    "execute from scratch space": "noexec",
    "inherit descriptors": "descriptors",
    "inherit the environment": "environment",
}
"""What the probe attempts, by the promise that it would break."""
UNATTACKED: Final = tuple(
    promise.name for promise in PROMISES if promise.name not in ATTEMPTS.values()
)
"""Promises that the probe says nothing about: see docs/engines.md for what holds them."""
VERSION_SECONDS: Final = 5.0
_ROWS: Final = {promise.name: promise for promise in PROMISES}

State = Literal["available", "refused", "absent"]
Verdict = Literal["kept", "not enforced", "missing", "broken"]
"""From the best to the worst. missing: the probe did not answer for it, so nothing is proven."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that the probe tried. detail: how it was refused, or what it got."""

    name: str
    promise: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """One engine, with its runtime where it has several.

    used: whether the configuration names it. state: `refused` means that it is there, and the
    launcher would not use it, for the cause. accepted: faults and controls that it lacks and that
    the operator accepted by name.
    """

    name: str
    engine: str
    runtime: str
    used: bool
    state: State
    version: str = ""
    cause: str = ""
    remedy: str = ""
    accepted: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def promises(self) -> dict[str, Verdict]:
        """The worst verdict for each promise that was attacked."""
        found: dict[str, Verdict] = {}
        for attempt in self.attempts:
            worst = {found.get(attempt.promise, "kept"), attempt.verdict}
            found[attempt.promise] = next(v for v in reversed(get_args(Verdict)) if v in worst)
        return found

    @property
    def sound(self) -> bool:
        """Nothing that the configuration asks of it is missing."""
        failed = any(attempt.verdict in ("missing", "broken") for attempt in self.attempts)
        return not failed and (self.state == "available" or not self.used)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "engine": self.engine,
            "runtime": self.runtime or None,
            "used": self.used,
            "state": self.state,
            "version": self.version,
            "cause": self.cause,
            "remedy": self.remedy,
            "accepted": list(self.accepted),
            "promises": self.promises,
            "attempts": [
                {"name": a.name, "promise": a.promise, "verdict": a.verdict, "detail": a.detail}
                for a in self.attempts
            ],
        }


@dataclass(frozen=True, slots=True)
class _Asked:
    """What survey() needs of the operator."""

    config: Config
    accepted: frozenset[str] = field(default_factory=frozenset)


def survey(config: Config, accept: Iterable[str] = ()) -> list[Report]:
    """Every engine and runtime that is configured or found here. Starts no sandbox."""
    asked = _Asked(config, frozenset((*config.accept_unenforced, *accept)))
    return [_bubblewrap(asked), *_docker(asked)]


# --- bubblewrap


def _bubblewrap(asked: _Asked) -> Report:
    used = "bubblewrap" in asked.config.engines
    report = Report("bubblewrap", "bubblewrap", "", used, state="available")
    try:
        report = replace(report, version=bwrap.installed())
        bwrap.require_fixed(report.version, asked.accepted)
        mine = tuple({bwrap.CVE} & asked.accepted) if not bwrap.proof_of_fix(report.version) else ()
        return replace(report, accepted=mine)
    except EngineError as error:
        state: State = "refused" if os.path.exists(bwrap.BWRAP) else "absent"
        return replace(report, state=state, cause=error.cause, remedy=error.remedy)


# --- docker


def _docker(asked: _Asked) -> Iterator[Report]:
    config = asked.config
    used = "docker" in config.engines
    named = config.docker.runtimes if used else ("runc",)
    path = config.docker.socket
    if os.geteuid() != 0:
        if used:
            yield from _without(named, "the engine docker needs root", "run Fumehood as root")
        return
    if not used and not os.path.exists(path):
        return
    # Docker's package takes half a second to import: only where there is an engine to ask.
    from fumehood.engines import docker_api, docker_link

    try:
        facts = docker_api.connect(path)
    except EngineError as error:
        yield from _without(named, error.cause, error.remedy, used=used)
        return
    state: State = "available"
    cause = remedy = ""
    try:
        docker_link.check(facts, asked.accepted)
    except EngineError as error:
        state, cause, remedy = "refused", error.cause, error.remedy
    for runtime in dict.fromkeys((*named, *_known(facts))):
        mine = used and runtime in named
        report = Report(
            f"docker ({runtime})", "docker", runtime, mine, state, _version(facts, runtime),
            cause, remedy, _accepted_faults(facts, asked),
        )  # fmt: skip
        yield _with_runtime(report, facts, asked) if state == "available" else report


def _without(
    runtimes: Sequence[str], cause: str, remedy: str, *, used: bool = True
) -> Iterator[Report]:
    for runtime in runtimes:
        yield Report(
            f"docker ({runtime})", "docker", runtime, used, "absent", cause=cause, remedy=remedy
        )


def _known(facts: Facts) -> list[str]:
    """Runtimes of the daemon that a manifest can name."""
    from fumehood.config import Runtime

    return [name for name in get_args(Runtime) if name in facts.runtimes]


def _version(facts: Facts, runtime: str) -> str:
    own = facts.runc if runtime == "runc" else _own_version(facts.programs.get(runtime, ""))
    return f"{facts.engine}, {runtime} {own}" if own else facts.engine


def _own_version(program: str) -> str:
    """What a runtime says of itself (`runsc version 0.0~20221219.0`): the daemon asks runc only.
    Empty where the daemon names no program, or it does not answer."""
    path = shutil.which(program) if program else None
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    first = (done.stdout.splitlines() or [""])[0]
    return first.partition("version")[2].strip(" :")[:64]


def _accepted_faults(facts: Facts, asked: _Asked) -> tuple[str, ...]:
    installed = {"docker": facts.engine, "containerd": facts.containerd, "runc": facts.runc}
    found = versions.findings(installed)
    return tuple(item.cve for item in found if item.cve in asked.accepted)


def _with_runtime(report: Report, facts: Facts, asked: _Asked) -> Report:
    if report.runtime not in facts.runtimes:
        return replace(
            report,
            state="absent",
            cause=f"this Docker Engine offers no runtime {report.runtime!r}",
            remedy='add it under "runtimes" in /etc/docker/daemon.json',
        )
    lacks = lacking(report.runtime)
    report = replace(report, accepted=(*report.accepted, *sorted(set(lacks) & asked.accepted)))
    if missing := sorted(set(lacks) - asked.accepted):
        return replace(
            report,
            state="refused",
            cause=f"it cannot enforce {missing[0]}: {lacks[missing[0]]}",
            remedy=f"accept by name under accept_unenforced: {', '.join(missing)}",
        )
    return report


# --- what the probe said


def judged(report: Report, result: Mapping[str, Any]) -> Report:
    """The report with every attempt of ATTEMPTS, or refused when the probe proves nothing. What
    the probe did not answer for is `missing`: silence is no proof."""
    found = result.get("structured")
    if result.get("status") != "ok" or not isinstance(found, dict):
        said = str(result.get("message") or result.get("stderr") or "").strip(". \n")
        return replace(
            report,
            state="refused",
            cause=f"the probe ended with {result.get('status')}: {said}",
            remedy="see the log of the daemon: fumehood serve",
        )
    if unknown := {str(entry["name"]) for entry in found["attempts"]} - set(ATTEMPTS):
        return replace(
            report,
            state="refused",
            cause=f"the probe is not this version's: nobody asked it to {min(unknown)}",
            remedy="install Fumehood again",
        )
    enforced = result.get("enforced") or {}
    attempts = [_account(found["uid"], enforced.get("uid"))]
    attempts += [_attempt(report, entry) for entry in found["attempts"]]
    made = {attempt.name for attempt in attempts}
    attempts += [
        Attempt(name, promise, "missing", "the probe did not say that it was tried")
        for name, promise in ATTEMPTS.items()
        if name not in made
    ]
    host = [name for name in enforced.get("not_enforced") or () if name not in report.accepted]
    return replace(report, attempts=tuple(attempts), accepted=(*report.accepted, *host))


def _account(inside: int, promised: object) -> Attempt:
    name = "use another account"
    if inside == promised and inside != 0:
        whose = "the user's own" if inside == os.geteuid() else "a host account of its own"
        return Attempt(name, ATTEMPTS[name], "kept", f"UID {inside}, {whose}")
    return Attempt(name, ATTEMPTS[name], "broken", f"UID {inside} inside, {promised} promised")


def _attempt(report: Report, entry: Mapping[str, Any]) -> Attempt:
    name, detail = str(entry["name"]), str(entry["detail"])
    promise = ATTEMPTS[name]
    control = gap(_ROWS[promise], report.runtime)
    if control and control in report.accepted:
        # One refusal proves nothing where nobody promises it.
        said = detail if entry["escaped"] else f"refused this time: {detail}"
        return Attempt(name, promise, "not enforced", f"{control} is accepted: {said}")
    if not entry["escaped"]:
        return Attempt(name, promise, "kept", f"refused: {detail}")
    return Attempt(name, promise, "broken", f"NOT refused: {detail}")


def side_by_side(reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for a person: a column for each engine, a row for each attempt."""
    rows = [
        ["engine", *(report.state if report.used else _unused(report) for report in reports)],
        ["version", *(report.version or "-" for report in reports)],
        [
            "not enforced",
            *(
                f"{len(report.accepted)}, accepted" if report.accepted else "-"
                for report in reports
            ),
        ],
    ]
    for name, promise in ATTEMPTS.items():
        cells = [_cell(report, name) for report in reports]
        if any(cell != "-" for cell in cells):
            rows.append([f"{promise}: {name}", *cells])
    return ["", *(report.name for report in reports)], rows


def _unused(report: Report) -> str:
    return f"{report.state}, not configured"


def _cell(report: Report, name: str) -> str:
    found = [attempt.verdict for attempt in report.attempts if attempt.name == name]
    words = {
        "kept": "refused",
        "not enforced": "not enforced",
        "missing": "NOT TRIED",
        "broken": "ESCAPED",
    }
    return words[found[0]] if found else "-"
