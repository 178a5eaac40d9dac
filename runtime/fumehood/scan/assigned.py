"""Secrets that only their name gives away: `DB_PASSWORD=…`, `"client_secret": "…"`.

The rules here say which names, and which marks behind them. `values` says where the value begins
and ends, `judging` whether it is a secret; those that people write in sentences are in `spoken`,
names and values that stand apart in `apart`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.scan import judging, spoken, values
from fumehood.scan.detector import Confidence
from fumehood.scan.names import KEY, LATIN, OTHER
from fumehood.scan.patterns import Found, PatternDetector, Rule, Told
from fumehood.scan.tokens import is_placeholder, kinds
from fumehood.scan.values import Value

_MARK: Final = r"\\{0,7}(?:\"{1,3}|'{1,3}|`)"
_IS: Final = rf"(?P<b>(?:(?:{_MARK})?\]|{_MARK})?(?:[ \t]{{0,20}}|\.{{2,40}}[ \t]?)(?::=|=>|[:=]|\xef\xbc\x9a)[ \t]{{0,20}})"
QUOTED: Final = rf"[bBrRuUfLN@$]{{0,2}}(?P<q>{_MARK})(?P<s>[^\s\"'`])"
OPEN: Final = rf"(?:[bBrRuUfLN@$]{{0,2}}(?P<q>{_MARK}))?(?P<s>[^\s\"'`])"
_SIMPLE: Final = r"(?P<q>[\"'])(?P<s>[^\s\"'])"


# `arn:aws:secretsmanager:…:secret:NAME`, `"AWS::SecretsManager::Secret": …`: how something is called.
_CALLED: Final = re.compile(rb"arn:aws[\w-]*:[\w:/-]*\Z|[\"'][A-Z]\w*(?:::\w+)*::\Z")
_IN_NAMES: Final = frozenset(b"_.-" + (string.ascii_letters + string.digits).encode())
GATE: Final = (
    rf"(?i)pass|pwd|secret|token|credential|[_\W]pw|_pat|\b(?:pw|mdp|clave)\b|masterauth|mysql|mariadb|7z|{LATIN}",
    r"(?i)(?:api|access|auth|private|account|client|encryption|signing|master|master|readonly|primary|secondary"
    r"|session|shared|license|webhook|app)[-_ ]?key",
    OTHER,
)
"""Patterns of which one fits wherever a rule does."""


@dataclass(frozen=True, slots=True)
class Places:
    """Seeks one value: where it stands, and whether `judge` takes it for a secret.

    stop: what ends it in frames that have no quotes; None where quotes or what is around it do.
    begins: the group before the value, where that is not the name.
    """

    judge: Callable[[Found, bytes, Value], Confidence | None]
    stop: re.Pattern[bytes] | None = None
    begins: str = "n"

    def __call__(self, found: Found) -> Iterable[Told]:
        value = self._value(found)
        if value is None:
            return ()
        data = found.data
        confidence = self.judge(found, data[value.start : value.end], value)
        if value.line and judging.is_passphrase(data[value.start : value.line]):
            value = value._replace(end=value.line, framed=True)
            confidence = self.judge(found, data[value.start : value.end], value)
        return ((value.start, value.end, confidence),) if confidence else ()

    def _value(self, found: Found) -> Value | None:
        at = found.span[0]
        if self.stop is not None:
            return values.until(found.data, at, self.stop)
        name, _ = found.place(self.begins)
        while name and found.data[name - 1] in _IN_NAMES:
            name -= 1
        if found.data[name - 1 : name] == b":" and _CALLED.search(
            found.data, max(0, name - 160), name
        ):
            return None
        return values.value(found.data, name, at, found["q"], found["b"])


def _sure(found: Found, text: bytes, value: Value) -> Confidence | None:
    return judging.sure(found["n"], text, value, found.data)


def _personal(_found: Found, text: bytes, _value: Value) -> Confidence | None:
    """The name's end, `_PAT`, would pass for the `at` of `created_at`."""
    if is_placeholder(text) or judging.FILE.fullmatch(text):
        return None
    return judging.token(text, b"token")


