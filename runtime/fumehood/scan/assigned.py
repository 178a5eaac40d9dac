"""Secrets that only their name gives away: `DB_PASSWORD=…`, `"client_secret": "…"`.

What stands behind such a name is far more often code, a placeholder or a sentence than a secret.
So the value decides as much as the name, and what decides is written down in `_judge`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, PatternDetector, Rule, linear
from fumehood.scan.tokens import is_placeholder, kinds

MIN_PASSWORD: Final = 4
MIN_TOKEN: Final = 12
"""Characters: people choose short passwords, machines make long tokens."""
MAX_SETTING: Final = 2048
"""Bytes of a line on both sides of a value's end: read to its ends for each name, a line of 272 KiB
took 0.5 s."""
MIN_TOKEN_BITS: Final = 3.0
"""Entropy a character: random hexadecimal of 16 has 3.2, English words about 2.8."""

_PASSWORD: Final = re.compile(
    rb"(?i)passw(?:or)?d|passwd|pwd|passphrase|passcode|_pass(?:$|_)|_pw$"
)
# `password_reset_url` is none, nor is `secretName`.
_ABOUT: Final = linear(
    rb"(?i)(?:[-_.]?(?:id|ids|name|names|type|types|url|uri|urls|path|file|files|dir|ref|keyref"
    rb"|length|len|size|count|min|max|expiry|expires?(?:[-_]?(?:in|at|on))?|ttl|age|policy|field"
    rb"|label|hint|prompt|reset|strength|rules?|regex|pattern|format|hash[-_]?algorithm|version"
    rb"|algo(?:rithm)?|encryption|encoding|method|mechanism|scheme|rounds|iterations|manager|provider|store|class|enabled|required|changed|updated|created"
    rb"|last[-_]?\w+|at|env|var|variable|arn|index|position|usage|limits?|budget|is[-_]?set))$"
)
_PUBLIC: Final = linear(
    rb"(?i)(?:public|max|min|num|total|input|output|prompt|completion|next|prev(?:ious)?|page"
    rb"|continuation|csrf|xsrf|pad|eos|bos|unk|stop|primary|foreign|sort|partition|cache|row"
    rb"|idempotency|object|host|map|s3|bucket|translation|i18n|message|parent|group|hot|short)"
    rb"[-_.]?(?:token|tokens|key|keys)\w*$|existing[-_.]?secret$"
)
# What a value of code looks like: a call, an attribute, an index, an operator, a keyword.
CODE: Final = re.compile(
    rb"(?:[A-Za-z_][\w.]*(?:\(|\[)|(?:self|this|os|process|config|settings|args|opts|options"
    rb"|request|req|env|ctx|params|kwargs|data|form)\b[.\[]|await\b|new\b|lambda\b|function\b"
    rb"|&&|\|\||=>|\$[A-Za-z_]\w*(?:$|\.|\[)|[A-Za-z_]\w*\.[A-Za-z_]\w*(?:\.\w+)*$)"
)
SNAKE: Final = re.compile(
    rb"_*[a-z]+(?:[_-][a-z]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+(?:_[A-Z]+)+|_*[A-Z]+[a-z]*(?:[A-Z]+[a-z]+)+"
)
"""What names of code look like."""
_WORDS: Final = frozenset(
    b"string str text bytes int integer number boolean bool object array any required optional "
    b"true false none null nil undefined incorrect invalid wrong reset changed expired missing "
    b"empty unset set not is was has must should cannot failed failure passwort mot senha "
    b"contrase\xc3\xb1a wachtwoord login username email input hidden masked plain enabled disabled "
    b"yes no on off default auto basic bearer digest authentication authorization the a an for and "
    b"or your my new old current confirm confirmation forgot enter type file env vault keyring "
    b"prompt interactive stdin field varchar char public private internal sensitive protected "
    b"secure unknown never always rotate rotated".split()
)
_FILE: Final = re.compile(
    rb"(?:~|\.{1,2})?/[\w./-]+|[A-Za-z]:\\\S+|https?://\S+"
    rb"|[\w-]+\.(?:pem|key|crt|json|ya?ml|txt|env|py|js|ts|go|rb|java)"
)
_SETTING: Final = re.compile(
    rb"\s*(?:export\s+|set\s+|- )?[\w.-]+(?:=|:[ \t]+|[ \t]+=[ \t]+)\S{6,}\s*"
)
# `password: Buffer | None`, `token: Token = …`: a type, and what follows one.
_ANNOTATED: Final = re.compile(rb"[ \t]+(?:\||=[ \t])")
# `self.password = given`: one name for another.
_ATTRIBUTE: Final = re.compile(rb"(?:self|this|cls)\.")
# `Forgot password?`, `Enter a new one`: what a person reads, not what one types.
_PHRASE: Final = re.compile(rb"[A-Z][a-z']*(?: [A-Za-z']+)+[.?!:\xe2\x80\xa6]*|[A-Za-z' ]+[.?!:]+")
# `'%s:%s' % (user, password)`: what is put together elsewhere.
_FORMAT: Final = re.compile(rb"%(?:\(\w+\))?[sdrifx]|\{[\w.]*\}")
# A line of services(5).
_PORT: Final = re.compile(rb"[0-9]+/[a-z]+")
# `password: String! token: AccessToken2`: a type, which is called after what it holds.
TYPE: Final = re.compile(
    rb"[A-Z][A-Za-z]*(?:V[0-9])?(?:Tokens?|Passwords?|Secrets?|Keys?|Credentials?|String|Schema|Type"
    rb"|Kind|Input)(?:[A-Z][a-z]+){0,2}(?:V?[0-9])?[!?]{0,2}"
)
_BASIC_TYPE: Final = re.compile(rb"(?:String|Str|Int|Boolean|Bool|Float|Bytes|ID)[!?]{1,2}")
# `default-token-abc12`: how Kubernetes calls a secret, which is none.
_CALLED: Final = re.compile(rb"[a-z0-9]+(?:-[a-z0-9]+)*-(?:token|secret)s?-[a-z0-9]{5}")
_TESTED: Final = re.compile(rb"[A-Za-z][\w./+:#-]*")
_USER: Final = re.compile(rb"(?i)\buser|\blogin|\bhost|\baccount")
_VERSION: Final = re.compile(rb"(?:[0-9]+:)?v?[0-9]+(?:\.[0-9]+)+[\w.+~:-]*")
_TITLE: Final = re.compile(rb"[A-Z][a-z]+")
UUID: Final = re.compile(rb"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _judge(found: Found) -> Confidence | None:
    """How sure it is that the value is a secret, from its name and from what it looks like."""
    name, value = found["n"], found["s"].rstrip(b".,")
    quoted = found["q"] != b""
    after = found.data[found.span[1] : found.span[1] + 1]
    if quoted and after not in (b'"', b"'", b"`", b"\\", b""):
        return None  # the rule for quoted values sees all of it
    if not quoted and name == b"PASS" and _is_report(found, value):
        return None
    if value.endswith(b"=") and value[:-1].isalpha():  # the next name of a list
        return None
    if value.count(b":") > 3 or value.startswith(b":"):  # a line of passwd(5); a role of Sphinx's
        return None
    if not quoted and _ATTRIBUTE.match(name) and value.replace(b"_", b"").isalpha():
        return None
    if not quoted and (after in (b"(", b"[") or b"->" in value or b"::" in value):
        return None
    if _is_about(name):
        return None
    if is_placeholder(value) or value.lower() in _WORDS or _FILE.fullmatch(value):
        return None
    if not quoted and (_BASIC_TYPE.fullmatch(value) or _CALLED.fullmatch(value)):
        return None
    if not quoted and TYPE.fullmatch(value) and not _is_alone(found):
        return None
    if _FORMAT.search(value) and not re.search(rb"[A-Za-z0-9]", _FORMAT.sub(b"", value)):
        return None
    if not quoted and (CODE.match(value) or _ANNOTATED.match(found.data, found.span[1])):
        return None
    if _PASSWORD.search(name):
        return _password(value, quoted=quoted, alone=_is_alone(found))
    return _token(value, name)


def _is_report(found: Found, value: bytes) -> bool:
    """`--- PASS: TestRead/short (0.00s)`: what was tested, and nothing about a user near it."""
    start = found.span[0]
    before = found.data[max(0, start - 200) : start]
    return _TESTED.fullmatch(value) is not None and _USER.search(before) is None


@lru_cache(maxsize=1024)
def _is_about(name: bytes) -> bool:
    """Whether what is named so is public, or only about a secret: 200 µs for a long name."""
    about = _ABOUT.search(name) is not None and _PASSWORD.fullmatch(name) is None
    return about or _PUBLIC.search(name) is not None


def _is_alone(found: Found) -> bool:
    """Whether name and value are all of a line, as in files of settings, and no `name = name`."""
    data, (_, end) = found.data, found.span
    first, last = max(0, end - MAX_SETTING), min(len(data), end + MAX_SETTING)
    start, stop = data.rfind(b"\n", first, end) + 1, data.find(b"\n", end, last)
    if (start == 0 and first) or (stop < 0 and last < len(data)):
        return False
    return _SETTING.fullmatch(data, start, stop if stop >= 0 else last) is not None


def _password(value: bytes, *, quoted: bool, alone: bool) -> Confidence | None:
    if len(value) < MIN_PASSWORD or value.count(b" ") > 2:
        return None
    if b" " in value and _PHRASE.fullmatch(value):
        return None
    count = kinds(value)
    if count >= 3:
        return "high"
    if not quoted and not alone and _TITLE.fullmatch(value):
        return "low"  # `:param password: Unicode password.`
    if count == 2 and not SNAKE.fullmatch(value):
        return "high" if len(value) >= 8 and re.search(rb"[0-9]", value) else "medium"
    if value.isdigit():
        return "medium" if quoted and len(value) >= MIN_PASSWORD else "low"
    if not quoted and not alone:
        return None
    return "medium" if len(value) >= 6 and not SNAKE.fullmatch(value) else "low"


def _token(value: bytes, name: bytes) -> Confidence | None:
    if b" " in value or SNAKE.fullmatch(value):
        return None
    if len(value) < MIN_TOKEN:
        said = re.search(rb"(?i)secret|token|key", name)
        return "medium" if said and len(value) >= 8 and kinds(value) >= 4 else None
    if not re.search(rb"[A-Za-z]", value):
        return None
    if not re.search(rb"[0-9]", value) and (kinds(value) < 3 or re.search(rb"[/:.]", value)):
        return None
    if UUID.fullmatch(value):
        return "medium" if re.search(rb"(?i)secret|api[-_]?key", name) else None
    if entropy(value) < MIN_TOKEN_BITS:
        return None
    return "high" if len(value) >= 20 else "medium"


def entropy(value: bytes) -> float:
    """Bits a character (Shannon)."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


