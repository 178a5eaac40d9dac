"""A secret that a tool writes in parts leaves by no way, through the front door: parts in files and
their names, in stdout and stderr, in progress lines and in a structured value."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.hood import Hood, hood
from support.scan import aws_pair, github_token, letters, private_key
from support.speaker import PROGRAM

FIRST_ACCOUNT = 1_956_000_000
CANARY = "HERON-9-CANARY"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Hood]:
    withhold = [{"kind": "secret", "confidence": "medium", "action": "withhold"}]
    config: dict[str, Any] = {
        "accounts": {"first": FIRST_ACCOUNT, "count": 100},
        "incidents": {"rules": []},
        "scan": {"canaries": [CANARY], "tools": {"strict": {"policy": withhold}}},
    }
    with hood(config=config) as running:
        for name in ("plain", "strict"):
            running.register(
                None, name, command=["python3", "-c", PROGRAM],
                run={"environment": {"API_TOKEN": GIVEN}},
            )  # fmt: skip
        running.register(
            None, "structured", command=["python3", "-c", PROGRAM], output_schema={"type": "object"}
        )
        yield running


GIVEN = "w0rds-that-the-tool-was-given"
SECRETS = {
    "github": github_token,
    "aws": lambda: aws_pair()[0],
    "private key": private_key,
    "connection string": lambda: f"postgres://app:{letters(20)}@db:5432/app",
    "given": lambda: GIVEN,
    "canary": lambda: CANARY,
}
PLACES = {
    "two files": lambda one, two: {"files": {"a.txt": one, "b.txt": two}},
    "a file and one between": lambda one, two: {
        "files": {"a": one, "m": "all is well\n", "z": two}
    },
    "stdout and a file": lambda one, two: {"out": one, "files": {"a.txt": two}},
    "stdout and stderr": lambda one, two: {"out": one, "err": two},
    "stderr and stdout": lambda one, two: {"out": two, "err": one},
    "a progress line and stdout": lambda one, two: {"err": f"::progress 1/2 {one}\n", "out": two},
    "several blocks of json": lambda one, two: {
        "out": json.dumps({"n": 1}),
        "files": {"1.json": json.dumps({"part": one}), "2.json": json.dumps({"part": two})},
    },
}


def say(daemon: Hood, tool: str, said: dict[str, Any]) -> dict[str, Any]:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    writes = [(way, encoded(said[way])) for way in ("out", "err") if way in said]
    files = {name: encoded(text) for name, text in said.get("files", {}).items()}
    return daemon.call(tool, {"writes": writes, "files": files})


def left(result: dict[str, Any]) -> str:
    return json.dumps([result["content"], result.get("structured"), result["stderr"]])


def quoted(text: str) -> str:
    return json.dumps(text)[1:-1]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SECRETS)
def test_two_halves_are_gone_and_told_with_one_fingerprint(
    daemon: Hood, kind: str, place: str
) -> None:
    secret = SECRETS[kind]()
    at = len(secret) * 3 // 5
    one, two = secret[:at], secret[at:]
    result = say(daemon, "plain", PLACES[place](one, two))
    assert result["status"] == "ok"
    for half in (one, two.partition("@")[0]):
        assert quoted(half) not in left(result)
        assert quoted(quoted(half)) not in left(result)
    found = [f for f in result["findings"] if f["kind"] == "secret" and
             not f["place"].startswith("arguments")]  # fmt: skip
    assert len({f["place"].partition("#")[0] for f in found}) == 2
    assert len({f["fingerprint"] for f in found}) == 1
    assert {f["action"] for f in found} == {"redact"}
    assert {f["decoded"] for f in found} >= {"joined"}


def test_three_and_five_parts_are_gone(daemon: Hood) -> None:
    secret = github_token()
    parts = [secret[at : at + 8] for at in range(0, 40, 8)]
    result = say(daemon, "plain", {"files": {f"part{n}": f"{p}\n" for n, p in enumerate(parts)}})
    assert not [part for part in parts if part in left(result)]
    one, two, three = secret[:14], secret[14:26], secret[26:]
    result = say(daemon, "plain", {"out": one, "err": three, "files": {"two.txt": two}})
    assert not [part for part in (one, two, three) if part in left(result)]


def test_halves_in_the_names_of_files_are_gone(daemon: Hood) -> None:
    secret = github_token()
    one, two = secret[:25], secret[25:]
    for said in (
        {"files": {f"01-{one}.txt": "x", f"02-{two}.txt": "y"}},
        {"out": f"it is {one}\n", "files": {f"{two}.txt": "x"}},
        {"out": f"{two}\n", "files": {f"{one}.txt": "x"}},
    ):
        result = say(daemon, "plain", said)
        assert result["status"] == "ok"
        assert one not in json.dumps(result)
        assert two not in json.dumps(result)
        found = [f for f in result["findings"] if f["kind"] == "secret" and
                 not f["place"].startswith("arguments")]  # fmt: skip
        assert len(found) == 2
        assert len({f["fingerprint"] for f in found}) == 1
        withheld = say(daemon, "strict", said)
        assert (withheld["status"], withheld["content"]) == ("withheld", [])


def test_half_in_a_structured_value_is_gone(daemon: Hood) -> None:
    secret = github_token()
    said = {"out": json.dumps({"a": [{"part": secret[:20]}]}), "files": {"b": secret[20:]}}
    result = say(daemon, "structured", said)
    assert result["structured"]["a"][0]["part"].startswith("[redacted:github-pat:")
    assert secret[20:] not in left(result)


def test_a_policy_that_withholds_holds_both_halves(daemon: Hood) -> None:
    secret = github_token()
    result = say(daemon, "strict", {"out": secret[:20], "err": secret[20:]})
    assert (result["status"], result["content"], result["stderr"]) == ("withheld", [], "")
    result = say(daemon, "strict", {"out": "fine", "files": {"a": secret[:20], "b": secret[20:]}})
    assert result["status"] == "ok"
    assert [block["type"] for block in result["content"]] == ["text"]


def test_ordinary_output_is_left_alone(daemon: Hood) -> None:
    said = {
        "out": "DB_HOST=db\nDB_PASSWORD=\n",
        "err": "2026-11-27T10:00:01Z worker-7 started\n",
        "files": {
            "a.sha256": "d41d8cd98f00b204e9800998ecf8427e\n",
            "b.sha256": "9e107d9d372bb6826bd81d3542a419d6\n",
            "c.json": json.dumps({"next_page_token": "9f8a7b6c5d4e3f2a"}),
        },
    }
    result = say(daemon, "plain", said)
    assert [f for f in result["findings"] if f["kind"] == "secret"] == []
    texts = [block["resource"]["text"] for block in result["content"][1:]]
    assert texts == list(said["files"].values())  # type: ignore[attr-defined]  # a dict
