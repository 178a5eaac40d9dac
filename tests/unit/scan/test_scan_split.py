"""A secret of which each piece of the output holds a part: two files, stdout and a file, stdout and
stderr, many small files; and what only looks like one where two pieces meet."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import permutations, product
from urllib.parse import unquote

import pytest

from fumehood.model.outcome import Artifact
from fumehood.model.result import Result, Timing
from fumehood.model.scan_policy import PolicyRule, ScanSpec
from fumehood.scan import broken
from fumehood.scan.detectors import searcher
from fumehood.scan.file_names import components
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.seams import MAX_JOINED, MAX_LINK, MAX_NAMED, joined
from fumehood.scan.search import Search
from support.scan import (
    KEY,
    SECRETS,
    admitted,
    aws_pair,
    github_token,
    letters,
    outcome,
    private_key,
)
from support.scan import plan as planned

GIVEN = b"plain words that are known"
CANARY = "HERON-CANARY"


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    return searcher(tmp_path_factory.mktemp("rules"), ScanSpec(canaries=[CANARY]))


@pytest.fixture(scope="module")
def whole(search: Search) -> Pipeline:
    return Pipeline(fingerprint_key=KEY, search=search, secrets_given=[GIVEN])


def release(pipeline: Pipeline, out: str, err: str = "", **files: str) -> Result:
    left = outcome(
        out, err,
        artifacts=tuple(Artifact(name, data.encode()) for name, data in files.items()),
    )  # fmt: skip
    return pipeline.release(admitted(), planned(), left, timing=Timing(), check_output=None)


def texts(result: Result) -> list[str]:
    """Of stdout, of each file, and stderr."""
    said = [
        block.get("text", block.get("resource", {}).get("text", "")) for block in result.content
    ]
    return [*said, result.stderr]


Placed = Callable[[Pipeline, str, str], Result]
PLACES: dict[str, Placed] = {
    "two files": lambda p, one, two: release(p, "", a=one, b=two),
    "stdout and a file": lambda p, one, two: release(p, one, b=two),
    "a file and stdout": lambda p, one, two: release(p, two, b=one),
    "stdout and stderr": lambda p, one, two: release(p, one, two),
    "stderr and stdout": lambda p, one, two: release(p, two, one),
    "files far apart": lambda p, one, two: release(p, "done\n", a=one, m="nothing here\n", z=two),
}
SPLIT: dict[str, Callable[[], str]] = {
    **SECRETS,
    "aws id": lambda: aws_pair()[0],
    "connection string": lambda: f"postgres://app:{letters(30)}@db:1/a",
    "given": GIVEN.decode,
    "canary": lambda: CANARY,
    "jwt": lambda: ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=")
        for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890"}', letters(32).encode())
    ),
}  # fmt: skip


SEAMS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "none": lambda one, two: (f"first {one}", f"{two} and more"),
    "newline": lambda one, two: (f"first {one}\n", f"{two}\n"),
    "json": lambda one, two: (json.dumps({"part": one}), json.dumps({"part": two})),
    "labels": lambda one, two: (f"part 1: {one}\n", f"part 2: {two}\n"),
    "list": lambda one, two: (json.dumps(["x", one]), f"{json.dumps([two], indent=2)}\n"),
    "progress": lambda one, two: (f"::progress 1/2 {one}\n", f"::progress 2/2 {two}\n"),
}


def halves(secret: str) -> tuple[str, str]:
    at = len(secret) * 2 // 3
    return secret[:at], secret[at:]


NOT_WHOLE = {("given", "labels"), ("given", "progress")}
"""Where a label ends in the space that would have to be one of the secret's."""
ALL = list(product(SPLIT, PLACES, ("none", "newline", "json")))
SOME = list(product(("github", "private key", "given"), PLACES, SEAMS))


@pytest.mark.parametrize(
    ("kind", "place", "seam"),
    [case for case in dict.fromkeys([*ALL, *SOME]) if (case[0], case[2]) not in NOT_WHOLE],
)
def test_both_halves_are_gone_under_one_fingerprint(
    whole: Pipeline, kind: str, place: str, seam: str
) -> None:
    one, two = halves(SPLIT[kind]())
    result = PLACES[place](whole, *SEAMS[seam](one, two))
    said = json.dumps(texts(result))
    for half in (one, two.partition("@")[0]):
        assert json.dumps(half)[1:-1] not in said
    found = {f for f in result.findings if f.kind == "secret"}
    assert len({f.fingerprint for f in found}) == 1
    assert len({f.place.partition("#")[0] for f in found}) == 2
    assert {f.decoded.partition(">")[0] for f in found} == {"joined"}
    assert {f.action for f in found} == {"redact"}


