"""The envelope: what is a message, which error a frame gets, what a caller may read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import (
    AuditError,
    EngineError,
    ExitStatus,
    FumehoodError,
    InvalidArguments,
    ManifestError,
    NotStrictJSON,
    OverQuota,
    ProtocolError,
    ScanFailed,
    UnknownTool,
)
from fumehood.gateway import jsonrpc
from fumehood.gateway.bounds import Bounds
from fumehood.gateway.jsonrpc import InvalidFrame, Message


def parse(frame: bytes) -> Message:
    return jsonrpc.parse(frame, Bounds())


def test_a_request_a_notification_and_what_they_hold() -> None:
    request = parse(b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":1,"_meta":{"k":2}}}')
    assert (request.method, request.id, request.params) == ("m", "a", {"x": 1, "_meta": {"k": 2}})
    assert request.meta == {"k": 2}
    note = parse(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\r')
    assert (note.id, note.params, note.meta) == (None, None, {})


@pytest.mark.parametrize("request_id", [0, -5, 2**63, "", "x" * 128])
def test_ids_that_are_taken(request_id: int | str) -> None:
    body = {"jsonrpc": "2.0", "id": request_id, "method": "m"}
    assert parse(json.dumps(body).encode()).id == request_id


@pytest.mark.parametrize(
    ("frame", "answered_id"),
    [
        (b"[]", None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"m"}]', None),
        (b"1", None),
        (b"null", None),
        (b'{"id":1,"method":"m"}', 1),
        (b'{"jsonrpc":"1.0","id":"a","method":"m"}', "a"),
        (b'{"jsonrpc":"2.0","id":1}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 129 + b'"}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[]}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":"x"}', 1),
        (b'{"jsonrpc":"2.0","id":null,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":[],"method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 129 + b'","method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', None),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","result":{}}', None),
    ],
)
def test_json_that_is_no_message(frame: bytes, answered_id: int | str | None) -> None:
    with pytest.raises(InvalidFrame) as caught:
        parse(frame)
    assert caught.value.request_id == answered_id
    assert caught.value.jsonrpc_code == -32600
    assert caught.value.remedy
    assert caught.value.exit_status == ExitStatus.USAGE


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_a_protocol_error_or_is_a_message(data: bytes) -> None:
    try:
        outcome: object = parse(data)
    except ProtocolError as error:
        outcome = error.jsonrpc_code
    assert isinstance(outcome, Message) or outcome in (-32700, -32600)


@pytest.mark.parametrize(("one", "other"), [("7", 7), (" 7", 7), ("-1", -1), ("x", "x")])
def test_ids_that_peers_take_for_one_another(one: int | str, other: int | str) -> None:
    assert jsonrpc.correlation(one) == jsonrpc.correlation(other)


def test_a_callers_own_fault_is_told_word_for_word_but_never_the_detail() -> None:
    error = InvalidArguments("/text is too long", "shorten it", pointer="/text", detail="SECRET")
    told = jsonrpc.public(error)
    assert told["code"] == -32602
    assert told["message"] == "/text is too long (shorten it)"
    assert told["data"] == {
        "code": "invalid_arguments",
        "cause": "/text is too long",
        "remedy": "shorten it",
        "pointer": "/text",
    }


@pytest.mark.parametrize(
    "error",
    [
        AuditError("/var/lib/SECRET is full", "SECRET", detail="SECRET"),
        EngineError("bwrap: SECRET", "SECRET", control="seccomp", detail="SECRET"),
        FumehoodError("SECRET", "SECRET", detail="SECRET"),
    ],
)
def test_what_is_not_the_callers_fault_is_told_in_general_terms(error: FumehoodError) -> None:
    assert "SECRET" not in json.dumps(jsonrpc.public(error))
    assert jsonrpc.public(error)["data"]["code"] == error.code


@pytest.mark.parametrize("error", [AuditError("x"), EngineError("x"), ScanFailed("x")])
def test_a_caller_whose_call_the_host_could_not_end_is_told_what_to_do(
    error: FumehoodError,
) -> None:
    assert "the operator finds the reason" in jsonrpc.public(error)["data"]["remedy"]


def test_details_that_help_a_caller_are_told() -> None:
    assert jsonrpc.public(ManifestError("", field="limits.memory"))["data"]["field"] == (
        "limits.memory"
    )
    assert jsonrpc.public(OverQuota("", retry_after=2.5))["data"]["retry_after"] == 2.5
    assert jsonrpc.public(EngineError("", control="pids"))["data"]["control"] == "pids"
    assert "field" not in jsonrpc.public(UnknownTool(""))["data"]


def test_answers_are_one_line_each() -> None:
    assert jsonrpc.result_frame(1, {"a": "x\ny"}) == (
        b'{"jsonrpc":"2.0","id":1,"result":{"a":"x\\ny"}}\n'
    )
    assert json.loads(jsonrpc.error_frame(None, jsonrpc.internal())) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": -32603,
            "message": "internal error",
            "data": {"code": "internal", "cause": "internal error", "remedy": ""},
        },
    }


def test_not_strict_json_is_a_parse_error() -> None:
    with pytest.raises(NotStrictJSON) as caught:
        parse(b'{"jsonrpc":"2.0","id":1,"id":1,"method":"m"}')
    assert caught.value.jsonrpc_code == -32700


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}',
        b'{"a":18446744073709551616}', b'{"a":"\\ud800"}', b"[" * 65,
        b"[" + b"1," * 500_000 + b"1]",
    ],
    ids=lambda frame: frame[:12].decode(errors="replace"),
)  # fmt: skip
def test_whatever_is_no_strict_json_is_told_what_to_send_instead(frame: bytes) -> None:
    with pytest.raises(NotStrictJSON) as caught:
        parse(frame)
    told = jsonrpc.public(caught.value)
    assert told["code"] == -32700
    assert told["data"]["cause"]
    assert told["data"]["remedy"]


def test_an_error_of_the_sdk_gets_a_cause_and_a_remedy_unless_it_has_an_object_of_its_own() -> None:
    bare = {"code": -32601, "message": "Method not found", "data": "foo"}
    told = jsonrpc.explained(bare, handshaken=True)
    assert told["data"]["cause"] == "Method not found"
    assert told["data"]["remedy"]
    early = jsonrpc.explained({"code": -32602, "message": "Invalid"}, handshaken=False)
    assert "initialize" in early["data"]["remedy"]
    version = {"code": -32022, "message": "Unsupported", "data": {"supported": []}}
    assert jsonrpc.explained(version, handshaken=False) == version
