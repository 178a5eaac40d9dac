"""Secrets that neither form nor name gives away, but the place: the fields of known file formats
and the arguments of known programs.

Each rule is one documented syntax. What stands there must still look like a secret (`_likely`).
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan.assigned import SNAKE
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, PatternDetector, Rule
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


def _sasl(found: Found) -> Confidence | None:
    value = found["s"]
    try:
        said = binascii.a2b_base64(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return None
    return "high" if said.count(b"\0") == 2 else None


def _spoken(found: Found) -> Confidence | None:
    value = found["s"].rstrip(b".,;:'\"`)")
    return "medium" if kinds(value) >= 3 and not is_placeholder(value) else None


_LOGIN: Final = (
    r"(?:docker|podman|nerdctl|buildah|skopeo|crane|oras|helm registry|az|oc|cf|ibmcloud|argocd"
    r"|faas-cli|jf rt|vault|rancher|cloudsmith|heroku)\s+login"
)

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
    # Programs that take a password as an argument, each by its own option.
    Rule(
        "argument-password", "high",
        r"\bhtpasswd\s+(?:-[A-Za-z]*b[A-Za-z]*\s+)(?:-\S+\s+)*\S{1,256}\s+\S{1,128}\s+[\"']?(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\b(?:mysql|mysqldump|mysqladmin|mysqlimport|mysqlsh|mariadb(?:-[a-z]+)?)\s(?:[^\n|;]{0,300}?\s)?-p[\"']?(?P<s>[^\s\"'=-][^\s\"']{3,255})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        rf"\b{_LOGIN}\b[^\n|;]{{0,300}}?\s-p[ =]?[\"']?(?P<s>[^\s\"']{{4,512}})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\bldap(?:search|modify|add|delete|passwd|whoami)\s[^\n|;]{0,300}?\s-w\s*[\"']?(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\b(?:smbclient|rpcclient|smbget|mount\.cifs|net rpc)\s[^\n|;]{0,300}?(?:-U|user(?:name)?=)\s*[\"']?[^\s%\"']{1,64}%(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\b(?:redis-cli|mongo(?:sh|dump|restore|export|import)?|sqlcmd|bcp|isql|cqlsh|influx|xfreerdp|rdesktop|sqlplus|psexec)\b"
        r"[^\n|;]{0,300}?\s(?:-a|-p|-P|/p:)[ ]?[\"']?(?P<s>[^\s\"'0-9/-][^\s\"']{3,255})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\bopenssl\s[^\n]{0,300}?\bpass:(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\becho\s+[\"']?(?P<s>[^\s\"'|]{6,128})[\"']?\s*\|\s*(?:sudo\s+-S|passwd\s+--stdin|docker\s+login)",
        judge=_likely,
    ),
    Rule(
        "chpasswd-password", "high",
        r"\becho\s+(?:-\w\s+)?[\"']?[a-z_][a-z0-9_-]{0,31}:(?P<s>[^\s\"'|]{4,256})[\"']?\s*\|\s*(?:sudo\s+)?chpasswd",
        judge=_likely,
    ),
    Rule(
        "secure-string", "high",
        r"(?i)ConvertTo-SecureString\s+(?:-(?:String|AsPlainText|Force)\s+){0,3}[\"'](?P<s>[^\"'\n$]{4,256})[\"']",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\bzip\s[^\n|;]{0,200}?-P\s+[\"']?(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\b(?:7z[ar]?|rar|unrar)\s+[a-z]\s[^\n|;]{0,200}?-p[\"']?(?P<s>[^\s\"'-][^\s\"']{3,255})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\b(?:https?|xh)\s[^\n|;]{0,300}?(?:-a|--auth)[ =][\"']?[^\s:\"']{1,64}:(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"\blftp\s[^\n|;]{0,200}?-u\s+[\"']?[^\s,\"']{1,64},(?P<s>[^\s\"']{4,256})",
        judge=_likely,
    ),
    Rule(
        "argument-password", "high",
        r"(?i)\bnet\s+use\s+(?:[a-z*]:?\s+)?\\\\\S{3,256}\s+(?P<s>[^\s/*]\S{3,127})\s+/user:",
        judge=_likely,
    ),
    # wpa_supplicant.conf, NetworkManager, interfaces(5), ipsec.secrets, WireGuard's preshared keys.
    Rule(
        "network-password", "high",
        r"(?i)(?:^|[\s;{])(?:wpa-|wifi-sec\.|802-11-wireless-security\.)?(?:psk|wep-key[0-3]|sae_password|leap-password"
        r"|preshared-?key)\s{0,4}[=:]\s{0,4}\"?(?P<s>[^\s\"']{8,128})",
        judge=_likely,
    ),
    Rule("network-password", "high", r"(?i)(?:^|\s)wpa-psk\s+\"?(?P<s>[^\s\"']{8,128})", judge=_likely),
    Rule(
        "network-password", "high", r":\s+(?:PSK|XAUTH|EAP)\s+(?:\"(?P<s>[^\"\n]{4,256})\"|0[sx]\S{8,256})", judge=_likely,
    ),
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
    # RFC 4616.
    Rule("authorization-basic", "high", r"\bAUTH PLAIN (?P<s>[A-Za-z0-9+/]{8,1000}={0,2})", judge=_sasl),
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
    # npm's and Docker's files of credentials.
    Rule("npmrc-token", "high", r":_(?:authToken|auth|password)\s*=\s*[\"']?(?P<s>[^\s\"'$]{8,512})"),
    Rule("docker-auth", "high", r"\"auth\"\s*:\s*\"(?P<s>[A-Za-z0-9+/]{8,1000}={0,2})\"", judge=basic),
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
    return PatternDetector("contexts", RULES, cache)
