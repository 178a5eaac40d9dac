"""Takes a changed configuration over while calls are answered, or keeps the last good one.

What concerns who may call what, how often and how much takes effect at once; of the rest it is
told what waits for a restart. Must never apply half of a file: everything is checked first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from fumehood.admission.admit import Admission
from fumehood.audit.record import Field
from fumehood.config import Config, read_text
from fumehood.errors import ConfigError, Unavailable
from fumehood.model.quotas import begun
from fumehood.model.request import Caller
from fumehood.supervisor import configured
from fumehood.supervisor.approvals import Approvals

log = structlog.get_logger(__name__)

AT_ONCE: Final = frozenset(
    {
        "callers", "operators", "roles", "rules", "publishers", "revoked_keys",
        "require_signature", "approvals", "sessions", "rates", "budgets",
        "adaptive", "tighten_at", "per_caller", "per_session",
    }
)  # fmt: skip
"""Keys that take effect with a reload."""
MUST_STAND: Final = {
    "rules": "put them back; `rules: []` lets nobody call, `rules: [{effect: allow}]` every caller"
    " every tool",
    "callers": "put them back; `callers: {}` is nobody",
}
"""Keys that a reload must not lose, and what to do: without them more is allowed than with any, and
a file that was cut short looks like this. Without them altogether a daemon has to be started."""
OF_THE_START: Final = frozenset({"accept_unenforced"})
"""The command line may have added to it."""
WAIT_SECONDS: Final = 10.0
_SHOWN: Final = 20
_MOST_ASKED: Final = 64
BY_SIGNAL: Final = "SIGHUP"
"""Who asked where no operator did over the socket."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the last reload. problem: why the file was refused; restart: keys that have
    changed and wait for a restart; dropped: those that the file does not name any more, so that
    they are at their defaults; anew: budgets whose count begins with it, being of something else
    than any before; loosened: rules of the file before that forbade something, or asked, and are
    not there any more as they were."""

    loaded: str
    problem: str = ""
    remedy: str = ""
    restart: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    loosened: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "loaded": self.loaded, "problem": self.problem, "remedy": self.remedy,
            "restart": list(self.restart), "dropped": list(self.dropped), "anew": list(self.anew),
            "loosened": list(self.loosened),
        }  # fmt: skip


def lost(before: Config, named: Collection[str]) -> list[str]:
    """Which of `MUST_STAND` hold and are not named any more."""
    return [key for key in MUST_STAND if key not in named and getattr(before, key) is not None]


def loosened(before: Config, new: Config) -> tuple[str, ...]:
    """Which rules that deny or ask are gone, or changed, by their number from 1 in the file before:
    a file that lost its last lines reads as one that allows more."""
    gone = [
        f"rule {number} ({rule.effect})"
        for number, rule in enumerate(before.rules or (), 1)
        if rule.effect != "allow" and rule not in (new.rules or ())
    ]
    more = [f"and {len(gone) - _SHOWN} more"] if len(gone) > _SHOWN else []
    return (*gone[:_SHOWN], *more)


def dropped(before: Config, named: Collection[str]) -> tuple[str, ...]:
    """What took effect at once and goes back to its default because it is not named any more."""
    plain = Config()
    keys = AT_ONCE.difference(named, MUST_STAND)
    return tuple(sorted(key for key in keys if getattr(before, key) != getattr(plain, key)))


@dataclass(slots=True)
class Reloading:
    """ask: has the keeper read the operator's file again and hand it to `take`; set by whoever
    composes the process. record: returns once it is on disk. applied: is told that a changed
    file holds now."""

    config: Config
    admission: Admission
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    operator_only: Callable[[Caller, str], Awaitable[None]]
    digest: configured.Digest
    ask: Callable[[], None] | None = None
    approvals: Approvals | None = None
    applied: Callable[[], None] | None = None
    report: Report = field(default_factory=lambda: Report(_now()))
    _waiting: list[asyncio.Future[Report]] = field(default_factory=list)
    _asked: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_ASKED))
    """Who asked and whose file the keeper has not handed over yet."""

    async def reload(self, caller: Caller) -> Report:
        """Read the file again; what became of it.

        Raises:
            Unauthorized: only operators may ask. Unavailable: the keeper does not answer.
            ConfigError: the file is refused; what held before holds on.
        """
        await self.operator_only(caller, "config.reload_refused")
        if self.ask is None:
            raise Unavailable("this daemon cannot read its configuration again", "restart it")
        done: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._asked.append(f"uid {caller.uid}")
        self.ask()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                report = await done
        except TimeoutError:
            raise Unavailable("the keeper does not answer", "see its log") from None
        if report.problem:
            raise ConfigError(report.problem, report.remedy)
        return report

    async def take(self, name: str, data: bytes | None, problem: ConfigError | None) -> None:
        """What the keeper read, or why it could not."""
        by = self._asked.popleft() if self._asked else BY_SIGNAL
        before_it = self.config
        differs: dict[str, Field] = {}
        restart: tuple[str, ...] = ()
        gone: tuple[str, ...] = ()
        anew: tuple[str, ...] = ()
        looser: tuple[str, ...] = ()
        if problem is None and data is None:
            # Its defaults may allow what the operator has forbidden.
            remedy = "put it back; a restart without it means all defaults"
            problem = ConfigError(f"{name} does not exist", remedy)
        if problem is None:
            try:
                new = self._whole(name, data)
                gone = dropped(self.config, new.model_fields_set)
                looser = loosened(self.config, new)
                anew = begun(self.config.budgets, new.budgets)
                try:
                    restart = self._apply(new)
                except ConfigError as error:
                    key = error.cause.partition(":")[0].partition(".")[0]
                    known = key if key in Config.model_fields else "the file"
                    told = f"{name}: {known} is refused"
                    raise ConfigError(error.cause, error.remedy, recorded=told) from None
                differs = configured.changed(before_it, new, self.digest)
            except ConfigError as error:
                problem = error
        if problem is not None:
            before = self.report
            self.report = replace(before, problem=problem.cause, remedy=problem.remedy)
            log.error("configuration refused: the last good one holds", problem=str(problem))
            await self.record("config.refused", {"cause": problem.recorded[:1_000], "by": by})
        else:
            self.report = Report(_now(), restart=restart, dropped=gone, anew=anew, loosened=looser)
            if self.applied is not None:
                self.applied()
            if gone:
                log.warning("keys are not named any more, and at their defaults", keys=gone)
            if looser:
                log.warning("rules that forbade or asked are gone or changed", rules=looser)
            log.info("configuration reloaded", restart=restart, anew=anew)
            fields: dict[str, Field] = {
                "by": by, "changed": differs,
                "configuration": configured.summary(self.config, self.digest),
                "restart": restart, "dropped": gone, "anew": anew, "loosened": looser,
            }  # fmt: skip
            await self.record("config.reloaded", fields)
        for done in self._waiting:
            if not done.done():
                done.set_result(self.report)
        self._waiting.clear()

    def _whole(self, name: str, data: bytes | None) -> Config:
        """What the file says; a file cut short reads like one that forbids nothing.

        Raises ConfigError: also when it says nothing at all, or lost what it must not.
        """
        new = read_text(name, data)
        if not new.model_fields_set:
            raise ConfigError(
                f"{name} is empty", "put its content back; a restart with it means all defaults"
            )
        # `rules:` and no more is what is left where the rest was cut off.
        named = {key for key in new.model_fields_set if getattr(new, key) is not None}
        for key in lost(self.config, named):
            raise ConfigError(f"{name} had `{key}`, and names none any more", MUST_STAND[key])
        return new

    def _apply(self, new: Config) -> tuple[str, ...]:
        """Apply what can be; the keys that wait for a restart. Nothing happens when it raises."""
        admission = self.admission
        admission.authorizer.adopt(new)
        admission.quota.adopt(
            per_caller=new.per_caller, per_session=new.per_session, rates=new.rates
        )
        admission.quota.conduct.adopt(enabled=new.adaptive, tighten_at=new.tighten_at)
        admission.budgets.adopt(new.budgets)
        admission.sessions.adopt(new.sessions.lifetime, new.sessions.per_caller)
        if self.approvals is not None:
            self.approvals.settings = new.approvals
        changed = {
            key
            for key in Config.model_fields
            if key not in OF_THE_START and getattr(new, key) != getattr(self.config, key)
        }
        applied = {key: getattr(new, key) for key in changed & AT_ONCE}
        self.config = self.config.model_copy(update=applied)
        return tuple(sorted(changed - AT_ONCE))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
