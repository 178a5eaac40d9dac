"""The last step before a caller: builds every Result. Whatever it cannot look at is withheld.

    Outcome → pieces → detectors → findings → redaction → Result

The gateway can send only a Result, and a Result with output is built only here.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import structlog

from fumehood.errors import (
    EngineError,
    FumehoodError,
    OverQuota,
    Rejected,
    ScanFailed,
    Unavailable,
)
from fumehood.model.codec import encode
from fumehood.model.outcome import Notice, Outcome, Status, Usage
from fumehood.model.plan import Plan
from fumehood.model.request import Admitted, RegisteredTool, Request
from fumehood.model.result import Enforced, Finding, Result, Timing
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan import messages, schema
from fumehood.scan.control import ControlDetector
from fumehood.scan.decide import Policies
from fumehood.scan.detector import Detector
from fumehood.scan.detectors import built_in
from fumehood.scan.given import of_environment
from fumehood.scan.output import Output, Released
from fumehood.scan.partial import Partial
from fumehood.scan.payload import PayloadDetector
from fumehood.scan.pieces import Secrets
from fumehood.scan.policy import Withhold
from fumehood.scan.private_keys import PrivateKeysDetector
from fumehood.scan.redact import Fingerprints
from fumehood.scan.search import Begun, Budget, NotYet, Search, Searcher
from fumehood.scan.utf8 import Utf8Detector
from fumehood.scan.visible import visible

log = structlog.get_logger(__name__)

_LIMITS = {"memory": "memory_bytes", "cpu": "cpu_millis", "pids": "pids"}
"""The limit that is none where its control was accepted as missing."""
MAX_MESSAGE = 2000
"""Characters of a refusal's message."""


