"""Secrets that a program in source form passes to a call: `auth=("bob", "…")`, `login("bob", "…")`.

Names of calls and the order of their arguments are those of the libraries. What stands in quotes
must still look like a secret: sources are full of `("user", "pass")`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fumehood.scan.commands import likely
from fumehood.scan.detector import Confidence
from fumehood.scan.judging import SNAKE
from fumehood.scan.patterns import Found, Rule
from fumehood.scan.tokens import kinds

# What tests and examples write: `pass123`, `test1`, `s3cr3t`.
_TRIED: Final = re.compile(
    rb"(?i)(?:test|pass(?:w(?:or)?d)?|user|admin|foo|bar|baz|secret|dummy|fake|my|wrong|bad|new|old"
    rb"|abc|token|key|hello|qwerty|[-_.])+[0-9]{0,4}|s3cr3t|p@ssw0rd"
)
_FILTER: Final = re.compile(
    rb"\(|\$\w{0,40}[{\[]|.*\*\Z|[a-z_-]+=|https?://|/|[\w.-]+\.\w{2,4}\Z|[\w.-]+:\Z"
)


def _passed(found: Found) -> Confidence | None:
    value = found["s"]
    if likely(found) in (None, "low") or _TRIED.fullmatch(value) or SNAKE.fullmatch(value):
        return None
    return "medium" if kinds(value) >= 2 and not _FILTER.match(value) else None


_Q: Final = r"[rbuf]{0,2}['\"]"
_S: Final = rf"{_Q}(?P<s>[^'\"\n]{{4,256}})['\"]"
_ANY: Final = rf"{_Q}[^'\"\n]{{0,128}}['\"]"
_C: Final = r"\s{0,40},\s{0,40}"
_NAMED: Final = r"(?:\w{1,24}\s{0,4}[=:]\s{0,4})?"
"""A keyword in front of an argument."""


def _call(names: str, before: str) -> Rule:
    """The string behind the arguments `before`."""
    return Rule("call-password", "high", rf"\b(?:{names})\s{{0,4}}[\s(]\s{{0,40}}{before}{_C}{_NAMED}{_S}", judge=_passed)  # fmt: skip


RULES: Final[Sequence[Rule]] = (
    # requests, httpx, aiohttp, elasticsearch, neo4j: a pair.
    Rule("call-password", "high", rf"(?i)\b(?:\w{{0,20}}auth|credentials?)\s{{0,4}}[=:]\s{{0,4}}[(\[]\s{{0,20}}{_ANY}{_C}{_S}\s{{0,8}},?\s{{0,8}}[)\]]", judge=_passed),
    _call(r"HTTP(?:Basic|Digest|Proxy)Auth|HttpNtlmAuth|(?:aiohttp\.)?BasicAuth|DigestAuth|[sS]et_?[bB]asic_?[aA]uth|basic_?[aA]uth|digest_auth"
          r"|UsernamePassword(?:Credentials|AuthenticationToken)|PasswordAuthentication|NetworkCredential|PSCredential|PasswordCredential"
          r"|username_pw_set|simple_bind(?:_s)?|login|authenticate|auth|logon|signIn\w{0,30}|usernameAndPassword|setCredentials|with_credentials"
          r"|createUserWithEmailAndPassword|AuthTokens\.basic|oci_p?connect", rf"{_NAMED}{_ANY}"),
    _call(r"create_(?:super)?user|PlainAuth|mysqli?(?:_p?connect|_real_connect)?|imap_open|MySQLdb\.connect|sql\.connect", rf"{_NAMED}{_ANY}{_C}{_NAMED}{_ANY}"),
    _call(r"ftp_login|ssh2_auth_password|ldap_bind|curl_easy_setopt|ldap_sasl_bind", rf"\$\w{{1,40}}{_C}{_ANY}"),
    # An address of a database, and who opens it.
    Rule("call-password", "high", rf"['\"](?:jdbc|mysql|pgsql|sqlsrv|oci|dblib|odbc|firebird|dbi):[^'\"\n]{{1,300}}['\"]{_C}{_ANY}{_C}{_S}", judge=_passed),
    # A distinguished name (RFC 4514), and what binds it.
    Rule("call-password", "high", rf"(?i){_Q}(?:cn|uid|dc|ou)=[^'\"\n]{{1,200}}['\"]{_C}{_NAMED}{_S}", judge=_passed),
    Rule("call-password", "high", r"CURLOPT_(?:PROXY)?USERPWD\W{1,6}['\"][^:'\"\n]{1,128}:(?P<s>[^'\"\n]{4,256})['\"]", judge=_passed),
)  # fmt: skip