_WORD: Final = (
    r"(?:passw(?:or)?d|passwd|passphrase|passcode|pwd|secret|token|api[-_]?key|apikey|_pass\b|\bpass\b|_pw\b"
    r"|access[-_]?key|auth[-_]?key|private[-_]?key|account[-_]?key|client[-_]?secret"
    r"|encryption[-_]?key|signing[-_]?key|secret[-_]?key|master[-_]?key|session[-_]?key"
    r"|shared[-_]?key|license[-_]?key|credentials?|webhook[-_]?key|app[-_]?key)"
)
_KEY: Final = rf"(?P<n>[A-Za-z0-9_.\-]{{0,64}}{_WORD}[A-Za-z0-9_\-]{{0,40}})"
_IS: Final = r"(?:\\?['\"]\]|\\?['\"])?[ \t]{0,20}(?::=|=>|[:=])[ \t]{0,20}"

RULES: Final[Sequence[Rule]] = (
    # INI, .env, YAML, JSON, TOML, properties, HCL, shell, and assignments of most languages.
    Rule(
        "assigned-secret", "high",
        rf"(?i){_KEY}{_IS}(?P<q>\\?[\"'`]?)(?P<s>[^\s\"'`,;<>{{}}()\[\]\\]{{4,512}})",
        judge=_judge,
    ),
    # `setenv NAME value`, `ENV NAME value`, `set -x NAME value`: C shell, fish, Dockerfiles.
    Rule(
        "assigned-secret", "high",
        rf"(?i)(?:^|[\s;&])(?:setenv|env|set\s+-\S+)[ \t]+{_KEY}[ \t]+(?P<q>[\"']?)(?P<s>[^\s\"'`,;<>{{}}()\[\]\\=]{{4,512}})",
        judge=_judge,
    ),
    # `val name: String = "value"`: Kotlin, Swift, TypeScript, Rust.
    Rule(
        "assigned-secret", "high",
        rf"(?i){_KEY}\s{{0,4}}:\s{{0,4}}&?(?:'static )?(?:String|str|text|SecretStr)\??\s{{0,4}}=\s{{0,4}}(?P<q>[\"'])(?P<s>[^\"'\n]{{4,256}})[\"']",
        judge=_judge,
    ),
    # `with password 'value'`, as programs complain.
    Rule(
        "assigned-secret", "high",
        r"(?i)\b(?:with|using|and|wrong|bad|invalid)\s+(?:the\s+)?(?P<n>password|passphrase)\s+(?P<q>[\"'`])(?P<s>[^\"'`\n]{4,256})[\"'`]",
        judge=_judge,
    ),
    # Personal access tokens by the end of a variable's name, which in small letters is a pattern.
    Rule(
        "assigned-secret", "high",
        rf"(?:^|[^A-Za-z0-9_])(?P<n>[A-Z][A-Z0-9_]{{0,40}}_PAT){_IS}(?P<q>[\"']?)(?P<s>[A-Za-z0-9_.~+/=-]{{16,512}})",
        judge=lambda found: _personal(found),
    ),
    # Two columns, as settings are listed.
    Rule(
        "assigned-secret", "high",
        rf"(?i)^[ \t]{{0,8}}{_KEY}(?:[ ]{{0,80}}\t|[ ]{{2}})[ \t]{{0,80}}(?P<q>)(?P<s>[^\s\"'`,;<>{{}}()\[\]\\|]{{6,512}})[ \t]{{0,80}}\r?$",
        judge=lambda found: _listed(found),
    ),
    # What YAML says of a text before it, and XML.
    Rule(
        "assigned-secret", "high",
        rf"(?i)^(?P<i>[ \t-]{{0,200}})[\"']?{_KEY}[\"']?:[ \t]+(?:![\w!/.:-]{{1,80}}[ \t]+)?[|>][0-9+-]{{0,2}}[ \t]*\r?\n[ \t]+(?P<q>)(?P<s>[^\s\"'`,;<>{{}}()\[\]\\]{{4,512}})[ \t]*\r?$",
        judge=_judge,
    ),
    Rule(
        "assigned-secret", "high",
        rf"(?i){_KEY}[\"']?:[ \t]+![\w!/.:-]{{1,80}}[ \t]+(?P<q>[\"']?)(?P<s>[^\s\"'`,;<>{{}}()\[\]\\]{{4,512}})",
        judge=_judge,
    ),
    Rule(
        "assigned-secret", "high",
        rf"(?i)<{_KEY}>\s{{0,40}}<!\[CDATA\[\s{{0,40}}(?P<q>)(?P<s>[^\]\s]{{4,512}})\s{{0,40}}\]\]>",
        judge=_judge,
    ),
    # Clojure, Lisp, R, C, and the marks of a difference: a name, and a text in quotes behind it.
    Rule(
        "assigned-secret", "high",
        rf"(?i)(?:^|[\s:(*'@$]){_KEY}(?:[ \t]{{0,20}}<<?-)?[ \t]{{1,20}}(?P<q>\")(?P<s>[^\"\n\\]{{4,256}})\"",
        judge=lambda found: _beside(found),
    ),
    # Azure's keys of accounts, whose name is that of a column in a database, too.
    Rule(
        "assigned-secret", "high",
        r"(?i)\"(?:primary|secondary)(?:master|readonly(?:master)?)?key\"\s{0,8}:\s{0,8}\"(?P<s>[A-Za-z0-9+/]{40,100}={0,2})\"",
    ),
    Rule(
        "assigned-secret", "high",
        r"(?i)\bprivate[ _-]?key\b[^\n:=]{0,24}[:=]\s{0,8}[\"']?(?P<s>(?:0x)?[0-9a-f]{64})(?:$|[^0-9a-f])",
    ),
    # With blanks and punctuation in it: only a quote tells where it ends.
    Rule(
        "assigned-secret", "high",
        rf"(?i){_KEY}{_IS}(?P<q>\\?[\"'])(?P<s>[^\"'\n\\]{{4,256}})\\?[\"']",
        judge=_judge,
    ),
    # JSON that is printed over lines, with the value on the next one.
    Rule(
        "assigned-secret", "high",
        rf"(?i)(?P<q>\"){_KEY}\"\s{{0,100}}:\s{{0,400}}\"(?P<s>[^\"\n\\]{{4,512}})\"",
        judge=_judge,
    ),
    # A list that is called after what is in it: its first; and what a caller gives a program.
    Rule(
        "assigned-secret", "high",
        rf"(?i)\"{_KEY}\"\s{{0,8}}:\s{{0,8}}\[\s{{0,100}}(?P<q>\")(?P<s>[^\"\n\\]{{4,512}})\"",
        judge=_judge,
    ),
    Rule(
        "assigned-secret", "high",
        r"(?i)[\"']--?(?P<n>requirepass|masterauth|(?:[a-z]{1,20}-){0,3}(?:password|passwd|pass|pwd|passphrase|token|secret|api-?key|access-key))[\"']"
        r"\s{0,4},\s{0,40}(?P<q>[\"'])(?P<s>[^\"'\n]{4,256})[\"']",
        judge=lambda found: _argument(found),
    ),
    Rule(
        "assigned-secret", "high",
        r"[\"'](?:mysql\w*|mariadb[\w-]*|7z[ar]?|sshpass)[\"']\s{0,4},[^\n\]]{0,300}?(?P<q>[\"'])-p(?P<s>[^\s\"'=-][^\"'\n]{3,255})[\"']",
        judge=lambda found: _argument(found),
    ),
    # Calls of PHP, C, Java, JavaScript that set a name to a value.
    Rule(
        "assigned-secret", "high",
        rf"(?i)\b(?:define|setenv|putenv|set|put|set_?property|setitem)\s{{0,4}}\(\s{{0,4}}[\"']{_KEY}"
        r"[\"']\s{0,4},\s{0,4}(?P<q>[\"'])(?P<s>[^\"'\n]{4,256})[\"']",
        judge=_judge,
    ),
    # Properties as XML and as tables of a web page print them.
    Rule(
        "assigned-secret", "high",
        rf"(?i)<(?:[\w-]{{1,40}}\s+(?:name|key)=\")?{_KEY}\"?(?P<q>)"
        r"(?:\s+value=\"|>(?:<value>)?)(?P<s>[^<>\"\s]{4,256})[<\"]",
        judge=_judge,
    ),
    Rule(
        "spoken-password", "high",
        r"(?i)(?P<n>password|passphrase|passcode|비밀번호|암호|密码|密碼|パスワード"
        r"|contrase\xc3\xb1a|passwort|mot de passe|senha|пароль|wachtwoord|hasło|parola|şifre|mật khẩu|비번"
        r"|口令|暗証番号|salasana|lösenord|heslo|كلمة المرور|passord|adgangskode|kodeord|jelszó)(?P<q>)"
        r"(?:[ \t]\([^()\n]{1,40}\))?\s{0,3}(?:(?:is|es|est|ist|\xc3\xa9)\s{0,2}:?|:|=|は|는|은|\xef\xbc\x9a)\s{0,3}[\"'`]?(?P<s>[!-~]{6,64})",
        judge=lambda found: _spoken(found),
    ),
    Rule(
        "spoken-password", "high",
        r"(?i)(?P<n>password|passphrase|passcode|credentials?|secret|api key|access key|token)(?P<q>)\s+"
        r"(?:for|to|of|on|is|was|set to|changed to|reset to)\s+(?:[\w'.@-]{1,40}\s+){0,6}?(?:is|was|now|to|:|=)\s*:?\s*"
        r"[\"'`]?(?P<s>[!-~]{6,64})",
        judge=lambda found: _spoken(found),
    ),
)  # fmt: skip