class Pipeline:
    """Thread safe. One for a process: it holds the compiled rules."""

    def __init__(
        self,
        *,
        fingerprint_key: bytes,
        rules_cache: Path | None = None,
        secrets: Sequence[Detector] | None = None,
        hidden: Sequence[Detector] | None = None,
        spec: ScanSpec | None = None,
        search: Search | None = None,
        secrets_given: Sequence[bytes] = (),
    ) -> None:
        """Cheap: the rules are loaded by `load`, or by the first `release`.

        Args:
            fingerprint_key: for the fingerprints of secrets; at least 32 bytes.
            rules_cache: a directory of this user's own for compiled rules.
            secrets, hidden: detectors in place of the ones that are built in.
            spec: what the operator decided; all defaults when None.
            search: what looks, in place of this process.
            secrets_given: values that no output of any tool may hold.
        """
        spec = spec or ScanSpec()
        self._policies = Policies(spec)
        self._given = tuple(secrets_given)
        self._loaded = [] if secrets is not None or search else built_in(rules_cache, spec)
        self._searcher: Search = search or Searcher(
            chunked=self._loaded if secrets is None else secrets,
            whole=[PrivateKeysDetector()],
            payload=PayloadDetector(),
            hidden=[ControlDetector(), Utf8Detector()] if hidden is None else hidden,
        )
        self._fingerprints = Fingerprints(fingerprint_key)

    def load(self) -> None:
        """Load the rules (0.7 s, or 4 s the first time), so that no call waits for them."""
        for detector in self._loaded:
            detector.load()

    def release(
        self,
        admitted: Admitted,
        plan: Plan,
        outcome: Outcome,
        *,
        timing: Timing,
        check_output: schema.Check | None,
        abandoned: Callable[[], bool] = lambda: False,
        patience: float | None = None,
        begun: Begun | None = None,
    ) -> Result:
        """The result of an invocation that was run, its output scanned. Raises NotYet only.

        Takes 0.2 ms for little output and up to `search.WALL_SECONDS`: not for an event loop,
        unless it has `patience`.

        Args:
            check_output: raises InvalidArguments when a value breaks the tool's outputSchema;
                None only when the tool has none.
            abandoned: whether the result is not wanted any more: the scan then ends early, and
                the output is withheld.
            patience: see `Budget`; after NotYet the same is to be asked without.
            begun: what `begin` gave.
        """
        began = time.perf_counter()
        given = self._known(admitted.tool)
        budget = Budget(abandoned=abandoned, patience=patience, given=given, begun=begun)
        released = self._scanned(admitted, outcome, check_output, budget)
        scanned_ms = round((time.perf_counter() - began) * 1000, 3)
        tool, manifest = admitted.tool, admitted.tool.manifest
        return Result(
            invocation=admitted.request.invocation,
            tool_name=manifest.name,
            tool_version=manifest.version,
            tool_digest=tool.digest,
            status=released.status,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            content=released.content,
            structured=released.structured,
            truncated=released.truncated,
            breach=outcome.breach,
            findings=(*released.findings, *map(_noticed, outcome.notices)),
            usage=outcome.usage,
            enforced=_enforced(plan, outcome),
            syscalls=outcome.syscalls,
            timing=dataclasses.replace(timing, scanned_ms=scanned_ms),
            stderr=released.stderr,
            message=released.message,
        )

    def begin(self, admitted: Admitted, stdout: bytes, stderr: bytes) -> Begun | None:
        """Have the streams of an invocation looked at that have ended, while it has not: for the
        `release` of the outcome that most have, `ok` and without artifacts. Of any other one
        everything is looked at then. Never waits."""
        usage = Usage(stdout_bytes=len(stdout), stderr_bytes=len(stderr))
        outcome = Outcome("ok", 0, None, None, usage, stdout, stderr, truncated=False)
        budget, policy = Budget(), self._policies.of(admitted.tool.manifest.name)
        secrets = Secrets(self._searcher, self._fingerprints, budget, policy)
        request = admitted.request
        output = Output(request.invocation, outcome, secrets, request.arguments_json)
        promised = admitted.tool.manifest.outputSchema is not None
        subjects = output.subjects(promised=promised)
        return self._searcher.begin(subjects, self._known(admitted.tool))

    def partial(self, tool: RegisteredTool) -> Partial:
        """For a stream of that tool that is shown before it ends: what `feed` returns may be
        shown."""
        policy = self._policies.of(tool.manifest.name)
        return Partial(self._searcher, self._fingerprints, policy, self._known(tool))

    def _known(self, tool: RegisteredTool) -> tuple[bytes, ...]:
        """The exact values that must not leave it."""
        environment = tool.manifest.run.environment
        return (*self._given, *of_environment(environment)) if environment else self._given

    def refuse(self, request: Request, error: FumehoodError, tool: RegisteredTool | None) -> Result:
        """The result of a request that was not run."""
        status: Status
        if isinstance(error, Rejected):
            status, message = "rejected", str(error)
        elif isinstance(error, ScanFailed):
            status, message = "withheld", str(error)
        elif isinstance(error, EngineError):
            status, message = "engine_error", messages.engine_error(error.control)
        else:
            status, message = "engine_error", messages.engine_error(error.code)
        shown, _ = visible(message.encode(errors="replace"))
        name, _ = visible(request.tool[:64].encode(errors="replace"))
        return Result(
            invocation=request.invocation,
            tool_name=tool.manifest.name if tool else name,
            tool_version=tool.manifest.version if tool else "",
            tool_digest=tool.digest if tool else "",
            status=status,
            message=shown[:MAX_MESSAGE],
            retry_after=error.retry_after if isinstance(error, OverQuota | Unavailable) else None,
        )

    def _scanned(
        self,
        admitted: Admitted,
        outcome: Outcome,
        check_output: schema.Check | None,
        budget: Budget,
    ) -> Released:
        try:
            _require_checker(admitted, check_output)
            policy = self._policies.of(admitted.tool.manifest.name)
            secrets = Secrets(self._searcher, self._fingerprints, budget, policy)
            request = admitted.request
            output = Output(request.invocation, outcome, secrets, request.arguments_json)
            return output.release(check_output)
        except NotYet:
            raise
        except Withhold as withhold:
            withheld = withhold
        except Exception as error:  # noqa: BLE001  (recorded below: not looked at is withheld)
            withheld = Withhold.failed("pipeline", error)
        log.error(
            "output withheld",
            invocation=admitted.request.invocation,
            tool=admitted.tool.manifest.name,
            reason=withheld.message,
            detail=withheld.detail,
        )
        return Released(
            "withheld", withheld.message, (), None, "", outcome.truncated, withheld.findings
        )


def _noticed(notice: Notice) -> Finding:
    return Finding(
        notice.rule, "behaviour", notice.severity, "sandbox", "flag", message=notice.message
    )


def _require_checker(admitted: Admitted, check_output: schema.Check | None) -> None:
    if check_output is None and admitted.tool.manifest.outputSchema is not None:
        raise Withhold.failed("schema", LookupError("nothing checks the outputSchema"))


def _enforced(plan: Plan, outcome: Outcome) -> Enforced | None:
    """What was proven; None when the sandbox never came to be."""
    if not outcome.proofs:
        return None
    limits, digest = _promises(plan)
    proven = {proof.control: proof.value for proof in outcome.proofs}
    unproven = {name.rpartition(".")[2] for name in proven if name.startswith("unproven.")}
    hidden = "readback" in unproven
    return Enforced(
        engine=plan.engine,
        runtime=(plan.runtime or "runc") if plan.engine == "docker" else None,
        uid=plan.uid,
        seccomp=None if "seccomp" in unproven else plan.seccomp,
        network=plan.network,
        no_new_privs=None if hidden else proven.get("no_new_privs") == "1",
        capabilities=None if hidden else (),
        limits=dict(limits),
        plan=digest,
        not_enforced=plan.accepted,
    )


@lru_cache(maxsize=256)
def _promises(plan: Plan) -> tuple[dict[str, int], str]:
    """The limits that hold, and the digest: calls of one tool share a plan, which takes 0.1 ms to
    digest."""
    missing = {_LIMITS[control] for control in plan.accepted if control in _LIMITS}
    limits = {name: value for name, value in encode(plan.limits).items() if name not in missing}
    return limits, plan.digest()
