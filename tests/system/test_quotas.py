"""What one caller may use, through the front door: no race exceeds it, no kill forgets it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import ledger
from support.hood import Hood, eventually, hood
from support.stranger import GROUP, Stranger

ANN = 64_351
CONNECTIONS = 50
CALLS = 12
"""What the budget allows."""
CONFIG = {
    "socket_group": GROUP,
    "accounts": {"first": 1_954_000_000, "count": 400},
    "callers": {"users": [ANN]},
    "connections": 400,
    "budgets": [{"window": "day", "tools": ["counted"], "invocations": CALLS, "cpu": "10m"}],
    "rates": {"session": "2/h"},
}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hood-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def race(daemon: Hood) -> list[dict[str, Any]]:
    """One call on each of many connections, all at once."""

    def one(_: int) -> dict[str, Any]:
        return daemon.call("counted", {"x": 1})

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return list(threads.map(one, range(CONNECTIONS)))


def test_no_race_and_no_kill_gets_more_than_the_budget(place: Path) -> None:
    with hood(place, config=CONFIG) as daemon:
        daemon.register(None, "counted", command=["cat"])
        daemon.register(None, "free", command=["cat"])
        results = race(daemon)
        assert Counter(r["status"] for r in results) == {
            "ok": CALLS,
            "rejected": CONNECTIONS - CALLS,
        }
        refused = next(r for r in results if r["status"] == "rejected")
        assert (
            f"your budget of {CALLS} invocations in one day has 0 invocations left"
            in (refused["message"])
        )
        assert 0 < refused["retry_after"] <= 86_400
        records = ledger.records(daemon.state)
        on_record = [r for r in records if r["event"] == "invocation.rejected"]
        assert len(on_record) == CONNECTIONS - CALLS, "each attempt is on record"
        assert {record["code"] for record in on_record} == {"over_quota"}
        assert daemon.call("free")["status"] == "ok"
        shown = json.loads(daemon.cli("caller", "show", "--json", check=True).stdout)
        (budget,) = shown["budgets"]
        assert budget["invocations"] == {"used": CALLS, "of": CALLS}
        assert 0 < budget["cpu_seconds"]["used"] < 600
        daemon.process.kill()
        daemon.process.wait(30)
    with hood(place, config=CONFIG) as daemon:
        assert daemon.call("counted", {"x": 1})["status"] == "rejected"
        ann = Stranger(daemon.socket, ANN)
        assert ann.call("counted", {"x": 1})["status"] == "ok"
        assert (
            ann.ask("fumehood/callers/show", who="root")["error"]["data"]["code"] == "unauthorized"
        )
        own = ann.ask("fumehood/callers/show")["result"]["caller"]
        assert own["budgets"][0]["invocations"] == {"used": 1, "of": CALLS}
        sessions(daemon, ann)
        tightened(daemon, ann)


def sessions(daemon: Hood, ann: Stranger) -> None:
    """A session limits itself, is nobody else's, and no way around anything."""
    with daemon.client() as client:
        handle = client.open_session()["session"]
        statuses = [client.call("free", {}, session=handle)["status"] for _ in range(3)]
        assert statuses == ["ok", "ok", "rejected"]
        assert client.call("free", {})["status"] == "ok"
    stolen = ann.ask("fumehood/sessions/close", session=handle)
    assert stolen["error"]["data"]["code"] == "unknown_session"
    ended = [r for r in ledger.records(daemon.state) if r.get("session") and "status" in r]
    assert [record["status"] for record in ended][:2] == ["ok", "ok"]


def tightened(daemon: Hood, ann: Stranger) -> None:
    """Who keeps trying what is refused gets less for a while, and that is on record."""

    def shown() -> dict[str, Any]:
        found = ann.ask("fumehood/callers/show")["result"]["caller"]
        assert isinstance(found, dict)
        return found

    def tried() -> bool:
        ann.call("no-such-tool")
        return bool(shown()["conduct"]["level"])

    before = shown()["at_once"]["of"]
    eventually(tried, 120, "the caller is tightened")
    assert shown()["at_once"]["of"] < before
    record = next(r for r in ledger.records(daemon.state) if r["event"] == "caller.tightened")
    assert record["principal"] == f"uid:{ANN}"
    signs = record["signs"]
    assert signs["rejected"] + signs.get("guessed", 0) >= 20, "a foreign session counts as well"
    assert ann.call("free", {})["status"] == "ok"