def _argument(_found: Found, text: bytes, _value: Value) -> Confidence | None:
    """Behind an option in a list, where sources have other options and names."""
    if is_placeholder(text) or text.startswith(b"-") or judging.SNAKE.fullmatch(text):
        return None
    if kinds(text) >= 3:
        return "high"
    return "medium" if kinds(text) == 2 and len(text) >= 8 else None


def _listed(found: Found, text: bytes, value: Value) -> Confidence | None:
    """Beside a name in a list: of packages and services that are called so, too."""
    if judging.PORT.fullmatch(text) or judging.VERSION.fullmatch(text) or kinds(text) < 2:
        return None
    return _sure(found, text, value._replace(framed=False, alone=True))


def _beside(found: Found, text: bytes, value: Value) -> Confidence | None:
    """Where words stand, too: behind a name that nothing but a blank separates from it, in calls of
    which nobody knows what they do, in cells."""
    if kinds(text) < 3 or (b" " in text and judging.is_prose(text + b" x")):
        return None
    return _sure(found, text, value)


def _lone(found: Found, text: bytes, value: Value) -> Confidence | None:
    """One blank behind a name, which a word of a sentence may follow as well."""
    return _listed(found, text, value) if _MIXED.search(text) else None


def _member(found: Found, text: bytes, value: Value) -> Confidence | None:
    """Behind a name in a list, which may be a list of names."""
    return _beside(found, text, value) if _MIXED.search(text) else None


_MIXED: Final = re.compile(rb"[0-9].*[A-Z]|[A-Z].*[0-9]")


def _called(found: Found, text: bytes, value: Value) -> Confidence | None:
    """The argument of `setPassword("…")`, and not of what gets one."""
    if _GETS.search(found["n"]) or found["n"].lower().endswith(b"pass"):
        return None
    return _beside(found, text, value)


def _term(found: Found, text: bytes, value: Value) -> Confidence | None:
    """`{password, "…"}`; in a call, `(token, "…")` compares one."""
    return _beside(found, text, value) if judging.PASSWORD.search(found["n"]) else None


_GETS: Final = re.compile(
    rb"(?i)(?:^|[._-])(?:get|has|is|find|read|load|lookup|fetch|input|prompt|ask|enter|check|verify|validate"
    rb"|compare|match|need|require|expect|hash|encode|parse|test|by|use|delete|remove|show|list)[_A-Z-]?\w*$"
)


def _given(found: Found, text: bytes, value: Value) -> Confidence | None:
    """What stands in for a variable that is not set."""
    return _sure(found, text, value) if kinds(text) >= 2 or b" " not in text else None


SURE: Final = Places(_sure)
BESIDE: Final = Places(_beside)
IN_XML: Final = Places(_sure, re.compile(rb"\s*</"))
IN_ATTRIBUTE: Final = Places(_sure, re.compile(rb"\""))
IN_CELL: Final = Places(_beside, re.compile(rb"[ \t]*(?:[|\n<\xe2]|\Z)"))
_CDATA: Final = Places(_sure, re.compile(rb"\s*\]\]>"))
_BLOCK: Final = Places(_sure, re.compile(rb"\r?(?:\n|\Z)"))


def _list(found: Found) -> Iterable[Told]:
    """Every text of a list that is called after what is in it."""
    at, told = found.span[0], []
    for _ in range(values.MAX_LISTED):
        quoted = _ITEM.match(found.data, at)
        if quoted is None:
            break
        end = values.quoted_end(found.data, quoted.end(), quoted["q"])
        if end is None:
            break
        value = Value(quoted.end(), end, framed=True)
        if end - value.start < _MIN_LISTED and found["n"].lower().endswith(
            (b"token", b"tokens", b"variants")
        ):
            break  # of a language
        if confidence := _sure(found, found.data[value.start : end], value):
            told.append((value.start, end, confidence))
        at = end + len(quoted["q"])
    return told


def _lines(found: Found) -> Iterable[Told]:
    """The same over lines: `- one`, as YAML has it."""
    at, told = found.span[0], []
    for _ in range(values.MAX_LISTED):
        line = _DASHED.match(found.data, at)
        if line is None or line["i"] != found["i"]:
            break
        value = Value(*line.span("s"), alone=True, framed=line["q"] != b"")
        if confidence := _sure(found, line["s"], value):
            told.append((value.start, value.end, confidence))
        at = line.end()
    return told


