"""The client of the command line against a real gateway on a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood import connection as connection_module
from fumehood.client import Client
from fumehood.errors import (
    AuditError,
    Cancelled,
    CatalogError,
    DaemonUnreachable,
    EngineError,
    ExitStatus,
    ManifestError,
    ProtocolError,
    UnknownTool,
    UsageError,
)
from fumehood.model.request import Request
from fumehood.model.result import Result
from support.gateway import FakeSupervisor, raising, result, serving_in_thread

MANIFEST = {
    "name": "new",
    "version": "1.0.0",
    "description": "New.",
    "inputSchema": {"type": "object"},
    "run": {"command": ["cat"]},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def supervisor(path: Path) -> Iterator[FakeSupervisor]:
    with serving_in_thread(path) as supervisor:
        yield supervisor


@pytest.fixture
def client(supervisor: FakeSupervisor, path: Path) -> Iterator[Client]:
    with Client.connect(path) as client:
        yield client


def test_a_call_gives_the_result_object(client: Client, supervisor: FakeSupervisor) -> None:
    arguments = {"n": 2**64 - 1, "f": 0.1, "text": "ä\n", "none": None}
    got = client.call("echo", arguments)
    assert got["status"] == "ok"
    assert got["structured"] == arguments
    assert json.loads(got["content"][0]["text"]) == arguments
    assert got["invocation"] == supervisor.requests[0].invocation


def test_many_calls_share_a_connection(client: Client) -> None:
    assert [client.call("echo", {"i": i})["structured"]["i"] for i in range(50)] == list(range(50))


def test_megabytes_go_there_and_back(client: Client) -> None:
    text = "xy\n" * 1_000_000
    assert client.call("echo", {"text": text})["structured"] == {"text": text}


def full_listener(path: Path) -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose backlog has no place left, and who fills it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(path))
    listener.listen(0)
    waiting = []
    with contextlib.suppress(BlockingIOError):
        while True:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.append(one)
            one.setblocking(False)
            one.connect(os.fspath(path))
    return listener, waiting


def test_a_place_in_the_backlog_is_waited_for(tmp_path: Path) -> None:
    listener, waiting = full_listener(tmp_path / "socket")
    made: list[Client] = []
    connecting = threading.Thread(
        target=lambda: made.append(Client.connect(tmp_path / "socket", timeout=30))
    )
    connecting.start()
    accepted = [listener.accept()[0] for _ in waiting]  # the last attempt found no place
    connecting.join(30)
    assert len(made) == 1
    for one in (*made, *accepted, *waiting, listener):
        one.close()


def test_a_backlog_that_stays_full_is_told(tmp_path: Path) -> None:
    listener, waiting = full_listener(tmp_path / "socket")
    with pytest.raises(DaemonUnreachable, match="takes no connections"):
        Client.connect(tmp_path / "socket", timeout=0.05)
    for one in (*waiting, listener):
        one.close()


def test_what_the_catalog_offers(client: Client, supervisor: FakeSupervisor) -> None:
    assert [tool["name"] for tool in client.tools()] == ["echo", "wait"]
    added = client.add_tool(json.dumps(MANIFEST), {"main.py": (b"\0", True), "d/x": (b"", False)})
    assert added["manifest"]["name"] == "new"
    assert supervisor.files["main.py"].data == b"\0"
    assert supervisor.files["main.py"].executable
    assert client.show_tool("new") == added
    assert client.remove_tool("new") == {**added, "quarantine_kept": []}
    assert client.removed_tools() == []
    assert client.status() == {"running": 0}


def test_errors_come_back_as_what_they_were(client: Client) -> None:
    with pytest.raises(UnknownTool) as unknown:
        client.call("nope", {})
    assert (unknown.value.cause, unknown.value.remedy) == ("no such tool", "see the list of tools")
    with pytest.raises(UnknownTool):
        client.show_tool("nope")
    with pytest.raises(ManifestError) as manifest:
        client.add_tool(json.dumps({**MANIFEST, "limits": {"timeout": "5 parsecs"}}))
    assert manifest.value.field == "limits.timeout"
    client.add_tool(json.dumps(MANIFEST))
    with pytest.raises(CatalogError):
        client.add_tool(json.dumps(MANIFEST))
    with pytest.raises(UsageError):
        client.show_tool("")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (AuditError("secret"), AuditError),
        (EngineError("secret", control="seccomp"), EngineError),
        (RuntimeError("secret"), EngineError),
    ],
)
def test_failures_of_the_supervisor_are_named_in_general_terms(
    client: Client, supervisor: FakeSupervisor, raised: Exception, expected: type[Exception]
) -> None:
    supervisor.behaviours["bad"] = raising(raised)
    with pytest.raises(expected) as caught:
        client.call("bad", {})
    assert "secret" not in str(caught.value)
    if isinstance(raised, EngineError):
        assert caught.value.control == "seccomp"  # type: ignore[attr-defined]  # an EngineError


def test_a_refused_call_is_a_result(client: Client, supervisor: FakeSupervisor) -> None:
    async def refuse(request: Request) -> Result:
        return result(request, "rejected", message="no")

    supervisor.behaviours["picky"] = refuse
    assert client.call("picky", {})["status"] == "rejected"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object(), {1, 2}])
def test_arguments_that_are_no_json(client: Client, value: object) -> None:
    with pytest.raises(UsageError, match="no JSON"):
        client.call("echo", {"x": value})
    assert client.call("echo", {})["status"] == "ok"


def test_cancelling_waits_until_the_sandbox_is_dead(
    client: Client, supervisor: FakeSupervisor
) -> None:
    def cancel() -> None:
        supervisor.until_from_thread(lambda: len(supervisor.running) == 1)
        client.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled) as caught:
        client.call("wait", {})
    assert not supervisor.running
    assert len(supervisor.cancelled) == 1
    assert caught.value.exit_status == ExitStatus.CANCELLED == 130
    thread.join()
    assert client.call("echo", {})["status"] == "ok"


def test_a_cancel_that_comes_when_nothing_runs_is_forgotten(client: Client) -> None:
    client.cancel()
    assert client.call("echo", {})["status"] == "ok"


def test_a_result_that_was_faster_than_the_cancel_is_kept(
    client: Client, supervisor: FakeSupervisor
) -> None:
    async def finish(request: Request) -> Result:
        client.cancel()
        return result(request)

    supervisor.behaviours["fast"] = finish
    try:
        assert client.call("fast", {})["status"] == "ok"
    except Cancelled:
        assert len(supervisor.cancelled) == 1


def test_a_timeout_cancels(client: Client, supervisor: FakeSupervisor) -> None:
    with pytest.raises(Cancelled, match=r"no answer within 0\.05 s"):
        client.call("wait", {}, timeout=0.05)
    assert len(supervisor.cancelled) == 1


def test_ctrl_c_cancels_once_and_gives_the_handler_back(
    client: Client, supervisor: FakeSupervisor
) -> None:
    def interrupt() -> None:
        supervisor.until_from_thread(lambda: len(supervisor.running) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Cancelled):
        client.call("wait", {})
    assert len(supervisor.cancelled) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert client.call("echo", {})["status"] == "ok"


def test_a_ctrl_c_before_the_request_is_sent_cancels_it_too(
    client: Client, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = client._request

    def interrupted(*given: Any, **options: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return request(*given, **options)

    monkeypatch.setattr(client, "_request", interrupted)
    with pytest.raises(Cancelled) as caught:
        client.call("wait", {}, timeout=5)
    assert caught.value.cause == "cancelled", "and not for the timeout"
    assert len(supervisor.cancelled) == 1


def test_a_second_ctrl_c_does_not_wait(
    client: Client, supervisor: FakeSupervisor, path: Path
) -> None:
    cancelling = threading.Event()
    forever = threading.Event()

    async def stubborn(request: Request) -> Result:
        import anyio

        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                cancelling.set()
                await anyio.to_thread.run_sync(forever.wait)
            raise
        raise AssertionError

    supervisor.behaviours["stubborn"] = stubborn

    def interrupt() -> None:
        supervisor.until_from_thread(lambda: len(supervisor.running) == 1)
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelling.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            client.call("stubborn", {})
    finally:
        forever.set()
        thread.join()


def test_a_programs_own_handler_of_ctrl_c_is_left_alone(
    client: Client, supervisor: FakeSupervisor
) -> None:
    seen = []

    def own(number: int, frame: Any) -> None:
        seen.append(number)
        client.cancel()

    before = signal.signal(signal.SIGINT, own)
    try:

        def interrupt() -> None:
            supervisor.until_from_thread(lambda: len(supervisor.running) == 1)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(Cancelled):
            client.call("wait", {})
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_leaving_cancels_what_runs(supervisor: FakeSupervisor, path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fumehood.client import Client\n"
        "Client.connect(Path(sys.argv[1])).call('wait', {})"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(connection_module.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", program, str(path)], env=env) as process:
        supervisor.until_from_thread(lambda: len(supervisor.running) == 1)
        process.kill()
    supervisor.until_from_thread(lambda: len(supervisor.cancelled) == 1)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="no supervisor") as caught:
        Client.connect(tmp_path / "nothing")
    assert "fumehood serve" in caught.value.remedy


def test_a_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(DaemonUnreachable, match="has stopped"):
        Client.connect(path)


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="cannot be connected"):
        Client.connect(tmp_path / ("x" * 200))


@pytest.mark.skipif(os.geteuid() != 0, reason="serves as another user")
def test_a_strangers_socket_is_told_nothing(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    with listener:
        child = os.fork()
        if child == 0:  # who listens is whom the kernel names
            os.setresuid(64_331, 64_331, 64_331)
            listener.listen(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(DaemonUnreachable, match="served by UID 64331") as caught:
            Client.connect(path)
        assert "--socket" in caught.value.remedy
        listener.settimeout(5)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="connects as another user")
def test_roots_socket_is_anybodys() -> None:
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        Path(place).chmod(0o755)
        path = Path(place, "s")
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(1)
        child = os.fork()
        if child == 0:
            os.setresuid(64_331, 64_331, 64_331)
            failed = 1
            try:
                Client.connect(path).close()
                failed = 0
            finally:
                os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0


def impostor(path: Path, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """A server that accepts one connection and does what it likes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", DaemonUnreachable),
        (b'{"id":1,', DaemonUnreachable),
        (b"hello\n", ProtocolError),
        (b'{"jsonrpc":"2.0","id":1}\n', ProtocolError),
        (b'{"jsonrpc":"2.0","id":1,"result":5}\n', ProtocolError),
        (b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n', ProtocolError),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}\n', EngineError),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}\n', UsageError),
        (b'[]\n"x"\n{"id":99,"result":{}}\n', DaemonUnreachable),
    ],
)
def test_a_server_that_is_no_supervisor(path: Path, said: bytes, error: type[Exception]) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    thread = impostor(path, answer)
    with Client.connect(path) as client, pytest.raises(error):
        client.call("echo", {})
    thread.join()


