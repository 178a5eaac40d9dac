"""Secrets in forms that name and value take apart from `name = value`, and what looks like one.

Secrets are made at run time. `@P@` stands for a password of words and digits, `@T@` for a token.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator
from typing import Final

from corpus.sample import Sample

A: Final = string.ascii_letters + string.digits
H: Final = "0123456789abcdef"
_pick = random.Random(4271)

FORMS: Final = (
    ("columns by blanks", "Key         Value\n---         -----\npassword    @P@\nusername    app\n"),
    ("columns by a tab", "NAME\tVALUE\nDB_PASSWORD\t@P@\nHOME\t/root\n"),
    ("columns of PowerShell", "Name                           Value\n----                           -----\nDB_PASSWORD                    @P@\nOS                             Windows_NT\n"),
    ("terraform output", '{\n  "db_password": {\n    "sensitive": true,\n    "type": "string",\n    "value": "@P@"\n  }\n}\n'),
    ("cloudformation", '[{"ParameterKey": "DBPassword", "ParameterValue": "@P@"}]'),
    ("azure keys", '[{"keyName": "key1", "permissions": "FULL", "value": "@K@"}]'),
    ("azure connection keys", '{"primaryKey": "@K@", "secondaryKey": "x"}'),
    ("list of passwords", '{"passwords": ["@P@"]}'),
    ("list of passwords over lines", '{\n  "passwords": [\n    "@P@"\n  ]\n}\n'),
    ("plist", "<dict>\n\t<key>Password</key>\n\t<string>@P@</string>\n</dict>\n"),
    ("yaml literal", "db:\n  password: |\n    @P@\n  port: 5432\n"),
    ("yaml folded", "password: >-\n  @P@\n"),
    ("yaml tag", "password: !vault @P@\n"),
    ("yaml string tag", 'password: !!str "@P@"\n'),
    ("cdata", "<password><![CDATA[@P@]]></password>\n"),
    ("clojure", '{:user "app" :password "@P@"}\n'),
    ("emacs lisp", '(setq erc-password "@P@")\n'),
    ("R", 'password <- "@P@"\n'),
    ("C", '#define WIFI_PASSWORD "@P@"\n'),
    ("C, short", '#define WIFI_PASS "@P@"\n'),
    ("terraform diff", '  + password             = "@P@"\n'),
    ("terraform change", '  ~ password = "@P@" -> "other"\n'),
    ("arguments in JSON", '["redis-server", "--requirepass", "@P@"]'),
    ("arguments in JSON, password", '{"args": ["--user", "app", "--password", "@P@"]}'),
    ("arguments in Python", "subprocess.run(['mysql', '-u', 'root', '-p@P@', 'app'])\n"),
    ("oracle", "conn = 'app/@P@@//db.internal:1521/ORCL'\n"),
    ("sqlplus", "sqlplus app/@P@@ORCL @report.sql\n"),
    ("oracle jdbc", "url=jdbc:oracle:thin:app/@P@@db.internal:1521:ORCL\n"),
    ("go mysql", 'db, err := sql.Open("mysql", "app:@P@@tcp(db:3306)/app")\n'),
    ("said in Dutch", "wachtwoord: @P@\n"),
    ("said in Polish", "hasło: @P@\n"),
    ("said in Turkish", "şifre: @P@\n"),
    ("said in Turkish, other", "parola: @P@\n"),
    ("said in Vietnamese", "mật khẩu: @P@\n"),
    ("said in Korean", "비번: @P@\n"),
    ("said in Chinese", "口令：@P@\n"),
    ("said in Japanese", "暗証番号: @P@\n"),
    ("said in Finnish", "salasana: @P@\n"),
    ("said in Swedish", "lösenord: @P@\n"),
    ("said in Czech", "heslo: @P@\n"),
    ("said in Arabic", "كلمة المرور: @P@\n"),
    ("creds", "creds: admin:@P@\n"),
    ("password of staging", "password (staging): @P@\n"),
    ("private key in hex", "Private key: 0x@H64@\n"),
)  # fmt: skip

TOKENS: Final = {
    "google refresh": lambda: "1//0" + _some(A, 2) + _some(A + "_-", 60),
    "hubspot": lambda: "pat-na1-" + _uuid(),
    "jfrog key": lambda: "AKCp" + _some(A, 69),
    "jfrog reference": lambda: "cmVmdGtuOj" + _some(A, 54),
    "resend": lambda: "re_" + _some(A, 8) + "_" + _some(A, 24),
    "entra secret": lambda: _some(A, 3) + "8Q~" + _some(A + "_-", 34),
    "azure devops": lambda: _some(A, 76) + "AZDO" + _some(A, 4),
    "supabase": lambda: "sb_secret_" + _some(A + "_-", 31),
    "e2b": lambda: "e2b_" + _some(H, 40),
    "tavily": lambda: "tvly-" + _some(A, 32),
    "firecrawl": lambda: "fc-" + _some(H, 32),
    "wandb": lambda: "wandb_v1_" + _some(A, 60),
    "cursor": lambda: "crsr_" + _some(H, 64),
}

BENIGN: Final = (
    ("imports", "from app.names import (\n    user, password, token,\n    Session9Key, Password2Hash, Token3Kind,\n)\nimport os, token, re\nimport sys, Tok3nizer2, io\n"),
    ("keyword arguments", "connect(user, password, host)\nconnect(admin, read_pw(x9), db7)\nf(a, token, b)\nf(a1, Tok9en(3), b2)\n"),
    ("alternations", "pattern = password|secret|token\nother = pa55w0rd|s3cr3t!|t0k3n!\n"),
    ("alternation alone", "(?:user|token|name)\n(?:us3r|t0ken9X|nam3)\n"),
    ("types over lines", "input Login {\n  password: String!\n  token: String!\n}\n"),
    ("tokens of a sentence", "token\tlemma\tpos\nDon't\tdo\tAUX\nCOVID-19\tcovid-19\tNOUN\n3.5GHz\t3.5ghz\tNUM\nWi-Fi6\twi-fi6\tNOUN\n"),
    ("tokens with ids", "id,token,count\n1,Llama-3.1,12\n2,GPT-4o2x,3\n3,v2.0rc1-x,8\n"),
    ("types of GraphQL", "input Login { user: String! password: String! token: AccessToken2 }\n"),
    ("types of Rust", "pub struct Login { pub password: SecretString2, pub token: Option<AccessToken2> }\n"),
    ("types of TypeScript", "type T = { token: AccessTokenV2; password: PasswordV2Schema }\n"),
    ("words of a translation", '{"password": "Passwort", "confirmPassword": "Confirm password", "token": "Zugriffstoken", "forgotPassword": "Passwort vergessen?"}\n'),
    ("a proxy's placeholder", "https_proxy=http://<user>:<password>@proxy-host1:3128\n"),
    ("kubectl describe", "Name:                default\nMountable secrets:   default-token-abc12\nTokens:              default-token-abc12\nImage pull secrets:  <none>\n"),
    ("prose about SQL", "Every user password 'must be changed' before the role password \"expires soon\" is shown.\n"),
    ("docker secrets", "RUN --mount=type=secret,id=npmrc docker build --secret id=npm_token1,src=.npmrc .\n"),
    ("columns of words", "password    Change your password\ntoken       string\napi_key     required\nsecret      no\n"),
    ("columns of help", "  --password        The password\n  password          PASSWORD\n  token             default-token\n"),
    ("columns of types", "password     varchar(255)\npassword     character varying\ntoken        text\npasswd-min   5\n"),
    ("columns of databases", " password     | character varying(255)\n token        timestamp(3)\n"),
    ("columns of packages", "password-store    1.7.4-5\nlibsecret         0.20.5-3ubuntu1\ntoken             2.1.0\npasswd            1:4.8.1-2ubuntu2.2\n"),
    ("public jwk", '{"keys":[{"kty":"RSA","use":"sig","kid":"' + "a9" * 10 + '","e":"AQAB","n":"' + "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" + '"}]}'),
    ("certificate's end", "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----\n"),
    ("a key's end in words", "The file ends with -----END PRIVATE KEY----- and nothing else.\n"),
    ("yaml of a schema", "password: |\n  The password of the user, at least eight characters.\ntoken: >-\n  A token, as the server gives it.\n"),
    ("Windows words", "wachtwoord vergeten\nheslo: zapomenuté\nhasło: wymagane\nparola: gerekli\n"),
    ("Oracle in words", "see app/models@latest and @scope/name@1.2.3, npm i @types/node@20.1.0\n"),
    ("packages of go", "go get example.com/user/repo@v1.2.3\nuses: actions/checkout@v4\nimage: team/app@sha256:" + "ab12" * 16 + "\n"),
    ("git remotes", "git@github.com:user/repo.git\nuser@tcp(host:1)/\n"),
    ("public keys in hex", "Public key: 0x" + "1f2e3d4c" * 8 + "\ncommit: 0x" + "ab54a98c" * 8 + "\n"),
    ("files of a crate", "re_exports_and_more_names\nfc-cache fc-list\ntvly-docs\ne2b_sandbox\n"),
    ("lower IBAN", "abc de12 word more, id 12 ab34\n"),
    ("numbers with dots", "Version 4111.1111.2222.3333 and 192.168.100.200, 1234.5678.9012.3456\n"),
    ("byte order mark", "\ufeffname,age\nbob,3\n"),
    ("form feed", "page one\n\fpage two\f\n\fpage three\f"),
)  # fmt: skip


def _some(letters: str, count: int) -> str:
    return "".join(_pick.choice(letters) for _ in range(count))


def _uuid() -> str:
    return "-".join(_some(H, n) for n in (8, 4, 4, 4, 12))


def _password() -> str:
    words = ("Lantern", "river", "Copper", "Velvet", "orbit", "Maple", "Thunder")
    return f"{_pick.choice(words)}{_pick.randrange(10, 99)}{_pick.choice(words)}!"


def samples() -> Iterator[Sample]:
    for name, form in FORMS:
        values = {
            "@P@": _password(),
            "@K@": base64.b64encode(_pick.randbytes(64)).decode(),
            "@H64@": _some(H, 64),
        }
        needle = next(value for mark, value in values.items() if mark in form)
        for mark, value in values.items():
            form = form.replace(mark, value)
        yield Sample("secrets in more forms", name, "secret", form.encode(), needle)
    for name, make in TOKENS.items():
        for frame in ("{}\n", "use {} for it\n"):
            token = make()
            text = frame.replace("{}", token).encode()
            yield Sample("secrets in more forms", name, "secret", text, token)
    for name, text, needle in _keys():
        yield Sample("secrets in more forms", name, "secret", text.encode(), needle)
    for name, text, needle in _numbers():
        yield Sample("numbers in disguise", name, "personal_data", text.encode(), needle)
    for name, text in BENIGN:
        yield Sample("what looks like a secret", name, None, text.encode())


def _keys() -> Iterator[tuple[str, str, str]]:
    body = _some(A + "+/", 64 * 24 + 40)
    lines = [body[n : n + 64] for n in range(0, len(body), 64)]
    cut = "\n".join(lines)
    yield "PEM without its beginning", f"{cut}\n-----END PRIVATE KEY-----\n", lines[3]
    yield "PEM without its beginning, RSA", f"log\n{cut}\n-----END RSA PRIVATE KEY-----\n", lines[0]
    for name, raw in (
        ("PKCS#8", bytes.fromhex("308204bd020100300d06092a864886f70d0101010500048204a7")),
        ("PKCS#8 of a curve", bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d")),
        ("PKCS#8 of Ed25519", bytes.fromhex("302e020100300506032b657004220420")),
        ("PKCS#1", bytes.fromhex("308204a40201000282010100")),
        ("SEC 1", bytes.fromhex("30770201010420")),
        ("openssh", b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0"),
    ):  # fmt: skip
        size = {0x2E: 48, 0x77: 121, 0x81: 138}.get(raw[1], 600)
        text = base64.b64encode(raw + _pick.randbytes(size - len(raw))).decode()
        yield f"bare {name}", f"key {text}\n", text
    d = _some(A + "-_", 43)
    ec = {"kty": "EC", "crv": "P-256", "x": _some(A, 43), "y": _some(A, 43), "d": d}
    yield "JWK of a curve", json.dumps(ec), d
    yield "JWK over lines", json.dumps({"keys": [{"d": d, "kty": "OKP", "x": "a"}]}, indent=2), d
    k = _some(A + "-_", 43)
    yield "JWK of octets", json.dumps({"kty": "oct", "k": k, "alg": "HS256"}), k
    p = _some(A + "-_", 171)
    yield "JWK of RSA", json.dumps({"kty": "RSA", "n": _some(A, 342), "e": "AQAB", "p": p}), p


def _numbers() -> Iterator[tuple[str, str, str]]:
    card = "4111111111111111"
    yield "card with dots", "card 4111.1111.1111.1111\n", "4111.1111.1111.1111"
    yield "card on track 2", f";{card}=29121010000000000000?\n", card
    yield "card on track 1", f"%B{card}^DOE/JOHN^2912101000?\n", card
    yield "card with hard blanks", "card 4111\u00a01111\u00a01111\u00a01111\n", "1111\u00a01111"
    yield "IBAN in small letters", "iban: de89370400440532013000\n", "de89370400440532013000"
    yield "IBAN in small groups", "IBAN gb29 nwbk 6016 1331 9268 19\n", "6016 1331"
    yield "RRN, wide hyphen", "주민등록번호 900101－1234568\n", "1234568"
    yield "RRN, blanks", "주민등록번호 900101 - 1234568\n", "1234568"
    yield "RRN, dash", "주민등록번호 900101–1234568\n", "1234568"