@pytest.mark.parametrize("form", ["{}", "{}\n", '{{"n": 1, "part": "{}"}}', "part: {}\n"])
@pytest.mark.parametrize("kind", ["github", "aws id", "private key", "connection string", "canary"])
@pytest.mark.parametrize("count", [3, 5, 12])
def test_a_secret_in_many_parts_is_found_in_the_order_of_their_names(
    whole: Pipeline, kind: str, count: int, form: str
) -> None:
    secret = SPLIT[kind]()
    if kind == "private key":
        form = form if "\n" in form or form == "{}" else "{}"
    step = -(-len(secret) // count)
    parts = [secret[at : at + step] for at in range(0, len(secret), step)]
    files = {f"part{number}": form.format(part) for number, part in enumerate(parts, 1)}
    result = release(whole, "done\n", **dict(sorted(files.items())))
    left = json.dumps(texts(result))
    kept = [part for part in parts if json.dumps(part)[1:-1] in left and len(part) > 3]
    shown = [part for part in kept if secret.find(part) < secret.find("@db") or "@" not in secret]
    assert not [p for p in shown if kind != "connection string" or p not in secret[:15]]


def test_three_parts_are_found_in_whatever_order_they_stand(whole: Pipeline) -> None:
    for order in permutations(range(3)):
        secret = github_token()
        parts = [secret[:15], secret[15:27], secret[27:]]
        one, two, three = (parts[n] for n in order)
        result = release(whole, f"{one}\n", f"{two}\n", a=f"{three}\n")
        assert not any(part in json.dumps(texts(result)) for part in parts)
        assert len({f.place.partition("#")[0] for f in result.findings}) == 3


def test_an_encoded_secret_in_two_files_is_found(whole: Pipeline) -> None:
    text = base64.b64encode(f"the token is {github_token()} for now".encode()).decode()
    result = release(whole, "", a=text[:41], b=text[41:])
    assert text[:41] not in json.dumps(texts(result))
    assert text[41:] not in json.dumps(texts(result))


def test_a_name_in_one_piece_and_its_value_in_the_next(whole: Pipeline) -> None:
    value = letters(10) + "4aX!"
    result = release(whole, "DB_PASSWORD=", b=value)
    assert value not in json.dumps(texts(result))
    result = release(whole, "DB_PASS", b=f"WORD={value}\n")
    assert value not in json.dumps(texts(result))


def test_a_long_key_is_found_to_its_end(whole: Pipeline) -> None:
    key = private_key(200)
    for at in (40, 5000, 9000):
        result = release(whole, "", a=key[:at], b=key[at:] + "\nend\n")
        left = json.dumps(texts(result))
        assert not [row for row in key.split("\n") if len(row) > 30 and row in left]
        assert "end" in left


def test_a_part_is_gone_wherever_else_it_stands(whole: Pipeline) -> None:
    one, two = halves(github_token())
    result = release(whole, f"{one}", f"again {one} and {two}.\n", b=two)
    assert one not in json.dumps(texts(result))
    assert two not in json.dumps(texts(result))


def test_what_stands_whole_in_one_piece_is_told_once(whole: Pipeline) -> None:
    result = release(whole, f"{github_token()}\n", b="two\n", c=f"x {github_token()}")
    assert [f.decoded for f in result.findings if f.kind == "secret"] == ["", ""]
    assert texts(result)[1] == "two\n"


def test_the_policy_decides_about_the_whole(search: Search) -> None:
    one, two = halves(github_token())
    for action, status in (("withhold", "withheld"), ("flag", "ok"), ("pass", "ok")):
        rule = PolicyRule(kind="secret", action=action)  # type: ignore[arg-type]  # an Action
        pipeline = Pipeline(fingerprint_key=KEY, search=search, spec=ScanSpec(policy=[rule]))
        result = release(pipeline, one, b=two)
        assert result.status == status
        told = [f.action for f in result.findings if f.kind == "secret"]
        assert told == {"withhold": ["withhold"], "flag": ["flag"] * 2, "pass": []}[action]
        assert (one in json.dumps(texts(result))) is (action != "withhold")
        files = release(pipeline, "fine\n", a=one, b=two)
        assert (one in json.dumps(texts(files))) is (action != "withhold")
        assert (two in json.dumps(texts(files))) is (action != "withhold")


def test_half_in_a_structured_value_and_half_in_a_file(whole: Pipeline) -> None:
    one, two = halves(github_token())
    left = outcome(json.dumps({"a": {"part": one}}), artifacts=(Artifact("b", two.encode()),))
    schema = '{"type": "object"}'
    result = whole.release(
        admitted(schema), planned(), left, timing=Timing(), check_output=lambda _: None
    )
    assert result.structured["a"]["part"].startswith("[redacted:github-pat:")
    assert two not in json.dumps(result.to_json())


Called = Callable[[str, str], tuple[str, dict[str, str]]]
"""Two halves to stdout and names of files."""
NAMED: dict[str, Called] = {
    "two names": lambda one, two: ("done\n", {one: "x", two: "y"}),
    "another order": lambda one, two: ("done\n", {two: "x", one: "y"}),
    "endings": lambda one, two: ("done\n", {f"{one}.txt": "x", f"{two}.tar.gz": "y"}),
    "numbers": lambda one, two: ("", {f"01-{one}.txt": "x", f"part_2.{two}.txt": "y"}),
    "counts": lambda one, two: ("", {f"{one}-1.txt": "x", f"{two} (2).txt": "y"}),
    "others": lambda one, two: ("", {
        f"{one}.txt": "x", **{f"part-{n:04}.csv": "a,b" for n in range(9)}, f"{two}.txt": "y",
    }),
    "folders": lambda one, two: ("done\n", {f"{one}/x.txt": "x", f"{two}/y.txt": "y"}),
    "a folder and a name": lambda one, two: ("done\n", {f"{one}/{two}.txt": "x"}),
    "stdout and a name": lambda one, two: (f"it is {one}\n", {f"{two}.txt": "x"}),
    "a name and stdout": lambda one, two: (f"{two}\n", {f"{one}.txt": "x"}),
    "a name and its file": lambda one, two: ("done\n", {f"{one}.txt": f"{two}\n"}),
}  # fmt: skip


@pytest.mark.parametrize("where", NAMED)
@pytest.mark.parametrize("kind", ["github", "aws id", "stripe", "google", "canary"])
def test_halves_in_names_of_files_are_gone_under_one_fingerprint(
    whole: Pipeline, kind: str, where: str
) -> None:
    one, two = halves(SPLIT[kind]())
    out, files = NAMED[where](one, two)
    result = release(whole, out, **files)
    left = json.dumps([result.content, result.stderr])
    assert one not in left
    assert two not in left
    found = [f for f in result.findings if f.kind == "secret"]
    assert len({f.fingerprint for f in found}) == 1
    assert "joined" in {f.decoded for f in found}


def test_thirds_in_names_and_streams_are_gone(whole: Pipeline) -> None:
    for order in permutations(range(3)):
        secret = github_token()
        parts = [secret[:15], secret[15:27], secret[27:]]
        one, two, three = (parts[n] for n in order)
        for result in (
            release(whole, "done\n", **{f"{part}.txt": "x" for part in (one, two, three)}),
            release(whole, f"{one}\n", f"{two}\n", **{f"{three}.txt": "x"}),
        ):
            assert not [part for part in parts if part in json.dumps(result.to_json())]


def test_a_policy_that_withholds_holds_output_whose_names_are_parts(search: Search) -> None:
    one, two = halves(github_token())
    rule = PolicyRule(kind="secret", action="withhold")
    pipeline = Pipeline(fingerprint_key=KEY, search=search, spec=ScanSpec(policy=[rule]))
    result = release(pipeline, "fine\n", **{f"{one}.txt": "x", f"{two}.txt": "y"})
    assert (result.status, result.content) == ("withheld", ())


NAMES: dict[str, Callable[[int], str]] = {
    "numbered": lambda n: f"part-{n:04}.csv",
    "hashes": lambda n: letters(64, "0123456789abcdef"),
    "chunks": lambda n: f"_next/static/chunks/{letters(8)}-{letters(16, '0123456789abcdef')}.js",
    "objects": lambda n: f"objects/{n:02x}/{letters(38, '0123456789abcdef')}",
    "modules": lambda n: f"node_modules/@scope/lib-{letters(5, 'abcde')}/dist/index.{n}.min.js",
    "photos": lambda n: f"IMG_{1000 + n}.JPG",
    "words": lambda n: ("token.json", "password.txt", "sk.js", "api_key=", "secret_1")[n % 5],
    "uuids": lambda n: f"{letters(8, '0123456789ab')}-1111-4222-8333-{letters(12, '0123456789ab')}",
}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 12, 64])
@pytest.mark.parametrize("name", NAMES)
def test_ordinary_names_are_left_alone(whole: Pipeline, name: str, count: int) -> None:
    files = {NAMES[name](n): "hello there\n" for n in range(count)}
    for out in ("done\n", "password: ", "DB_PASSWORD=", "api_key:", '{"next_token": "9f8a7b6c"}'):
        result = release(whole, out, **files)
        assert [f for f in result.findings if f.kind == "secret"] == []
        uris = [b["resource"]["uri"] for b in result.content if "resource" in b]
        assert [unquote(uri.partition("/out/")[2]) for uri in uris] == list(files)


