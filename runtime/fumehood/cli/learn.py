"""Learning: runs a tool on sample inputs under logging profiles and gathers what the kernel names.

It must never run a tool less confined than the daemon would, but for what its profile denies
while that very thing is learnt: each pass is a private daemon with the same launcher, account,
namespaces, limits and scanners, which reads one profile from a folder of root's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from fumehood.cli import image, private
from fumehood.cli.pack import Package, PackedFile, folder
from fumehood.client import Client
from fumehood.engines import docker_seccomp
from fumehood.engines.promises import PLAIN_RUNTIMES, UNSEEN
from fumehood.errors import (
    CatalogError,
    EngineError,
    FumehoodError,
    Unauthorized,
    Unavailable,
    UsageError,
)
from fumehood.kernel import seccomp_learning as learning
from fumehood.kernel.seccomp_profile import Profile, parse
from fumehood.places import Places

MAX_ROUNDS: Final = 6
KINDS: Final = 30
"""Calls that are logged in one sandbox: a launcher names 32, kills included."""
MAX_CALLS: Final = 1_000
"""Samples times runs."""
ACTIONS_LOGGED: Final = Path("/proc/sys/kernel/seccomp/actions_logged")
PREFIX: Final = "learning-"
"""Of the profiles' names in the private daemon."""
UNDER_THE_FILTER: Final = {"docker": docker_seccomp.CONTAINER_CALLS}
"""What an engine itself does under the tool's filter, before anybody hears of the tool's calls."""
_NOT_RUN: Final = frozenset({"rejected", "engine_error", "cancelled"})


@dataclass(frozen=True, slots=True)
class Learned:
    """What was seen, and what follows from it.

    used, denied, killed: system calls, sorted. samples: the status of each sample, in order.
    rounds: daemons that it took to see everything. complete: no record was lost in the end.
    proven: every sample ended the same under the proposal. unproven: why that is not so.
    """

    tool: str
    version: str
    digest: str
    profile: Profile
    used: tuple[str, ...]
    denied: tuple[str, ...]
    killed: tuple[str, ...]
    samples: tuple[str, ...]
    rounds: int
    complete: bool
    proposal: Profile
    document: bytes
    unproven: str
    notes: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        return not self.unproven