PAIRS: Final[Sequence[Rule]] = (
    # Pairs of a name and a value: Kubernetes, ECS, Postman, forms.
    Rule(
        "assigned-secret", "high",
        rf"(?i)\b(?:name|key)[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?{_KEY}[\"']?\s{{0,4}},?\s{{0,40}}[\"']?\bvalue[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?(?P<q>)(?P<s>[^\s\"'`,;<>{{}}]{{4,512}})",
        judge=_judge,
    ),
    Rule(
        "assigned-secret", "high",
        r"(?i)<input\b[^>]{0,200}?\btype\s*=\s*[\"']?(?P<n>password)\b[^>]{0,200}?\bvalue\s*=\s*[\"']?(?P<q>)(?P<s>[^\"'\s<>]{4,256})",
        judge=_judge,
    ),
)  # fmt: skip
# AWS' parameter store: what is of the type SecureString is a secret, whatever it looks like, and
# so is what a path of names ends on one of.
_STORED: Final = r"[^{}]{0,600}?(?:\{[^{}]{0,300}\}[^{}]{0,300}?)?"
_VALUE: Final = (
    r"\"[A-Za-z_]{0,20}value\"\s{0,100}:\s{0,400}(?P<q>\")(?P<s>(?:[^\"\n\\]|\\.){4,})\""
)
_SECURE: Final = r"\"type\"\s{0,100}:\s{0,400}\"SecureString\""
_PATH: Final = (
    r"\"(?:[A-Za-z_]{0,20}(?:name|key)|id)\"\s{0,100}:\s{0,400}\"(?:[^\"\n\\]{0,200}[/.:])?"
    rf"(?P<n>[A-Za-z0-9_\-]{{0,64}}{_WORD})\""
)
_TEXT: Final = r"(?P<s>[^\s\"'`,;<>{}]{4,512})"