_MIN_LISTED: Final = 20
_ITEM: Final = re.compile(rb"[\s,\[]{0,200}[bru]?(?P<q>\\{0,7}[\"'])")
_DASHED: Final = re.compile(
    rb"(?P<i>[ \t]*)-[ \t]+(?P<q>[\"']?)(?P<s>[^\n]{1,256}?)(?P=q)[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)"
)
_CALLS: Final = (
    r"(?:define|setenv|putenv|set|put|set_?property|setitem|get|get_?env|getenv|env|environ\.get|fetch|get_?or_?default"
    r"|getproperty|get_?string|setdefault|add|append|add_?parameter|with_?env|with_?property|header|field|option"
    r"|environment|envvar|lookup_?env|lookup|env_?or|get_?or_?else|process\.env|string_?value|register)"
)
_WRAPS: Final = (
    r"(?:(?:new[ \t]+)?(?:[A-Za-z_][\w]{0,30}(?:\.|::)){0,3}(?:Some|Ok|String|Secret|SecretString|SecureString|SecretStr|SecretBox|Optional|of"
    r"|from|from_str|strdup|byte|bytes|str|ptr|pointer|of_?nullable|just|Just|New\w{0,20}|new|Sensitive|sensitive|Value|literal|plain_?text"
    r"|fake|unsafe_\w{0,20}|ConvertTo-SecureString|secret_?value|StringPtr)\(|\[\]byte\(|&\")"
)


