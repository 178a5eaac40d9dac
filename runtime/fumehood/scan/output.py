"""One invocation's output on its way through the detectors: what it may become, and what was
found. Must never give anything out of a piece that was not searched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from fumehood.model import strict_json
from fumehood.model.outcome import Artifact, Outcome, Status
from fumehood.model.result import Action, Finding
from fumehood.scan import artifacts as files
from fumehood.scan import messages, schema
from fumehood.scan.detector import Kind, Match, Severity
from fumehood.scan.exchange import Subject
from fumehood.scan.leaves import CannotRedact, Edits, Leaves, pointer
from fumehood.scan.pieces import NOT_CUT, Piece, Secrets, asked
from fumehood.scan.policy import Findings, Withhold
from fumehood.scan.redact import Span, redact_binary, redact_text
from fumehood.scan.shown import made_visible
from fumehood.scan.visible import visible

STDERR_SHOWN: Final = 64 * 1024
"""Characters of stderr in a result: half from its beginning, half from its end."""

ESCAPED_BYTES: Final = 1024 * 1024
"""Text up to this size is also searched as the JSON document it may be."""

SHOWN_NAME: Final = 256
"""Characters of a file's name or of a JSON pointer in a finding or a message."""

# A stream that was cut may end within a secret, of which no rule sees half.
CUT_TOKEN_BYTES: Final = 256
_CUT_TOKEN: Final = re.compile(rb"[^\s\"',;:<>(){}\[\]]{1,256}\Z")


@dataclass(frozen=True, slots=True)
class Released:
    """What may leave."""

    status: Status
    message: str
    content: tuple[dict[str, Any], ...]
    structured: Any
    stderr: str
    truncated: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Value:
    """A structured value that may leave, and its JSON text."""

    value: Any
    text: str


