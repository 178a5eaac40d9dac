"""What runs can be seen, followed, looked into and cancelled, by who may and by nobody else."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client as OfficialClient
from mcp_types import CallToolResult

from fumehood.client import Client
from fumehood.errors import Cancelled, FumehoodError, UnknownInvocation
from fumehood.model.ids import uuid7
from support.docker import Engine
from support.gateway import mcp_transport, peer
from support.hood import Hood, command, eventually, hood
from support.scan import github_token
from support.stranger import GROUP, Stranger

FIRST_ACCOUNT = 1_952_000_000
ANN, BEN = 64_331, 64_332
MIB = 1 << 20

WAIT = """
import sys, time
print("::progress 1/4 waiting", file=sys.stderr, flush=True)
print("I wait", flush=True)
time.sleep(60)
"""
BUSY = """
import os, sys, time
held = bytearray(os.urandom(1 << 20)) * 24
if os.fork() == 0:
    time.sleep(60)
print("::progress 0.5", file=sys.stderr, flush=True)
while True:
    held[0] ^= 1
"""
STEPS = """
import json, sys, time
asked = json.load(sys.stdin)
for number, message in enumerate(asked["messages"], 1):
    print(f"::progress {number}/{len(asked['messages'])} {message}", file=sys.stderr, flush=True)
    time.sleep(0.3)
"""
WRITE = """
import json, sys, time
asked = json.load(sys.stdin)
for part in asked["parts"]:
    sys.stdout.write(part)
    sys.stdout.flush()
    time.sleep(0.4)
"""
FLOOD = """
import sys, time
until = time.monotonic() + 1.5
number = 0
while time.monotonic() < until:
    lines = "".join(f"::progress {number + i}/? {'x' * 900}\\n" for i in range(50))
    number += 50
    sys.stderr.write(lines)
    sys.stderr.flush()
"""
PAPER = """
import sys, time
for number in range(100000):
    print(f"page {number} " + "." * 400)
"""
TELL = """
import json, sys, time
asked = json.load(sys.stdin)
sys.stderr.write(asked["text"])
sys.stderr.flush()
print("told", flush=True)
time.sleep(asked["seconds"])
"""
TOOLS = {"wait": WAIT, "busy": BUSY, "steps": STEPS, "write": WRITE, "flood": FLOOD,
         "paper": PAPER, "tell": TELL}  # fmt: skip
CONFIG = {
    "accounts": {"first": FIRST_ACCOUNT, "count": 100},
    "socket_group": GROUP,
    "callers": {"users": [ANN, BEN]},
}


def register(running: Hood) -> None:
    for name, code in TOOLS.items():
        running.register(
            None,
            name,
            command=["/usr/bin/python3", "/tool/main.py"],
            limits={"timeout": "60s", "output": "16MiB"},
            files={"main.py": code},
        )
    running.register(
        None,
        "structured",
        command=["/usr/bin/python3", "/tool/main.py"],
        output_schema={"type": "object"},
        files={"main.py": WRITE},
    )


@pytest.fixture(scope="module")
def live() -> Iterator[Hood]:
    with hood(config=CONFIG) as running:
        register(running)
        yield running


class Call:
    """A call in a thread of its own."""

    def __init__(self, running: Hood, tool: str, arguments: dict[str, object]) -> None:
        self.hood = running
        self.tool = tool
        self.progress: list[tuple[float, float | None, str]] = []
        self.output: list[tuple[float, str]] = []
        self.end: dict[str, Any] | FumehoodError | None = None
        self.client = running.client()
        self._arguments = arguments
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.end = self.client.call(
                self.tool,
                self._arguments,
                on_progress=lambda *said: self.progress.append(said),
                on_output=lambda text: self.output.append((time.monotonic(), text)),
            )
        except FumehoodError as error:
            self.end = error

    def seen(self, ready: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """How `fumehood ps` shows it, once it is `ready`."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [i for i in listed(self.hood) if i["tool"] == self.tool and ready(i)]
            return bool(found)

        eventually(look, 20, f"{self.tool} is seen")
        return found[0]

    def join(self) -> dict[str, Any] | FumehoodError:
        self._thread.join(30)
        assert self.end is not None, "the caller waits in silence"
        self.client.close()
        return self.end

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.output)


