"""Turns a request into an admitted call, or a refusal that says what to change.

Must never tell a tool that the caller may not know of from one that does not exist, and never
run anything: it decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fumehood.admission.authorize import Authorizer
from fumehood.admission.budgets import Amounts, Budgets
from fumehood.admission.policy import Decision
from fumehood.admission.quota import Quota
from fumehood.admission.sessions import Sessions
from fumehood.admission.validate import Validator
from fumehood.errors import ManifestError, Rejected, Unauthorized, UnknownSession, UnknownTool
from fumehood.model.document import shown
from fumehood.model.manifest import Manifest, load_manifest
from fumehood.model.principal import Principal
from fumehood.model.request import Admitted, Asking, Caller, RegisteredTool, Request

MAX_COMPILED: Final = 1_024


Pin = Callable[[Manifest, Mapping[str, Any]], Manifest]


@dataclass(frozen=True, slots=True)
class _Compiled:
    arguments: Validator
    result: Validator | None


class Admission:
    """The only maker of `Asking` and `Admitted`.

    Args:
        get: a catalog entry by name.
        lint: refuses a manifest that could not run here (`catalog.lint.lint`, with the
            ceilings given); raises ManifestError.
        pin: gives a manifest the digest of its image (`images.pins.pin`).
        check_image: refuses a manifest whose image is gone (`images.pins.check_image`); raises
            ManifestError.
    """

    def __init__(
        self,
        get: Callable[[str], RegisteredTool | None],
        *,
        authorizer: Authorizer,
        quota: Quota,
        lint: Callable[[Manifest], None],
        pin: Pin = lambda manifest, _: manifest,
        check_image: Callable[[Manifest], None] = lambda _: None,
        budgets: Budgets | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.authorizer = authorizer
        self.quota = quota
        self.budgets = budgets or Budgets((), _NoStore(), time.time)
        self.sessions = sessions or Sessions(3_600, 64, time.monotonic)
        self._get = get
        self._lint = lint
        self._pin = pin
        self.check_image = check_image
        self._compiled: dict[str, _Compiled] = {}

    def admit(self, request: Request) -> Admitted | Asking:
        """Decide, in this order, so that a refusal tells nothing that an earlier one would hide.

        The quota is only looked at; whoever runs the call holds it (`quota.hold`).

        Raises:
            Unauthorized: the caller may not call anything here, or not with these arguments.
            UnknownTool: no such tool, or none that this caller may know of.
            UnknownSession: none that this caller opened, or one that has ended.
            OverQuota: a rate is used up, or too many of the caller's calls run or wait.
            InvalidArguments: with a JSON pointer to what breaks the inputSchema.
        """
        caller = request.caller
        if not self.authorizer.may_connect(caller):
            raise Unauthorized("you may not call tools here", "ask an operator for access")
        principal = self.authorizer.principal(caller)
        session = self._arrived(principal, request)
        tool = self.tool(caller, request.tool)
        self.quota.reach(tool.manifest.name)
        self.quota.check(principal.name, session)
        self.check_arguments(tool, request.arguments)
        decision = self._permitted(request, tool)
        if decision.effect == "ask":
            return Asking(request, tool, str(decision), decision.why, session)
        return Admitted(request, tool, str(decision), session)

    def _arrived(self, principal: Principal, request: Request) -> str:
        """Count the call, also one of a session that there is not; the session's id."""
        if request.session is None:
            self.quota.arrive(principal.name)
            return ""
        try:
            session = self.sessions.find(principal.name, request.session)
        except UnknownSession:
            self.quota.arrive(principal.name)
            raise
        self.quota.arrive(principal.name, session.id)
        return session.id

    def approved(self, asking: Asking, by: Principal) -> Admitted:
        """A call that an operator let pass; all that may have changed meanwhile is looked at again.

        Raises:
            Unauthorized: `by` is no operator, or the caller itself; a rule denies the call now.
            UnknownTool: the tool is gone, or is not what was approved.
        """
        request = asking.request
        if not by.operates or by.name == self.authorizer.principal(request.caller).name:
            raise Unauthorized("a call is approved by an operator who is not its caller")
        if self.tool(request.caller, request.tool).digest != asking.tool.digest:
            raise UnknownTool("the tool was changed while the call waited", "call again")
        decision = self._permitted(request, asking.tool)
        rule = f"{decision} approved by {by.name}"
        return Admitted(request, asking.tool, rule, asking.session)

    def _permitted(self, request: Request, tool: RegisteredTool) -> Decision:
        decision = self.authorizer.decide(request, tool)
        if decision.effect == "deny":
            # The rule itself is the operator's: its text might tell what it protects.
            raise Unauthorized(
                "you may not call this tool with these arguments",
                "change them, or ask an operator, whose log names the rule",
                detail=f"{decision}: {decision.why}",
            )
        return decision

    def tool(self, caller: Caller, name: str) -> RegisteredTool:
        """The tool of that name if `caller` may know of it; raises UnknownTool."""
        tool = self._get(name)
        if tool is None or not self.authorizer.may_call(caller, tool):
            raise UnknownTool(
                f"there is no tool {shown(name)}", "`fumehood tool list` shows the tools"
            )
        return tool

    def check_arguments(self, tool: RegisteredTool, arguments: dict[str, object]) -> None:
        """Raise InvalidArguments if they do not fit the tool's inputSchema."""
        self._validators(tool).arguments.validate(arguments)

    def output_check(self, tool: RegisteredTool) -> Callable[[object], None] | None:
        """What checks a parsed result; None for a tool without outputSchema.

        The check raises InvalidArguments, whose pointer may hold names that the tool chose.
        """
        validator = self._validators(tool).result
        return None if validator is None else validator.validate

    def prepare(self, manifest_text: str, files: Mapping[str, Any]) -> Manifest:
        """Read a manifest, pin its image, and refuse what could not run here.

        Raises:
            ManifestError, ImageError
        """
        manifest = self._pin(load_manifest(manifest_text, source="manifest"), files)
        self._lint(manifest)
        return manifest

    def _validators(self, tool: RegisteredTool) -> _Compiled:
        compiled = self._compiled.get(tool.digest)
        if compiled is None:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.clear()
            compiled = self._compiled[tool.digest] = _compile(tool.manifest)
        return compiled


class _NoStore:
    """Where there is no budget, nothing is counted."""

    def load(self, _key: str, _window: int) -> Amounts:
        return 0, 0, 0

    def save(self, entries: Sequence[tuple[str, int, Amounts]]) -> None:
        assert not entries  # noqa: S101


def _compile(manifest: Manifest) -> _Compiled:
    try:
        result = (
            None
            if manifest.outputSchema is None
            else Validator(manifest.outputSchema, key="outputSchema", subject="the result")
        )
        return _Compiled(Validator(manifest.inputSchema), result)
    except ManifestError as error:
        # A schema that was let in by an older version with other rules.
        raise Rejected(
            "the tool's schema is no longer accepted",
            "ask an operator to register it again",
            detail=str(error),
        ) from error