class Output:
    """Takes an outcome apart, has it searched, and puts together what may leave."""

    def __init__(
        self, invocation: str, outcome: Outcome, secrets: Secrets, arguments: bytes = b""
    ) -> None:
        """arguments: of the call, of which it is only told what they hold."""
        self._invocation = invocation
        self._outcome = outcome
        self._secrets = secrets
        self._findings = Findings()
        self._status: Status = outcome.status
        self._message = messages.why(outcome)
        self._truncated = outcome.truncated
        usage = outcome.usage
        self._stdout = Piece("stdout", _uncut(outcome.stdout, usage.stdout_bytes))
        self._stderr = Piece("stderr", _uncut(outcome.stderr, usage.stderr_bytes))
        self._arguments = Piece("arguments", arguments)
        self._names = [Piece("", files.name_of(artifact)) for artifact in outcome.artifacts]
        self._files = [
            Piece("", file.data, name=file.name, binary=files.is_binary(file.data))
            for file in outcome.artifacts
        ]

    def release(self, checker: schema.Check | None) -> Released:
        """Everything that may leave.

        Args:
            checker: of the tool's outputSchema; None when it has none.

        Raises:
            Withhold: nothing may.
        """
        promised = checker is not None and self._status == "ok"
        leaves, texts, pieces = self._apart(promised=promised)
        self._secrets.search(pieces, [self._arguments], self._read, self._names)
        for piece in (self._stdout, texts, self._stderr, *self._names):
            self._require_allowed(piece)
        structured = None
        if promised and leaves and checker:
            structured = self._structured(leaves, texts, checker)
        if structured is not None:
            content = [_text_block(structured.text)]
        elif leaves and self._is_hidden_by_escapes(texts):
            content = [_text_block(self._rewritten(leaves, texts))]
        else:
            content = self._stdout_content(texts)
        stderr = _shortened(self._text(self._stderr))
        content += self._artifact_content()
        self._tell_arguments()
        return Released(
            self._status,
            self._message,
            tuple(content),
            structured.value if structured else None,
            stderr,
            self._truncated,
            self._findings.listed(),
        )

    def subjects(self, *, promised: bool) -> list[Subject]:
        """What `release` has searched first. promised: it comes with a checker."""
        _, _, pieces = self._apart(promised=promised)
        subjects, _ = asked([*pieces, self._arguments], self._read, self._names)
        return subjects

    @property
    def _read(self) -> list[Piece]:
        """What is read one after the other, and so may hold parts of one secret."""
        return [self._stdout, self._stderr, *self._files]

    def _apart(self, *, promised: bool) -> tuple[Leaves | None, Piece, list[Piece]]:
        """stdout as a document if it is one, its strings, and all pieces that may leave."""
        leaves = self._parsed() if promised else self._escaped()
        texts = Piece("stdout", leaves.data if leaves else b"")
        return leaves, texts, [self._stdout, texts, self._stderr, *self._names, *self._files]

    # --- structured output

    def _parsed(self) -> Leaves | None:
        try:
            return Leaves(schema.parse(self._outcome.stdout))
        except schema.Unfit as unfit:
            self._unfit(unfit, messages.not_json(unfit.message), "")
            return None

    def _structured(self, leaves: Leaves, texts: Piece, checker: schema.Check) -> _Value | None:
        """The value, redacted; None when it breaks the schema (stdout is then text)."""
        try:
            show = None if texts.clean else self._shown
            if not self._fits(leaves, leaves.edits(texts.spans, show), checker):
                return None
            self._secrets.locate(self._stdout, leaves, texts)
            edits = leaves.edits(texts.spans, show)
            leaves.apply(edits)
            if edits.texts:
                schema.check(leaves.value, checker)
        except CannotRedact as error:
            raise Withhold.not_redactable(str(error)) from None
        except schema.Unfit as unfit:
            raise Withhold.not_redactable(
                "its outputSchema has no room for what is put in place of a finding"
            ) from unfit
        return _Value(leaves.value, self._written(leaves, texts))

    def _written(self, leaves: Leaves, texts: Piece) -> str:
        self._tell(texts, leaves)
        self._tell_raw(texts)
        text = strict_json.dumps(leaves.value)
        self._secrets.require_none(text)
        return text.decode()

    def _fits(self, leaves: Leaves, edits: Edits, checker: schema.Check) -> bool:
        try:
            schema.check(leaves.value, checker)
        except schema.Unfit as unfit:
            # The pointer is made of the output's own keys.
            parts = unfit.pointer.split("/")[1:]
            keys = (part.replace("~1", "/").replace("~0", "~") for part in parts)
            shown = pointer(edits.names.get(key, key) for key in keys)[:SHOWN_NAME]
            self._unfit(unfit, messages.breaks_schema(shown), shown)
            return False
        return True

    def _unfit(self, unfit: schema.Unfit, message: str, shown: str) -> None:
        place = f"stdout#{shown}" if shown else "stdout"
        self._status, self._message = "tool_error", message
        self._findings.add(unfit.rule, "schema", "medium", place, message=unfit.message)

    def _shown(self, text: bytes) -> str:
        shown, cut = visible(text)
        if cut:
            raise CannotRedact("there is too much hidden text in it")
        return shown

    # --- text

    def _escaped(self) -> Leaves | None:
        """Text that is a JSON document and has escapes, behind which a secret may stand."""
        data = self._stdout.data
        if len(data) > ESCAPED_BYTES or b"\\" not in data:
            return None
        try:
            return Leaves(schema.parse(data))
        except schema.Unfit:
            return None

    def _is_hidden_by_escapes(self, texts: Piece) -> bool:
        """Whether the text, redacted where it shows a secret, still holds one as JSON."""
        if not texts.spans:
            return False
        try:
            left = Leaves(schema.parse(redact_text(self._stdout.data, self._stdout.spans)))
        except schema.Unfit:
            return True
        piece = Piece("stdout", left.data)
        self._secrets.search([piece])
        return bool(piece.spans)

    def _rewritten(self, leaves: Leaves, texts: Piece) -> str:
        """The document redacted in its strings and written anew."""
        try:
            self._secrets.locate(self._stdout, leaves, texts)
            leaves.apply(leaves.edits(texts.spans, None if texts.clean else self._shown))
        except CannotRedact as error:
            raise Withhold.not_redactable(str(error)) from None
        return self._written(leaves, texts)

    def _stdout_content(self, texts: Piece) -> list[dict[str, Any]]:
        """texts: its strings, where it is JSON with escapes."""
        if not self._stdout.data:
            return []
        text = self._text(self._stdout, escapes=not texts.clean)
        known = {match.rule for match, _ in self._stdout.told}
        for match, action in texts.told:
            if match.kind in NOT_CUT and match.rule not in known:
                self._tell_match(match, action, "stdout")
        return [_text_block(text)]

    def _text(self, piece: Piece, *, escapes: bool = False) -> str:
        """escapes: whether those of JSON hide something in it."""
        self._tell(piece)
        if piece.clean and not escapes and not piece.spans:
            return piece.data.decode()
        data = redact_text(piece.data, piece.spans)
        text, cut = made_visible(data, escapes=escapes)
        self._truncated |= cut
        return text

    # --- artifacts

    def _artifact_content(self) -> list[dict[str, Any]]:
        content = []
        for artifact, name, piece in zip(
            self._outcome.artifacts, self._names, self._files, strict=True
        ):
            shown, _ = visible(redact_text(name.data, name.spans))
            piece.place = f"artifact:{shown[:SHOWN_NAME]}"
            self._tell_name(name, piece.place)
            if artifact.refused:
                self._tell_refused(artifact, piece.place)
            elif piece.withheld:
                self._findings.add(*_said(piece.withheld, piece.place), action="withhold")
            elif files.is_text(piece.data):
                content.append(files.text_block(self._invocation, shown, self._text(piece)))
            else:  # bytes between which something is hidden stay as they are
                piece.told = [
                    (match, "flag" if match.kind in NOT_CUT and action == "redact" else action)
                    for match, action in piece.told
                ]
                self._tell(piece)
                data = redact_binary(piece.data, piece.spans)
                content.append(files.binary_block(self._invocation, shown, data))
        return content

    def _tell_name(self, name: Piece, place: str) -> None:
        for span in name.spans:
            self._tell_span(span, place)
        for match, action in name.told:
            self._findings.add(*_said(match, place), action=action, message="in its name")

    def _tell_refused(self, artifact: Artifact, place: str) -> None:
        severity, message = files.REFUSALS.get(artifact.refused, ("medium", "it was left out"))
        rule = "artifact-" + artifact.refused.replace("_", "-")[:32]
        self._findings.add(rule, "artifact", severity, place, message=message)

    # --- findings

    def _tell(self, piece: Piece, leaves: Leaves | None = None) -> None:
        for span in piece.spans:
            self._tell_span(span, _place(piece, span.start, span.end, leaves))
        for match, action in piece.told:
            place = _place(piece, match.start, match.end, leaves)
            self._tell_match(match, action, place)

    def _tell_raw(self, texts: Piece) -> None:
        """What only the JSON text shows, and its strings do not."""
        known = {match.rule for match, _ in texts.told}
        for match, action in self._stdout.told:
            if match.rule not in known:
                self._tell_match(match, action, "stdout")

    def _tell_arguments(self) -> None:
        """A leak by whoever calls is seen; what the tool was given is not changed."""
        piece = self._arguments
        for span in piece.spans:
            self._tell_span(span, _place(piece, span.start, span.end, None), "flag")
        for match, _ in piece.told:
            self._tell_match(match, "flag", _place(piece, match.start, match.end, None))

    def _tell_span(self, span: Span, place: str, action: Action = "redact") -> None:
        self._findings.add(
            span.rule, span.kind, span.severity, place, action=action, fingerprint=span.fingerprint,
            confidence=span.confidence, decoded=span.decoded,
        )  # fmt: skip

    def _tell_match(self, match: Match, action: Action, place: str) -> None:
        made = "made visible, " if match.kind in NOT_CUT and action == "redact" else ""
        message = f"{match.count} {made}the first here" if match.count > 1 else ""
        self._findings.add(
            *_said(match, place), action=action, message=message, confidence=match.confidence,
            decoded=">".join(match.decoded),
        )  # fmt: skip

    def _require_allowed(self, piece: Piece) -> None:
        match = piece.withheld
        if match is not None:
            raise Withhold.decided(Finding(*_said(match, piece.place or "artifact"), "withhold"))


def _said(match: Match, place: str) -> tuple[str, Kind, Severity, str]:
    return match.rule, match.kind, match.severity, place


def _place(piece: Piece, start: int, end: int, leaves: Leaves | None) -> str:
    if leaves is None:
        return f"{piece.place}#bytes={start}-{end}"
    return f"{piece.place}#{leaves.pointer(start)[:SHOWN_NAME]}"


def _uncut(kept: bytes, written: int) -> bytes:
    if written <= len(kept):
        return kept
    # The pattern is tried at every byte: 13 s for 1 MiB without a space, 3 ms for the last 256.
    return kept[:-CUT_TOKEN_BYTES] + _CUT_TOKEN.sub(b"", kept[-CUT_TOKEN_BYTES:])


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _shortened(text: str) -> str:
    if len(text) <= STDERR_SHOWN:
        return text
    half = STDERR_SHOWN // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