def test_a_refusal_is_read_even_when_the_request_could_not_be_sent(path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        data = {"code": "over_quota", "cause": "full", "remedy": "wait", "retry_after": 2.5}
        error = {"code": -32004, "message": "full", "data": data}
        line = json.dumps({"jsonrpc": "2.0", "id": None, "error": error})
        connection.sendall(line.encode() + b"\n")

    thread = impostor(path, answer)
    with Client.connect(path) as client:
        thread.join()
        with pytest.raises(connection_module.errors.OverQuota, match="full") as caught:
            client.call("echo", {"text": "x" * 10_000_000})
        assert caught.value.retry_after == 2.5


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(path: Path) -> None:
    done = threading.Event()
    thread = impostor(path, lambda connection: bool(done.wait(10)) and None)
    try:
        with (
            Client.connect(path, timeout=0.05) as client,
            pytest.raises(DaemonUnreachable, match=r"within 0\.05 s"),
        ):
            client.status()
    finally:
        done.set()
        thread.join()


def test_a_cancel_that_nobody_confirms_is_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CANCEL_SECONDS", 0.05)
    done = threading.Event()
    thread = impostor(path, lambda connection: bool(done.wait(10)) and None)
    try:
        with Client.connect(path) as client, pytest.raises(Cancelled) as caught:
            client.call("echo", {}, timeout=0.01)
        assert "did not confirm" in caught.value.remedy
    finally:
        done.set()
        thread.join()


def test_progress_is_reported(path: Path) -> None:
    seen: list[tuple[float, float | None, str]] = []

    def answer(connection: socket.socket) -> None:
        request = json.loads(connection.recv(65536))
        token = request["params"]["_meta"]["progressToken"]
        for params in ({"progress": 1, "total": 2, "message": "half"}, {"progress": 2.0}, {}):
            note = {"method": "notifications/progress", "params": {"progressToken": token} | params}
            connection.sendall(json.dumps(note).encode() + b"\n")
        meta = {"fumehood/result": {"status": "ok"}}
        line = {"jsonrpc": "2.0", "id": request["id"], "result": {"_meta": meta}}
        connection.sendall(json.dumps(line).encode() + b"\n")

    thread = impostor(path, answer)
    with Client.connect(path) as client:
        client.call("echo", {}, on_progress=lambda *report: seen.append(report))
    thread.join()
    assert seen == [(1.0, 2.0, "half"), (2.0, None, "")]


def test_the_client_needs_nothing_but_the_standard_library() -> None:
    program = (
        "import sys, fumehood.client; "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('mcp', 'pydantic', 'anyio', 'structlog', 'jsonschema', 'yaml', 'asyncio')])"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(connection_module.__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
