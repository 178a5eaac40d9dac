"""Secrets that neither form nor name gives away, but the place: the fields of known file formats.
What stands on command lines and in dialogues of protocols is looked for with them.

Each rule is one documented syntax. What stands there must still look like a secret (`_likely`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan import commands, protocols
from fumehood.scan.detector import Confidence
from fumehood.scan.judging import SNAKE
from fumehood.scan.patterns import Found, PatternDetector, Rule, linear
from fumehood.scan.tokens import basic, is_placeholder, kinds


def _likely(found: Found) -> Confidence | None:
    value = found["s"].rstrip(b".,;:'\"`)")
    if is_placeholder(value) or len(value) < 4:
        return None
    if value.isalpha() or SNAKE.fullmatch(value):
        return "low"
    return "high" if kinds(value) >= 3 or len(value) >= 12 else "medium"


def _session(found: Found) -> Confidence | None:
    value = found["s"]
    return "medium" if not is_placeholder(value) and kinds(value) >= 2 else None


def _spoken(found: Found) -> Confidence | None:
    value = found["s"].rstrip(b".,;:'\"`)")
    return "medium" if kinds(value) >= 3 and not is_placeholder(value) else None


_PPP: Final = linear(rb"(?i)\b(?:chap|pap|pppoe|pppd)\b")

RULES: Final[Sequence[Rule]] = (
    # libpq's .pgpass: host:port:database:user:password.
    Rule(
        "pgpass-password", "high",
        r"^[A-Za-z0-9*][A-Za-z0-9_.-]{0,255}:(?:[0-9]{4,5}|\*):[A-Za-z*_][^:\s]{0,63}:[A-Za-z*_][^:\s]{0,63}"
        r":(?P<s>\S{4,256})$",
        judge=_likely,
    ),
    # redis.conf, and its shell.
    Rule(
        "redis-password", "high",
        r"(?:^|[\s\"'])(?:requirepass|masterauth|primaryauth)\s+[\"']?(?P<s>[^\s\"']{4,512})",
        judge=_likely,
    ),
    Rule(
        "secure-string", "high",
        r"(?i)ConvertTo-SecureString\s+(?:-(?:String|AsPlainText|Force)\s+){0,3}[\"'](?P<s>[^\"'\n$]{4,256})[\"']",
        judge=_likely,
    ),
    # wpa_supplicant.conf, NetworkManager, interfaces(5), ipsec.secrets, WireGuard's preshared keys.
    Rule(
        "network-password", "high",
        r"(?i)(?:^|[\s;{])(?:wpa-|wifi-sec\.|802-11-wireless-security\.)?(?:psk|wep-key[0-3]|sae_password|leap-password"
        r"|preshared-?key)\s{0,4}[=:]\s{0,40}\"?(?P<s>[^\s\"']{8,128})",
        judge=_likely,
    ),
    Rule("network-password", "high", r"(?i)(?:^|\s)wpa-psk\s+\"?(?P<s>[^\s\"']{8,128})", judge=_likely),
    Rule(
        "network-password", "high", r":\s+(?:PSK|XAUTH|EAP)\s+(?:\"(?P<s>[^\"\n]{4,256})\"|0[sx]\S{8,256})", judge=_likely,
    ),
    # What Windows shows of a WLAN, and the files of pppd and OpenVPN.
    Rule("network-password", "high", r"(?i)^\s{0,20}key content\s{0,40}:\s(?P<s>\S{8,128})", judge=_likely),
    Rule(
        "network-password", "high",
        r"^[\"']?[\w.@*\\-]{1,64}[\"']?[ \t]+\*[ \t]+[\"']?(?P<s>[^\s\"']{4,128})[\"']?(?:[ \t]+[\"']?\*[\"']?)?[ \t\r]*$",
        judge=lambda found: _likely(found) if found.anywhere(_PPP) else None,
    ),
    Rule("network-password", "high", r"<auth-user-pass>\s+\S{1,128}\r?\n(?P<s>\S{4,128})\r?\n\s*</auth-user-pass>", judge=_likely),
    # expect(1): what is sent after a prompt for a password.
    Rule(
        "argument-password", "high",
        r"(?i)(?:password|passphrase|passcode|assword)[^\n]{0,80}\n?[^\n]{0,80}?\bsend\s+(?:--\s+)?[\"']?(?P<s>[^\s\"'$\\]{4,128})\\[rn]",
        judge=_likely,
    ),
    # Cloud-init's list of passwords, and routers' own ways.
    Rule(
        "chpasswd-password", "high",
        r"\bchpasswd:\s+(?:expire:\s*\S+\s+)?list:\s*\|?\s+(?:- )?[a-z_][a-z0-9_-]{0,31}:(?P<s>\S{4,256})",
        judge=_likely,
    ),
    Rule(
        "router-password", "high",
        r"(?i)^\s*(?:enable|username\s+\S{1,64}(?:\s+privilege\s+\d+)?)\s+(?:secret|password)\s+(?:[05789]\s+)?(?P<s>\S{4,128})",
        judge=_likely,
    ),
    # `creds are admin / …`, as people write to each other.
    Rule(
        "spoken-password", "high",
        r"(?i)\b(?:creds?|credentials|login|account|user(?:name)?)\b[^\n]{0,40}?(?:are|is|:)\s*[\w.@-]{2,64}\s+?[/|]\s+?(?P<s>[!-~]{6,128})",
        judge=_spoken,
    ),
    Rule(
        "spoken-password", "high",
        r"(?i)\b(?:creds?|credentials|logins?)\s{0,2}[:=]\s{0,3}[\"'`]?[\w.@-]{2,64}:(?P<s>[!-.0-~][!-~]{5,127})",
        judge=_spoken,
    ),
    # MySQL and MongoDB set and give passwords by statements of their own.
    Rule("sql-password", "high",
         r"(?i)\bset\s+password\s+(?:for\s+\S{1,128}\s+)?=\s{0,4}(?:password\s{0,4}\()?\s{0,4}['\"](?P<s>[^'\"\n]{4,256})['\"]",
         judge=_likely),
    Rule("sql-password", "high", r"\bdb\.(?:auth|changeUserPassword)\(\s{0,4}['\"][^'\"\n]{1,128}['\"]\s{0,4},\s{0,4}['\"](?P<s>[^'\"\n]{4,256})['\"]",
         judge=_likely),
    # What programs that try passwords say when one is right.
    Rule("spoken-password", "high", r"\bSuccess: '[^:'\n]{1,64}:(?P<s>[^'\n]{4,128})'", judge=_likely),
    Rule("spoken-password", "high", r"^[|_\s]{0,12}[\w.@\\-]{1,64}:(?P<s>\S{4,128}) - Valid credentials", judge=_likely),
    # A server's address in a variable, without a scheme.
    Rule("url-credentials", "high", r"\b[A-Z][A-Z0-9_]{0,40}(?:URL|URI|DSN|REMOTE|SERVER|HOST)=[\"']?[\w.\\-]{1,64}:(?P<s>[^\s@/:\"'$]{4,128})@[A-Za-z0-9]",
         judge=_likely),
    # npm's and Docker's files of credentials.
    Rule("npmrc-token", "high", r"^_auth(?:Token)?\s{0,4}=\s{0,4}[\"']?(?P<s>[A-Za-z0-9+/_.-]{8,512}={0,2})", judge=_likely),
    Rule("npmrc-token", "high", r":_(?:authToken|auth|password)\s*=\s*[\"']?(?P<s>[^\s\"'$]{8,512})", judge=_likely),
    Rule("docker-auth", "high", r"\"auth\"\s*:\s*\"(?P<s>[A-Za-z0-9+/]{8,1000}={0,2})\"", judge=basic),
    # netrc with an account, on lines of its own or not.
    Rule("netrc-password", "high",
         r"(?:machine\s+\S{1,256}|default)\s+login\s+\S{1,128}\s+account\s+\S{1,128}\s+password\s+(?P<s>\S{4,256})", judge=_likely),
    # Terraform's state: what its generator of passwords made.
    Rule("assigned-secret", "high",
         r"\"random_password\"(?:.|\n){0,900}?\bresult\"?\s{0,8}[:=]\s{0,8}\"(?P<s>[^\"\n]{4,512})\"",
         judge=_likely),
    # RFC 6265: what names a session is as good as its password.
    Rule(
        "session-cookie", "high",
        r"(?i)\b(?:set-)?cookie2?[\"']?\s*[:=,]\s*[^\n]{0,400}?\b(?:[\w.-]{0,24}sess(?:ion)?(?:[_-]?id|[_-]?token)?"
        r"|connect\.sid|sid|s_?id|jsessionid|phpsessid|asp\.net_sessionid|auth[\w-]{0,16}|remember[\w-]{0,16}|jwt|access[_-]?token)"
        r"=(?P<s>[A-Za-z0-9%+/._~:-]{16,1000})",
        judge=_session,
    ),
    # Azure's shared access signatures; those of other clouds name their key, which is found.
    Rule(
        "signed-url", "high",
        r"[?&](?:sv=20[0-9]{2}-[^\s\"'<>]{4,400}?&sig|sig)=(?P<s>[A-Za-z0-9%+/]{40,120}(?:=|%3[Dd]))",
    ),
    # PuTTY's key files.
    Rule("private-key", "high", r"Private-Lines:\s*[0-9]{1,3}\s+(?P<s>(?:[A-Za-z0-9+/=]{20,64}\s+)+)Private-"),
    # BIP 39: 12 to 24 words.
    Rule(
        "seed-phrase", "high",
        r"(?i)(?:seed|mnemonic|recovery|backup|secret)(?:[ _-]?(?:phrase|words?|code))?[\"']?\s{0,3}(?:is|are|:|=)\s{0,3}[\"']?"
        r"(?P<s>[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,23})(?:$|[^a-z ])",
        confidence="medium",
    ),
    # What pwdump and secretsdump print of a SAM database.
    Rule("password-hash", "high", r"^[^:\n]{1,128}:[0-9]{1,7}:(?P<s>[0-9a-fA-F]{32}:[0-9a-fA-F]{32}):::"),
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    rules = (*RULES, *commands.RULES, *protocols.RULES)
    return PatternDetector("contexts", rules, cache)
