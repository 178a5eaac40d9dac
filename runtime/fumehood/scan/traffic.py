"""Secrets in HTTP, as clients, proxies and browsers log and export it: headers in whatever syntax,
cookies, forms and bodies in XML.

A header is told by its scheme, which is followed by a token wherever it stands; a cookie by its
name. Must never take what a site remembers without knowing who somebody is (themes, statistics).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan import calls, printed, settings
from fumehood.scan.commands import likely
from fumehood.scan.detector import Confidence
from fumehood.scan.judging import SNAKE, UUID, entropy
from fumehood.scan.patterns import Found, PatternDetector, Rule
from fumehood.scan.protocols import decoded
from fumehood.scan.tokens import is_placeholder

MIN_BITS: Final = 3.0
"""Entropy a character: random hexadecimal of 16 has 3.2, English words about 2.8."""

_SAID: Final = re.compile(
    rb"(?i)example|your|xxxx|placeholder|1234567890ab|0123456789ab|token_?here"
)
_PUBLIC: Final = re.compile(rb"(?i)csrf|xsrf|pagination|page_?token|next_?token|count|expir|public")
# Versions, hosts and files: words and numbers with dots between them.
_DOTTED: Final = re.compile(rb"[A-Za-z0-9]{1,14}(?:[./_-][A-Za-z0-9]{1,14})+")


def made(value: bytes) -> bool:
    """Whether a machine made it: letters and digits without an order."""
    if is_placeholder(value) or _SAID.search(value) or SNAKE.fullmatch(value):
        return False
    if not (re.search(rb"[0-9]", value) and re.search(rb"[A-Za-z]", value)):
        return False
    if _DOTTED.fullmatch(value) and max(map(len, re.split(rb"[./_-]", value))) < 10:
        return False
    return entropy(value) >= MIN_BITS


def is_made(found: Found) -> Confidence | None:
    return "high" if made(found["s"].rstrip(b".,:;=")) else None


def _key(found: Found) -> Confidence | None:
    """What stands in an address may be a name of something, too."""
    value = found["s"]
    return "medium" if made(value) and not UUID.fullmatch(value) else None


def _cookie(found: Found) -> Confidence | None:
    if _PUBLIC.search(found["n"]):
        return None
    return "medium" if made(found["s"]) else None


def _basic(found: Found) -> Confidence | None:
    """Behind `basic` there are more often words, of which one in fifty decodes to a colon."""
    said = decoded(found["s"])
    printable = said.isascii() and said.decode("ascii").isprintable()
    return "high" if printable and 0 <= said.find(b":") < len(said) - 1 else None


def _field(found: Found) -> Confidence | None:
    if _PUBLIC.search(found["n"]):
        return None
    return likely(found)


def _session(found: Found) -> Confidence | None:
    value = found["s"]
    return "medium" if made(value) and not UUID.fullmatch(value) else None


COOKIE: Final = (
    r"(?P<n>[\w.-]{0,48}(?:sess(?:ion)?s?(?:[_.-]?(?:id|token|key|data|cookie))?|[._-]sid|auth(?:n|z)?|token|jwt)"
    r"|s_?id|(?:auth|remember|\.?aspxauth|\.?aspnetcore|wordpress_(?:sec|logged_in)|aspsessionid|saml|okta|ory)[\w.-]{0,60}"
    r"|li_at|ct0|xs|hsid|ssid|s?apisid|__secure-[13]p\w{0,12}|cf_clearance|user_session|dbcl2)"
)
"""Names of cookies that say who somebody is."""
_FIELD: Final = r"(?P<n>[\w.:-]{0,48}(?:passw(?:or)?d|passwd|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key)\w{0,20})"
_MADE: Final = r"(?P<s>[A-Za-z0-9._~+/=-]{16,1000})"
_VALUE: Final = r"(?P<s>[A-Za-z0-9%+/._~:=-]{16,1000})"
_VALUED: Final = r"(?i)['\"]value['\"]\s{0,4}:\s{0,4}['\"][A-Za-z0-9%+/._~:=-]{16}"

RULES: Final[Sequence[Rule]] = (
    # RFC 6750 and 7617, wherever the scheme stands: in lists of pairs, dumps of maps, logs.
    Rule("authorization-bearer", "high", rf"(?i)\bbearer(?:\s+|['\"],\s{{0,4}}['\"]|:\s{{0,2}}){_MADE}", judge=is_made),
    Rule("authorization-bearer", "high",
         rf"(?i)\bauthorization['\"]?(?:\s{{0,4}}(?:[:=,\]]|=>){{1,3}}\s{{0,4}}|['\"],\s{{0,20}}['\"]value['\"]\s{{0,4}}:\s{{0,4}})[\[('\"]{{0,2}}"
         rf"(?:[a-z][a-z0-9_-]{{2,24}}\s+)?{_MADE}", judge=is_made),
    Rule("authorization-bearer", "high", rf"(?i)-A[ =]?bearer\s[^\n|;]{{0,80}}?(?:-a|--auth)[ =]?['\"]?{_MADE}", judge=is_made),
    Rule("authorization-bearer", "high", rf"(?i)--oauth2-bearer[ =]['\"]?{_MADE}", judge=is_made),
    Rule("authorization-bearer", "high",
         rf"(?i)\b(?:x|ocp|aeg|dd|cf)-(?:[a-z0-9]{{1,20}}-){{0,4}}key['\"]?\s{{0,3}}[:,=]\s{{0,3}}['\"]?{_MADE}", judge=is_made),
    Rule("authorization-basic", "high", r"(?i)\bbasic(?:\s+|['\"],\s{0,4}['\"])(?P<s>[A-Za-z0-9+/]{8,1000}={0,2})", judge=_basic),
    # Cookies (RFC 6265): in a header, in a browser's and a client's file, as JSON.
    Rule("session-cookie", "high",
         rf"(?i)(?:\bset-cookie|\bcookie|_cookie|\s-b|--cookie)2?['\"]?\s{{0,4}}[:=,\s]\s{{0,4}}['\"]?(?:[^\n]{{0,1000}}?[\s;'\"])?{COOKIE}={_VALUE}", judge=_cookie),
    Rule("session-cookie", "high", rf"(?i);[ ]?{COOKIE}={_VALUE}", judge=_cookie),
    Rule("session-cookie", "high",
         rf"(?i)^(?:#HttpOnly_)?[\w.-]{{1,255}}\t(?:TRUE|FALSE)\t/\S{{0,255}}\t(?:TRUE|FALSE)\t[0-9]{{1,12}}\t{COOKIE}\t{_VALUE}", judge=_cookie),
    Rule("session-cookie", "high",
         rf"^#HttpOnly_[\w.-]{{1,255}}\t(?:TRUE|FALSE)\t/\S{{0,255}}\t(?:TRUE|FALSE)\t[0-9]{{1,12}}\t(?P<n>\S{{1,128}})\t{_VALUE}", judge=_cookie),
    Rule("session-cookie", "high", rf"(?i)['\"]name['\"]\s{{0,4}}:\s{{0,4}}['\"]{COOKIE}['\"][^{{}}]{{0,400}}?['\"]value['\"]\s{{0,4}}:\s{{0,4}}['\"]{_VALUE}", judge=_cookie, first=_VALUED),
    Rule("session-cookie", "high", rf"(?i)['\"]value['\"]\s{{0,4}}:\s{{0,4}}['\"]{_VALUE}['\"][^{{}}]{{0,400}}?['\"]name['\"]\s{{0,4}}:\s{{0,4}}['\"]{COOKIE}['\"]", judge=_cookie, first=_VALUED),
    Rule("session-cookie", "high", rf"(?i)cookies?['\"]?\s{{0,4}}[:=,]\s{{0,4}}\{{[^{{}}]{{0,600}}?['\"]{COOKIE}['\"]\s{{0,4}}:\s{{0,4}}['\"]{_VALUE}", judge=_cookie),
    # RFC 7578: a field of a form, and the lines between its name and its value.
    Rule("form-password", "high",
         rf"(?i)form-data;\s{{0,4}}name=\"?{_FIELD}\"?(?:\r?\n[\w-]{{1,40}}:[^\n]{{0,200}})*\r?\n\r?\n(?P<s>[^\r\n]{{4,512}})", judge=_field),
    # Elements with a prefix or with attributes: WS-Security, SOAP, XML-RPC, property lists.
    Rule("form-password", "high", rf"(?i)<(?:[\w-]{{1,32}}:)?{_FIELD}(?:\s[^<>]{{0,400}})?>\s{{0,40}}(?P<s>[^<>\s]{{4,512}})\s{{0,40}}</", judge=_field),
    Rule("form-password", "high",
         rf"(?i)<(?:name|key)>\s{{0,8}}{_FIELD}\s{{0,8}}</(?:name|key)>\s{{0,80}}<(?:value|string)>\s{{0,8}}(?:<string>)?(?P<s>[^<>\s]{{4,512}})\s{{0,8}}</", judge=_field),
    Rule("session-cookie", "high", r"(?i)<(?:[\w-]{1,32}:)?session(?:[_-]?id|[_-]?token)>\s{0,8}(?P<s>[A-Za-z0-9%+/._~!-]{16,1000})\s{0,8}</", judge=_session),
    # What an address says of who asks.
    Rule("url-credentials", "high", r"(?i)[?&;#](?:auth|key|code|sig|signature|jwt|sid|session|ticket|otp|hash)=(?P<s>[A-Za-z0-9._~+/%-]{20,1000})", judge=_key),
    Rule("url-credentials", "high",
         r"(?i)\b(?:https?|wss?|nats|git|git\+https|vless|vmess|tuic)://(?P<s>[A-Za-z0-9_.~-]{16,512})(?::(?:x-oauth-basic|x)?)?@[A-Za-z0-9\[]", judge=is_made),
    Rule("url-credentials", "high", r"\b(?:trojan|hysteria2?|hy2)://(?P<s>[^\s@/'\"<>]{8,256})@[A-Za-z0-9\[]", judge=likely),
    Rule("curl-user", "high", r"\bcurl\b[^\n]{0,300}?\s(?:-u|--user)[ =]?['\"]?(?P<s>[A-Za-z0-9_.~-]{16,512}):['\"]?(?:\s|$)", judge=is_made),
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector(
        "traffic", (*RULES, *calls.RULES, *settings.RULES, *printed.RULES), cache
    )
