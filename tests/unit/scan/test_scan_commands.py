"""Secrets that a program is given, or that a protocol carries; and what stands there besides."""

from __future__ import annotations

import base64
import random
import string

import pytest

from fumehood.scan import assigned, contexts
from fumehood.scan.patterns import PatternDetector

_pick = random.Random(7041)
DETECTOR = contexts.detector()


def value() -> str:
    letters = string.ascii_letters + string.digits
    return "".join(_pick.choice(letters) for _ in range(12)) + "7#"


def told(text: str, detector: PatternDetector = DETECTOR) -> list[str]:
    data = text.encode()
    found = detector.find(data, seconds=5)
    return [data[m.start : m.end].decode() for m in found if m.confidence != "low"]


COMMANDS = [
    "snmpwalk -v2c -c {} 10.0.0.1", "snmpget -v3 -u bob -a SHA -A {} -x AES h",
    "twine upload -u __token__ -p {} dist/x", "curl -su bob:{} https://x.example",
    "sshpass -p{} ssh h", "redis-cli -a '{}' ping", "mongosh -u admin -p {}",
    "az sql server create -u bob -p {}", "az vm create --admin-password '{}'",
    "kubectl create secret generic x --from-literal=key={}", "app --auth-token {} --port 80",
    "aws configure set aws_secret_access_key {}", "keytool -list -storepass {}",
    "docker login \\\n  -u bob \\\n  -p {} \\\n  r.example", "plink -pw {} bob@h",
    'mysqladmin "ping", "-uroot", "-p{}"', '["redis-cli", "-a", "{}", "ping"]',
    "net use Z: \\\\srv\\share /user:bob {}", "htpasswd -nbB bob {}",
    "someclient -u bob --host h -p {}", "echo '{}' | gh auth login --with-token",
    "nmcli dev wifi connect home password {}", "rabbitmqctl add_user bob {}",
    "python3 psexec.py CORP/bob:'{}'@10.0.0.1", "rocommunity {} 10.0.0.0/8",
    'a0="app" a1="--password" a2="{}"', "openssl enc -aes-256-cbc -k {} -in a",
]  # fmt: skip
DIALOGUES = [
    "USER bob\r\n331 Password required\r\nPASS {}\r\n230 ok\r\n",
    "+OK ready\nUSER bob\n+OK\nPASS {}\n+OK\n",
    "*put* 'USER bob\\r\\n'\n*get* '331 ok\\n'\n*put* 'PASS {}\\r\\n'\n",
    "a001 LOGIN bob {}\r\na001 OK\r\n", 'A1 LOGIN "bob@example.org" "{}"\n',
    "127.0.0.1:6379> AUTH {}\nOK\n", "*2\r\n$4\r\nAUTH\r\n$14\r\n{}\r\n",
    "PRIVMSG NickServ :IDENTIFY {}\n",
]  # fmt: skip
PHRASE = "correct Horse battery staple 4"
LEFT = [
    "mkdir -p /srv/app1 && cp -p Foo1 b", "docker run -u 1000 -p 8080:80 web",
    "sudo -u bob mkdir -p Foo1/bar2", "redis-cli -h h -p 6380 ping", "psql -U bob -p 5433 app1",
    "snmpwalk -v2c -c public h", "snmpwalk -v2c -c $COMMUNITY h", "twine upload -p <password>",
    "curl -u user:password https://x", "sshpass -p changeme ssh h", "mysql -u root -p app",
    "  -p, --password[=name]   Password to use", "  --token TEXT   API token 2",
    "ldapsearch [-x] [-D binddn] [-w passwd] [-y passwdfile]", "--secret id=aws1,src=.aws",
    "parser.add_argument('--password', help='The password2')", "--page-token=ala9gleala908",
    "msbuild /p:Configuration=Release2", "PASS src/foo.test.js\nPASS b2.spec.ts (5.1 s)\n",
    "--- PASS: TestFoo/case_1 (0.00s)\n", "USER root\nRUN make test\nPASS tests/a1.test.js\n",
    "The tests PASS On2ndTry.\nUSER root\n", "<button>LOGIN</button> LOGIN user1 failed2",
    "C: a001 LOGIN <user> <password1>", "250-AUTH PLAIN LOGIN CRAM-MD5\n", "redis> AUTH\n",
    "a1 LOGIN bob SUCCESS from web1\n", "--from-literal=password=$DB_PASSWORD",
    "--oracle-password=ORACLE_PASSWORD\\", "--access-token={hf_token}", "PASS <password>\r\n",
    "--secret=projects/my-project/secrets/my-secret/versions/2", "git push -u origin -p Fix12",
]  # fmt: skip


@pytest.mark.parametrize("form", COMMANDS)
def test_what_a_program_is_given_is_found(form: str) -> None:
    secret = value()
    assert set(told(form.replace("{}", secret))) == {secret}


@pytest.mark.parametrize("form", DIALOGUES)
def test_what_a_protocol_carries_is_found(form: str) -> None:
    secret = value()
    assert set(told(form.replace("{}", secret))) == {secret}


@pytest.mark.parametrize(
    "form",
    [
        "AUTH PLAIN {}\r\n", "a1 AUTHENTICATE PLAIN {}\r\n", "AUTH PLAIN\n334 \n{}\n235 ok\n",
        "send: 'AUTH PLAIN {}\\r\\n'\n",
    ],
)  # fmt: skip
def test_what_sasl_carries_is_found(form: str) -> None:
    carried = base64.b64encode(f"\0bob\0{value()}".encode()).decode()
    assert told(form.replace("{}", carried)) == [carried]
    name = base64.b64encode(b"bob").decode()
    assert told(form.replace("{}", name + "AAAA")) == []


def test_the_answer_to_a_mail_servers_question_is_found() -> None:
    secret = base64.b64encode(value().encode()).decode()
    for before in ("", " -> ", "2026-11-27 10:00:00 CLIENT -> SERVER: "):
        dialogue = f"334 VXNlcm5hbWU6\n{before}Ym9i\n334 UGFzc3dvcmQ6\n{before}{secret}\n235 ok\n"
        assert told(dialogue) == [secret]


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_phrase_in_quotes_is_found_to_its_end(quote: str) -> None:
    assert PHRASE in told(f"gpg --batch --passphrase {quote}{PHRASE}{quote} -d a.gpg")


@pytest.mark.parametrize("text", LEFT)
def test_what_manuals_ports_and_reports_say_is_left_alone(text: str) -> None:
    assert told(text) == []


def test_a_report_of_tests_names_no_secret_and_a_list_of_credentials_does() -> None:
    detector = assigned.detector()
    for line in ("--- PASS: TestRead/short_2 (0.00s)", "PASS: gdb.base/a-b2.exp: continue"):
        assert told(f"{line}\n", detector) == []
    assert told(f"USER: bob\nPASS: {value()[:-1]}x\n", detector) != []
