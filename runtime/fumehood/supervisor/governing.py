"""Explains the rules that hold, to operators: which one decides a call and why, and what they
leave open. It decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fumehood.admission.admit import Admission
from fumehood.admission.policy import Decision, Traced
from fumehood.admission.review import Remark, coverage, review
from fumehood.catalog.store import Catalog
from fumehood.config import Config
from fumehood.errors import InvalidArguments, UnknownTool, UsageError
from fumehood.model.principal import Principal
from fumehood.model.request import Caller
from fumehood.supervisor.reloading import MUST_STAND, dropped, lost


@dataclass(frozen=True, slots=True)
class Explained:
    """What would happen to a call. fault: why its arguments do not fit the tool's inputSchema."""

    principal: Principal
    decision: Decision
    fault: str
    traced: Sequence[Traced]

    def to_json(self) -> dict[str, Any]:
        return {
            "principal": self.principal.name,
            "roles": sorted(self.principal.roles),
            "effect": self.decision.effect,
            "rule": self.decision.rule,
            "why": self.decision.why,
            "fault": self.fault,
            "rules": [
                {"rule": one.rule, "effect": one.effect, "matches": one.fits, "why": one.why}
                for one in self.traced
            ],
        }


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Remarks about the rules that hold."""

    remarks: Sequence[Remark]

    def to_json(self) -> dict[str, Any]:
        return {"remarks": [remark.to_json() for remark in self.remarks]}


@dataclass(slots=True)
class Governing:
    """operator_only: returns for an operator, and records and refuses others."""

    catalog: Catalog
    admission: Admission
    config: Callable[[], Config]
    operator_only: Callable[[Caller, str], Awaitable[None]]

    async def explain(
        self, caller: Caller, who: str, name: str, arguments: dict[str, object]
    ) -> Explained:
        """Which rule decides about a call that the account `who` would make.

        Raises:
            Unauthorized: only operators may ask.
            UsageError, UnknownTool: no such account or tool.
        """
        await self.operator_only(caller, "policy.explain_refused")
        authorizer = self.admission.authorizer
        account = authorizer.account(who)
        if account is None:
            raise UsageError(f"this host has no user {who[:64]!r}", "give a name or a UID")
        tool = self.catalog.get(name)
        if tool is None:
            raise UnknownTool(f"there is no tool {name[:64]!r}", "see `fumehood tool list`")
        principal = authorizer.principal(account)
        if tool.state != "active":
            decision = Decision("deny", 0, f"the tool is {tool.state}")
        elif not principal.may_connect:
            decision = Decision("deny", 0, "the account is neither a caller nor an operator")
        else:
            decision = authorizer.policy.decide(principal, tool, arguments)
        fault = ""
        try:
            self.admission.check_arguments(tool, arguments)
        except InvalidArguments as error:
            fault = str(error)
        traced = authorizer.policy.trace(principal, tool, arguments)
        return Explained(principal, decision, fault, traced)

    async def review(self, caller: Caller, named: Collection[str] | None = None) -> Reviewed:
        """What the rules that hold leave open for the tools there are.

        named: keys that a file names which may be loaded next; what it would lose is told, too.
        """
        await self.operator_only(caller, "policy.review_refused")
        config, policy = self.config(), self.admission.authorizer.policy
        found = coverage(config, policy, self.catalog.list())
        return Reviewed([*_losses(config, named), *review(config), *found])


def _losses(config: Config, named: Collection[str] | None) -> Iterator[Remark]:
    if named is None:
        return
    for key in lost(config, named):
        text = f"the daemon has `{key}` and the file names none: a reload refuses it; "
        yield Remark("warning", "lost_key", 0, text + MUST_STAND[key])
    for key in dropped(config, named):
        text = f"the daemon has `{key}`; the file does not name it, so a reload takes the default"
        yield Remark("warning", "dropped_key", 0, text)
