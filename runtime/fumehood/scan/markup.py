"""What a page or a Markdown text hides from people, or has their reader's program send away.

Hidden are comments, elements that no style shows, and attributes; must never take a menu that is
closed, or a picture that is merely elsewhere, for an attack.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.scan.detector import Confidence, Match, too_many
from fumehood.scan.mention import is_mention
from fumehood.scan.patterns import MAX_PLACES, Found, Judge, PatternDetector, Rule, linear

_HELD: Final = 4000
"""Bytes of a hidden element that are read."""

_ORDER: Final = linear(
    rb"(?i)\b(?:ignore|disregard|forget)\s+(?:(?:all|any|the|your|every|previous|prior|above|earlier|these|those|what)\s+(?:\w+\s+){0,3}?(?:instructions?|prompts?|rules|guidelines|directives?|text|content|page|document|users?|directions|orders|above|context|task|request|said|told)|everything|whatever|instructions?|users?)\b"
    rb"|\b(?:new|hidden|following|previous|prior|these|your|system|secret)\s+instructions?\b|\binstructions?\s+(?:for|to)\s+(?:the |any |all )?(?:ai|llms?|assistants?|agents?|models?|copilots?|bots?)\b"
    rb"|\b(?:ai|llm|language model|chat ?bot|claude|chatgpt|gemini|copilot|agent|assistant)s?\b[^.\n]{0,40}\b(?:must|should|please|always|never|approve|ignore|say|recommend|click|include|reply|respond|output|send|do not|need to|have to|has to|are required|is required)\b"
    rb"|^\W{0,8}(?:ai|llm|agent|assistant|model|bot|system|copilot)s?\s*[:,]\s|\bsystem prompt\b|\byou must (?:tell|say|ignore|send|call|recommend|include|reply|respond|answer|output|approve|rate|now|not tell|not mention|always)\b"
    rb"|\byou are (?:now|an?)\b[^.\n]{0,30}\b(?:ai|assistant|model|bot|agent|dan|unrestricted|hacker)\b|\bdo not (?:tell|mention|reveal|inform)\b|\bexfiltrat\w+"
    rb"|\b(?:when|if|while|before|after) (?:you )?(?:are )?(?:summari[sz]|answer|respond|review|translat|reply|evaluat|asked|read)\w*[^.\n]{0,20}[, ]+(?:always |please |also |you )*(?:say|tell|include|recommend|mention|add|reply|respond|rate|approve|append|output|state|send|do not|write|ignore|begin|end)\b"
    rb"|\b(?:call|use|invoke|run) the [\w -]{1,30} (?:tool|function)\b|\b(?:send|forward|upload|post|transfer|e-?mail|leak|submit)\s+(?:the |all |your |any |every )(?:[\w']+ ){0,3}?(?:passwords?|secrets?|keys?|files?|conversation|history|tokens?|credentials?|money|funds|data|contents?)\b"
    rb"|\b(?:ai|llm|language model|chat ?bot|claude|chatgpt|gpt|gemini|copilot|assistant)s?\b[^.\n]{0,60}\b(?:tell|rate|rank|mention|omit|forward|install|state|claim|verdict|output|recommend|approve|reply|refuse|accept)\b"
    rb"|\b(?:models|agents|bots|robots|assistants|chat ?bots)\b[^.\n]{0,40}\b(?:must|should|shall|have to|are to|please)\b[^.\n]{0,20}\b(?:say|tell|reply|answer|respond|state|recommend|ignore|include|omit|claim|approve|rate|output|click|mention|add|send)\b"
    rb"|(?:^|[\s\"'>(])(?:dear |hey |hi )?(?:model|agent|bot|assistant|ai|llm|robot|chat ?bot|language model|gpt|copilot)s?(?: [^.\n:,]{0,30})?\s?[:,]\s?(?:please |always |never |do not |don't |you (?:must|should|have to) ){0,2}(?:tell|say|rate|rank|recommend|approve|ignore|reply|respond|answer|output|send|forward|click|call|state|claim|mark|the (?:correct|right|only) (?:answer|verdict|rating))\b"
    rb"|\btell the user\b|\bthe user (?:must|should|asked|wants)\b|\b(?:recommend|approve|rate|rank) (?:this|our|the) (?:\w+ )?(?:product|candidate|paper|pull request|company|applicant|change|merge|resume|site|request|service)\b"
    rb"|\binstead of (?:the |your )?(?:summary|answer|task)|\b(?:(?:reply|respond|answer) with|say|(?:output|print) (?:only|exactly|the word|just)) [\"']?(?-i:[A-Z]{4,})\b"
)
_NOTES: Final = re.compile(rb"(?i)\b(?:eslint|prettier|todo|fixme|copyright|license)\b")
_STYLE: Final = (
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*(?:0|1px|0?\.\d)|opacity\s*:\s*(?:0?\.0\d*|0)(?:[^.\d]|$)"
    r"|opacity\(\s*0|[;\"'\s]color\s*:\s*(?:white|#fff(?:fff)?\b|transparent|rgba\([^)]{0,30},\s*0?\.?0\)|rgb\(\s*255[,\s]+255[,\s]+255)"
    r"|[;\"'\s](?:left|top|right|bottom|text-indent|margin(?:-\w+)?)\s*:\s*-\s?\d{3,}|[;\"'\s](?:max-)?(?:height|width)\s*:\s*[01](?:px)?(?:[^.\d%p]|$)"
    r"|line-height\s*:\s*0(?:[^.\d]|$)|clip\s*:\s*rect\(|clip-path\s*:\s*inset\(\s*(?:100|50)%|scale[xy]?\(\s*0\s*\)|z-index\s*:\s*-\d"
)
_HIDES: Final = (
    rf"(?:\sstyle\s*=[^<>]{{0,400}}?(?:{_STYLE})"
    r"|\sclass\s*=\s*[\"']?[^\"'<>]{0,100}\b(?:sr-only|visually-?hidden|screen-reader(?:-text|-only)?|d-none|hidden|invisible|offscreen)\b"
    r"|\shidden(?:[\s=/>]|$)|\saria-hidden\s*=\s*[\"']?true|\scolor\s*=\s*[\"']?(?:white|#fff)|\ssize\s*=\s*[\"']?0)"
)
_ELEMENT: Final = linear(
    rf"(?i)<(?P<t>[a-z][a-z0-9:-]{{0,20}})\b[^<>]{{0,800}}?{_HIDES}[^<>]{{0,800}}>|<(?P<u>template|noscript)\b[^<>]{{0,99}}>".encode()
)
_COMMENT: Final = linear(
    rb"(?ms)<!--.{1,1000}?-->|<!--.{1,1000}|^\[(?://|comment|_)\]: ?(?:#|<>) ?[(\"'][^\n]{1,600}"
)
_ATTRIBUTE: Final = r"(?i)\s(?:alt|title|content|value|placeholder|aria-label|data-[\w-]{1,30})\s*=\s*(?:\"[^\"<>]{20,900}\"|'[^'<>]{20,900}')"
_TEXTUAL: Final = linear(_ATTRIBUTE.encode())
_META: Final = r"(?i)<meta\s[^<>]{0,200}?(?:name|property)\s*=\s*[\"']?(?:(?:ai|llm|gpt|chat-?bot|assistant|agent|copilot|model)s?[-:_. ](?:[\w-]{1,20}[-:_.])?(?:instructions?|directives?|prompts?|commands?|orders?|overrides?|messages?)|(?:system|hidden)[-:_. ](?:prompt|instructions?))\b[^<>]{0,900}>"
_NAMED: Final = linear(_META.encode())
_TAG: Final = re.compile(rb"<[^<>]{0,1000}>")
_SPACE: Final = re.compile(rb"\s+")
_PARTS: Final = (
    Rule("comment", "low", r"<!--|^\[(?://|comment|_)\]: ?(?:#|<>)"),
    Rule("element", "low", rf"(?i)<[a-z][^<>]*{_HIDES}|<(?:template|noscript)\b"),
    Rule("attribute", "low", _ATTRIBUTE),
    Rule("meta", "low", _META),
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Some bytes of a text, as `mention` asks for them."""

    data: bytes
    span: tuple[int, int]
    asked: dict[Any, bool]

    def anywhere(self, pattern: Any) -> bool:
        if pattern not in self.asked:
            self.asked[pattern] = pattern.search(self.data) is not None
        return self.asked[pattern]


