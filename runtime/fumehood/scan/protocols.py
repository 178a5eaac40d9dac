"""Secrets in the dialogues of protocols, as clients print, proxies log and sniffers catch them.

`PASS` and `LOGIN` are words of test reports and web pages, too: a dialogue has more of its own
around them, and what has nothing of it is left alone.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import Any, Final

from fumehood.scan.commands import likely
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Rule, linear
from fumehood.scan.tokens import kinds

NEAR: Final = 400
"""Bytes around a command in which the rest of its dialogue stands."""

# Replies and commands of FTP (RFC 959), POP3 (RFC 1939) and IRC (RFC 2812).
_DIALOGUE: Final = linear(
    rb"(?m)(?:^|[>:'\"\]\s])(?:USER|NICK|AUTH TLS|CAPA|SYST|STLS|APOP)\b|\b(?:331|230|530|220)[ -][A-Za-z]|\+OK|-ERR"
    rb"|\b(?:FTP|POP3?|IRC)\b"
)
_REDIS: Final = linear(
    rb"(?im)redis|valkey|[0-9]{6} \[[0-9]+ [^\]\s]{3,64}\]|\+?\bPONG\b|\b63[78][0-9]>|^\+OK\b|\*[23]\r?\n\$4"
)
# What mail servers can do (RFC 4954), and what such a line says without a secret.
_MECHANISM: Final = re.compile(
    rb"(?:PLAIN|LOGIN|CRAM|DIGEST|XOAUTH|OAUTH|SCRAM|NTLM|GSSAPI|EXTERNAL|TLS|SSL|KERBEROS|ANONYMOUS)"
)
_REPORT: Final = re.compile(
    rb"[\w.@-]*(?:/[\w.@:-]+)+|[\w-]+(?:\.[\w-]+)*\.[a-z]{1,5}|(?:Test|test_)\w*|[0-9./]+"
)


def _beside(found: Found, pattern: Any) -> bool:
    """Whether it fits near it. Asked of all of the text first, which is one answer for all that is
    found in it: 25,000 lines of `PASS x` took 1.4 s without."""
    start, end = found.span
    around = found.data[max(0, start - NEAR) : start], found.data[end : end + NEAR // 2]
    return found.anywhere(pattern) and any(pattern.search(text) is not None for text in around)


def _pass(found: Found) -> Confidence | None:
    value = found["s"].rstrip(b"\\'\"")
    if _REPORT.fullmatch(value) or likely(found) is None:
        return None
    return "high" if _beside(found, _DIALOGUE) else None


def _auth(found: Found) -> Confidence | None:
    value = found["s"]
    if _MECHANISM.match(value) or likely(found) in (None, "low"):
        return None
    return "high" if _beside(found, _REDIS) else None


def _login(found: Found) -> Confidence | None:
    return None if found["s"].startswith(b"{") else likely(found)


def _identify(found: Found) -> Confidence | None:
    return "high" if kinds(found["s"]) >= 2 and likely(found) else None


def decoded(value: bytes) -> bytes:
    """What base64 says, empty when it is none."""
    try:
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except binascii.Error:
        return b""


def sasl(found: Found) -> Confidence | None:
    """RFC 4616: two NULs part three names."""
    return "high" if decoded(found["s"]).count(b"\0") == 2 else None


def _oauth(found: Found) -> Confidence | None:
    """RFC 7628, and what Google had before it."""
    return "high" if b"auth=Bearer" in decoded(found["s"]) else None


def _answer(found: Found) -> Confidence | None:
    said = decoded(found["s"])
    return "high" if len(said) >= 4 and said.isascii() and said.decode().isprintable() else None


_FRAME: Final = r"(?:^|[>:'\"\]|\s])"
"""What clients and sniffers print before a command."""
_B64: Final = r"(?P<s>[A-Za-z0-9+/]{6,1000}={0,2})"

RULES: Final[Sequence[Rule]] = (
    Rule("protocol-password", "high",
         r"(?:^|[>:'\"\]|][ \t]{0,2})PASS[ \t]+:?(?P<s>[^\s\\'\"]{4,128})(?:\\r|['\"]|[ \t\r]*$)", judge=_pass),
    Rule("protocol-password", "high",
         rf"{_FRAME}(?:[A-Za-z]{{0,6}}[0-9]{{1,6}}|\.)[ \t]+(?i:LOGIN)[ \t]+(?:\"[^\"\n]{{1,128}}\""
          rf"|[^\s\"]{{1,128}})[ \t]+\"?(?P<s>[^\s\"'\\]{{4,128}})(?:\\r|[\"']|[ \t\r]*$)",
         judge=_login),
    # RFC 3501, 4.3: strings of a length that is told before.
    Rule("protocol-password", "high",
         r"(?i)\bLOGIN[ \t]+\{[0-9]{1,3}\+?\}[^{}]{0,300}?\{[0-9]{1,3}\+?\}\r?\n(?:[^\n]{0,10}\+[^\n]{0,80}\n)?(?P<s>[^\r\n]{4,128})",
         judge=likely),
    Rule("protocol-password", "high", r"authentication: simple \(0\)\s+simple: (?P<s>\S{4,128})", judge=likely),
    Rule("protocol-password", "high", r"(?i)\bNickServ(?:@\S{1,64})?\s+:?identify\s+(?:[\w\[\]-]{1,32}\s+)?(?P<s>\S{4,128})",
         judge=_identify),
    Rule("redis-password", "high", rf"{_FRAME}(?:AUTH|auth)[\"']?[ \t]+"
          rf"(?:[\"']?[\w.-]{{1,64}}[\"']?[ \t]+)?[\"']?(?P<s>[^\s\"']{{4,256}})[\"']?[ \t\r]*$",
         judge=_auth),
    Rule("redis-password", "high", r"(?i)\$4\r?\nAUTH\r?\n(?:\$[0-9]{1,3}\r?\n\S{1,64}\r?\n)?\$[0-9]{1,3}\r?\n(?P<s>\S{4,256})",
         judge=likely),
    Rule("redis-password", "high", r"(?:^user|(?i:\bSETUSER))[ \t]+\S{1,64}[ \t]+(?:\S{1,64}[ \t]+){0,6}?>(?P<s>\S{4,256})",
         judge=likely),
    Rule("redis-password", "high", r"(?:requirepass|masterauth)\"?\r?\n\s{0,4}(?:2\)\s+)?\"(?P<s>[^\s\"]{4,512})\"", judge=likely),
    # RFC 4954, RFC 3501, RFC 5034: the answer beside the command, or behind the server's line.
    Rule("authorization-basic", "high", rf"(?i)\bAUTH(?:ENTICATE)?[ \t]+PLAIN[ \t]+{_B64}", judge=sasl),
    Rule("authorization-basic", "high",
         rf"(?i)\bAUTH(?:ENTICATE)?[ \t]+PLAIN\b[^\n]{{0,40}}\n[^\n]{{0,60}}?"
          rf"(?:334|\+)[^\n]{{0,20}}\n[^\n]{{0,120}}?{_B64}(?:\\r|['\"]|[ \t\r]*$)",
         judge=sasl),
    Rule("authorization-bearer", "high", rf"(?i)\bAUTH(?:ENTICATE)?[ \t]+(?:XOAUTH2|OAUTHBEARER)[ \t]+{_B64}", judge=_oauth),
    # `UGFzc3dvcmQ6` is `Password:`.
    Rule("authorization-basic", "high",
         rf"(?:334|\+)[ \t]+(?:UGFzc3dvcmQ6|UGFzc3dvcmQA|cGFzc3dvcmQ6)[^\n]{{0,20}}\n[^\n]{{0,120}}?{_B64}(?:\\r|['\"]|[ \t\r]*$)",
         judge=_answer),
)  # fmt: skip