def test_what_is_joined_of_names_has_a_bound() -> None:
    names = [f"{n}-{letters(200)}/{letters(40)}.txt".encode() for n in range(500)]
    ends = joined([], [], components(names))
    assert ends is not None
    assert len(ends.data) <= MAX_NAMED + 500 * 250


BENIGN: dict[str, tuple[str, str]] = {
    "prompt and answer": ("Password: ", "Welcome to host42, last login Mon Nov 23 09:12:44\n"),
    "empty setting": ("DB_HOST=db\nDB_PASSWORD=\n", "HOST=db4.internal\nPORT=5432\n"),
    "placeholder and date": ("secret: false", "2026-11-27 10:00:01 INFO started\n"),
    "null and date": ("token: null\n", "2026-11-27T10:00:01Z worker-7 started\n"),
    "hashes": ("d41d8cd98f00b204e9800998ecf8427e\n", "9e107d9d372bb6826bd81d3542a419d6  a.txt\n"),
    "base64 images": (base64.b64encode(bytes(range(200))).decode(), "iVBORw0KGgoAAAANSUhEUgAAAAUA"),
    "uuids": ("id: 0b3c5a5e-1111-4222-8333-944455556666", "7f1d9a52-aaaa-4bbb-8ccc-9ddddeeeefff\n"),
    "json": (
        '{"next_page_token": "9f8a7b6c5d4e"}',
        '{"id": "123e4567-e89b-12d3-a456-426614174000"}',
    ),
    "code": ("password = None\n", 'Traceback (most recent call last):\n  File "x.py", line 3\n'),
    "words": ("done", "ok"),
    "urls": ("see https://example.org/a", "user:guide@chapter2 and more\n"),
    "versions": ("api key set: yes\nversion 1.2.3", "4.5.6-rc1+build.77\n"),
    "git": ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8\n", "Author: Ann <ann@example.org>\n"),
}