STORED: Final[Sequence[Rule]] = (
    Rule("secure-string", "high", rf"(?i){_SECURE}{_STORED}{_VALUE}", judge=lambda f: _stored(f)),
    Rule("secure-string", "high", rf"(?i){_VALUE}{_STORED}{_SECURE}", judge=lambda f: _stored(f)),
    Rule("assigned-secret", "high", rf"(?i){_PATH}{_STORED}{_VALUE}", judge=_judge),
    Rule("assigned-secret", "high", rf"(?i){_VALUE}{_STORED}{_PATH}", judge=_judge),
    # Outputs of Terraform and of deployments: the name has an object, and the value stands in it.
    Rule(
        "assigned-secret",
        "high",
        rf"(?i)\"{_KEY}\"\s{{0,8}}:\s{{0,8}}\{{{_STORED}{_VALUE}",
        judge=_judge,
    ),
    Rule(
        "assigned-secret",
        "high",
        rf"(?i){_KEY}\"?\s{{0,8}}=?\s{{0,8}}\{{[^{{}}]{{0,300}}?\b(?:value|default)\s{{0,8}}=\s{{0,8}}(?P<q>\")(?P<s>[^\"\n]{{4,512}})\"",
        judge=_judge,
    ),
    # Listed keys of Azure, stacks of CloudFormation.
    Rule(
        "assigned-secret",
        "high",
        rf"(?i)\"keyName\"\s{{0,8}}:\s{{0,8}}\"(?P<n>[\w.-]{{1,64}})\"{_STORED}\"value\"\s{{0,8}}:\s{{0,8}}\"(?P<s>[A-Za-z0-9+/]{{40,100}}={{0,2}})\"",
    ),
    # YAML with the value first, XML of properties, plists, and what consoles print below each other.
    Rule(
        "assigned-secret",
        "high",
        rf"(?i)(?:^|[\s-])value:[ \t]+(?P<q>[\"']?){_TEXT}[\"']?\r?\n[ \t]+(?:name|key):[ \t]+[\"']?{_KEY}[\"']?[ \t\r]*$",
        judge=_judge,
    ),
    Rule(
        "assigned-secret",
        "high",
        rf"(?i)<(?:key|name)>\s{{0,8}}{_KEY}\s{{0,8}}</(?:key|name)>\s{{0,40}}<(?:value|string)>(?P<q>){_TEXT}<",
        judge=_judge,
    ),
    Rule(
        "assigned-secret",
        "high",
        rf"(?i)^[ \t]*(?:key|name)[ \t]*:[ \t]+{_KEY}[ \t]*\r?\n(?:[ \t]*[A-Za-z _-]{{1,30}}:[^\n]{{0,100}}\n){{0,4}}[ \t]*value[ \t]*:[ \t]+(?P<q>){_TEXT}[ \t\r]*$",
        judge=_judge,
    ),
)