class HiddenMarkup:
    """Orders in comments, in elements that are not shown, and in attributes."""

    name = "injection"

    def __init__(self, cache: Path | None = None) -> None:
        """cache: a directory of this user's own for compiled rules."""
        self._parts = PatternDetector("markup", _PARTS, cache)

    def load(self, cache: Path | None = None) -> None:
        """Compile the patterns now."""
        self._parts.load(cache)

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        kinds = {rule.name for rule in self._parts.occurring(data)}
        if not kinds:
            return []
        end = time.thread_time() + seconds
        asked: dict[Any, bool] = {}
        found: list[Match] = []
        for rule, start, stop, text in _hidden(data, kinds, end):
            if rule != "meta" and (_ORDER.search(text) is None or _NOTES.search(text)):
                continue
            sure: Confidence = "low" if is_mention(_Place(data, (start, stop), asked)) else "high"
            told = "hidden-attribute" if rule == "meta" else rule
            found.append(Match(told, "injection", "high", start, stop, confidence=sure))
            if len(found) > MAX_PLACES:
                return [*found[:-1], too_many(found[-1])]
        return found


def _hidden(data: bytes, kinds: set[str], deadline: float) -> Iterator[tuple[str, int, int, bytes]]:
    """Rule, place and text of everything that is not shown."""
    if "comment" in kinds:
        for found in _within(_COMMENT.finditer(data), deadline):
            start, stop = found.span()
            yield "hidden-comment", start, stop, _SPACE.sub(b" ", data[start + 4 : stop])
    if "element" in kinds:
        reach = 0
        for found in _within(_ELEMENT.finditer(data), deadline):
            start, begin = found.span()
            if start < reach:
                continue  # the element around it was read
            stop = _end(data, found.group(1) or found.group(2), begin)
            yield "hidden-style", start, stop, _SPACE.sub(b" ", _TAG.sub(b" ", data[begin:stop]))
            reach = stop
    if "attribute" in kinds:
        for found in _within(_TEXTUAL.finditer(data), deadline):
            yield "hidden-attribute", *found.span(), found.group(0).partition(b"=")[2]
    if "meta" in kinds:  # its name says enough
        for found in _within(_NAMED.finditer(data), deadline):
            yield "meta", *found.span(), found.group(0)


