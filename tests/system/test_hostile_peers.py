"""Callers that misbehave, on the real socket: each is dealt with alone, and others are served."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.errors import OverQuota
from support.hood import Hood, eventually, hood
from support.inside import faulty
from support.ledger import Ledger, records
from support.load import META
from support.stranger import GROUP, Stranger

ACCOUNTS = {"first": 1_966_000_000, "count": 50}
ANN = 64_341
CONFIG = {
    "accounts": ACCOUNTS,
    "socket_group": GROUP,
    "callers": {"users": [ANN]},
    "operators": {"users": [0]},
    "idle_frame_timeout": "2s",
    "frame_bytes": "64KiB",
    "connections": 16,
}


@pytest.fixture(scope="module")
def attacked() -> Iterator[Hood]:
    with hood(config=CONFIG) as running:
        running.register(None, "echo", command=["cat"])
        running.register(None, "nap", command=["sleep", "30"], limits={"timeout": "60s"})
        yield running
        assert running.stop() == 0
        Ledger.of(running.state).check()


@contextlib.contextmanager
def peer(running: Hood) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(running.socket))
        made.settimeout(30)
        yield made


def request(number: Any, tool: str = "echo", arguments: str = "{}") -> bytes:
    meta = json.dumps(META)
    params = f'{{"name": "{tool}", "arguments": {arguments}, "_meta": {meta}}}'
    text = f'{{"jsonrpc": "2.0", "id": {json.dumps(number)}, "method": "tools/call"'
    return f'{text}, "params": {params}}}\n'.encode()


def answers(made: socket.socket, count: int) -> list[dict[str, Any]]:
    file = made.makefile("rb")
    return [json.loads(file.readline()) for _ in range(count)]


def ended(made: socket.socket) -> bytes:
    """All that still comes until the daemon hangs up."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := made.recv(65536):
            found += data
    return found


def served(running: Hood) -> None:
    assert running.call("echo", {"a": 1})["status"] == "ok"


def is_served(running: Hood) -> bool:
    with contextlib.suppress(OverQuota):
        return bool(running.call("echo", {"a": 2})["status"] == "ok")
    return False


def test_one_byte_now_and_then_is_given_up_and_the_others_are_served(attacked: Hood) -> None:
    with peer(attacked) as slow:
        sent = 0
        for byte in request(1):
            with contextlib.suppress(OSError):
                sent += slow.send(bytes([byte]))
            served(attacked)
            ready, _, _ = select.select([slow], [], [], 0.2)
            if ready:
                break
        assert 1 < sent < len(request(1)), "it was never given up"
        assert b"error" in ended(slow)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 4096 + b"\n",
        os.urandom(4096).replace(b"\n", b"") + b"\n",
        b"[" * 30_000 + b"\n",
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"\n',
        request(1, arguments='{"n": NaN}'),
        request(1, arguments='{"n": 1e999}'),
        request(1, arguments='{"n": 1, "n": 2}'),
        request(1, arguments='{"s": "\\ud800"}'),
        request(1, arguments='{"n": ' + "9" * 5000 + "}"),
        request(1, arguments="[" * 500 + "]" * 500),
        b'[' + request(1).rstrip() + b"]\n",
        request([1]),
        request({"a": 1}),
    ],
    ids=[
        "zeros", "garbage", "deep", "truncated", "nan", "infinite", "duplicate-keys", "surrogate",
        "huge-integer", "deep-arguments", "batch", "list-id", "object-id",
    ],
)  # fmt: skip
def test_a_bad_frame_is_refused_and_the_connection_goes_on(attacked: Hood, data: bytes) -> None:
    with peer(attacked) as bad:
        bad.sendall(data + request(7, arguments='{"a": 1}'))
        refusal, answer = sorted(answers(bad, 2), key=lambda found: "result" in found)
        assert refusal["error"]["code"] in (-32700, -32600, -32602)
        assert (answer["id"], answer["result"]["isError"]) == (7, False)


def test_an_endless_frame_is_cut_off(attacked: Hood) -> None:
    with peer(attacked) as endless:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            endless.sendall(b"x" * (64 << 20))
        served(attacked)


def test_an_id_that_is_live_is_refused_and_the_first_call_goes_on(attacked: Hood) -> None:
    with peer(attacked) as twice:
        twice.sendall(request(1, "nap") + request(1) + request(2))
        found = {json.dumps(a.get("error", {}).get("code")): a for a in answers(twice, 2)}
        assert set(found) == {"-32600", "null"}
        assert found["null"]["id"] == 2
        running = int(attacked.status()["running"])
        assert running == 1, "the first of the two runs on"
    eventually(lambda: int(attacked.status()["running"]) == 0, 20, "it ends with its caller")


def test_credentials_in_a_message_are_nobodys(attacked: Hood) -> None:
    """Root may write anybody into SCM_CREDENTIALS; who connected is who calls."""
    with peer(attacked) as forger:
        forged = struct.pack("3i", os.getpid(), ANN, ANN)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, forged)]
        forger.sendmsg([request(1)], ancillary)
        (answer,) = answers(forger, 1)
    name = answer["result"]["_meta"]["fumehood/result"]["invocation"]
    (record,) = [
        r for r in records(attacked.state)
        if r.get("invocation") == name and r["event"] == "invocation.ended"
    ]  # fmt: skip
    assert record["caller"]["uid"] == os.getuid()


def test_what_is_anothers_looks_like_what_is_not_there(attacked: Hood) -> None:
    ann = Stranger(attacked.socket, ANN)
    mine = attacked.call("echo", {"a": 1})["invocation"]
    other = mine[:-4] + ("0000" if mine[-4:] != "0000" else "1111")
    for method in ("fumehood/invocations/logs", "fumehood/invocations/cancel"):
        assert ann.ask(method, invocation=mine) == ann.ask(method, invocation=other)


def test_more_connections_than_there_may_be_are_told_and_the_rest_goes_on(attacked: Hood) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(peer(attacked))
        crowd = [stack.enter_context(peer(attacked)) for _ in range(40)]
        told = [one for one in crowd if select.select([one], [], [], 0.5)[0]]
        assert told, "nobody was refused"
        first.sendall(request(1))
        assert answers(first, 1)[0]["result"]["isError"] is False
    eventually(lambda: is_served(attacked), 10, "room again")


def test_a_clock_that_jumps_an_hour_ends_no_call_and_is_on_record() -> None:
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        place = Path(name)
        place.chmod(0o755)
        with hood(place, config={"accounts": ACCOUNTS}, entry=faulty) as running:
            run = {
                "image": "host",
                "command": ["sh", "-c", "sleep 1; echo done"],
                "environment": {"CLOCK_JUMPS_AT": "fed"},
            }
            limits = {"timeout": "20s"}
            running.register(None, "jump", command=run["command"], run=run, limits=limits)
            ends: list[dict[str, Any]] = []
            caller = threading.Thread(target=lambda: ends.append(running.call("jump", {"a": 1})))
            caller.start()
            caller.join(30)
            (end,) = ends
            assert (end["status"], end["content"][0]["text"]) == ("ok", "done\n")
            assert end["usage"]["wall_seconds"] < 15
            assert running.call("jump", {"a": 2})["status"] == "ok"
            assert running.cli("audit", "verify").returncode == 0
            assert running.stop() == 0
        steps = [r for r in records(place / "state") if r["event"] == "audit.clock_stepped"]
        assert [round(step["seconds"]) for step in steps] == [3600]
        Ledger.of(place / "state").check()
