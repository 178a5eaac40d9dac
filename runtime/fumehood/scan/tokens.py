"""Secrets that stand for themselves and that Kingfisher leaves out: lone access-key ids, JWTs,
password hashes, credentials in URLs and in request headers."""

from __future__ import annotations

import binascii
import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan import keys, prefixes
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, PatternDetector, Rule, linear

# What people write where a secret would be. It must be all of the value, or mark it as one.
_PLACEHOLDER: Final = linear(
    rb"(?i)(?:change[-_ ]?(?:me|it|this)\w*"
    rb"|&(?:#x3c|#60|lt)(?:;.*)?|[*x.#?_-]{3,}|\$\{?[\w.:-]+\}?|\$\([^)]*\)|<[^>]*>|\{\{?[^}]*\}?\}"
    rb"|%[\w({][\w)}]*%?|\[[^\]]*\]|(?:your|my|the|some|user|db|a)[-_ ]?(?:\w+[-_ ])?"
    rb"(?:pass\w*|pwd|secret|token|key|api\w*)(?:[-_ ]?here)?"
    rb"|pass(?:word|wd|phrase)?|pwd|secret|token|user(?:name)?|api[-_]?key|string|none|null|nil"
    rb"|undefined"
    rb"|anon\w*|guest|true|false|todo|tbd|n/?a|empty|redacted|removed|hidden|masked|filtered|example\w*"
    rb"|\w*(?:placeholder|redacted|replace[-_ ]?me|insert[-_ ]?\w+|your[-_]\w+|fixme)\w*)"
)


_WORDS: Final = re.compile(
    rb"[A-Z]?[a-z]+(?:[A-Z][a-z]+)*(?:[-_][A-Za-z]?[a-z]+)*|[A-Z]+(?:[-_][A-Z]+)*"
)


_NAMES: Final = re.compile(rb"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z]+(?:[-_][A-Za-z0-9]{1,8})+")
# `--secret id=npm,src=.npmrc`: where builders have a secret from.
_MOUNT: Final = re.compile(rb"(?:id|src|source|type|target|env|name|file)=")


_KIND_OF: Final = dict.fromkeys(string.ascii_lowercase, "a") | dict.fromkeys(
    string.ascii_uppercase, "A"
) | dict.fromkeys(string.digits, "0")  # fmt: skip
_KINDS: Final = "".join(_KIND_OF.get(chr(byte), ".") for byte in range(256)).encode()


def kinds(value: bytes) -> int:
    """How many: of small and large letters, digits, and everything else."""
    return len(set(value.translate(_KINDS, b" \t\n\r\f\v")))


def is_placeholder(value: bytes) -> bool:
    """Whether a value only says that a secret belongs there."""
    return _PLACEHOLDER.fullmatch(value) is not None or len(set(value)) < 3


def _example(found: Found) -> Confidence | None:
    token: bytes = found["s"]
    if b"EXAMPLE" in token.upper() or len(set(token[4:])) < 5:
        return "low"
    return "high"


def _varied(found: Found) -> Confidence | None:
    """`ghp_xxxxxxxx…` says where a token goes."""
    token: bytes = found["s"]
    if len(set(token[8:])) < 8 or re.search(
        rb"(?i)example|your|xxxx|placeholder|1234567890ab", token
    ):
        return "low"
    return "high"


def _jwt(found: Found) -> Confidence | None:
    head = found["s"].partition(b".")[0]
    try:
        header = json.loads(
            binascii.a2b_base64(
                head.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(head) % 4)
            )
        )
    except (ValueError, RecursionError):
        return None
    return "high" if isinstance(header, dict) and ("alg" in header or "enc" in header) else None


def _credential(found: Found) -> Confidence | None:
    value: bytes = found["s"].rstrip(b"'\"`")
    said = value.rpartition(b":")[2]
    if is_placeholder(value) or is_placeholder(said.rstrip(b")]}")):
        return None
    return "medium" if value.islower() and value.isalpha() and len(value) < 8 else "high"


def _argument(found: Found) -> Confidence | None:
    """`--username and --password options`: what follows an option in a sentence is a word."""
    value: bytes = found["s"].rstrip(b".,;:)]")
    if is_placeholder(value) or value.startswith(b"-") or _MOUNT.match(value):
        return None
    return "low" if _WORDS.fullmatch(value) else "medium"


