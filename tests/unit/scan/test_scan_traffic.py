"""Secrets in HTTP, in calls of programs and in settings of servers."""

from __future__ import annotations

import pytest

from fumehood.scan import traffic

TRAFFIC = traffic.detector()
TOKEN = "q7Zr2Lk9Xw4Tn8Vb1Ms6"
PASSWORD = "Copper41Velvet!"
FOUND = {
    '{"name": "Authorization", "value": "Bearer @"}': TOKEN,
    "header='Bearer @'": TOKEN,
    "map[Authorization:[Bearer @]]": TOKEN,
    "X-Api-Key: @": TOKEN,
    "Cookie: theme=dark; a=b; sessionid=@; remember_me=x": TOKEN,
    "curl -b 'PHPSESSID=@' https://x.example/": TOKEN,
    ".x.example\tTRUE\t/\tTRUE\t1790000000\tauth_token\t@": TOKEN,
    '[{"name": "JSESSIONID", "domain": "x.example", "value": "@"}]': TOKEN,
    "https://@@git.example.org/a.git": TOKEN,
    "https://x.example/cb?code=@&state=1": TOKEN,
    'form-data; name="password"\r\n\r\n@\r\n--b--': PASSWORD,
    "<wsse:Password Type=\"#PasswordText\">@</wsse:Password>": PASSWORD,
    "<member><name>password</name><value><string>@</string></value></member>": PASSWORD,
    "requests.get(url, auth=('bob', '@'))": PASSWORD,
    'new UsernamePasswordCredentials("bob", "@")': PASSWORD,
    'getConnection("jdbc:postgresql://db/app", "app", "@")': PASSWORD,
    "l.simple_bind_s('cn=admin,dc=x', '@')": PASSWORD,
    "bindpw @": PASSWORD,
    "Driver={ODBC};Server=db;Uid=sa;Pwd={@};": PASSWORD,
    '{"snmp": {"version": "2c", "community": "@"}}': PASSWORD,
}  # fmt: skip


@pytest.mark.parametrize("text", FOUND)
def test_traffic_calls_and_settings_give_their_secrets_away(text: str) -> None:
    secret = FOUND[text]
    data = text.replace("@", secret, 1).encode()
    found = TRAFFIC.find(data, seconds=5)
    assert secret.encode() in {data[m.start : m.end] for m in found}


@pytest.mark.parametrize(
    "text",
    [
        "a bearer token authentication scheme", "Bearer <token>", "basic understanding of arrays",
        "Set-Cookie: theme=dark-mode-2-columns; lang=en", "Cookie: csrftoken=q7Zr2Lk9Xw4Tn8Vb1Ms6",
        "requests.get(url, auth=('user', 'pass'))", "auth=(user, password)",
        "login('admin', 'test123')",
        "https://medium.com/@someone/1a2b3c4d5e6f7a8b", "https://bob@git.example.org/a.git",
        'form-data; name="password"\r\n\r\n<password>\r\n', "<password>string</password>",
        "search('ou=people,dc=x', '(objectClass=*)')", "Pwd={password};", "https://x.example/?code=summer",
        '{"name": "session_timeout", "value": "3600"}', "login(\"anonymous\",\"$Config{email}\")",
    ],
)  # fmt: skip
def test_what_only_stands_in_the_place_of_a_secret_is_left_alone(text: str) -> None:
    found = TRAFFIC.find(text.encode(), seconds=5)
    assert [m for m in found if m.confidence != "low"] == []
