"""Secrets in the settings of servers and devices whose syntax is a keyword, blanks and a value, and
in directories: each keyword is one that its manual documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fumehood.scan.commands import likely
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Rule
from fumehood.scan.protocols import decoded
from fumehood.scan.tokens import is_placeholder, kinds

_S: Final = r"[\"']?(?P<s>[^\s\"']{4,256})"


def _said(found: Found) -> Confidence | None:
    said = decoded(found["s"])
    return "high" if said.isascii() and said.decode().isprintable() and len(said) >= 4 else None


def _braced(found: Found) -> Confidence | None:
    """`Pwd={password}` is what a program fills in."""
    value = found["s"]
    return (
        "high"
        if kinds(value) >= 2
        and not value.replace(b"_", b"").isalnum()
        and not is_placeholder(value)
        else None
    )


def _varied(found: Found) -> Confidence | None:
    return likely(found) if kinds(found["s"]) >= 2 else None


RULES: Final[Sequence[Rule]] = (
    # OpenLDAP, nslcd, sssd, Apache, HAProxy, keepalived, msmtp, fetchmail, FRR.
    Rule("protocol-password", "high",
         rf"(?i)^\s{{0,16}}(?:bindpw|rootpw|rootbindpw|ldap_default_authtok|authldapbindpassword|auth_pass|insecure-password|sasl_passwd|peerpassword)[ \t]+{_S}",
         judge=likely),
    Rule("protocol-password", "high",
         r"(?i)(?:\buser\s+\S{1,64}\s+insecure-password|\bneighbor\s+\S{1,64}\s+password|\bbind_?pw|\bwith\s+pass(?:word)?\b|\bcache_peer\s[^\n]{1,200}?\slogin=[^\s:]{1,64}:"
         r"|\bstats\s+auth\s+[^\s:]{1,64}:|\bcredentials=)[ \t]{0,8}[\"']?(?P<s>[^\s\"'<>]{4,256})", judge=_varied),
    # Postfix's table of relays.
    Rule("protocol-password", "high", r"^\[?[\w.-]{1,255}\]?:(?:25|465|587)[ \t]+[\w.@+-]{1,128}:(?P<s>\S{4,128})[ \t\r]*$", judge=likely),
    # Cisco IOS, Junos, Arista: keys of routing, of tunnels and of who asks.
    Rule("router-password", "high",
         rf"(?i)^\s{{0,16}}(?:(?:tacacs|radius)(?:-server|\s+server)?\b[^\n]{{0,120}}?\skey|crypto\s+isakmp\s+key|pre-shared-key(?:\s+(?:local|remote|ascii-text))?|key-string"
         rf"|ip\s+ospf\s+(?:message-digest-key\s+[0-9]{{1,3}}\s+md5|authentication-key)|ppp\s+chap\s+password|standby\s+[0-9]{{1,4}}\s+authentication(?:\s+md5\s+key-string)?)"
         rf"\s+(?:[0-9]\s+)?{_S}", judge=likely),
    Rule("router-password", "high", r"(?P<s>\$9\$[A-Za-z0-9/.-]{8,200})"),
    Rule("snmp-community", "high", rf"(?i)snmp(?:.|\n){{0,200}}?\bcommunity[\"']?\s{{0,4}}[:=]\s{{0,4}}{_S}", judge=_varied),
    # RFC 2307 and LDIF (RFC 2849).
    Rule("password-hash", "high",
         r"(?P<s>\{(?:S?SHA(?:256|384|512)?|S?MD5|SMD5|PBKDF2(?:-SHA(?:1|256|512))?|ARGON2|CRYPT|BLF-CRYPT|SHA512-CRYPT|SSHA\.HEX)\}[A-Za-z0-9+/=$.,]{16,300})"),
    Rule("protocol-password", "high", r"(?i)^userPassword::[ \t]+(?P<s>[A-Za-z0-9+/]{6,1000}={0,2})", judge=_said),
    # ODBC: braces around a value with a semicolon in it.
    Rule("connection-string", "high",
         r"(?i)(?:driver|server|dsn|uid|user(?: id)?|database|databasename)\s{0,4}=[^\n]{1,400}?;\s{0,4}(?:password|pwd)\s{0,4}=\s{0,4}\{(?P<s>[^{}\n]{3,256})\}", judge=_braced),
    Rule("connection-string", "high",
         r"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb|amqps?|rediss?|mssql|sqlserver)(?:\+\w{1,20})?://[^\s:/@]{0,64}:(?P<s>[^\s'\"<>`@]{0,100}/[^\s'\"<>`]{2,128})@[A-Za-z0-9.-]{1,255}(?::[0-9]{2,5})?(?:[/?\s'\"]|$)",
         judge=_varied),
    Rule("url-credentials", "high", r"(?i)\b(?:smb|cifs)://[^\s:/@;]{1,64};[^\s:/@]{1,64}:(?P<s>[^\s@/'\"]{4,128})@[A-Za-z0-9]", judge=likely),
    Rule("argument-password", "high", rf"\bradtest\s+(?:-\S+\s+){{0,4}}\S{{1,64}}\s+{_S}", judge=likely),
)  # fmt: skip