def _bare(found: Found) -> Confidence | None:
    """A header's value with nothing that says what it is: in sources, a name stands there."""
    value: bytes = found["s"]
    return "medium" if kinds(value) >= 3 and not _NAMES.fullmatch(value) else None


def basic(found: Found) -> Confidence | None:
    """Whether it is `user:password` in base64 (RFC 7617)."""
    value: bytes = found["s"]
    try:
        said = binascii.a2b_base64(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return None
    return "high" if b":" in said else None


_BEFORE: Final = r"(?:^|[^A-Za-z0-9+/_-])"
_AFTER: Final = r"(?:$|[^A-Za-z0-9+/_-])"
_NAME: Final = r"[^\s:/@'\"<>,;(){}\[\]`]"

_SAID_BEFORE: Final = (
    r"(?i)(?:server|data source|host|address|dbname|database|initial catalog|user id|uid|user"
    r"|endpoint|accountname)\s*=[^\n]{1,400}?[;\s,](?:password|pwd|accountkey|sharedaccesskey)\s*=\s*"
)
"""ADO.NET, ODBC, libpq and the like: several words, and the last is the password's."""

RULES: Final[Sequence[Rule]] = (
    # AWS: IAM identifiers, unique id prefixes.
    Rule(
        "aws-access-key-id", "high",
        r"(?:^|[^A-Za-z0-9+/])(?P<s>(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?:$|[^A-Za-z0-9+/=])",
        judge=_example,
    ),
    # RFC 7519; RFC 7516 has five parts.
    Rule(
        "jwt", "high",
        r"(?:^|[^A-Za-z0-9_.-])(?P<s>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
        r"\.[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]{1,}){0,2})",
        judge=_jwt,
    ),
    # crypt(5): bcrypt, sha256crypt, sha512crypt, yescrypt, md5crypt, Apache's; argon2, PBKDF2.
    Rule(
        "password-hash", "high",
        r"(?P<s>\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}|\$(?:5|6|y|gy|7)\$[^\s:$]{1,60}\$[^\s:'\"]{20,120}"
        r"|\$(?:1|apr1)\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|\$argon2(?:id|i|d)\$[^\s:'\"]{30,300}"
        r"|pbkdf2_sha(?:1|256|512)\$[0-9]+\$[^\s:'\"]{20,300})",
    ),
    # RFC 3986, 3.2.1: user information, deprecated there for this reason.
    Rule(
        "url-credentials", "high",
        rf"[A-Za-z][A-Za-z0-9+.-]{{1,20}}://{_NAME}{{0,128}}:"
        # The host stands behind the last `@` of the authority (WHATWG URL, 4.4).
        r"(?P<s>[^\s@/'\"<>`]{1,256}(?:@[^\s@/?#,;'\"<>`]{1,64}){1,3}|[^\s@/'\"<>`]{3,256})@"
        r"[A-Za-z0-9\[{$_.-]",
        judge=_credential,
    ),
    Rule(
        "connection-string", "high",
        rf"{_SAID_BEFORE}(?P<s>[^;\s'\",{{]{{3,512}})",
        judge=_credential,
    ),
    Rule(
        "connection-string", "high",
        rf"{_SAID_BEFORE}'(?P<s>[^'\n]{{3,256}})'",
        judge=_credential,
    ),
    # Braces, as ODBC has them, are a place holder, too.
    Rule(
        "connection-string", "high",
        rf"{_SAID_BEFORE}\{{(?P<s>[^{{}}\n]{{6,256}})\}}",
        judge=lambda found: _credential(found) if kinds(found["s"]) >= 3 else None,
    ),
    # Oracle's `user/password@host`, and what Go's driver of MySQL takes.
    Rule(
        "connection-string", "high",
        r"(?i)(?:jdbc:oracle:(?:thin|oci):|\b(?:sqlplus|sqlldr|expdp|impdp|rman|userid)\b[^\n]{0,120}?[\s=\"'])"
        r"[A-Za-z][\w$#.-]{0,63}/[\"]?(?P<s>[^\s@/'\"]{3,128})[\"]?@",
        judge=_credential,
    ),
    Rule(
        "connection-string", "high",
        r"(?:^|[\s'\"=`(])[A-Za-z][\w$#.-]{0,63}/(?P<s>[^\s@/'\"<>]{4,128})@(?://)?[A-Za-z0-9][\w.-]{0,254}:[0-9]{2,5}[:/]\w",
        judge=_credential,
        first=r"@(?://)?[A-Za-z0-9][\w.-]{0,254}:[0-9]{2,5}[:/]\w",
    ),
    Rule(
        "connection-string", "high",
        r"(?:^|[\s'\"=`(])[A-Za-z][\w.-]{0,63}:(?P<s>[^\s/'\"`]{3,128})@(?:tcp|unix)\(",
        judge=_credential,
    ),
    Rule(
        "azure-account-key", "high",
        r"(?i)(?:AccountKey|SharedAccessKey|SharedSecretValue)=(?P<s>[A-Za-z0-9+/]{40,90}={0,2})",
    ),
    # RFC 6750, RFC 7617.
    Rule(
        "authorization-bearer", "high",
        r"(?i)authorization['\"]?\s*[:=,]\s*['\"]?(?:bearer|token|apikey|digest)\s+"
        r"(?P<s>[A-Za-z0-9._~+/=-]{16,1000})",
        judge=_credential,
    ),
    # With no scheme, as some services have it.
    Rule(
        "authorization-bearer", "high",
        r"(?i)authorization['\"]?\s*:\s*['\"]?(?P<s>[A-Za-z0-9._~+/=-]{20,1000})(?:['\"]|\s*$|\\r)",
        judge=lambda found: _bare(found),
    ),
    Rule(
        "authorization-basic", "high",
        r"(?i)authorization['\"]?\s*[:=, ]\s*['\"]?basic\s+(?P<s>[A-Za-z0-9+/]{8,1000}={0,2})",
        judge=basic,
    ),
    Rule(
        "command-line-password", "high",
        r"(?:^|[\s'\"`])(?:--(?:password|passwd|pass|pwd|passphrase|token|secret|api-key|apikey|access-key)"
        r"|sshpass -p)(?:[ =])['\"]?(?P<s>[^\s'\"`]{4,256})",
        judge=_argument,
    ),
    Rule(
        "command-line-password", "high",
        r"(?i)\bnet\s+user\s+\S{1,64}\s+(?P<s>[^\s/*]\S{3,127})\s+/add\b", judge=_credential,
    ),
    Rule(
        "curl-user", "high",
        r"curl\b[^\n]{0,300}?\s(?:-u|--user|--proxy-user)[ =]?['\"]?[^\s:'\"]{1,64}:"
        r"(?P<s>[^\s'\"]{3,256})",
        judge=_credential,
    ),
    Rule(
        "netrc-password", "high",
        r"(?:machine\s+\S{1,256}|default)\s+login\s+\S{1,128}\s+password\s+(?P<s>\S{3,256})",
        judge=_credential,
    ),
    Rule(
        "sql-password", "high",
        r"(?i)\b(?:(?:create|alter|grant)\s[^;]{1,400}?\bidentified\s+(?:with\s+\S+\s+)?by"
        r"|(?:create|alter)\s+(?:role|user|login)\s[^;]{1,300}?\spassword)\s+['\"](?P<s>[^'\"\n]{3,256})['\"]",
        judge=_credential,
    ),
    # Formats whose prefix alone says what they are.
    Rule(
        "prefixed-token", "high",
        rf"{_BEFORE}(?P<s>gh[oprsu]_[A-Za-z0-9]{{30,255}}|github_pat_[A-Za-z0-9_]{{40,255}}"
        r"|glpat-[A-Za-z0-9_-]{20,64}|xox[abeoprs]-[A-Za-z0-9-]{20,200}|sk-ant-[A-Za-z0-9_-]{32,200}"
        r"|sk-(?:proj-)?[A-Za-z0-9_-]{40,200}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}|whsec_[A-Za-z0-9+/=]{24,100}"
        r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,500}|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,300}"
        r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}|hf_[A-Za-z0-9]{30,60}|dop_v1_[a-f0-9]{64}"
        r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|hv[sb]\.[A-Za-z0-9_-]{24,200}|dckr_pat_[A-Za-z0-9_-]{20,64}"
        rf"|AGE-SECRET-KEY-1[A-Z0-9]{{50,70}}|lin_api_[A-Za-z0-9]{{32,64}}|tskey-[a-z]+-[A-Za-z0-9-]{{20,80}}){_AFTER}",
        judge=_varied,
    ),
    Rule(
        "prefixed-token", "high",
        rf"{_BEFORE}(?P<s>GOCSPX-[A-Za-z0-9_-]{{28}}|key-[0-9a-f]{{32}}|[0-9a-f]{{32}}-us[0-9]{{1,2}}|NRAK-[A-Z0-9]{{27}}"
        r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45}"
        r"|sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,43}|secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,50}"
        r"|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32,64}|sk\.eyJ[A-Za-z0-9_-]{40,300}\.[A-Za-z0-9_-]{20,40}"
        r"|xai-[A-Za-z0-9]{60,100}|pplx-[A-Za-z0-9]{40,60}|gsk_[A-Za-z0-9]{40,60}|r8_[A-Za-z0-9]{30,45}"
        r"|sntry[su]_[A-Za-z0-9+/=_-]{40,200}|phx_[A-Za-z0-9]{40,50}|CFPAT-[A-Za-z0-9_-]{40,50}|nfp_[A-Za-z0-9]{36,40}"
        r"|gl(?:soat|ptt|rt|ft|imt|agent|cbt|oas)-[A-Za-z0-9_.-]{20,64}|AT[AC]TT3xFf[A-Za-z0-9_=-]{50,250}"
        r"|ATBB[A-Za-z0-9]{24,40}|dp\.(?:pt|st|ct|sa)\.[A-Za-z0-9_.-]{30,60}|gl(?:sa|c)_[A-Za-z0-9+/=_]{32,200}"
        r"|ops_eyJ[A-Za-z0-9_-]{100,1000}|sgp_[A-Za-z0-9_]{40,80}|oy2[a-z0-9]{43}|sbp_[a-f0-9]{40}|rnd_[A-Za-z0-9]{28,40}"
        rf"|LTAI[A-Za-z0-9]{{16,24}}|AKID[A-Za-z0-9]{{28,36}}|EAA[A-Za-z0-9]{{100,250}}|figd_[A-Za-z0-9_-]{{36,60}}){_AFTER}",
        judge=_varied,
    ),
    Rule(
        "prefixed-token", "high",
        rf"{_BEFORE}(?P<s>1//0[A-Za-z0-9_-]{{40,150}}|pat-(?:na|eu|ap)[0-9]-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}"
        r"|AKCp[A-Za-z0-9]{60,80}|cmVmdGtuOj[A-Za-z0-9]{50,60}|sb_secret_[A-Za-z0-9_-]{20,60}|e2b_[a-f0-9]{40}"
        r"|tvly-(?:dev-|prod-)?[A-Za-z0-9]{28,48}|fc-[a-f0-9]{32}|wandb_v1_[A-Za-z0-9_]{30,100}|crsr_[a-f0-9]{40,80}"
        rf"|[A-Za-z0-9]{{76}}AZDO[A-Za-z0-9]{{4}}){_AFTER}",
        judge=_varied,
    ),
    # Short marks, which names of code hold as well.
    Rule(
        "prefixed-token", "high",
        rf"(?:^|[^A-Za-z0-9_.~-])(?P<s>re_[A-Za-z0-9]{{6,10}}_[A-Za-z0-9]{{20,30}}|[A-Za-z0-9_.~-]{{3}}[78]Q~[A-Za-z0-9_.~-]{{31,34}}){_AFTER}",
        judge=lambda found: _varied(found) if kinds(found["s"]) == 4 else None,
    ),
    Rule(
        "webhook-url", "high",
        r"(?P<s>https://(?:(?:canary\.|ptb\.)?discord(?:app)?\.com/api/webhooks/[0-9]{15,20}/[A-Za-z0-9_-]{60,80}"
        r"|[a-z0-9-]+\.webhook\.office\.com/webhookb2/[^\s\"'<>]{40,400}"
        r"|(?:hooks\.zapier\.com/hooks/catch|api\.telegram\.org/bot[0-9]{8,10}:)[^\s\"'<>]{8,200}))",
    ),
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("tokens", (*RULES, *keys.RULES, *prefixes.RULES), cache)
