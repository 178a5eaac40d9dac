"""What a classifier outside is asked about one result, and what its answer changes. Pure.

It is asked last, about what would leave: a secret that was redacted is not sent to it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fumehood.errors import ProtocolError
from fumehood.model.result import Action, Finding, Result
from fumehood.scan.decide import Policy
from fumehood.scan.detector import Match
from fumehood.scan.policy import MAX_LISTED, Withhold

NAME: Final = "outside-classifier"
OVERLAP: Final = 200
"""Characters that two pieces of a long text share: an instruction that is cut stands in one."""
DOCUMENTS: Final = 5
"""Of one request, which is what Prompt Shields takes."""
MAX_ANSWER: Final = 64 * 1024

Failure = str
_FAILED: Final[dict[Failure, Action]] = {"withhold": "withhold", "flag": "flag", "pass": "pass"}


@dataclass(frozen=True, slots=True)
class Document:
    """Some text of a result, and where it stands."""

    place: str
    text: str


class Unanswered(Exception):
    """It has not judged all of the output. The text is for the log, and holds no output."""


def documents(result: Result, characters: int) -> Iterator[Document]:
    """All text that a caller would get, in pieces of at most so many characters."""
    for place, text in _texts(result):
        step = characters - min(OVERLAP, characters // 4)
        for at in range(0, max(len(text) - (characters - step), 1), step):
            if piece := text[at : at + characters]:
                yield Document(place, piece)


def _texts(result: Result) -> Iterator[tuple[str, str]]:
    for block in result.content:
        resource = block.get("resource", {})
        if block["type"] == "text":
            yield "stdout", block["text"]
        elif "text" in resource:
            yield f"artifact:{resource['uri'].rpartition('/out/')[2]}", resource["text"]
    if result.stderr:
        yield "stderr", result.stderr


def batches(items: Iterator[Document], characters: int, most: int) -> list[list[Document]]:
    """As they are asked together. Raises Unanswered when they do not fit into `most` requests."""
    asked: list[list[Document]] = []
    room = 0
    for item in items:
        if not asked or len(item.text) > room or len(asked[-1]) == DOCUMENTS:
            if len(asked) == most:
                raise Unanswered(f"the output is larger than {most} requests of {characters}")
            asked.append([])
            room = characters
        asked[-1].append(item)
        room -= len(item.text)
    return asked


def question(batch: Sequence[Document]) -> bytes:
    """The body of a request, as Azure AI Content Safety's `text:shieldPrompt` takes it."""
    value = {"userPrompt": "", "documents": [document.text for document in batch]}
    return json.dumps(value).encode()


def attacked(body: bytes, batch: Sequence[Document]) -> list[Document]:
    """In which of the documents an attack was seen. Raises ProtocolError."""
    try:
        found = [entry["attackDetected"] for entry in json.loads(body)["documentsAnalysis"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"the answer is none: {type(error).__name__}") from error
    if len(found) != len(batch) or not all(isinstance(item, bool) for item in found):
        raise ProtocolError("the answer does not say of each document whether it is an attack")
    return [document for document, is_one in zip(batch, found, strict=True) if is_one]


def may_withhold(policy: Policy, failure: Failure) -> bool:
    """Whether what it says, or that it says nothing, can keep output back."""
    return _FAILED[failure] == "withhold" or _action(policy) in ("redact", "withhold")


def _action(policy: Policy) -> Action:
    return policy.action(Match(NAME, "injection", "high", 0, 1, confidence="medium"), b"", str)


def judged(result: Result, places: Sequence[str], policy: Policy) -> Result:
    """`result` once attacks were seen at these places: flagged, or withheld, as the policy says."""
    findings = list(result.findings)
    for place in dict.fromkeys(places):
        action = _action(policy)
        if action in ("redact", "withhold"):  # there is no telling what of it to cut out
            finding = Finding(NAME, "injection", "high", place, "withhold", confidence="medium")
            return withheld(result, Withhold.decided(finding))
        if action == "flag":
            findings.append(Finding(NAME, "injection", "high", place, "flag", confidence="medium"))
    return dataclasses.replace(result, findings=tuple(findings[-MAX_LISTED:]))


def unjudged(result: Result, failure: Failure, *, late: bool) -> Result:
    """`result` when the classifier has not answered for all of it."""
    action = _FAILED[failure]
    if action == "pass":
        return result
    withhold = Withhold.reported(NAME, "no answer", late=late)
    if action == "withhold":
        return withheld(result, withhold)
    (finding,) = withhold.findings
    told = dataclasses.replace(finding, action="flag")
    return dataclasses.replace(result, findings=(*result.findings, told)[-MAX_LISTED:])


def withheld(result: Result, why: Withhold) -> Result:
    """`result` with nothing of what the tool wrote in it."""
    return dataclasses.replace(
        result,
        status="withheld",
        message=why.message,
        content=(),
        structured=None,
        stderr="",
        findings=(*result.findings, *why.findings)[-MAX_LISTED:],
    )