def _within(places: Iterator[Any], deadline: float) -> Iterator[Any]:
    for count, found in enumerate(places, 1):
        if count % 256 == 0 and time.thread_time() > deadline:
            raise TimeoutError("too much is hidden")
        yield found


_NO_CONTENT: Final = frozenset(
    (b"img", b"input", b"meta", b"br", b"hr", b"link", b"source", b"area", b"col")
)


def _end(data: bytes, tag: bytes, begin: int) -> int:
    """Where the element ends whose content begins there."""
    if tag.lower() in _NO_CONTENT:
        return begin
    most = min(len(data), begin + _HELD)
    depth = 1
    for found in re.finditer(rb"(?i)<(/?)" + re.escape(tag) + rb"(?=[\s/>])", data[begin:most]):
        depth += -1 if found[1] else 1
        if not depth:
            return begin + found.start()
    return most


# --- what takes something along to its server

_LOOT: Final = (
    r"(?:secrets?|passw(?:or)?ds?|api_?keys?|credentials?|conversation|chat|history|prompt|system_prompt|context|cookies?|session_?data|user_?data|user_?info"
    r"|exfil\w*|leak\w*|memory|private_?key|secret_?key|env(?:ironment)?|summary(?:_of_\w+)?|messages?|email|data|contents?|tokens?|base64|answer|file_?contents?)"
)
_SLOT: Final = (
    rf"(?:(?:\{{\{{?|\$\{{|%7[bB](?:%7[bB])?|\[|<|&lt;)[ \w%'.-]{{0,40}}{_LOOT}[ \w%'.-]{{0,40}}(?:\}}\}}?|%7[dD]|\]|>|&gt;)"
    r"|(?-i:\b(?:YOUR_|INSERT_|THE_|USER_)?(?:SECRET|API_?KEY|PASSWORD|TOKEN|CONVERSATION|HISTORY|DATA|CONTENTS?|CONTEXT|SUMMARY|CHAT|PROMPT|EMAIL)[A-Z_]{0,40}\b))"
)
_ADDRESS: Final = r"(?:https?:)?//[^\s)\"'>]{0,400}?"
_BADGE: Final = re.compile(rb"badge|shields\.io|\.svg(?:\?|$)|codecov|travis|circleci|github\.com")
_CARRIES: Final = re.compile(
    rb"(?i)[{<\[$]|%7b|(?:^|&)(?:(?:data|secret|leak|exfil\w*|payload|conv\w*|history|prompt|password)=[^&]{0,}"
    rb"|(?:token|key|content|context|info|msg|message|cookie|d|q|c|s|p)=(?:$|&|(?-i:[A-Z_]{4,})|[^&]{24,}))"
)