@pytest.fixture
def call(live: Hood) -> Iterator[Callable[..., Call]]:
    """Makes calls; what still runs at the end is cancelled."""
    made: list[Call] = []

    def make(tool: str, **arguments: object) -> Call:
        made.append(Call(live, tool, arguments))
        return made[-1]

    yield make
    for one in made:
        if one.end is None:
            one.client.cancel()
            one.join()


def listed(running: Hood) -> list[dict[str, Any]]:
    with running.client() as client:
        found = client.invocations()["invocations"]
    assert isinstance(found, list)
    return found


def records(running: Hood, invocation: str) -> list[dict[str, Any]]:
    with running.client() as client:
        found = client.logs(invocation)["records"]
    assert isinstance(found, list)
    return found


# --- seen


def test_what_runs_is_listed_with_what_it_uses(live: Hood, call: Callable[..., Call]) -> None:
    running = call("busy")
    item = running.seen(lambda i: (i["memory_bytes"] or 0) > 20 * MIB and i["cpu_seconds"] > 0.2)
    assert item["state"] == "running"
    assert item["version"] == "1.0.0"
    assert item["caller"]["uid"] == os.getuid()
    assert item["memory_bytes"] < item["memory_limit_bytes"] == 64 * MIB
    assert item["pids"] >= 2
    assert item["progress"] == {"value": 0.5, "total": 1.0, "message": ""}
    assert item["age_seconds"] >= item["running_seconds"] > 0
    later = running.seen(lambda i: i["cpu_seconds"] > item["cpu_seconds"] + 0.1)
    assert later["invocation"] == item["invocation"]
    with live.client() as client:
        host = client.invocations()["host"]
    assert host["memory_available_bytes"] < host["memory_total_bytes"]


def test_a_call_that_waits_is_listed_as_waiting() -> None:
    with hood(config={**CONFIG, "sandboxes": 1}) as running:
        register(running)
        first, second = Call(running, "wait", {}), Call(running, "wait", {})
        eventually(lambda: len(listed(running)) == 2, 20, "both are seen")
        waits = [item for item in listed(running) if item["state"] == "waiting"]
        assert len(waits) == 1
        assert waits[0]["memory_bytes"] is None
        with running.client() as client:
            stopped = client.cancel_invocation(waits[0]["invocation"])
        assert stopped["status"] == "cancelled"
        assert [r["event"] for r in records(running, waits[0]["invocation"])] == [
            "invocation.cancelled"
        ]
        (left,) = listed(running)
        with running.client() as client:
            client.cancel_invocation(left["invocation"])
        assert isinstance(first.join(), Cancelled)
        assert isinstance(second.join(), Cancelled)


def test_ps_and_top_print_plain_text_in_a_pipe(live: Hood, call: Callable[..., Call]) -> None:
    item = call("wait").seen(lambda i: i["progress"] is not None)
    for done in (live.cli("ps"), live.cli("top"), live.cli("top", "-n", "2", "-d", "0.2")):
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert item["invocation"] in done.stdout
        assert "25 % waiting" in done.stdout
    assert json.loads(live.cli("ps", "--json").stdout)["invocations"][0]["tool"] == "wait"


def test_top_gives_a_terminal_back_as_it_was(live: Hood, call: Callable[..., Call]) -> None:
    call("wait").seen()
    words = " ".join(shlex.quote(word) for word in command("top", "-n", "2", "-d", "0.2"))
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "FUMEHOOD_SOCKET": str(live.socket)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("\x1b[?1049h\x1b[?25l")
    assert done.stdout.endswith("\x1b[?25h\x1b[?1049l")


def test_a_container_is_seen_followed_and_cancelled_alike(docker_engine: Engine) -> None:
    engines = {"engines": ["docker"], "docker": {"socket": docker_engine.socket}}
    with hood(config={**CONFIG, **engines}) as running:
        register(running)
        busy = Call(running, "busy", {})
        item = busy.seen(lambda i: (i["memory_bytes"] or 0) > 20 * MIB and i["cpu_seconds"] > 0.2)
        assert item["pids"] >= 2
        assert item["progress"] == {"value": 0.5, "total": 1.0, "message": ""}
        assert running.cli("cancel", item["invocation"]).returncode == 0
        assert isinstance(busy.join(), Cancelled)
        dead(running, item["invocation"], f"uid {os.getuid()}")
        written = Call(running, "write", {"parts": ["one\n", "two\n", "end"]})
        assert isinstance(written.join(), dict)
        assert written.text == "one\ntwo\n"