@pytest.mark.parametrize(("kind", "place"), list(product(BENIGN, PLACES)))
def test_ordinary_ends_are_left_alone(whole: Pipeline, kind: str, place: str) -> None:
    result = PLACES[place](whole, *BENIGN[kind])
    assert [f for f in result.findings if f.kind == "secret"] == []


def test_what_is_joined_has_a_bound(whole: Pipeline) -> None:
    files = {f"f{number}": f"{letters(3000)}\n" for number in range(600)}
    ends = joined([data.encode() for data in files.values()], list(files))
    assert ends is not None
    assert len(ends.data) <= MAX_JOINED + MAX_LINK * 2


def test_one_piece_is_not_joined_to_anything() -> None:
    assert joined([b"text", b"", b""], ["", "", ""]) is None


def test_no_part_is_made_of_two_runs() -> None:
    ends = joined([b"abcdefgh1", b"2ijklmnop", b"3qrstuvwx"], ["", "", "c"])
    assert ends is not None
    begins = [segment for segment in ends.segments if segment.run == 2]
    assert ends.parts(begins[0].at - 8, begins[0].at + 4) == []


STRINGS: dict[str, Callable[[list[str]], str]] = {
    "list": lambda parts: json.dumps(["a", *parts, "z z"]),
    "list over lines": lambda parts: json.dumps({"n": 1, "parts": parts}, indent=2),
    "members": lambda parts: json.dumps(
        {"n": 3, **{f"part{n}": part for n, part in enumerate(parts)}, "ok": True}
    ),
    "objects": lambda parts: json.dumps(
        [{"n": n, "data": part} for n, part in enumerate(parts)], indent=1
    ),
    "code": lambda parts: "key = " + " + ".join(f"'{part}'" for part in parts) + "\n",
    "adjacent": lambda parts: "key = (" + "\n    ".join(f'"{part}"' for part in parts) + ")\n",
}


