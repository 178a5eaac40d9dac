"""Secrets that only a name gives away, in the frames of many formats and languages, with values that
have awkward characters; and what has such names and is none.

Secrets are made at run time: `@W@` is made of words and digits, `@A@` has awkward characters, as a
frame without quotes may hold them, `@J@` the same with quotes and blanks, as JSON escapes them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Final

from corpus.sample import Sample

_pick = random.Random(73331)
_WORDS: Final = ("Meadow", "Falcon", "Ember", "Saddle", "Quartz", "Willow", "Hollow", "Cinder")

NAMES: Final = (
    "DB_PASSWORD=@W@\nPORT=1\n", "export ADMIN_PASSWORD=@A@\n", "password = @A@\nport = 1\n",
    "db:\n  password: @A@\n  port: 1\n", "spring.datasource.password=@A@\n", "smtpPass: @W@\n",
    "SMTPPASS=@W@\n", "X-Smtp-Pass: @W@\n", "pw: @W@\n", "mdp : @W@\n", "clave: @W@\n",
    "Server=db;User=sa;Password=@W@;Encrypt=1\n", "Cookie: a=b; password=@W@; Path=/\n",
    "GET /login?user=a&password=@W@&n=1\n", "user=bob, password=@W@, host=db\n",
    '{"user": "bob", "password": "@J@", "n": 1}\n', '{\n  "password":\n    "@J@"\n}\n',
    '{"name": "DB_PASSWORD", "value": "@J@"}\n', '{"passwords": ["@J@", "x"]}\n',
    'password: "@J@"\n', "- name: DB_PASSWORD\n  value: @A@\n", '{"Env": ["A=b", "PG_PASSWORD=@W@"]}\n',
    ':password=>"@J@", :port=>1\n', 'config.password = "@J@";\n', 'let password = Some("@J@");\n',
    'os.environ.get("DB_PASSWORD", "@J@")\n', "password: process.env.DB_PASSWORD || '@W@',\n",
    'ENV.fetch("DB_PASSWORD", "@W@")\n', "url: ${DB_PASSWORD:-@W@}\n", 'env("DB_PASSWORD", "@W@")\n',
    '  ~ password = "old" -> "@W@"\n', '  ["password"]=>\n  string(9) "@W@"\n',
    "Array\n(\n    [user] => bob\n    [password] => @W@\n)\n", '1) "password"\n2) "@W@"\n',
    "INSERT INTO users (id, name, password) VALUES (1, 'bob', '@W@'), (2, 'eve', 'x');\n",
    " id | name | password \n----+------+----------\n  1 | bob  | @W@\n(1 row)\n",
    "| password | @W@ |\n", "| **Password** | `@W@` |\n", "<dt>Password</dt>\n<dd>@W@</dd>\n",
    "<tr><th>Password:</th><td>@W@</td></tr>\n", "<user>bob</user><password>@W@</password>\n",
    '<add key="DbPassword" value="@W@" />\n', "passwords:\n  - @W@\n  - x\n", "tool --admin-password @W@\n",
    "tool --admin-password=@W@ --port 1\n", "host,smtpPass,port\nx,@W@,25\n", "$password = '@W@';\n",
    "this.password='@W@',this.n=1;\n", "{user:'bob',password:'@W@',n:1}\n", "PASS=@W@\n",
    "client.setPassword('@W@');\n", "('password', '@W@')\n", '{password, "@W@"},\n', "password @W@\n",
    'if password == "@W@":\n', "password = <<EOT\n@W@\nEOT\n", "Password.......: @W@\n", '(setq password "@W@")\n',
)  # fmt: skip
SAID: Final = (
    "Das Passwort für den Server lautet @W@\n", "La contraseña del servidor es @W@\n",
    "sudo password on that box is still @W@\n", "La password del router è @W@\n",
    "Hasło do serwera to @W@\n", "A senha do servidor é @W@\n", "Heslo k serveru je @W@\n",
    "**Password:** @W@\n", "<b>Password:</b> @W@\n", "Password\n@W@\n", "Username\nbob\nPassword\n@W@\n",
    "The password is @W@.\n", "password (temporary): @W@\n", "Your new password is: @W@\n",
    "Temporary password for root: @W@\n",
    "A temporary password is generated for root@localhost: @W@\n", "Use password @W@ to log in\n",
    "Passwort für bob: @W@\n", "пароль для входа: @W@\n", "비밀번호는 [@W@] 입니다\n", "密码【@W@】\n",
    "Kennwort: @W@\n", "Das Passwort lautet @W@.\n", "Ihr Kennwort ist @W@\n", "Mot de passe : @W@\n",
    "Votre mot de passe est @W@\n", "CONTRASEÑA: @W@\n", "La contraseña es @W@\n", "Contrasena: @W@\n",
    "Senha: @W@\n", "A senha é @W@\n", "HASŁO: @W@\n", "Hasło to @W@\n", "Şifre: @W@\n", "ŞİFRE: @W@\n",
    "Пароль: @W@\n", "ПАРОЛЬ: @W@\n", "Ваш пароль — @W@\n", "Лозинка: @W@\n", "Wachtwoord: @W@\n",
    "LÖSENORD: @W@\n", "Heslo je @W@\n", "Jelszó: @W@\n", "Salasana on @W@\n", "Κωδικός: @W@\n",
    "Ο κωδικός είναι @W@\n", "비밀번호가 @W@ 입니다\n", "비밀번호는 @W@입니다\n", "비번: @W@\n", "패스워드: @W@\n",
    "암호는 @W@\n", "密码是@W@\n", "密码为 @W@\n", "密碼：@W@\n", "パスワード「@W@」です\n", "パスワードは@W@です\n",
    "סיסמה: @W@\n", "הסיסמה היא @W@\n", "पासवर्ड: @W@\n", "पासवर्ड है @W@\n", "รหัสผ่านคือ @W@\n", "รหัสผ่าน: @W@\n",
    "كلمة المرور: @W@\n", "Mật khẩu: @W@\n", "Mật khẩu là @W@\n", '"пароль": "@W@"\n', '"비밀번호": "@W@"\n',
    '"contraseña": "@W@"\n', "ПАРОЛЬ=@W@\n", "Kata sandi: @W@\n", "Geslo: @W@\n", "Parool: @W@\n",
)  # fmt: skip
LIKE_OTHERS: Final = (
    "DB_PASSWORD=Stone.Age717\n", "DB_PASSWORD=data.Winter99\n", "DB_PASSWORD=$tone717xQ\n",
    "DB_PASSWORD=/Winter2024xQ\n", "DB_PASSWORD=SuperSecret\n", "password = Stone.Age717\n",
    "password: $tone717xQ\n", "passphrase: correct horse battery staple\n",
    'passphrase = "violet harbor pencil gravel"\n', "DB_PASSWORD=copper-lantern-orbit-maple\n",
)  # fmt: skip
NONE: Final = (
    '"PASSWORD": "Password:"', '"password": "Passwort"', '"password": "Mot de passe"',
    '"password": "비밀번호"', '"password": "Contraseña *"', '"password": "Şifre"',
    '"forgotPassword": "Forgot your password?"', '"password_hint": "At least 8 characters"',
    "password: !Ref DbPassword", "DB_PASSWORD=op://Prod/db/password",
    "password: vault:secret/data/db#password", "password: ${DB_PASSWORD:-changeme}",
    "password: arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
    '"token_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
    "recaptcha_site_key: 6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI",
    "connect(user=user, password=password)", "_M_token = _S_token_none;",
    "this.password=e.password,n.foo=1,t.token=r.token", "{password:e,token:t}",
    "password: Joi.string().min(8).required(),", "$password = $_POST['password'];",
    'String password = request.getParameter("password");', "password: Option<String>",
    "token: ${{ secrets.GITHUB_TOKEN }}", "password: {{ .Values.db.password }}", "secretName: my-tls-2",
    "password: string;", "`password` varchar(64) DEFAULT NULL,", "The password is case-sensitive",
    "密码不能为空", "密码长度8-20位", "パスワードは8文字以上", "비밀번호는 8자리 이상", "пароль должен содержать 8 символов",
    "| `password` | string | yes |", "<td>Password</td><td>required</td>", "HasLongJmp = 0x00000004,",
    '"AWS::ApiGateway::ApiKey": "48205d4ffd7feba3",', 'password.encode("utf-8")', "bypass: true1",
    'tokens = ["if", "else1", "while2"]', 'os.environ.get("TOKEN_URL", "https://x.example/1")',
    "let token = Some(next_token());", "pwd: 3.0-3.12", "should_pass('Lib2.Load()')",
    "password VARCHAR2(100)", '"secrets": ["db-password", "api-key-2"]', "passwd: files systemd", "credentials: 'include'",
    "The password of each user is stored as SHA-256 hash", "The password field is encrypted with AES-256-GCM",
    "the password policy of v1.2.3 is in RFC8018",
    '{"password": "비밀번호를 입력하세요", "password_confirm": "비밀번호 확인"}', '{"password": "请输入密码", "confirm": "确认密码"}',
    '{"password": "パスワードを入力", "newPassword": "新しいパスワード"}', '{"passphrase": "Frase de contraseña"}',
    "confirmPassword=Passwort bestätigen", '"password": "Wprowadź hasło"', '"password": "Введите пароль"',
    "db_password: !vault |\n          $ANSIBLE_VAULT;1.1;AES256\n          3162643866326139",
)  # fmt: skip


def _words() -> str:
    one, other = _pick.sample(_WORDS, 2)
    return f"{one}{_pick.choice('-_.')}{other}{_pick.randrange(100, 9999)}"


def _awkward(marks: str) -> str:
    parts = [part + _pick.choice(marks) for part in ("xQ7", "Tz4", "kW9")]
    _pick.shuffle(parts)
    return "".join(parts) + "m3R"


def samples() -> Iterator[Sample]:
    for frame in (*NAMES, *SAID):
        for _ in range(4):
            values = {
                "@W@": _words(),
                "@A@": _awkward("#(<[{,;%+ß한"),
                "@J@": _awkward("\"'\\(<[{, ü"),
            }
            mark = next(mark for mark in values if mark in frame)
            written = json.dumps(values[mark], ensure_ascii=False)[1:-1]
            data = frame.replace(mark, written).encode()
            group = "secrets by name" if frame in NAMES else "passwords in sentences"
            yield Sample(group, frame.strip()[:40], "secret", data, written)
    for text in LIKE_OTHERS:
        value = text.strip().split("=" if "=" in text else ":", 1)[1].strip(' "')
        yield Sample("secrets by name", text.strip(), "secret", text.encode(), value)
    for text in NONE:
        yield Sample("names without secrets", text, None, f"{text}\n".encode())