# --- who may


def test_a_caller_knows_of_its_own_and_an_operator_of_all(live: Hood) -> None:
    ann, ben = Stranger(live.socket, ANN), Stranger(live.socket, BEN)
    with ann.calling("wait") as process:
        eventually(lambda: bool(listed(live)), 20, "the call runs")
        (item,) = listed(live)
        name = item["invocation"]
        assert item["caller"]["uid"] == ANN
        own = ann.ask("fumehood/invocations/list")["result"]
        assert [i["invocation"] for i in own["invocations"]] == [name]
        assert own["host"] is None
        assert ben.ask("fumehood/invocations/list")["result"]["invocations"] == []
        for method in ("fumehood/invocations/logs", "fumehood/invocations/cancel"):
            other = ben.ask(method, invocation=name)
            assert other == ben.ask(method, invocation=uuid7())
            assert other["error"]["data"]["code"] == "unknown_invocation"
        logs = ann.ask("fumehood/invocations/logs", invocation=name)["result"]["logs"]
        assert "::progress" in logs["stderr"]
        assert logs["records"] is None, "records are for operators"
        assert live.cli("logs", name).returncode == 0
        stopped = ann.ask("fumehood/invocations/cancel", invocation=name)["result"]["stopped"]
        assert stopped == {"invocation": name, "status": "cancelled"}
        answer = json.loads(process.stdout.readline() if process.stdout else "")
    assert answer["error"]["data"]["code"] == "cancelled"
    assert records(live, name)[-1]["cancelled_by"] == f"uid {ANN}"
    after = ben.ask("fumehood/invocations/logs", invocation=name)
    assert after == ben.ask("fumehood/invocations/logs", invocation=uuid7())
    assert "result" in ann.ask("fumehood/invocations/logs", invocation=name)


@pytest.mark.parametrize("name", ["", "x" * 65, 5, "../../etc", "0" * 36])
def test_what_is_no_invocation_is_unknown(live: Hood, name: object) -> None:
    for method in ("fumehood/invocations/logs", "fumehood/invocations/cancel"):
        with live.client() as client, pytest.raises(FumehoodError):
            client._request(method, {"invocation": name}, timeout=10)


# --- cancelled, by whom


def dead(running: Hood, invocation: str, by: str) -> None:
    """Nothing of it lives, and its one terminal record says who ended it."""
    eventually(lambda: not any(i["invocation"] == invocation for i in listed(running)), 20, "gone")
    end = records(running, invocation)
    assert [r["event"] for r in end] == ["invocation.launched", "invocation.ended"]
    assert (end[-1]["status"], end[-1]["cancelled_by"]) == ("cancelled", by)


def test_by_its_caller(live: Hood, call: Callable[..., Call]) -> None:
    running = call("wait")
    name = running.seen(lambda i: i["stdout_bytes"] > 0)["invocation"]
    running.client.cancel()
    assert isinstance(running.join(), Cancelled)
    dead(live, name, "its caller")


def test_by_its_caller_going_away(live: Hood) -> None:
    async def leave() -> str:
        async with peer(live.socket) as client:
            await client.call(1, "wait")
            eventually(lambda: bool(listed(live)), 20, "the call runs")
            return str(listed(live)[0]["invocation"])

    dead(live, anyio.run(leave), "its caller")


def test_by_an_operator(live: Hood, call: Callable[..., Call]) -> None:
    running = call("wait")
    name = running.seen(lambda i: i["stdout_bytes"] > 0)["invocation"]
    done = live.cli("cancel", name)
    assert (done.returncode, done.stdout) == (0, f"{name}  cancelled\n")
    end = running.join()
    assert isinstance(end, Cancelled)
    assert end.cause == "you cancelled the invocation"
    dead(live, name, f"uid {os.getuid()}")
    again = live.cli("cancel", name)
    assert again.returncode == 3
    assert "no such invocation" in again.stderr