RULES: Final[Sequence[Rule]] = (
    # INI, .env, YAML, JSON, TOML, properties, HCL, shell, and assignments of most languages.
    Rule("assigned-secret", "high", rf"{KEY}{_IS}{OPEN}", seek=SURE),
    Rule("assigned-secret", "high", rf"(?P<n>(?:{OTHER})[\w\-]{{0,20}}){_IS}{OPEN}", seek=SURE),
    # `setenv NAME value`, `ENV NAME value`, `set -x NAME value`: C shell, fish, Dockerfiles.
    Rule(
        "assigned-secret", "high",
        rf"(?:^|[\s;&])(?i:setenv|env|set\s+-\S+)[ \t]+{KEY}(?P<b>[ \t]+){OPEN}",
        seek=SURE,
    ),
    # `val name: String = "value"`: Kotlin, Swift, TypeScript, Rust.
    Rule(
        "assigned-secret", "high",
        rf"{KEY}\s{{0,4}}:\s{{0,4}}&?(?:'static )?(?:String|str|text|SecretStr)\??\s{{0,4}}=\s{{0,4}}{_SIMPLE}",
        seek=SURE,
    ),
    # `with password 'value'`, as programs complain.
    Rule(
        "assigned-secret", "high",
        rf"(?i)\b(?:with|using|and|wrong|bad|invalid)\s+(?:the\s+)?(?P<n>password|passphrase)\s+{QUOTED}",
        seek=SURE,
    ),
    # Personal access tokens by the end of a variable's name, which in small letters is a pattern.
    Rule(
        "assigned-secret", "high",
        rf"(?:^|[^A-Za-z0-9_])(?P<n>[A-Z][A-Z0-9_]{{0,40}}_PAT){_IS}(?P<q>[\"']?)(?P<s>[A-Za-z0-9_.~+/=-])",
        seek=Places(_personal),
    ),
    # Two columns, as settings are listed.
    Rule(
        "assigned-secret", "high",
        rf"^[ \t]{{0,8}}{KEY}(?:[ ]{{0,80}}\t|[ ]{{2}})[ \t]{{0,80}}(?P<s>[^\s|=:]\S{{5,}})[ \t]{{0,80}}\r?$",
        seek=Places(_listed, re.compile(rb"\s|\Z")),
    ),
    # What YAML says of a text before it, and XML.
    Rule(
        "assigned-secret", "high",
        rf"^(?P<i>[ \t-]{{0,200}})[\"']?{KEY}[\"']?:[ \t]+(?:![\w!/.:-]{{1,80}}[ \t]+)?[|>][0-9+-]{{0,2}}[ \t]*\r?\n[ \t]+(?P<s>\S{{4}})",
        seek=_BLOCK,
    ),
    Rule(
        "assigned-secret", "high",
        rf"{KEY}(?P<b>[\"']?:[ \t]+)!(?:vault|secret|str|!str|binary|!binary|unsafe|env_?secret|[a-z]{{1,20}}/[\w./:-]{{1,60}}|!{{1,2}}[A-Za-z][\w.:-]{{0,40}})[ \t]+{OPEN}",
        seek=SURE,
    ),
    Rule("assigned-secret", "high", rf"<{KEY}>\s{{0,40}}<!\[CDATA\[\s{{0,40}}(?P<s>\S)", seek=_CDATA),
    # Clojure, Lisp, R, C, and the marks of a difference: a name, and a text in quotes behind it.
    Rule(
        "assigned-secret", "high",
        rf"(?:^|[\s:(*'@$]){KEY}(?:[ \t]{{0,20}}<<?-)?[ \t]{{1,20}}(?P<q>[\"'])(?P<s>[^\s\"'\\])",
        seek=BESIDE,
    ),
    # Members of lists and tuples, terms of Erlang and Lisp; methods that are called so; comparisons.
    Rule(
        "assigned-secret", "high",
        rf"(?:^|[^\w\s])[ \t]{{0,4}}[(\[]\s{{0,4}}[\"']{KEY}[\"']\s{{0,4}},\s{{0,20}}{QUOTED}",
        seek=Places(_member),
    ),
    Rule("assigned-secret", "high", rf"[{{(]{KEY}(?:,| \.)[ \t]{{0,4}}(?P<q>\")(?P<s>[^\s\"])", seek=Places(_term)),
    Rule("assigned-secret", "high", rf"{KEY}\(\s{{0,4}}{QUOTED}", seek=Places(_called)),
    Rule("assigned-secret", "high", rf"{KEY}[ \t]{{0,4}}={{2,3}}[ \t]{{0,4}}{QUOTED}", seek=BESIDE),
    Rule("assigned-secret", "high", rf"{KEY}[ \t]{{0,8}}=[ \t]{{0,8}}<<[-~]?[\"']?\w{{1,20}}[\"']?\r?\n[ \t]*(?P<s>\S)", seek=_BLOCK),
    Rule(
        "assigned-secret", "high",
        r"(?i)^[ \t]{0,8}(?P<n>(?:[a-z]+[_-])?(?:password|passwd|passphrase))(?:[ \t]|[ \t]?\.{3,80}[ \t])(?P<s>[!-~]{6,128})[ \t]{0,8}\r?$",
        seek=Places(_lone, re.compile(rb"\s|\Z")),
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
    # JSON that is printed over lines, with the value on the next one.
    Rule(
        "assigned-secret", "high",
        rf"\"{KEY}\"(?:\s{{0,100}}:[ \t]{{0,100}}\r?\n\s{{0,400}}|[ \t]{{0,100}}\r?\n\s{{0,100}}:\s{{0,400}})(?P<q>\")(?P<s>[^\s\"])",
        seek=SURE,
    ),
    # A list that is called after what is in it; and what a caller gives a program.
    Rule("assigned-secret", "high", rf"{KEY}[\"']?\s{{0,8}}(?:=>|[:=])\s{{0,8}}(?P<s>\[)\s{{0,100}}[\"']", seek=_list),
    Rule("assigned-secret", "high", rf"{KEY}[\"']?:[ \t]*\r?\n(?P<s>(?P<i>[ \t]*)-)[ \t]+", seek=_lines),
    Rule(
        "assigned-secret", "high",
        r"(?i)[\"']--?(?P<n>requirepass|masterauth|(?:[a-z]{1,20}-){0,3}(?:password|passwd|pass|pwd|passphrase|token|secret|api-?key|access-key))[\"']"
        rf"\s{{0,4}},\s{{0,40}}{_SIMPLE}",
        seek=Places(_argument),
    ),
    Rule(
        "assigned-secret", "high",
        r"[\"'](?P<n>mysql\w*|mariadb[\w-]*|7z[ar]?|sshpass)[\"']\s{0,4},[^\n\]]{0,300}?(?P<q>[\"'])-p(?P<s>[^\s\"'=-])",
        seek=Places(_argument),
    ),
    # Calls that set a name to a value, or have one for a name that is not set.
    Rule(
        "assigned-secret", "high",
        rf"(?i:\b{_CALLS})(?:\s{{0,4}}\(\s{{0,4}}|\s)[\"'](?:[A-Za-z0-9_.-]{{1,40}}[/:])?{KEY}[\"']\s{{0,4}},\s{{0,20}}{QUOTED}",
        seek=Places(_given),
    ),
    Rule(
        "assigned-secret", "high",
        rf"{KEY}[\"']?[\])}}]{{0,2}}\s{{0,4}}(?:\|\||\?\?|\?:|\bor\b)\s{{0,4}}{QUOTED}",
        seek=Places(_given),
    ),
    Rule("assigned-secret", "high", rf"\$\{{{KEY}(?::?[-=])(?P<s>[^\s}}\"'$])", seek=Places(_given, re.compile(rb"\}"))),
    # `Some("value")`, `[]byte("value")`, `new SecretString("value")`.
    Rule("assigned-secret", "high", rf"{KEY}[ \t]{{0,20}}(?::=|=>|[:=])[ \t]{{0,20}}{_WRAPS}\s{{0,8}}{QUOTED}", seek=SURE),
    # `"old" -> "new"` of Terraform, of which the first is found by its name.
    Rule(
        "assigned-secret", "high",
        rf"{KEY}\"?[ \t]{{0,40}}[=:][ \t]{{0,4}}(?:\"[^\"\n]{{0,256}}\"|null|\([a-z ]{{1,40}}\))[ \t]{{1,4}}(?:->|=>)[ \t]{{1,4}}{_SIMPLE}",
        seek=SURE,
    ),
    # var_dump and print_r of PHP.
    Rule("assigned-secret", "high", rf"\[\"{KEY}\"(?::[\w\":\\]{{1,60}}){{0,2}}\]=>\s{{0,40}}string\([0-9]{{1,4}}\) (?P<q>\")(?P<s>[^\s\"])", seek=SURE),
    Rule("assigned-secret", "high", rf"^[ \t]{{1,80}}\[{KEY}(?::[\w:\\]{{1,60}})?\] => (?P<s>\S)", seek=_BLOCK),
    # Replies of redis-cli, one below the other.
    Rule("assigned-secret", "high", rf"^[ \t]{{0,20}}[0-9]{{1,5}}\) \"{KEY}\"\r?\n[ \t]{{0,20}}[0-9]{{1,5}}\) (?P<q>\")(?P<s>[^\s\"])", seek=BESIDE),
    # Rows of two cells, lists of definitions, forms as web pages have them.
    Rule("assigned-secret", "high", rf"[|\xe2\x94\x82][ \t]{{0,40}}[*`]{{0,3}}{KEY}:?[*`]{{0,3}}[ \t]{{0,80}}(?:\||\xe2\x94\x82)[ \t]{{0,80}}`?(?P<s>[^\s|\xe2`])", seek=Places(_beside, re.compile(rb"`?[ \t]*(?:[|\n]|\xe2\x94\x82|\Z)"))),
    Rule("assigned-secret", "high", rf">\s{{0,20}}{KEY}:?\s{{0,20}}(?:</[a-z]{{1,10}}>\s{{0,40}}){{1,2}}(?:<[a-z][^<>]{{0,100}}>\s{{0,20}}){{1,3}}(?P<s>[^\s<])", seek=Places(_beside, re.compile(rb"\s*<"))),
    # Properties as XML and as tables of a web page print them.
    Rule(
        "assigned-secret", "high",
        rf"<(?:[\w:-]{{1,40}}\s+(?:name|key)=\"|[\w-]{{1,20}}:)?{KEY}\"?(?:\s+[\w:]{{1,30}}=\"[^\"<>]{{0,60}}\"){{0,3}}>\s{{0,40}}(?:<value>)?(?P<s>[^\s<>])",
        seek=IN_XML,
    ),
    Rule(
        "assigned-secret", "high",
        rf"<[\w:-]{{1,40}}\s+(?:name|key)=\"{KEY}\"\s+value=\"(?P<s>[^\s<>\"])",
        seek=IN_ATTRIBUTE,
    ),
    *spoken.RULES,
)  # fmt: skip


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("assigned", RULES, cache, gate=GATE)