@pytest.mark.parametrize("kind", SPLIT)
@pytest.mark.parametrize("frame", STRINGS)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_secret_broken_over_strings_is_gone(
    whole: Pipeline, kind: str, frame: str, count: int
) -> None:
    secret = SPLIT[kind]()
    if kind == "canary" and count == 5:
        count = 4
    step = -(-len(secret) // count)
    parts = [secret[at : at + step] for at in range(0, len(secret), step)]
    result = release(whole, STRINGS[frame](parts))
    said = json.dumps(texts(result))
    shown = [part for part in parts if "@" not in secret or secret.find(part) not in (0, 26, 30)]
    # A last part that is a few letters, as some of these random ones are, passes for a word.
    shown = [p for p in shown if len(p) > 4 or not (p.isalpha() and p[1:].islower())]
    assert not [part for part in shown if len(part) > 2 and json.dumps(part)[1:-1] in said]
    assert len({f.fingerprint for f in result.findings if f.kind == "secret"}) == 1


def test_a_secret_broken_over_leaves_is_redacted_in_each(whole: Pipeline) -> None:
    one, two = halves(github_token())
    value = {"user": "ann", "first": one, "n": 4, "rest": {"second": two}, "last": "z"}
    left = outcome(json.dumps(value))
    schema = '{"type": "object"}'
    result = whole.release(
        admitted(schema), planned(), left, timing=Timing(), check_output=lambda _: None
    )
    assert result.structured["first"] == result.structured["rest"]["second"]
    assert result.structured["first"].startswith("[redacted:github-pat:")
    assert {key: result.structured[key] for key in ("user", "n", "last")} == {
        "user": "ann", "n": 4, "last": "z",
    }  # fmt: skip
    assert {f.place for f in result.findings} >= {"stdout#/first", "stdout#/rest/second"}


@pytest.mark.parametrize(
    "text",
    [
        '["sk-learn", "0b3c5a5e-1111-4222-8333-944455556666"]',
        '{"url": "https://api", "path": "v1/users", "id": "9f8a7b6c5d4e3f2a1b0c"}',
        '{"scheme": "postgres://", "host": "db.internal", "user": "app@host"}',
        "re.compile('-----BEGIN PRIVATE KEY-----' + '[A-Za-z0-9+/=]+' + 'END')",
        '{"cache": "redis://cache:6379", "owner": "bob@example.com", "n": 1}',
        '{"site": "https://example.com:8443", "contact": "bob.smith42@example.com"}',
        '["AKIA", "ASIA", "ABIA", "ACCA"]',
        "PREFIXES = ('ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_', 'glpat-')",
        '{"token": "secret_name", "next": "prod/database/credentials"}',
        '{"eyJ": "x", "header": "eyJhbGciOiJIUzI1NiJ9", "alg": "HS256"}',
        'headers = {"Authorization": "token=" + "value", "X": "password=" + "name"}',
    ],
)
def test_ordinary_strings_are_left_alone(whole: Pipeline, text: str) -> None:
    result = release(whole, text + "\n")
    assert [f for f in result.findings if f.kind == "secret"] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"accessToken": "', '", "tokenType": "Bearer", "subscription": "Pay2"}'),
        ('args: ["--token=', '", "--v=2"]'),
        ('["', '", "main2", "v3.1"]'),
    ],
)
@pytest.mark.parametrize("token", ["jwt", "github"])
def test_a_whole_token_does_not_take_the_next_string(
    whole: Pipeline, before: str, after: str, token: str
) -> None:
    made = SPLIT[token]()
    shown, *_ = texts(release(whole, before + made + after + "\n"))
    assert made not in shown
    assert after in shown


def test_what_only_a_name_tells_is_not_cut_out_of_other_text(whole: Pipeline) -> None:
    random, word = letters(32), "PKCS7PrivateKeyTypes"
    shown = texts(release(whole, f"PASSWORD={random}\nDB_PASSWORD={word}\n", f"{random} {word}\n"))
    assert random not in "".join(shown)
    assert word not in shown[0]
    assert word in shown[1]


@pytest.mark.parametrize("schema", ["", '{"type": "object"}'])
@pytest.mark.parametrize("first", ["https://api.example.com/v1?token={}", "pwd={};"])
def test_what_stands_beside_a_whole_secret_is_left_alone(
    whole: Pipeline, first: str, schema: str
) -> None:
    value = {"url": first.format(letters(32)), "created": "2026-01-01", "name": "bob"}
    result = whole.release(
        admitted(schema) if schema else admitted(), planned(),
        outcome(json.dumps(value)), timing=Timing(),
        check_output=(lambda _: None) if schema else None,
    )  # fmt: skip
    said = json.loads(texts(result)[0])
    assert "[redacted:" in said["url"]
    assert (said["created"], said["name"]) == ("2026-01-01", "bob")


def test_what_is_joined_of_one_text_has_a_bound() -> None:
    ends = broken.joined(json.dumps([f"ghp_{'a1B' * 100}"] * 3000).encode())
    assert ends is not None
    assert len(ends.data) <= MAX_JOINED + broken.MAX_STRINGS * broken.MAX_STRING