def _image(found: Found) -> Confidence | None:
    """An image that takes something along to its server; badges take a branch, or a token."""
    url = found["u"]
    if _BADGE.search(url.lower()):
        return None
    if found["x"]:
        return "low" if is_mention(found) else "high"
    query = url.partition(b"?")[2]
    if _CARRIES.search(query) is None:
        return "medium" if len(query) > 120 else None
    return "low" if is_mention(found) else "high"


def _page(found: Found) -> Confidence | None:
    """In a page such a slot is what any template has, unless its name is that of a treasure."""
    return "low" if is_mention(found) else "medium"


LINKS: Final[tuple[tuple[str, str, Judge], ...]] = (
    (
        "exfiltration-image",
        rf"(?i)!\[[^\]\n]{{0,200}}\]\(\s*<?(?P<u>(?:{_ADDRESS}(?P<x>{_SLOT})[^\n)\"]{{0,200}}|https?://[^\s)>]{{4,1000}}\?[^\s)>]{{1,1000}}))",
        _image,
    ),
    (
        "exfiltration-image",
        rf"(?i)<(?:img|iframe|link|script|embed|object|source|video|audio)\s[^<>]{{0,200}}?(?:src|href|data)\s*=\s*[\"']?{_ADDRESS}{_SLOT}|\burl\(\s*[\"']?{_ADDRESS}{_SLOT}",
        _page,
    ),
    (
        "exfiltration-link",
        rf"(?im)\[[^\]\n]{{0,200}}\]\(\s*<?(?P<u>{_ADDRESS}(?P<x>{_SLOT}))|^[ \t]{{0,3}}\[[^\]\n]{{1,100}}\]:[ \t]*<?(?P<u2>{_ADDRESS}{_SLOT})"
        rf"|<a\s[^<>]{{0,200}}?href\s*=\s*[\"']?{_ADDRESS}{_SLOT}|(?P<lead>https?://[^\s)\"'>]{{4,300}}[?&#/=])\{{+(?:the |your )?(?:user|victim|conversation|chat)[^}}\n]{{1,60}}\}}"
        r"|(?P<lead>https?://[^\s)\"'>]{4,300}[?&#/=])(?:\{{1,2}|<|\[)(?:the |your |all |last[_ ]|full[_ ]|whole[_ ]|base64[_ ](?:of[_ ]|encoded[_ ])?|encoded[_ ]){0,3}(?:conversation\w*|chat[_ ](?:history|log|here|so far)|user[_ ]?(?:messages?|data|secrets?)|message[_ ]history|history|secrets?|passwords?|system[_ ]prompt|(?:all )?messages|context)(?: [^}>\]\n]{0,40})?(?:\}{1,2}|>|\])",
        _page,
    ),
)  # fmt: skip