@dataclass(frozen=True, slots=True)
class Tool:
    """A registered tool, as it is to be registered with a private daemon."""

    entry: Mapping[str, Any]
    files: Mapping[str, PackedFile]

    @property
    def manifest(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.entry["manifest"]
        return found

    def text(self, profile: str) -> str:
        """The manifest, with another profile."""
        return json.dumps({**self.manifest, "seccomp": profile})


@dataclass(slots=True)
class _Pass:
    """Samples run under one kind of profile until everything of it has been named.

    make: the profile that logs some of `names`. whole: nothing was missed the last time.
    engines: those that ran a sample.
    """

    name: str
    make: Callable[[Collection[str]], Profile]
    names: frozenset[str]
    seen: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    engines: set[str] = field(default_factory=set)
    whole: bool = False

    def profile(self) -> Profile:
        return self.make(self.names - self.seen)


@dataclass(frozen=True, slots=True)
class Learner:
    """Runs one tool's samples. samples: arguments of one call each. runs: how often each."""

    tool: Tool
    samples: Sequence[Mapping[str, object]]
    runs: int
    places: Places
    accept: Sequence[str] = ()
    tell: Callable[[str], None] = lambda _: None

    def learn(self, profile: Profile, name: str) -> Learned:
        """Use, denials, proposal `name`, and its proof.

        Raises:
            EngineError: the kernel does not report, or nothing of the tool, or no sandbox was made.
            UsageError: a sample is rejected.
        """
        uses = [
            _Pass(f"used-{number}", partial(learning.logging, profile), names)
            for number, names in enumerate(_parts(learning.allowed(profile)))
        ]
        denials = _Pass("denied", partial(learning.opened, profile), learning.openable(profile))
        rounds = self._rounds([*uses, denials])
        used = {name for each in uses for name in each.seen}
        if not used:
            raise EngineError(
                "not one system call was seen of the samples, and no program ends without one",
                "see `fumehood doctor`; the host's audit stream may hide them",
                control="audit_stream",
            )
        manifest = self.tool.manifest
        comment = (
            f"{name}: what {manifest['name']} {manifest['version']} uses. The part of "
            f"{profile.name} ({profile.digest[:23]}…) that the tool "
            f"({self.tool.entry['digest'][:23]}…) used with "
            f"{len(self.samples)} samples, each run {self.runs} times, on "
            f"{platform.machine()}, Linux {platform.release()}. The rest is denied."
        )
        first = uses[0]
        own = {call for engine in first.engines for call in UNDER_THE_FILTER.get(engine, ())}
        smaller = learning.proposal(profile, used, comment=comment, engine=own)
        document = learning.render(smaller)
        proposal = parse(document, name=name)
        self.tell("the proposal is tried")
        return Learned(
            tool=str(manifest["name"]),
            version=str(manifest["version"]),
            digest=str(self.tool.entry["digest"]),
            profile=profile,
            used=tuple(sorted(used)),
            denied=tuple(sorted(denials.seen)),
            killed=tuple(sorted({name for each in [*uses, denials] for name in each.killed})),
            samples=tuple(first.statuses),
            rounds=rounds,
            complete=all(each.whole for each in [*uses, denials]),
            proposal=proposal,
            document=document,
            unproven=self._unproven(proposal, first),
            notes=_notes(first.statuses),
        )

    def _unproven(self, proposal: Profile, first: _Pass) -> str:
        """Why samples do not end under the proposal as they did before; empty: they do.

        That they cannot be run at all is an answer too: what was learnt is still told.
        """
        proof = _Pass("proposal", lambda _: proposal, frozenset())
        try:
            self._round([proof])
        except FumehoodError as error:
            return f"samples could not be run under the proposal: {error.cause}"
        if (proof.statuses, proof.killed) != (first.statuses, first.killed):
            return "samples ended differently under the proposal"
        return ""

    def _rounds(self, passes: Sequence[_Pass]) -> int:
        """Run every pass until nothing of it is missed; how many daemons that took.

        A call that floods hides others: a launcher reads 2,000 records a second. It is known
        after the first round, and not logged in the next.
        """
        for number in range(1, MAX_ROUNDS + 1):
            left = [each for each in passes if not each.whole]
            if not left:
                return number - 1
            known = len({name for each in passes for name in each.seen})
            self.tell(f"round {number}: {known} system calls so far")
            self._round(left)
        return MAX_ROUNDS

    def _round(self, passes: Sequence[_Pass]) -> None:
        name = str(self.tool.manifest["name"])
        with (
            _folder({each.name: each.profile() for each in passes}) as profiles,
            self._daemon(profiles) as client,
        ):
            for number, each in enumerate(passes):
                if number:
                    client.remove_tool(name)
                self._register(client, each.name)
                each.whole, each.statuses = True, []
                before = len(each.seen)
                for sample in self.samples:
                    for _ in range(self.runs):
                        result = client.call(name, sample)
                        each.statuses.append(_status(result))
                        each.engines.add(_engine(result))
                        _add(each, result["syscalls"])
                if "timeout" in each.statuses and len(each.seen) > before:
                    each.whole = False  # logging may have held it up; it is less the next time

    def _register(self, client: Client, profile: str) -> None:
        entry = client.add_tool(self.tool.text(PREFIX + profile), self.tool.files)
        if entry["files"] != self.tool.entry["files"]:
            raise CatalogError(
                "the tool's files in the store are not those of its digest",
                "register the tool again",
            )

    @contextlib.contextmanager
    def _daemon(self, profiles: Path) -> Iterator[Client]:
        named = self.places.config if self.places.config_named else None
        images = self.places.state / "images"
        with (
            private.daemon(named, self.accept, images, profiles) as socket,
            Client.connect(socket) as client,
        ):
            yield client


def prepare(name: str, places: Places) -> Tool:
    """A registered tool with its files. Raises FumehoodError when this is not for the caller, the
    host cannot tell what is called, or there is no such tool."""
    if os.geteuid() != 0:
        raise Unauthorized(
            "only root learns profiles: the kernel's audit stream is root's", "use sudo"
        )
    if "log" not in ACTIONS_LOGGED.read_text().split():
        raise EngineError(
            "the kernel does not report logged system calls",
            f"add log to {ACTIONS_LOGGED}",
            control="audit_stream",
        )
    with Client.connect(places.socket) as client:
        entry = client.show_tool(name)
    run = entry["manifest"]["run"]
    if (runtime := str(run.get("runtime") or "")) not in PLAIN_RUNTIMES:
        raise UsageError(
            f"nothing can be learnt of a tool under {runtime}: {UNSEEN['seccomp']}",
            "learn from the same tool under runc, or in the engine bubblewrap",
        )
    tree = entry["files"]
    files: Mapping[str, PackedFile] = {}
    if tree is not None:
        files = folder(places.state / "store" / str(tree).removeprefix("sha384:"))
    tool = Tool(entry, files)
    image.ensure(
        Package(tool.text(""), name, dict(files), run["image"], run.get("requirements")), places
    )
    return tool


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """One learner at a time: two would use the same accounts, and hear of each other's calls."""
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Unavailable("somebody else is learning a profile", "wait for its end") from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _folder(profiles: Mapping[str, Profile]) -> Iterator[Path]:
    """A folder of root's with these profiles in it; the supervisor may read it."""
    with tempfile.TemporaryDirectory(prefix="fumehood-learning-") as name:
        place = Path(name)
        place.chmod(0o755)
        for key, profile in profiles.items():
            file = place / f"{PREFIX}{key}.json"
            file.write_bytes(learning.render(profile))
            file.chmod(0o644)
        yield place


def _parts(names: Collection[str]) -> list[frozenset[str]]:
    """At most KINDS of the names in each part."""
    listed = sorted(names)
    return [frozenset(listed[i : i + KINDS]) for i in range(0, len(listed), KINDS)]


def _status(result: Mapping[str, Any]) -> str:
    status = str(result["status"])
    if status == "rejected":
        raise UsageError(f"a sample was rejected: {result['message']}", "correct --args")
    if status in _NOT_RUN:
        raise EngineError(f"a sample could not be run: {result['message']}", control="sandbox")
    return status


def _engine(result: Mapping[str, Any]) -> str:
    return str((result["enforced"] or {}).get("engine", ""))


def _add(found: _Pass, told: Mapping[str, Any] | None) -> None:
    if told is None or not told["kills_visible"]:
        raise EngineError(
            f"what is called cannot be seen: {(told or {}).get('reason') or 'nothing was told'}",
            "stop what else runs as this account, or see `fumehood doctor`",
            control="audit_stream",
        )
    native = platform.machine()
    for item in told["seen"]:
        if item["action"] == "log" and item["architecture"] == native:
            found.seen.add(str(item["syscall"]))
        elif item["action"].startswith("kill"):
            found.killed.add(f"{item['syscall']} ({item['architecture']})")
    found.whole = found.whole and bool(told["complete"]) and not told["others"]


def _notes(statuses: Sequence[str]) -> tuple[str, ...]:
    bad = sorted(set(statuses) - {"ok"})
    return (
        (f"some samples ended as {', '.join(bad)}: what they would have done is not known",)
        if bad
        else ()
    )
