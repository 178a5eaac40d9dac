"""What is stopped stays stopped, and what cannot be read stops everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing

from fumehood.errors import Stopped, Unavailable, UsageError
from fumehood.supervisor.stops import Kind, Stops


def refusal(stops: Stops, tool: str, uid: int) -> Stopped | None:
    try:
        stops.check(tool, uid)
    except Stopped as error:
        return error
    return None


@pytest.mark.parametrize(
    ("kind", "name", "hit"), [("tool", "echo", 2), ("caller", "7", 2), ("all", "", 4)]
)
def test_a_stop_holds_for_what_it_names_and_after_a_restart(
    tmp_path: Path, kind: Kind, name: str, hit: int
) -> None:
    Stops(tmp_path / "stops").add(kind, name, by="uid 0", reason="why")
    stops = Stops(tmp_path / "stops")
    refused = [refusal(stops, tool, uid) for tool in ("echo", "other") for uid in (7, 8)]
    assert len([error for error in refused if error]) == hit
    for error in filter(None, refused):
        assert (error.detail, "why" in str(error)) == ("why", False)
    assert [stop.reason for stop in stops.listed()] == ["why"]
    stops.remove(kind, name)
    Stops(tmp_path / "stops").check("echo", 7)
    with pytest.raises(UsageError, match="is not stopped"):
        stops.remove(kind, name)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def widen(path: Path) -> None:
    path.chmod(0o666)


def rename(path: Path) -> None:
    path.write_text('[{"kind": "everything"}]')


@pytest.mark.parametrize("harm", [cut, widen, rename])
def test_a_list_that_cannot_be_read_stops_everything(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    Stops(tmp_path / "stops").add("tool", "echo", by="uid 0", reason="")
    harm(tmp_path / "stops")
    with structlog.testing.capture_logs() as logs:
        stops = Stops(tmp_path / "stops")
    assert logs[0]["log_level"] == "error"
    with pytest.raises(Stopped):
        stops.check("other", 1)
    stops.remove("all", "")
    stops.check("other", 1)


def test_a_full_disk_stops_at_once_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    stops = Stops(tmp_path / "stops")
    with monkeypatch.context() as patch:
        patch.setattr("fumehood.supervisor.stops.write_private", full)
        with pytest.raises(Unavailable, match="until a restart"):
            stops.add("tool", "echo", by="uid 0", reason="")
        with pytest.raises(Stopped):
            stops.check("echo", 1)
        with pytest.raises(Unavailable):
            stops.remove("tool", "echo")
    with pytest.raises(Stopped):
        stops.check("echo", 1)
    stops.remove("tool", "echo")
    stops.check("echo", 1)


def test_everything_can_be_stopped_when_nothing_more_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fumehood.supervisor.stops.MAX_STOPS", 1)
    stops = Stops(tmp_path / "stops")
    stops.add("tool", "echo", by="uid 0", reason="")
    stops.add("tool", "echo", by="uid 0", reason="again")
    with pytest.raises(UsageError, match="1 stops are in force"):
        stops.add("tool", "other", by="uid 0", reason="")
    stops.add("all", "", by="uid 0", reason="")
    assert refusal(Stops(tmp_path / "stops"), "other", 7) is not None
