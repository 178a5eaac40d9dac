"""Whether a text speaks of orders to models, or gives one: what writes about attacks, and what tells
what a program does, must not pass for an attack.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Judge, linear

NEAR: Final = 500
"""Bytes around a match that are read for words of somebody who writes about attacks."""

_ABOUT: Final = linear(
    rb"(?i:prompt[ -]?injection|jailbreak(?:s|ing)\b|red[ -]?team|adversarial|owasp|\bllm01\b|mitre atlas"
    rb"|guardrails?\b|inyecci\xc3\xb3n de prompt|injection d[e'])"
    rb"|\xed\x94\x84\xeb\xa1\xac\xed\x94\x84\xed\x8a\xb8 ?\xec\x9d\xb8\xec\xa0\x9d\xec\x85\x98"
    rb"|\xe6\x8f\x90\xe7\xa4\xba(?:\xe8\xaf\x8d)?\xe6\xb3\xa8\xe5\x85\xa5"
    rb"|\xe3\x83\x97\xe3\x83\xad\xe3\x83\xb3\xe3\x83\x97\xe3\x83\x88\xe3\x82\xa4\xe3\x83\xb3\xe3\x82\xb8"
)
_MENTION: Final = linear(
    rb"(?i:\b(?:for example|for instance|e\.g\.|such as|examples? of|attack(?:s|er|ers)?|malicious|payloads?"
    rb"|mitigat\w+|defen[cs]es?|detect(?:s|or|ion|ing|ed)?|test cases?|phrases?|patterns? like|classifier"
    rb"|attempts?|vulnerab\w+|exploit\w*|threat model|angriff|beispiel\w*|exemple|ejemplo|ataque|attaque)\b)"
    rb"|\xea\xb3\xb5\xea\xb2\xa9|\xec\x98\x88\xec\x8b\x9c|\xe6\x94\xbb\xe5\x87\xbb|\xe6\x94\xbb\xe6\x92\x83"
    rb"|\xe4\xbe\x8b\xe5\xa6\x82|\xe4\xbe\x8b\xe3\x81\x88\xe3\x81\xb0"
)
_QUOTES: Final = (
    b'"', b"'", b"`", b"\xe2\x80\x9c", b"\xe2\x80\x98", b"\xe3\x80\x8c", b"\xc2\xab", b"\xe2\x80\x9e",
    b"*", b"> ", b"|",
)  # fmt: skip


class Place(Protocol):
    """Where something was found."""

    @property
    def data(self) -> bytes: ...
    @property
    def span(self) -> tuple[int, int]: ...
    def anywhere(self, pattern: Any) -> bool: ...


def is_about(found: Place) -> bool:
    """Whether the text around it is about attacks."""
    start, end = found.span
    near = found.data[max(0, start - NEAR) : end + NEAR]
    return found.anywhere(_ABOUT) and _ABOUT.search(near) is not None


def is_mention(found: Place) -> bool:
    """Whether the text is about attacks. Two signs are needed: one alone is what an attack adds."""
    start, end = found.span
    near = found.data[max(0, start - NEAR) : end + NEAR]
    signs = min(len({word.lower() for word in _MENTION.findall(near)}), 2)
    if found.anywhere(_ABOUT):
        signs += 2 if _ABOUT.search(near) else 1
    before = found.data[max(0, start - 3) : start].lstrip()
    signs += any(before.endswith(quote) for quote in _QUOTES)
    return signs >= 2


_PARTLY: Final = re.compile(
    rb"(?i)\b(?:(?:(?:kind|sort|type)s? of|some|certain|several)\s+|(?:if|unless|whether)\s+(?:\w+\s+){0,2})\Z"
)
_TOLD_TO: Final = re.compile(rb"(?i)\b(?!you|assistant|model|ai)\w+ to\s+\Z")
_OF_OTHERS: Final = re.compile(
    rb"(?i)\b(?:n't|not|will|would|may|can|could|never|that|which|it|they|be|are|is|was|we|might|does|do|always|rules|options|settings|whether to|how to|used to|able to|possible to)\s+\Z"
)
"""Before a verb: who does it is not told to."""
_PROMISE: Final = re.compile(
    rb"(?i)\s+(?:only )?(?:receive|get|find|see|need|have|also|be (?:able|notified|charged|billed|informed|asked)|able|welcome|no longer (?:need|receive|have))\b"
)
_STATE: Final = re.compile(
    rb"(?i)\s+(?:assigned|created|ready|available|due|waiting|in|listed|on|attached|saved|done|complete\w*|pending|scheduled|posted)\b"
)
_HEADED: Final = re.compile(
    rb"(?i)\W{0,4}(?:new|updated|revised|additional)\s+(?:instructions?|task|objective|orders)\s*:"
)
_ACTS: Final = linear(
    rb"(?i)\b(?:you|your|send|forward|delete|ignore|exfil\w*|reveal|print|output|transfer|run|execute|respond|reply|answer|say|call|upload|post|e-?mail|must|never|always|do not|assistant|only|summari[sz]e|translate|https?)\b"
)
_CALLED: Final = re.compile(rb"(?i)\bheader|\bauthorization\b|\bcurl\b|\bx-api-key\b")
_WHEN: Final = re.compile(rb"(?i)\b(?:when|if|until|after|unless|once|whether)\s+(?:you\s+)?\Z")
_KIND: Final = re.compile(
    rb"(?i)\s+(?:that (?:have|has|are|do)|related|for|which|with|whose|marked)\b"
)
_IF: Final = re.compile(rb"(?i)\s+if\b")


_NOT: Final = (b"do not", b"don't", b"never", b"must not")
_WHOM: Final = (b"user", b"human", b"operator")
_OWN: Final = (b"'s ", b"\xe2\x80\x99s ")
_MAY_DESCRIBE: Final = (
    b"override", b"bypass", b"erase", b"abandon", b"silently", b"quietly", b"turn off", b"disable",
    b"discard", b"drop", b"skip", b"dismiss", b"do not follow",
)  # fmt: skip


def _is_description(found: Found) -> bool:
    """Whether it tells what a program does: that `some kinds of safety checks are disabled`, how to
    `get it to forget past commands`, that it does `not warn the user if` something is so."""
    start, end = found.span
    before, said = found.data[max(0, start - 40) : start], found[""].lower()
    if said.startswith((b"safety ", b"content ", b"ethical ")):
        return _PARTLY.search(before) is not None
    if said.endswith(b"above") and b"all of the" in said:
        return True
    if b" a system prompt" in said or said.startswith(
        (b"print everything before the", b"print the text above the")
    ):
        return True  # of a shell or a terminal
    if said.endswith((b"command", b"commands")):
        return _TOLD_TO.search(before) is not None
    if (said.endswith(b"lifted") or said.startswith(b"forget")) and _WHEN.search(before):
        return True
    if said.endswith(b"instructions") and _KIND.match(found.data, end):
        return True  # those of a program, or of a manual
    if b"hacker" in said and b"not " in said:
        return True
    if said.startswith(_MAY_DESCRIBE) and _OF_OTHERS.search(before):
        return True
    after = found.data[end : end + 160]
    if said.startswith(_NOT) and said.endswith(_WHOM) and after.startswith(_OWN):
        return True  # not to whom, but whose
    if b"from now on" in said:
        return _PROMISE.match(after) is not None
    if said.endswith((b" is", b" are")) and b"your " in said:
        return _STATE.match(after) is not None
    if _HEADED.match(said):
        return _ACTS.search(after) is None
    if said.endswith((b"return", b"output", b"print", b"pass")) and b"content" in said:
        return True  # what any function does with a file
    if b"send" in said or b"pass" in said:
        return _CALLED.search(said) is not None
    return b"warn" in said and _IF.match(after) is not None


def spoken(sure: Confidence) -> Judge:
    def judge(found: Found) -> Confidence | None:
        return "low" if _is_description(found) or is_mention(found) else sure

    return judge
