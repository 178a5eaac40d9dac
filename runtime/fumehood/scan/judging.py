"""Whether a value is a secret, when only its name says that it may be one.

What stands behind such a name is far more often code, a placeholder or a sentence. So the value
decides as much as the name, and what decides is written down in `sure`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.names import LATIN, OTHER
from fumehood.scan.patterns import linear
from fumehood.scan.tokens import is_placeholder, kinds
from fumehood.scan.values import Value

MIN_PASSWORD: Final = 4
MIN_TOKEN: Final = 12
"""Characters: people choose short passwords, machines make long tokens."""
MIN_TOKEN_BITS: Final = 3.0
"""Entropy a character: random hexadecimal of 16 has 3.2, English words about 2.8."""
MIN_WORDS: Final = 4
"""Of a pass phrase; fewer are a label or a message."""

_FOREIGN: Final = LATIN.encode() + b"|" + OTHER.encode()
PASSWORD: Final = re.compile(
    rb"(?i)passw(?:or)?d|passwd|pwd|passphrase|passcode|_pass(?:$|_)|_pw$|" + _FOREIGN
)
# What ends so is called a password, and not something about one.
_NAMED_SO: Final = re.compile(
    rb"(?i)(?:passw(?:or)?d|passwd|pwd|passphrase|passcode|pass|pw|secret|token|key|"
    + _FOREIGN
    + rb")[0-9]?$"
)
# Other words, too.
_SHORT: Final = re.compile(rb"(?i)(?:.*[-.])?(?:pw|mdp|clave)|(?:.*[a-z0-9.-])?pass")
# `password_reset_url` is none, nor is `secretName`.
_ABOUT: Final = linear(
    rb"(?i)(?:[-_.]?(?:id|ids|name|names|type|types|url|uri|urls|path|file|files|dir|ref|keyref"
    rb"|length|len|size|count|min|max|expiry|expires?(?:[-_]?(?:in|at|on))?|ttl|age|policy|field"
    rb"|label|hint|prompt|reset|strength|rules?|regex|pattern|format|hash[-_]?algorithm|version"
    rb"|algo(?:rithm)?|encryption|encoding|method|mechanism|scheme|rounds|iterations|manager|provider|store|class|enabled|required|changed|updated|created"
    rb"|(?:^|[-_.])last[-_]?\w+|(?-i:[a-z]Last[A-Z])\w*|at|env|var|variable|arn|index|position|usage|limits?|budget|is[-_]?set|hint|placeholder|title|text|error|message|msg|help|desc(?:ription)?"
    rb"|selector|input|column|header|param(?:eter)?|attr(?:ibute)?|backend|driver|source|endpoint|uses|hash(?:ers?|es)|validators?|issuer|audience|scopes?|prefix|suffix))$"
)
_PUBLIC: Final = linear(
    rb"(?i)(?:public|max|min|num|total|input|output|prompt|completion|next|prev(?:ious)?|page"
    rb"|continuation|csrf|xsrf|pad|eos|bos|unk|stop|primary|foreign|sort|partition|cache|row"
    rb"|idempotency|object|host|map|s3|bucket|translation|i18n|message|parent|group|hot|short|site)"
    rb"[-_.]?(?:token|tokens|key|keys)\w*$|existing[-_.]?secret$|(?:token|key)[-_.]?(?:hash|digest|checksum|sha[0-9]*|fingerprint|kid)$"
    rb"|by[-_]?pass$|^(?:com|tres|sur|under|over|on|all)pass$|proxy[-_]?pass(?:reverse)?$"
)
# What a value of code looks like: a call, an attribute, an index, an operator, a keyword.
CODE: Final = re.compile(
    rb"(?:[A-Za-z_][\w.]*(?:\(|\[)|(?:self|this|os|process|config|settings|args|opts|options"
    rb"|request|req|env|ctx|params|kwargs|data|form)\b[.\[]|await\b|new\b|lambda\b|function\b"
    rb"|&&|\|\||=>|\$[A-Za-z_]\w*(?:$|\.|\[)|[A-Za-z_]\w*\.[A-Za-z_]\w*(?:\.\w+)*$)"
)
# What remains code although name and value are alone on a line: a whole call or index, an attribute
# of what programs have, a keyword.
_SURELY_CODE: Final = re.compile(
    rb"[A-Za-z_$][\w.$]*(?:\(.*\)|\[.*\])(?:[.(\[;,)?!:].*)?|[A-Za-z_][\w.]*[(\[]|(?:self|this|cls|os|process|config|settings|args|opts|options|request|req"
    rb"|env|ctx|params|kwargs|form|props|state|user|values?|secrets?|var|local|module|each|event|e|t|n|r|i|s|o)[.\[].*"
    rb"|(?:await|new|lambda|function|return)\b.*|&&.*|\|\|.*|=>.*"
    rb"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\.(?i:password|passwd|pwd|pass|secret|token|key|value|text|get|data|env)\w*"
)
_MADE_UP: Final = re.compile(rb"[A-Z][a-z]{2,}\.[A-Z]?[a-z]{2,}[0-9]{2,}[!?]*")
_WIDTH: Final = re.compile(
    rb"(?i)(?:sha|int|uint|base|float|utf|md|aes|rsa|hash|win|amd|arm|log)[0-9]+$"
)
_CALL: Final = re.compile(
    rb"[A-Za-z_$][\w.$]*(?:(?:\(.*\)|\[.*\])(?:[.(\[;,)?!:].*)?|[(\[][\"'`].*|(?:->|::)\w+.*)|\$[A-Za-z_]\w*"
)
_DOTTED: Final = re.compile(rb"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
SNAKE: Final = re.compile(
    rb"_*[a-z]+(?:[_-][a-z]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+(?:_[A-Z]+)+|_*[A-Z]+[a-z]*(?:[A-Z]+[a-z]+)+"
)
"""What names of code look like."""
_LIBRARY: Final = re.compile(rb"_[A-Z]_\w+|__\w+")
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
# A label of a form in any language: the word alone, however it is spelled and closed.
_LABEL: Final = re.compile(
    rb"(?i)(?:[*]{0,2}(?:"
    + _FOREIGN
    + rb"|passwords?|pass ?code|pass ?phrase|secret|token|tokens|api ?key|mdp|clave|"
    rb"codice|chave|zugangsdaten|\xe3\x82\xad\xe3\x83\xbc)[\s:*.!?\xe2\x80\xa6\xef\xbc\x9a]*)"
)
FILE: Final = re.compile(
    rb"(?:~|\.{1,2})?/[\w./-]+|[A-Za-z]:\\\S+|https?://\S+"
    rb"|[\w-]+\.(?:pem|key|crt|json|ya?ml|txt|env|py|js|ts|go|rb|java)"
)
# Where a secret is kept, by those who keep and fetch them.
_REFERENCE: Final = re.compile(
    rb"(?i)(?:op|ssm|sm|akv|azurekeyvault|gcpsecretmanager|awssm|secretsmanager|secret|secrets|keyring|keychain|vault|bao|ref\+\w+"
    rb"|file|env|cmd|pass|doppler|infisical|sops|projects|credentials|kms|bw|lastpass|conjur|asm|paramstore)(?:://|:(?:[\w-]+[:/])*[\w-]+(?:[/#.:][\w#.:/-]*)?$)\S*"
    rb"|arn:aws[\w-]*:\S+|\{\{.*|!\w+.*|@Microsoft\.KeyVault.*|ENC\[.*|enc:\S+|projects/[\w-]+/secrets/\S+"
    rb"|\$\(.*\)?|\$\{\{.*|\$\{[\w.]+(?::?[-=?+])?(?:change[-_]?me|change[-_]?this|password|secret|default|example|test|dev|local|)\}|<%.*|%\{.*"
)
# `password: Buffer | None`, `token: Token = …`: a type, and what follows one.
_ANNOTATED: Final = re.compile(rb"[ \t]+(?:\||=[ \t])")
# `self.password = given`: one name for another.
_ATTRIBUTE: Final = re.compile(rb"(?:self|this|cls)\.")
# `Forgot password?`, `Enter a new one`: what a person reads, not what one types.
_PHRASE: Final = re.compile(rb"[A-Z][a-z']*(?: [A-Za-z']+)+[.?!:\xe2\x80\xa6]*|[A-Za-z' ]+[.?!:]+")
_SENTENCE: Final = frozenset(
    b"the a an of to is are was were be your you my me our their his her its it this that these for and or "
    b"not no must should can cannot will with without from in on at by as if when has have had do does did "
    b"please enter new old your forgot forgotten reset change changed wrong invalid incorrect required "
    b"missing password passwords passphrase secret token key user username login email sent failed error "
    b"use used using set contains contain least characters letters digits longer than only same here see "
    b"given provided stored expired too short long match matches matched does didn't don't".split()
)
PASSPHRASE: Final = re.compile(rb"[A-Za-z0-9]{2,14}(?:[ -][A-Za-z0-9]{2,14}){3,9}[.!?]?")
# `'%s:%s' % (user, password)`: what is put together elsewhere.
_FORMAT: Final = re.compile(
    rb"%(?:\(\w+\))?[sdrifxv@]|\{[\w.:!]*\}|\$\{[^}]*\}|#\{[^}]*\}|\$\([^)]*\)"
)
_TEMPLATE: Final = re.compile(rb"[$#]?\{[a-z_][^{}]{2,}\}|%\([a-z_]+\)s")
# A line of services(5).
PORT: Final = re.compile(rb"[0-9]+/[a-z]+")
# `password: String! token: AccessToken2`: a type, which is called after what it holds.
TYPE: Final = re.compile(
    rb"[A-Z][A-Za-z]*(?:V[0-9])?(?:Tokens?|Passwords?|Secrets?|Keys?|Credentials?|String|Schema|Type"
    rb"|Kind|Input)(?:[A-Z][a-z]+){0,2}(?:V?[0-9])?[!?]{0,2}"
)
_BASIC_TYPE: Final = re.compile(
    rb"&?[A-Z][A-Za-z0-9]*<[\w<>,.|?\[\]&']+>[?!]?|(?:String|Str|Int|Boolean|Bool|Float|Bytes|ID)[!?]{1,2}"
)
# `default-token-abc12`: how Kubernetes calls a secret, which is none.
_CALLED: Final = re.compile(rb"[a-z0-9]+(?:-[a-z0-9]+)*-(?:token|secret)s?-[a-z0-9]{5}")
_ACCOUNT: Final = re.compile(rb":|[\w.-]+:[x*!]?:[0-9]+:[0-9]+:")
_NO_WORD: Final = re.compile(rb"(?i)[bcdfghjklmnpqrstvwxz]{5}")
_FOREIGN_NAME: Final = re.compile(rb"(?i)" + _FOREIGN)
_TESTED: Final = re.compile(rb"[A-Za-z][\w./+:#-]*")
_USER: Final = re.compile(rb"(?i)\buser|\blogin|\bhost|\baccount")
VERSION: Final = re.compile(
    rb"[0-9]+(?:\.[0-9]+)+-(?:[0-9.]+)?|(?:[0-9]+:)?v?[0-9]+(?:\.[0-9]+)+[\w.+~:-]*"
)
_TITLE: Final = re.compile(rb"[A-Z][a-z]+")
_PARTS: Final = re.compile(rb"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
UUID: Final = re.compile(rb"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXAMPLE: Final = re.compile(rb"[\w/+=-]*EXAMPLE[\w/+=-]*")
_ENVIRONMENT: Final = re.compile(
    rb"(?:[A-Z][A-Z0-9]*_)*[A-Z0-9]*(?:PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|SECRET|PW)[0-9]?"
)


def sure(name: bytes, text: bytes, value: Value, data: bytes) -> Confidence | None:
    """How sure it is that the value is a secret, from its name and from what it looks like.

    text: the value's. data: what it stands in.
    """
    shown = text.rstrip(b".,")
    if not shown or _is_no_value(name, shown, data, value) or is_about(name):
        return None
    if is_placeholder(shown):
        return "medium" if value.alone and _is_random(shown, value) else None
    if is_word(shown.lower()) or _is_translated(shown) or shown.startswith(b"$ANSIBLE_VAULT;"):
        return None
    if is_placeholder(shown.rstrip(b")]}'\";,")) or _EXAMPLE.fullmatch(shown):
        return None
    if is_reference(shown) or (FILE.fullmatch(shown) and not _is_random(shown, value)):
        return None
    if _FORMAT.search(shown) and not re.search(rb"[A-Za-z0-9]{2}", _FORMAT.sub(b"", shown)):
        return None
    if _TEMPLATE.search(shown) and kinds(re.sub(rb"[:/._-]", b"", _TEMPLATE.sub(b"", shown))) < 3:
        return None
    if not value.framed and _is_code(shown, value, data):
        return None
    if _SHORT.fullmatch(name):
        return _short(shown)
    if PASSWORD.search(name):
        return _password(name, shown, value)
    return token(shown, name)


def _short(shown: bytes) -> Confidence | None:
    if not re.search(rb"[0-9]", shown) or re.search(rb"[ `]", shown):
        return None
    return "medium" if kinds(shown) >= 3 or (kinds(shown) == 2 and len(shown) >= 8) else None


def is_word(lower: bytes) -> bool:
    """Whether it says what belongs there, or that nothing does. lower: in small letters."""
    return (
        lower in _WORDS
        or lower.rstrip(b")]}'\";,") in _WORDS
        or _LABEL.fullmatch(lower) is not None
    )


def _is_translated(shown: bytes) -> bool:
    """Whether it is what a form says of a password in another language: `"비밀번호 확인"`."""
    if shown.isascii() and b" " not in shown:
        return False
    plain = re.search(rb"[!-&*-,/0-9;-@\[-^`{-~]", shown) is None
    return plain and _FOREIGN_NAME.search(shown) is not None


def is_reference(shown: bytes) -> bool:
    """Whether it only says where the secret is kept."""
    return _REFERENCE.fullmatch(shown) is not None


def _is_no_value(name: bytes, shown: bytes, data: bytes, value: Value) -> bool:
    if (
        name == b"PASS"
        and not (value.framed or value.tight)
        and _is_report(data, value.start, shown)
    ):
        return True
    if shown.endswith(b"=") and shown[:-1].isalpha():  # the next name of a list
        return True
    if shown.count(b":") > 3 or shown.startswith(b":"):  # a line of passwd(5); a role of Sphinx's
        account = _ACCOUNT.match(shown) is not None
        return account or not (value.framed or _is_mangled(shown))
    return (
        not value.framed
        and _ATTRIBUTE.match(name) is not None
        and shown.replace(b"_", b"").isalpha()
    )


def _is_report(data: bytes, start: int, shown: bytes) -> bool:
    """`--- PASS: TestRead/short (0.00s)`: what was tested, and nothing about a user near it."""
    return (
        _TESTED.fullmatch(shown) is not None
        and _USER.search(data, max(0, start - 200), start) is None
    )


@lru_cache(maxsize=1024)
def is_about(name: bytes) -> bool:
    """Whether what is named so is public, or only about a secret: 200 µs for a long name."""
    about = _ABOUT.search(name) is not None and PASSWORD.fullmatch(name) is None
    return about or _PUBLIC.search(name) is not None


def _is_random(shown: bytes, value: Value) -> bool:
    """Whether what begins as a variable's or a path's name is none: `$tone717xQ`, `/Winter2024xQ`."""
    if not value.alone or shown[:1] not in b"$/" or re.search(rb"[^\w$/!@#%^&*+=-]", shown[1:]):
        return False
    rest = shown[1:]
    if kinds(rest) < 3 or b"/" in rest:
        return False
    return shown[:1] == b"/" or len(_PARTS.findall(rest)) * 3 > len(rest)


def _is_code(shown: bytes, value: Value, data: bytes) -> bool:
    if _BASIC_TYPE.fullmatch(shown) or _CALLED.fullmatch(shown) or _LIBRARY.fullmatch(shown):
        return True
    if _ANNOTATED.match(data, value.end) or b"::" in shown or (b"->" in shown and not value.alone):
        return True
    if _is_mangled(shown) or is_dotted(shown):
        return False
    if (
        VERSION.fullmatch(shown)
        or re.split(rb"[(\[\])},;]", shown, maxsplit=1)[0].lower() in _WORDS
    ):
        return True
    if not value.alone:
        return TYPE.fullmatch(shown) is not None or CODE.match(shown) is not None
    if _SURELY_CODE.fullmatch(shown):
        return True
    if shown.startswith(b"$") and re.fullmatch(rb"\$[A-Za-z_]\w*(?:[.\[].*|->.*)?", shown):
        return not _is_random(shown, value)
    # `Stone.Age717`: no attribute has a capital, a small letter and several digits.
    dotted = _DOTTED.fullmatch(shown) is not None
    return dotted and not (kinds(shown) == 4 and re.search(rb"[0-9]{2}", shown))


def is_dotted(shown: bytes) -> bool:
    """Whether a dot is all that it has of code: `Stone.Age717`, and not `crypto.Sha256`."""
    return _MADE_UP.fullmatch(shown) is not None and _WIDTH.search(shown) is None


def _is_mangled(shown: bytes) -> bool:
    """Whether no name that people give has so many short parts: `xQ7.Tz4kW9`, `kW9(Tz4`."""
    if len(shown) < 8 or kinds(shown) < 4 or _CALL.fullmatch(shown):
        return False
    return len(_PARTS.findall(shown)) * 3 > len(shown)


def _password(name: bytes, shown: bytes, value: Value) -> Confidence | None:
    if len(shown) < MIN_PASSWORD:
        return None
    if b" " in shown:
        if is_passphrase(shown):
            return "medium" if _NAMED_SO.search(name) else None
        if is_prose(shown):
            return None
    count = kinds(shown)
    if _is_foreign_word(name, shown, value):
        return None
    if count >= 3:
        return "high" if b" " not in shown or re.search(rb"[0-9]", shown) else "medium"
    if not value.framed and not value.alone and _TITLE.fullmatch(shown):
        return "low"  # `:param password: Unicode password.`
    if count == 2 and not SNAKE.fullmatch(shown):
        return "high" if len(shown) >= 8 and re.search(rb"[0-9]", shown) else "medium"
    if shown.isdigit():
        return "medium" if value.framed and len(shown) >= MIN_PASSWORD else "low"
    if SNAKE.fullmatch(shown) and _NO_WORD.search(shown) and len(shown) >= 8 and b"_" not in shown:
        return "medium"
    if not value.framed and not value.alone:
        return None
    if value.tight and value.alone and len(shown) >= 6 and _is_setting(name, shown):
        return "medium"
    return "medium" if len(shown) >= 6 and not SNAKE.fullmatch(shown) else "low"


def _is_foreign_word(name: bytes, shown: bytes, value: Value) -> bool:
    """Whether it is a word of a language that the name is of, too."""
    if value.framed or (shown.isascii() and not _FOREIGN_NAME.search(name)):
        return False
    word = shown.decode("utf-8", "replace").rstrip(".!?")
    return word.isalpha() and word in (word.lower(), word.upper(), word.capitalize())


def _is_setting(name: bytes, shown: bytes) -> bool:
    """Whether nothing but a value stands there: of an environment's variable, any; of other names,
    one that begins with a capital: `password=SuperSecret`."""
    if _ENVIRONMENT.fullmatch(name):
        return True
    return shown[:1].isupper() and _NAMED_SO.search(name) is not None


def is_prose(text: bytes) -> bool:
    """Whether blanks in it part words, and not what somebody made up."""
    words = text.split(b" ")
    made_up = sum(1 for word in words if kinds(word) >= 2 and re.search(rb"[0-9]", word))
    return _PHRASE.fullmatch(text) is not None or (len(words) > 3 and made_up * 2 < len(words))


def is_passphrase(text: bytes) -> bool:
    """Four words or more that are no sentence: `correct horse battery staple`."""
    if PASSPHRASE.fullmatch(text) is None:
        return False
    words = re.split(rb"[ -]", text.rstrip(b".!?").lower())
    return len(words) >= MIN_WORDS and not _SENTENCE.intersection(words) and len(set(words)) > 2


def token(shown: bytes, name: bytes) -> Confidence | None:
    """How sure it is that this is what a machine made."""
    if b" " in shown or SNAKE.fullmatch(shown):
        return None
    if len(shown) < MIN_TOKEN:
        said = re.search(rb"(?i)secret|token|key|[a-z]pass$", name)
        return "medium" if said and len(shown) >= 8 and kinds(shown) >= 4 else None
    if not re.search(rb"[A-Za-z]", shown):
        return None
    if not re.search(rb"[0-9]", shown) and (kinds(shown) < 3 or re.search(rb"[/:.]", shown)):
        return None
    if UUID.fullmatch(shown):
        return "medium" if re.search(rb"(?i)secret|api[-_]?key", name) else None
    if entropy(shown) < MIN_TOKEN_BITS:
        # What people make up for it has words in it, twice at times.
        made_up = (
            kinds(shown) >= 3 and re.search(rb"(?i)secret$", name) and not TYPE.fullmatch(shown)
        )
        return "medium" if made_up else None
    return "high" if len(shown) >= 20 else "medium"


def entropy(value: bytes) -> float:
    """Bits a character (Shannon)."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
