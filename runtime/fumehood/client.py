"""What Python callers and the command line import to reach a running supervisor.

Standard library only, so that a command starts in milliseconds. It speaks MCP's stateless
era (2026-07-28) on the supervisor's Unix socket and adds no path of its own: all it can do
goes through the same front door as any other caller.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fumehood.connection import Connection, Note, Output, Progress
from fumehood.errors import ProtocolError

STOP_SECONDS: Final = 45.0
"""How long `cancel_invocation` waits: the longest grace, and what killing takes."""

RELOAD_SECONDS: Final = 15.0
RELEASE_SECONDS: Final = 60.0


class Client(Connection):
    """A connection to one supervisor, used by one thread at a time (`cancel` by any).

    Every method raises the FumehoodError subclass that the supervisor names, or
    DaemonUnreachable when it does not answer.
    """

    def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        *,
        on_progress: Progress | None = None,
        on_output: Output | None = None,
        on_note: Note | None = None,
        timeout: float | None = None,
        session: str | None = None,
        traceparent: str | None = None,
    ) -> dict[str, Any]:
        """Call a tool; returns the result object, whatever its status.

        It is MCP's `_meta["fumehood/result"]`, the keys of `model.result.Result.to_json`.
        Ctrl-C (in the main thread) and `cancel` cancel the invocation and wait up to
        CANCEL_SECONDS for its end; a second Ctrl-C does not wait.

        Args:
            on_progress: hears how far the tool says it is, at most five times a second.
            on_output: hears stdout as it comes, scanned as far as it is known; the result has
                all of it, scanned as a whole.
            on_note: hears why `on_output` hears nothing.
            timeout: seconds after which to cancel; None leaves it to the tool's own limit.
            session: a handle that `open_session` gave.
            traceparent: of the caller's span (W3C trace context).

        Raises:
            Cancelled: it was cancelled, or ran out of `timeout`.
            UnknownTool: refusals of other kinds are results with status `rejected`.
        """
        params: dict[str, object] = {"name": tool, "arguments": dict(arguments)}
        meta = {"fumehood/session": session, "traceparent": traceparent}
        if given := {name: value for name, value in meta.items() if value is not None}:
            params["_meta"] = given
        with self._interruptible():
            answer = self._request(
                "tools/call", params, timeout=timeout, hear=(on_progress, on_output, on_note)
            )
        told = answer.get("_meta")
        result = told.get("fumehood/result") if isinstance(told, dict) else None
        if not isinstance(result, dict):
            raise ProtocolError("the answer holds no fumehood/result", "is this a supervisor?")
        return result

    def tools(self) -> list[dict[str, Any]]:
        """The tools this caller may call, as MCP lists them, sorted by name."""
        return self._listed("tools/list", "tools")

    def add_tool(
        self,
        manifest: str,
        files: Mapping[str, tuple[bytes, bool]] | None = None,
        *,
        accept: Sequence[str] = (),
        signature: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Register a tool; returns its catalog entry, whose `state` may be `pending`.

        Args:
            manifest: the manifest's text, YAML or JSON.
            files: by relative path, each file's bytes and whether it is executable.
            accept: rules of the lint, or `changes`, that an operator accepts by name.
            signature: the envelope that `fumehood tool sign` made.
        """
        encoded = {
            path: {"data": base64.b64encode(data).decode(), "executable": executable}
            for path, (data, executable) in (files or {}).items()
        }
        params: dict[str, object] = {"manifest": manifest, "files": encoded}
        if accept:
            params["accept"] = list(accept)
        if signature is not None:
            params["signature"] = dict(signature)
        return self._extension("tools/add", "tool", params)

    def approve_tool(
        self,
        name: str,
        version: str,
        *,
        accept: Sequence[str] = (),
        by: str | None = None,
        digest: str | None = None,
    ) -> dict[str, Any]:
        """Make a pending or earlier version the current one; returns its entry.

        Args:
            by: the principal (`added_by`) who submitted it, where several did.
            digest: of the entry that was looked at; another one is refused.
        """
        params = {"version": version, "accept": list(accept), **_given(name=name, by=by)}
        return self._extension("tools/approve", "tool", {**params, **_given(digest=digest)})

    def show_tool(
        self, name: str, version: str | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """A tool's catalog entry: its manifest, digests, account and state."""
        return self._extension("tools/show", "tool", _given(name=name, version=version, by=by))

    def remove_tool(
        self, name: str, version: str | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """Remove a tool, or one version that is not current, or what the principal `by` submitted
        under one; returns the entry it had, and under `quarantine_kept` the versions whose
        quarantine outlives it."""
        return self._extension("tools/remove", "tool", _given(name=name, version=version, by=by))

    def all_tools(self) -> list[dict[str, Any]]:
        """For operators: every version of every tool, whatever its state."""
        return self._listed("fumehood/tools/all", "tools")

    def removed_tools(self) -> list[dict[str, Any]]:
        """For operators: the versions that were quarantined when they were removed, and are so
        when they come again, until one is approved."""
        return self._listed("fumehood/tools/removed", "tools")

    def diff_tool(
        self, name: str, old: str | None = None, new: str | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """For operators: what version `new` (the newest that is not current) changes against
        `old` (the current one). by: the principal who submitted `new`."""
        return self._extension("tools/diff", "diff", _given(name=name, old=old, new=new, by=by))

    def tool_files(
        self, name: str, version: str | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """For operators: a version's digest, and under `files` by path `x` (executable) or `-`
        with the SHA-384 of each of its files."""
        return self._extension("tools/files", "pinned", _given(name=name, version=version, by=by))

    def invocations(self) -> dict[str, Any]:
        """What runs and waits of what this caller may see, the oldest first, under `invocations`;
        `host` tells operators how the host is."""
        return self._request("fumehood/invocations/list", {}, timeout=self._timeout)

    def cancel_invocation(self, invocation: str) -> dict[str, Any]:
        """Cancel an invocation, whoever made it; returns when it is dead and recorded, with the
        `status` it ended with. Raises UnknownInvocation."""
        return self._extension(
            "invocations/cancel", "stopped", timeout=STOP_SECONDS, invocation=invocation
        )

    def logs(self, invocation: str) -> dict[str, Any]:
        """What is known of an invocation: its state, its scanned stderr while it is kept, and for
        operators its records. Raises UnknownInvocation."""
        return self._extension("invocations/logs", "logs", invocation=invocation)

    def reload(self) -> dict[str, Any]:
        """For operators: have the configuration read again; `restart` names the keys whose change
        waits for a restart. Raises ConfigError for a file that is refused: what held holds on."""
        return self._extension("reload", "reloaded", timeout=RELOAD_SECONDS)

    def show_caller(self, who: str | None = None) -> dict[str, Any]:
        """What a caller may do now: roles, rates, budgets, conduct, sessions. Yourself, or for
        operators the user named."""
        return self._extension("callers/show", "caller", _given(who=who))

    def open_session(self) -> dict[str, Any]:
        """Open a session: its handle under `session`, to be given to `call`."""
        return self._extension("sessions/open", "opened")

    def close_session(self, session: str) -> dict[str, Any]:
        """End a session. Raises UnknownSession."""
        return self._extension("sessions/close", "closed", session=session)

    def stop(
        self, kind: str, name: str = "", reason: str = "", *, capture: bool = False
    ) -> dict[str, Any]:
        """Stop a `tool`, a `caller` (its UID, `str` of the number) or `all`, also what runs, until
        `resume`. capture: look at what runs before it is killed, and open an incident for each.

        Raises UsageError, also for a caller that is no UID or is written otherwise."""
        return self._extension(
            "stops/add", "stop", timeout=STOP_SECONDS,
            kind=kind, name=name, reason=reason, capture=capture,
        )  # fmt: skip

    def resume(self, kind: str, name: str = "") -> dict[str, Any]:
        """Let go on what was stopped."""
        return self._extension("stops/remove", "stop", kind=kind, name=name)

    def stops(self) -> list[dict[str, Any]]:
        """What is stopped."""
        return list(self._extension("stops/list", "stopped")["stops"])

    def incidents(self, *, closed: bool = False) -> list[dict[str, Any]]:
        """Incidents, the newest first."""
        return list(self._extension("incidents/list", "found", closed=closed)["incidents"])

    def incident(self, incident: str) -> dict[str, Any]:
        """One incident. Raises UnknownIncident."""
        return self._extension("incidents/show", "incident", incident=incident)

    def close_incident(self, incident: str, note: str) -> dict[str, Any]:
        """Close an incident. Raises UnknownIncident."""
        return self._extension("incidents/close", "incident", incident=incident, note=note)

    def receipt(self, invocation: str) -> dict[str, Any]:
        """The signed receipt of an invocation that ended: a DSSE envelope, for
        `fumehood.verify.verify_receipt`. Raises UnknownInvocation."""
        return self._extension("invocations/receipt", "receipt", invocation=invocation)

    def withheld(self) -> list[dict[str, Any]]:
        """For operators: the invocations whose withheld output is kept, the oldest first."""
        return list(self._extension("withheld/list", "withheld")["kept"])

    def release(self, invocation: str) -> dict[str, Any]:
        """For operators: what a tool wrote that was withheld; `stdout`, `stderr` and each
        artifact's `data` in base64. It is on record who saw it. Raises UnknownInvocation."""
        return self._extension(
            "withheld/release", "released", timeout=RELEASE_SECONDS, invocation=invocation
        )

    def approvals(self) -> list[dict[str, Any]]:
        """The calls that wait for an operator's approval, as they will run: all for an operator,
        one's own for others."""
        return self._listed("fumehood/approvals/list", "approvals")

    def answer_approval(
        self, approval: str, *, grant: bool, digest: str | None = None
    ) -> dict[str, Any]:
        """Let a call pass that waits for approval, or not; returns it as it was shown, with
        `granted`. Raises Unauthorized, UnknownApproval, UsageError.

        Args:
            digest: `arguments_digest` of what was seen; another one is refused, and so is none
                where there are more arguments than `approvals` lists.
        """
        params = {"approval": approval, "grant": grant, **_given(digest=digest)}
        return self._extension("approvals/answer", "answered", params)

    def asked_arguments(self, approval: str) -> tuple[bytes, str]:
        """All arguments of a call that waits, as its tool would read them, and their digest, which
        is of exactly these bytes. Raises UnknownApproval, ProtocolError."""
        import hashlib  # a millisecond that only this pays for

        whole = b""
        while True:
            piece = self._extension(
                "approvals/arguments", "piece", approval=approval, offset=len(whole)
            )
            data = base64.b64decode(piece["data"])
            whole += data
            if not data or len(whole) >= piece["arguments_bytes"]:
                break
        digest = "sha384:" + hashlib.sha384(whole).hexdigest()
        if digest != piece["arguments_digest"]:
            raise ProtocolError("the arguments are not those that wait", "ask again")
        return whole, digest

    def explain_policy(
        self, who: str, tool: str, arguments: Mapping[str, object]
    ) -> dict[str, Any]:
        """For operators: which rule decides about that call of the account `who`."""
        return self._extension(
            "policy/explain", "explained", who=who, tool=tool, arguments=dict(arguments)
        )

    def review_policy(self, named: Sequence[str]) -> list[dict[str, Any]]:
        """For operators: remarks about the rules that hold, and about what they lose with a file
        that names these keys."""
        return self._listed("fumehood/policy/review", "remarks", {"named": list(named)})

    def status(self) -> dict[str, Any]:
        """How the supervisor is: what it enforces on this host, what runs, what waits."""
        return self._extension("status", "status")

    def _listed(
        self, method: str, key: str, params: Mapping[str, object] | None = None
    ) -> list[dict[str, Any]]:
        listed = self._request(method, params or {}, timeout=self._timeout).get(key)
        if not isinstance(listed, list):
            raise ProtocolError(f"the answer holds no {key}", "is this a supervisor?")
        return listed

    def _extension(
        self,
        method: str,
        key: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout: float = 0.0,
        **more: object,
    ) -> dict[str, Any]:
        timeout = max(timeout, self._timeout)
        asked = {**(params or {}), **more}
        answer = self._request(f"fumehood/{method}", asked, timeout=timeout).get(key)
        if not isinstance(answer, dict):
            raise ProtocolError(f"the answer holds no {key}", "is this a supervisor?")
        return answer


def _given(**params: str | None) -> dict[str, object]:
    return {name: value for name, value in params.items() if value is not None}