def test_by_everybody_at_once(live: Hood, call: Callable[..., Call]) -> None:
    running = call("wait")
    name = running.seen(lambda i: i["stdout_bytes"] > 0)["invocation"]
    ends: list[object] = []

    def cancel() -> None:
        with live.client() as client:
            try:
                ends.append(client.cancel_invocation(name)["status"])
            except UnknownInvocation:
                ends.append("cancelled")  # it was quicker

    cancelling = [threading.Thread(target=cancel) for _ in range(8)]
    for thread in cancelling:
        thread.start()
    running.client.cancel()
    for thread in cancelling:
        thread.join(30)
    assert ends == ["cancelled"] * 8
    assert isinstance(running.join(), Cancelled)
    assert [r["event"] for r in records(live, name)] == ["invocation.launched", "invocation.ended"]


def test_by_shutdown() -> None:
    with hood(config={**CONFIG, "shutdown": {"grace": "1s"}}) as running:
        register(running)
        waiting = Call(running, "wait", {})
        name = waiting.seen(lambda i: i["stdout_bytes"] > 0)["invocation"]
        running.stop()
        assert isinstance(waiting.join(), FumehoodError)
        lines = [
            json.loads(line)
            for segment in sorted((running.state / "audit").glob("*.jsonl"))
            for line in segment.read_text().splitlines()
        ]
    (end,) = [r for r in lines if r.get("invocation") == name and "status" in r]
    assert (end["status"], end["cancelled_by"]) == ("cancelled", "shutdown")


# --- progress


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
def test_the_official_client_hears_progress_in_both_eras(live: Hood, mode: Any) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def run() -> CallToolResult:
        async with OfficialClient(mcp_transport(live.socket), mode=mode) as client:
            messages = ["one", "two", "three", "four"]
            return await client.call_tool("steps", {"messages": messages}, progress_callback=hear)

    result = anyio.run(run)
    assert not result.is_error
    values = [value for value, _, _ in heard]
    assert len(values) >= 2
    assert values == sorted(set(values))
    assert {total for _, total, _ in heard} == {4.0}
    assert {message for _, _, message in heard} <= {"one", "two", "three", "four"}


def test_messages_are_scanned(live: Hood, call: Callable[..., Call]) -> None:
    token = github_token()
    running = call("steps", messages=[f"with {token} in it", "\x1b]52;c;eA==\x07", "plain"])
    running.seen(lambda i: "[redacted:" in (i["progress"] or {"message": ""})["message"])
    running.join()
    said = " ".join(message for _, _, message in running.progress)
    assert "[redacted:" in said
    assert "\x1b" not in said
    assert token not in said


def test_a_flood_of_progress_is_thinned(live: Hood, call: Callable[..., Call]) -> None:
    running = call("flood")
    result = running.join()
    assert isinstance(result, dict)
    assert result["usage"]["stderr_bytes"] > 100_000
    assert 1 <= len(running.progress) <= result["usage"]["wall_seconds"] * 5 + 2
    assert all(len(message) <= 200 for _, _, message in running.progress)


# --- followed


def test_output_is_shown_while_it_is_written(live: Hood, call: Callable[..., Call]) -> None:
    running = call("write", parts=["one\n", "tw", "o\n", "three\n", "end"])
    result = running.join()
    assert isinstance(result, dict)
    assert running.text == "one\ntwo\nthree\n"
    assert result["content"][0]["text"] == "one\ntwo\nthree\nend"
    times = [when for when, _ in running.output]
    assert times[-1] - times[0] > 0.3, "it came in parts"


def test_a_secret_split_across_writes_is_not_shown(live: Hood, call: Callable[..., Call]) -> None:
    token = github_token()
    running = call("write", parts=["key: ", token[:9], token[9:20], token[20:], " x\n", "rest\n"])
    result = running.join()
    assert isinstance(result, dict)
    assert running.text.startswith("key: [redacted:")
    assert not any(token[at : at + 8] in running.text for at in range(len(token) - 8))
    assert result["content"][0]["text"].startswith(running.text)


def test_a_structured_answer_is_not_shown_in_parts(live: Hood, call: Callable[..., Call]) -> None:
    running = call("structured", parts=['{"a":\n', "1\n", "}\n"])
    result = running.join()
    assert isinstance(result, dict)
    assert result["structured"] == {"a": 1}
    assert running.text == ""


