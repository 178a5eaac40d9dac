"""Passwords that people write in sentences, mails and forms, in many languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from fumehood.scan import judging, values
from fumehood.scan.detector import Confidence
from fumehood.scan.names import LATIN, OTHER
from fumehood.scan.patterns import Found, Rule, Told
from fumehood.scan.tokens import is_placeholder, kinds
from fumehood.scan.values import Value

_CODE: Final = re.compile(judging.CODE.pattern + rb"|.*(?:->|::)")
MAX_SPOKEN: Final = 96
"""Bytes: nobody dictates more."""
_ENDS: Final = b".,;:\"'`)]}>|"
_PLAIN_QUOTES: Final = (b'"', b"'", b"`")
_PAIRED: Final = {ord(")"): b"(", ord("]"): b"[", ord("}"): b"{", ord(">"): b"<"}
# Scripts in which nothing separates a password from the words behind it.
_OTHER_SCRIPT: Final = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}|[\xd0-\xdf][\x80-\xbf]")


def _spoken(found: Found) -> Sequence[Told]:
    data, at = found.data, found.span[0]
    quote = found["q"]
    if quote in _PLAIN_QUOTES and (end := values.quoted_end(data, at, quote)) is not None:
        value = Value(at, end, framed=True)
    else:
        bare = values.value(data, found.place("n")[0], at, b"", b": ")
        if bare is None or bare.end - at > MAX_SPOKEN:
            return ()
        value = bare._replace(end=_trimmed(data, at, bare.end))
    text = data[value.start : value.end]
    confidence = _sure(text, value) if not judging.is_about(found["n"]) else None
    return ((value.start, value.end, confidence),) if confidence else ()


def _strong(found: Found) -> Iterable[Told]:
    """The same, where a sentence may well go on: letters of both cases and digits."""
    told = _spoken(found)
    texts = (found.data[start:end] for start, end, _ in told)
    return told if all(re.search(rb"[0-9]", t) and kinds(t) >= 3 for t in texts) else ()


def _trimmed(data: bytes, at: int, end: int) -> int:
    """Without what closes the sentence, or the words around it."""
    other = _OTHER_SCRIPT.search(data, at, end)
    if other is not None and other.start() > at:
        end = other.start()
    dress = data[at - 1 : at] if data[at - 1 : at] in (b"*", b"_") else b""
    while end > at and data[end - 1] in _ENDS + dress:
        opener = _PAIRED.get(data[end - 1])
        if opener is not None and opener in data[at : end - 1]:
            break
        end -= 1
    return end


def _sure(text: bytes, value: Value) -> Confidence | None:
    lower = text.lower()
    if len(text) < 6 or is_placeholder(text) or judging.is_word(lower):
        return None
    if value.framed and b" " in text:
        return "medium" if judging.is_passphrase(text) else None
    if b" " in text or judging.FILE.match(text) or judging.is_reference(text):
        return None
    bare = not value.framed or text.endswith(b")")
    if bare and not judging.is_dotted(text) and _CODE.match(text):
        return None
    if judging.SNAKE.fullmatch(text) or judging.TYPE.fullmatch(text):
        return None
    if kinds(text) >= 3 and (value.framed or re.search(rb"[0-9]|[^\w.,:/-]", text)):
        return "medium"
    mixed = re.search(rb"[0-9]", text) and re.search(rb"[A-Za-z]", text)
    random = len(text) >= 12 and judging.entropy(text) >= judging.MIN_TOKEN_BITS
    return "medium" if mixed and random else None


_ENGLISH: Final = rf"(?i:password|passphrase|passcode|{LATIN})"
# Bold, code, cells and tags around the name or the value.
_DRESS: Final = r"(?:[*_`|]{1,3}|</?[A-Za-z][A-Za-z0-9]{0,9}>|\xc2\xa0)"
_COPULA: Final = (
    r"(?i:is|are|was|es|est|ist|lautet|war|jest|to|zijn|adalah|ialah|je|este|er|on|olarak|reads)\b"
    r"|(?:\xc3\xa9|\xc3\xa8|\xc3\xa4r|l\xc3\xa0)\s|\xe2\x86\x92|->|\xe2\x80\x94|\xe2\x80\x93"
)
_STILL: Final = r"(?i:still|now|jetzt|ahora|ora|maintenant|agora|nu|teraz)"
_PARTICLE: Final = r"は|が|는|은|가|이|是|为|為|है|हैं|คือ|είναι|היא|הוא|هي|هو|:|=|：|\s"
_OPENING: Final = r"(?:「|『|“|«|„)"
_AFTER: Final = r"(?:[ \t]\([^()\n]{1,40}\))?"
_QUOTE: Final = r"(?P<q>[\"'`\[]|「|『|【|《|“|«|„|\x{2018})?\s?".replace(r"\x{2018}", "\u2018")

RULES: Final[Sequence[Rule]] = (
    Rule(
        "spoken-password", "high",
        rf"(?P<n>{_ENGLISH}){_AFTER}\s{{1,3}}(?:{_COPULA})\s{{0,3}}:?\s{{0,3}}{_DRESS}{{0,3}}{_QUOTE}(?P<s>[!-~])",
        seek=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        rf"(?P<n>{_ENGLISH}|\b(?i:pw|pass|login)\b)(?:[ \t]\([^()\n]{{1,40}}\)|[ \t]{{0,3}}{_DRESS}{{1,3}})[ \t]{{0,3}}[:=][ \t]{{0,3}}{_DRESS}{{0,3}}\s{{0,3}}{_QUOTE}(?P<s>[!-~])",
        seek=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        rf"(?P<n>{_ENGLISH})[ \t]{{0,3}}(?:[:=][ \t]{{0,3}}{_DRESS}{{1,3}}[ \t]{{0,3}}{_QUOTE}|[:=]?[ \t]{{0,3}}{_OPENING})(?P<s>[!-~])",
        seek=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        rf"(?P<n>{OTHER}){_AFTER}\s{{0,3}}(?:{_DRESS}|{_PARTICLE}|{_COPULA}){{0,5}}{_QUOTE}(?P<s>[!-~])",
        seek=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        r"(?i)(?P<n>password|passphrase|passcode|credentials?|secret|api key|access key|token)\s+"
        r"(?:for|to|of|on|is|was|set to|changed to|reset to|has been|changed from|generated for)\s+"
        r"(?:[\w'.@-]{1,40}\s+){0,6}?(?:(?:is|was|now|to)\s*:?|[\w'.@-]{0,40}\s{0,2}[:=])\s*(?P<q>[\"'`])?(?P<s>[!-~])",
        seek=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        r"(?i)(?P<n>password|passphrase) is generated for [\w'.@%-]{1,60}:\s(?P<q>[\"'`])?(?P<s>[!-~])",
        seek=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        r"(?i)\b(?:use|using|with|and|wifi|wi-fi|root|admin|new|temporary|initial|default)\s(?:the\s)?"
        r"(?P<n>password|passphrase)\s(?P<q>[\"'`])?(?P<s>[!-~])",
        seek=_strong,
    ),
    # `Passwort für bob: …`, `пароль для входа: …`.
    Rule(
        "spoken-password", "high",
        rf"(?P<n>{_ENGLISH}|{OTHER})(?:[ \t][^\s:=\"'(){{}}<>\[\],;]{{1,24}}){{1,3}}[ \t]{{0,2}}(?::|：)[ \t]{{1,3}}{_QUOTE}(?P<s>[!-~])",
        seek=_strong,
    ),
    # `Das Passwort für den Server lautet …`, `the password on that box is still …`.
    Rule(
        "spoken-password", "high",
        rf"(?P<n>{_ENGLISH}|{OTHER})(?:[ \t][^\s:=\"'(){{}}<>\[\],;]{{1,24}}){{1,5}}[ \t]{{1,3}}(?:{_COPULA})[ \t]{{0,3}}(?:{_STILL}[ \t]{{1,3}})?{_QUOTE}(?P<s>[!-~])",
        seek=_strong,
    ),
    # As forms are copied from a web page: the label, and the value below it.
    Rule(
        "spoken-password", "high",
        rf"^[ \t]{{0,8}}(?P<n>{_ENGLISH}|{OTHER})[ \t]{{0,3}}:?[ \t]{{0,3}}\r?\n"
        r"[ \t]{0,8}(?P<s>[!-~])[!-~]{5,63}[ \t]{0,8}\r?$",
        seek=_spoken,
    ),
)  # fmt: skip