PAIRS_GATE: Final = (
    r"(?i)value[\"']?\s{0,100}[:=]", r"(?i)</(?:key|name)>", r"(?i)default\s{0,8}=\s{0,8}\"",
)  # fmt: skip


def _personal(found: Found) -> Confidence | None:
    """`_judge` would take the end of `GITLAB_PAT` for the `at` of `created_at`."""
    value = found["s"]
    return None if is_placeholder(value) or _FILE.fullmatch(value) else _token(value, b"token")


def _argument(found: Found) -> Confidence | None:
    """Behind an option in a list, where sources have other options and names."""
    value = found["s"]
    if is_placeholder(value) or value.startswith(b"-") or SNAKE.fullmatch(value):
        return None
    return (
        "high"
        if kinds(value) >= 3
        else ("medium" if kinds(value) == 2 and len(value) >= 8 else None)
    )


def _listed(found: Found) -> Confidence | None:
    """Beside a name in a list: of packages and services that are called so, too."""
    value = found["s"]
    if _PORT.fullmatch(value) or _VERSION.fullmatch(value) or kinds(value) < 2:
        return None
    return _judge(found)


def _beside(found: Found) -> Confidence | None:
    """Behind a name that nothing but a blank separates from it, as words before a quotation are."""
    return _judge(found) if kinds(found["s"]) >= 3 and b" " not in found["s"] else None


def _stored(found: Found) -> Confidence | None:
    return None if is_placeholder(found["s"]) else "high"


def _spoken(found: Found) -> Confidence | None:
    value = found["s"].rstrip(b".,;:!?\"'`)")
    if is_placeholder(value) or value.lower() in _WORDS or CODE.match(value) or _FILE.match(value):
        return None
    if re.search(rb"->|::|[(<{\[]", value) or SNAKE.fullmatch(value) or TYPE.fullmatch(value):
        return None
    if kinds(value) >= 3:
        return "medium"
    mixed = re.search(rb"[0-9]", value) and re.search(rb"[A-Za-z]", value)
    return "medium" if mixed and len(value) >= 12 and entropy(value) >= MIN_TOKEN_BITS else None


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("assigned", RULES, cache)


def pairs(cache: Path | None = None) -> PatternDetector:
    """Names and values that stand apart: a detector of its own, because a JSON text is full of
    names, and few have values beside them."""
    return PatternDetector("pairs", (*PAIRS, *STORED), cache, gate=PAIRS_GATE)
