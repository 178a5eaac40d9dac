"""Secrets that only their name or their form gives away, and what stands there instead of one."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from pathlib import Path

import pytest

from fumehood.model.scan_policy import Allow, PolicyRule, ScanSpec, ToolScan
from fumehood.scan import assigned, contexts, decoding, tables, tokens
from fumehood.scan.decide import Policies
from fumehood.scan.detector import Match
from fumehood.scan.patterns import PatternDetector, Rule
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.redact import is_repeated
from fumehood.scan.search import Budget, Searcher
from fumehood.scan.views import unescaped
from support.scan import ALNUM, letters

UPPER = ALNUM.upper()
SEARCHER = Searcher([tokens.detector(), assigned.detector()], [])


def found(text: str | bytes) -> list[str]:
    """What is at least probably a secret."""
    data = text.encode() if isinstance(text, str) else text
    return [
        (m.value or data[m.start : m.end]).decode("utf-8", "replace")
        for m in SEARCHER.find(data, Budget(), clean=True)
        if m.confidence != "low"
    ]


@pytest.mark.parametrize(
    "frame",
    [
        "DB_PASSWORD={}",
        "spring.datasource.password={}",
        "password: {}",
        '  "password": "{}",',
        "export ADMIN_PWD='{}'",
        "$config['db_password'] = '{}';",
        '<property name="password" value="{}"/>',
        "<password>{}</password>",
        "mysql --user=root --password={} shop",
        "curl -u admin:{} https://registry.internal/v2/",
        "postgres://app:{}@db.internal:5432/shop",
        "Server=tcp:db,1433;Database=shop;User ID=sa;Password={};Encrypt=True;",
        "machine api.internal login ann password {}",
        "CREATE USER app IDENTIFIED BY '{}';",
        "비밀번호는 {} 입니다",
    ],
)
def test_a_password_is_found_where_something_names_it(frame: str) -> None:
    password = "Tr0ub4" + "dor&3x"
    assert any(password in text for text in found(f"line\n{frame.format(password)}\nline\n"))


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password()",
        'password = os.environ["DB_PASSWORD"]',
        "password: string",
        "password: ${DB_PASSWORD}",
        "password=<your password>",
        "DB_PASSWORD=changeme_please" if False else "DB_PASSWORD=********",
        "def login(user: str, password: str) -> Token:",
        "self.token = token",
        "max_tokens: 4096",
        '"token_type": "bearer"',
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        "password reset mail sent to user 42",
        "Error: password incorrect",
        "api_key: YOUR_API_KEY",
        "secret_name: database-credentials",
        "private_key_path = /etc/ssl/private/server.key",
        "https://example.com:8443/path@2",
        "public_key: ssh-ed25519",
        "if (password !== confirmPassword) return",
        "next_page_token: CAUQAA12345abcdef",
        '<input type="password" name="password" placeholder="Password">',
    ],
)
def test_what_only_talks_of_one_is_none(text: str) -> None:
    assert found(text) == []


def test_a_lone_access_key_id_is_found_and_the_documented_one_is_an_example() -> None:
    name = "AK" + "IA" + letters(16, UPPER)
    assert found(f"key {name},next") == [name]
    (match,) = tokens.detector().find(b"AKIAIOSFODNN7" + b"EXAMPLE", seconds=1)
    assert match.confidence == "low"


def test_neighbours_that_share_one_separator_are_both_found() -> None:
    names = ["AK" + "IA" + letters(16, UPPER) for _ in range(5)]
    assert found(" ".join(names)) == names


def test_a_jwt_is_one_only_when_its_header_says_so() -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims, signature = part({"sub": "1234567890"}), letters(43)
    token = f"{part({'alg': 'HS256'})}.{claims}.{signature}"
    assert found(f"Set: {token}") == [token]
    assert found(f"{part({'none': 'of it'})}.{claims}.{signature}") == []


def encodings(secret: str) -> dict[str, bytes]:
    line = f"the key is DB_PASSWORD={secret} and no other".encode()
    return {
        "base64": base64.b64encode(line),
        "url-safe base64": base64.urlsafe_b64encode(line * 3),
        "wrapped base64": base64.encodebytes(line * 5),
        "hex": line.hex().encode(),
        "HEX": line.hex().upper().encode(),
        "gzip in base64": base64.b64encode(gzip.compress(line)),
        "base64 in base64": base64.b64encode(base64.b64encode(line)),
        "gzip": gzip.compress(line),
        "percent": "".join(f"%{byte:02X}" for byte in line).encode(),
        "\\u": json.dumps("".join(chr(b) for b in line)).replace("D", "\\u0044").encode(),
        "json lines": b"\n".join(json.dumps({"m": line.decode() + '"\n'}).encode() for _ in "ab"),
        "json in json": json.dumps(json.dumps({"m": f'a "b"\nPASSWORD={secret}\n'})).encode(),
        "entities": f"&lt;p&gt;DB_PASSWORD=&#{ord(secret[0])};{secret[1:]}&lt;/p&gt;".encode(),
        "xxd": b"".join(
            b"%08x: %s  ................\n" % (at, line[at : at + 16].hex(" ", 2).encode())
            for at in range(0, len(line), 16)
        ),
    }


@pytest.mark.parametrize("way", sorted(encodings("x" * 9)))
def test_a_secret_that_is_encoded_is_found_and_its_encoded_form_is_the_place(way: str) -> None:
    secret = "Tr0ub4" + "dor_3xz"
    data = encodings(secret)[way]
    matches = SEARCHER.find(data, Budget(), clean=True)
    assert any(secret.encode() in (m.value or data[m.start : m.end]) for m in matches)
    redacted = bytearray(data)
    for match in matches:
        redacted[match.start : match.end] = b"*" * (match.end - match.start)
    assert not found(bytes(redacted))


def test_what_decodes_to_nothing_readable_costs_no_search() -> None:
    class Counting:
        name = "counting"
        searches = 0

        def find(self, data: bytes, *, seconds: float) -> list[Match]:
            self.searches += 1
            return []

    counting = Counting()
    digests = "\n".join(letters(64, "0123456789abcdef") for _ in range(200))
    Searcher([counting], []).find(digests.encode(), Budget(), clean=True)
    assert counting.searches == 1


def test_a_decompression_bomb_is_named_and_not_read_to_its_end() -> None:
    bomb = gzip.compress(b"0" * (64 << 20))
    (match,) = SEARCHER.find(bomb, Budget(), clean=True)
    assert (match.rule, match.kind, match.decoded) == ("decompression-bomb", "payload", ("gzip",))


@pytest.mark.parametrize("text", [b"a\\u0062c", b"%41\\x42&#67;", b"\\ud83d\\ude00!"])
def test_an_unescaped_view_leads_back_to_the_bytes_that_stand_for_it(text: bytes) -> None:
    view = unescaped(text)
    assert view is not None
    assert view.origin(0, len(view.data)) == (0, len(text))
    at = 0
    for offset in range(len(view.data)):
        start, end = view.origin(offset, offset + 1)
        assert start <= at <= end
        at = end
    assert at == len(text)


# --- the engine


def test_what_takes_too_long_is_no_answer() -> None:
    detector = PatternDetector("few", [Rule("x", "low", "x")])
    assert len(detector.find(b"x" * 2000, seconds=60)) == 2000
    with pytest.raises(TimeoutError):
        detector.find(b"x" * 10_000, seconds=0)


def test_a_compiled_database_is_kept_and_a_broken_one_is_made_anew(tmp_path: Path) -> None:
    rules = [Rule("x", "low", "needle[0-9]")]
    PatternDetector("kept", rules, tmp_path).load()
    (stored,) = tmp_path.iterdir()
    assert len(PatternDetector("kept", rules, tmp_path).find(b"needle7", seconds=1)) == 1
    stored.write_bytes(b"broken")
    assert len(PatternDetector("kept", rules, tmp_path).find(b"needle7", seconds=1)) == 1
    PatternDetector("other", [Rule("x", "low", "thread")], tmp_path).load()
    assert len(list(tmp_path.iterdir())) == 2


# --- policy

CARD = Match("payment-card", "personal_data", "high", 0, 4)
MAIL = Match("email-address", "personal_data", "low", 0, 4)
WEAK = Match("assigned-secret", "secret", "high", 0, 4, confidence="low")


def decided(spec: ScanSpec, match: Match, text: bytes = b"text", tool: str = "t") -> str:
    return Policies(spec).of(tool).action(match, text, lambda: "0123abcd")


def test_without_a_word_of_the_operator_defaults_decide() -> None:
    assert [decided(ScanSpec(), match) for match in (CARD, MAIL, WEAK)] == [
        "redact",
        "pass",
        "pass",
    ]


def test_the_first_rule_that_fits_counts_and_a_tools_own_come_first() -> None:
    spec = ScanSpec(
        policy=(
            PolicyRule(rule="email-*", action="redact"),
            PolicyRule(kind="secret", confidence="high", action="withhold"),
        ),
        tools={"mail": ToolScan(policy=(PolicyRule(kind="personal_data", action="flag"),))},
    )
    assert decided(spec, MAIL) == "redact"
    assert decided(spec, MAIL, tool="mail") == "flag"
    assert decided(spec, WEAK) == "pass"
    assert decided(spec, Match("jwt", "secret", "high", 0, 4)) == "withhold"


@pytest.mark.parametrize(
    ("allow", "passes"),
    [
        (Allow(exact="text"), True),
        (Allow(exact="tex"), False),
        (Allow(regex="t.*t"), True),
        (Allow(regex="t"), False),
        (Allow(word="EX"), True),
        (Allow(fingerprint="0123abcd"), True),
        (Allow(fingerprint="ffffffff"), False),
        (Allow(kind="secret", exact="text"), False),
        (Allow(rule="payment-*", exact="text"), True),
    ],
)
def test_an_allowlist_lets_pass_what_fits_all_it_names(allow: Allow, *, passes: bool) -> None:
    assert (decided(ScanSpec(allow=(allow,)), CARD) == "pass") is passes


def test_what_is_no_matter_of_policy_keeps_its_action() -> None:
    spec = ScanSpec(policy=(PolicyRule(rule="*", action="pass"),))
    assert decided(spec, Match("invalid-utf8", "encoding", "low", 0, 1)) == "redact"


def test_a_canary_is_found_wherever_it_stands() -> None:
    pipeline = Pipeline(
        fingerprint_key=b"k" * 48, spec=ScanSpec(canaries=("the quick brown canary",))
    )
    (match,) = pipeline._loaded[-1].find(b"x the quick brown canary y", seconds=1)
    assert (match.rule, match.start, match.end) == ("canary", 2, 24)


def test_noise_that_begins_like_a_compressed_stream_is_not_searched_as_text() -> None:
    noise = random.Random(1).randbytes(400_000)
    at = noise.index(b"\x78\x9c")
    assert decoding.compressed(noise[at:]) is None
    assert not any(len(blob.data) > 10_000 for blob in decoding.blobs(noise.hex().encode()))
    packed = zlib.compress(b"DB_PASSWORD=" + b"k8fT2mQx" * 4)
    assert [blob.step for blob in decoding.blobs(packed.hex().encode())] == ["hex"]


ORDINARY = [
    "kpasswd\t\t464/tcp\n", "#password_encryption = scram-sha-256\t# or md5\n",
    ":param password: Unicode password.\n", "    :type passphrase: :py:data:`bytes`\n",
    "    self._passphrase_userdata = userdata\n", "[, passphrase: &#x3C;string>]",
    "machine x login {self.username} password {self.password}'\n",
    "mysql (= 1.5.0-2), golang-github-golang-protobuf-1-3 (= 1.3.5-4)",
    "f(\n        password,\n        self._ffi.NULL,\n        self._ffi.NULL,\n    )\n",
]  # fmt: skip
"""As documents, packages and sources of a Debian have it."""


@pytest.mark.parametrize("text", ORDINARY)
def test_what_real_files_say_is_no_secret(text: str) -> None:
    detectors = (assigned.detector(), tokens.detector(), contexts.detector(), tables.detector())
    found = [m for d in detectors for m in d.find(text.encode(), seconds=5)]
    assert [m for m in found if m.confidence != "low"] == []


def test_one_short_word_is_redacted_only_where_it_was_found() -> None:
    assert not is_repeated(b"postgres")
    assert is_repeated(b"postgres1")
    assert is_repeated(b"correcthorse")