def test_the_command_line_follows(live: Hood) -> None:
    arguments = json.dumps({"parts": ["one\n", "two\n", "end"]})
    done = live.cli("call", "write", arguments, "--follow")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\nend")
    assert done.stderr == ""
    assert live.cli("call", "write", arguments, "--follow", "--json").returncode == 2


def test_what_the_end_changes_is_told_and_shown_again(live: Hood) -> None:
    # The escape at the end has the backslashes before it doubled, or they would read like it.
    parts = ["first\n", "C:\\x41\n", "\x1b[0m\n"]
    done = live.cli("call", "write", json.dumps({"parts": parts}), "--follow")
    assert done.returncode == 0
    assert done.stdout == "first\nC:\\x41\n\\x1b[0m\n" + "C:\\\\x41\n\\x1b[0m\n"
    assert "from line 2 on" in done.stderr


def test_a_peer_that_does_not_read_holds_nobody_up(live: Hood) -> None:
    async def run() -> dict[str, Any]:
        async with peer(live.socket) as client:
            meta = {"progressToken": 1, "fumehood/follow": True}
            await client.request(1, "tools/call", meta=meta, name="paper", arguments={})
            eventually(lambda: bool(listed(live)), 20, "it runs")
            eventually(lambda: not listed(live), 60, "it ends, though nobody reads")
            other = await anyio.to_thread.run_sync(live.call, "write", {"parts": ["x"]})
            assert other["status"] == "ok"
            while True:
                message = await client.next()
                if message.get("id") == 1:
                    return message

    answer = anyio.run(run)
    assert answer["result"]["_meta"]["fumehood/result"]["status"] == "output_exceeded"


# --- looked into


def test_logs_show_stderr_while_it_runs_and_for_a_while_after(
    live: Hood, call: Callable[..., Call]
) -> None:
    token = github_token()
    text = f"marker-{uuid7()}\nwith {token}\n\x1b[31mred\nnot ended"
    running = call("tell", text=text, seconds=3)
    name = running.seen(lambda i: i["stdout_bytes"] > 0)["invocation"]
    with live.client() as client:
        now = client.logs(name)
    assert now["invocation"]["state"] == "running"
    assert now["stderr"].startswith(text.partition("\n")[0] + "\nwith [redacted:")
    assert "\\x1b[31mred\n" in now["stderr"]
    assert "not ended" not in now["stderr"]
    running.join()
    done = live.cli("logs", name)
    assert done.returncode == 0
    assert done.stdout.endswith("not ended")
    assert "state: ok" in done.stderr
    assert "invocation.launched" in done.stderr
    assert "invocation.ended" in done.stderr
    assert token not in done.stdout + done.stderr + now["stderr"]
    marker = text.partition("\n")[0].encode()
    on_disk = [path for path in live.state.rglob("*") if path.is_file()]
    assert on_disk
    assert not [path for path in on_disk if marker in path.read_bytes()]


def test_records_outlive_the_daemon() -> None:
    with tempfile.TemporaryDirectory(prefix="hood-") as name:  # tmp_path is too long for a socket
        _records_outlive(Path(name))


def _records_outlive(place: Path) -> None:
    place.chmod(0o755)
    with hood(place) as first:
        register(first)
        result = first.call("write", {"parts": ["x"]})
    with hood(place) as second, second.client() as client:
        logs = client.logs(result["invocation"])
    assert logs["stderr"] is None
    assert logs["invocation"]["state"] == "ok"
    assert [record["event"] for record in logs["records"]] == [
        "invocation.launched", "invocation.ended",
    ]  # fmt: skip


def test_a_client_may_leave_while_it_waits_for_a_cancel(
    live: Hood, call: Callable[..., Call]
) -> None:
    running = call("wait")
    name = running.seen(lambda i: i["stdout_bytes"] > 0)["invocation"]
    impatient = Client.connect(live.socket)
    impatient._send({"id": 1, "method": "fumehood/invocations/cancel",
                     "params": {"invocation": name}})  # fmt: skip
    impatient._exchange(time.monotonic() + 1)
    impatient.close()
    assert isinstance(running.join(), Cancelled)
