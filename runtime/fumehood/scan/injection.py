"""Instructions to a model where a tool's data should be: by wording, by role markers, by templates.

Wording is a weak sign. What is found here is flagged, not blocked, unless the operator says
otherwise; and a text that talks about such attacks is told apart from one that is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Confidence, Severity
from fumehood.scan.patterns import Found, Judge, PatternDetector, Rule, linear
from fumehood.scan.phrases import PHRASES
from fumehood.scan.spelling import Respelling

_NEAR: Final = 500
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
_TOKENIZER: Final = linear(
    rb"(?i)[\"'](?:bos|eos|pad|unk|sep|cls|additional_special|added)_tokens?[\"']|special_tokens|tokenizer|"
    rb"chat_template|vocab"
)


def _is_mention(found: Found) -> bool:
    """Whether the text is about attacks. Two signs are needed: one alone is what an attack adds."""
    start, end = found.span
    near = found.data[max(0, start - _NEAR) : end + _NEAR]
    signs = min(len({word.lower() for word in _MENTION.findall(near)}), 2)
    if found.anywhere(_ABOUT):
        signs += 2 if _ABOUT.search(near) else 1
    before = found.data[max(0, start - 3) : start].lstrip()
    signs += any(before.endswith(quote) for quote in _QUOTES)
    return signs >= 2


_PARTLY: Final = re.compile(
    rb"(?i)\b(?:(?:(?:kind|sort|type)s? of|some|certain|several)\s+|(?:if|unless|whether)\s+(?:\w+\s+){0,2})\Z"
)
_TOLD_TO: Final = re.compile(rb"(?i)\b(?:it|them) to\s+\Z")
_IF: Final = re.compile(rb"(?i)\s+if\b")


def _is_description(found: Found) -> bool:
    """Whether it tells what a program does: that `some kinds of safety checks are disabled`, how to
    `get it to forget past commands`, that it does `not warn the user if` something is so."""
    start, end = found.span
    before, said = found.data[max(0, start - 40) : start], found[""].lower()
    if said.startswith((b"safety ", b"content ", b"ethical ")):
        return _PARTLY.search(before) is not None
    if said.endswith((b"command", b"commands")):
        return _TOLD_TO.search(before) is not None
    return b"warn" in said and _IF.match(found.data[end : end + 8]) is not None


def _spoken(sure: Confidence) -> Judge:
    def judge(found: Found) -> Confidence | None:
        return "low" if _is_description(found) or _is_mention(found) else sure

    return judge


_HEADING: Final = re.compile(rb"(?i)\s*(?:#{1,6} ?system ?|\[system\])")
_SPEAKS: Final = linear(
    rb"(?i)\b(?:you|your|must|always|never|do not|don't|ignore|disregard|instructions?|assistant|prompt|human)\b"
)


def _role(found: Found) -> Confidence | None:
    """A heading `# System`, or a section `[system]`, marks a role where what follows speaks."""
    after = found.data[found.span[1] : found.span[1] + _NEAR]
    if _HEADING.fullmatch(found[""]) and after[:1] in b"\r\n" and not _SPEAKS.search(after):
        return "low"
    return "low" if _is_mention(found) else "medium"


def _template(found: Found) -> Confidence | None:
    start, end = found.span
    near = found.data[max(0, start - _NEAR) : end + _NEAR]
    if _TOKENIZER.search(near) or found.data[max(0, start - 1) : start] == b"`":
        return "low"
    return "low" if found.anywhere(_ABOUT) and _ABOUT.search(near) else "high"


def _image(found: Found) -> Confidence | None:
    """An image that takes something along to its server; badges take a branch, or a token."""
    url = (found["u"] or found["u2"]).lower()
    if re.search(rb"badge|shields\.io|\.svg(?:\?|$)|codecov|travis|circleci|github\.com", url):
        return None
    query = url.partition(b"?")[2]
    carries = re.search(
        rb"[{<\[$]|%7b|(?:^|&)(?:data|secret|token|key|leak|exfil\w*|content|payload|conv\w*|history|context|prompt"
        rb"|info|msg|message|password|cookie|d|q|c|s)=[^&]{0,}",
        query,
    )
    if carries is None:
        return "medium" if len(query) > 80 else None
    return "low" if _is_mention(found) else "high"


def _hidden(found: Found) -> Confidence | None:
    if re.search(rb"(?i)\b(?:eslint|prettier|todo|fixme|copyright|license)\b", found[""]):
        return None
    return "low" if _is_mention(found) else "high"


_COMMAND: Final = (
    r"(?:\b(?:ignore|disregard)\s+(?:all|any|the|your|every|everything|previous|prior|above|earlier|these|those|that"
    r"|what|whatever|instructions?|users?)\b|(?:new|hidden|following|previous|prior|above|these|your|system|secret)"
    r"\s+instructions?\b|instructions?\s+(?:for|to)\b|assistant|system prompt|language model|\bai\b|\bllm\b|you must"
    r"|you are (?:now|an?)|do not (?:tell|mention|reveal)|exfiltrate|send (?:the|all|your))"
)
_UNSEEN: Final = (
    r"(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?:[;\"']|\.0)"
    r"|color\s*:\s*(?:white|#fff(?:fff)?|transparent)|left\s*:\s*-\d{3,}|height\s*:\s*0|text-indent\s*:\s*-\d{3,})"
)


# A gap may not pass the full stop of Chinese and Japanese (U+3002), which no space follows.
_IN_SENTENCE: Final = r"(?:[^\n\xe3]|\xe3[^\x80]|\xe3\x80[^\x82])"


def _rule(
    name: str, pattern: str, judge: Judge | Confidence = "medium", severity: Severity = "medium"
) -> Rule:
    decide = _spoken(judge) if isinstance(judge, str) else judge
    pattern = pattern.replace(r"[^\n]{", _IN_SENTENCE + "{")
    return Rule(name, severity, pattern, judge=decide, kind="injection")


RULES: Final[Sequence[Rule]] = (
    *(_rule(name, f"(?i){pattern}", sure) for name, pattern, sure in PHRASES),
    # Control tokens of published chat templates: ChatML, Llama 2 and 3, Gemma, Phi, Mistral,
    # DeepSeek, Command R, gpt-oss.
    _rule(
        "chat-template",
        r"<\|(?:im_start|im_end|im_sep|system|user|assistant|endoftext|begin_of_text|end_of_text"
        r"|start_header_id|end_header_id|eot_id|eom_id|python_tag|end|start|channel|message"
        r"|START_OF_TURN_TOKEN|END_OF_TURN_TOKEN|SYSTEM_TOKEN|USER_TOKEN|CHATBOT_TOKEN)\|>"
        r"|###\s?Instructions?:[^#]{1,600}###\s?Response:"
        r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS)\]"
        r"|<\xef\xbd\x9c(?:User|Assistant|begin\xe2\x96\x81of\xe2\x96\x81sentence)\xef\xbd\x9c>",
        _template, "high",
    ),
    _rule(
        "role-marker",
        r"(?im)^[ \t]{0,8}[>*#\[<({|=-]{1,8} ?(?:end of )?(?:system|developer|admin(?:istrator)?|assistant)[ _-]?"
        r"(?:prompt|message|override|note|notice|instructions?|directive|update|command)\s*(?:[\]>):|*_#]|-[-\s])"
        r"|^\s{0,8}(?-i:SYSTEM|ADMIN|DEVELOPER) (?-i:NOTICE|MESSAGE|ALERT|UPDATE|PROMPT|INSTRUCTIONS?)\s*:|\bBEGIN (?:SYSTEM|HIDDEN) (?:PROMPT|INSTRUCTIONS?)\b"
        r"|<(?:system|developer|instructions?)>\s*(?:you|new|ignore|do|always|never|the|your)\b"
        r"|^(?:#{1,6} ?|\[)system(?:\]|:| ?$)|\n\n(?:Human|Assistant): [^\n]*\n\n(?:Human|Assistant):"
        r"|</(?:user_?input|untrusted|tool_?(?:result|output)|document|context|data)>\s*<(?:system|instructions?)>",
        _role,
    ),
    _rule(
        "tool-call",
        r"<(?:tool_call|function_calls?|tool_use|use_mcp_tool|antml:invoke)>|<invoke name=\"|<function=\w+>"
        r"|\[TOOL_CALLS?\]|<\|tool_?call\|>|```tool_(?:code|call)\b",
        _template, "high",
    ),
    _rule(
        "exfiltration-image",
        r"!\[[^\]\n]{0,200}\]\(\s*<?(?P<u>https?://[^\s)>]{4,1000}\?[^\s)>]{1,1000})"
        r"|<img\s[^>]{0,200}src\s*=\s*[\"']?(?P<u2>https?://[^\s\"'>]{4,500}\?[^\s\"'>]{0,500}[{<\[$][^\s\"'>]{0,200})",
        _image, "high",
    ),
    _rule(
        "exfiltration-link",
        r"\[[^\]\n]{0,200}\]\(\s*<?(?P<u>https?://[^\s)>]{4,400}\?[^\s)>]{0,400}(?:\{\{?[^}\s]{1,80}\}|\$\{|%7[bB]|\[[A-Za-z_]{2,40}\]"
        r"|=(?:YOUR_)?(?:SECRET|API_?KEY|PASSWORD|TOKEN|CONVERSATION|HISTORY|DATA|CONTENTS?|CONTEXT)\w*)[^\s)>]{0,200})",
        _image, "high",
    ),
    _rule("hidden-comment", rf"(?is)<!--[^>]{{0,600}}?{_COMMAND}[^>]{{0,600}}?-->", _hidden, "high"),
    _rule(
        "hidden-style",
        rf"(?is)style\s*=\s*[\"'][^\"'>]{{0,200}}?{_UNSEEN}[^>]{{0,200}}>[^<]{{0,600}}?{_COMMAND}",
        _hidden, "high",
    ),
)  # fmt: skip


def detector(cache: Path | None = None) -> Respelling:
    return Respelling(PatternDetector("injection", RULES, cache))
