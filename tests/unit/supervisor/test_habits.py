"""What tools usually take outlives a restart, bounded, and whatever stands in its files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fumehood.model.outcome import Outcome, Usage
from fumehood.supervisor import habits as module
from fumehood.supervisor.habits import Habits

DIGEST = "sha384:" + "ab" * 48


def outcome(wall: float, status: str = "ok") -> Outcome:
    return Outcome(status, 0, None, None, Usage(wall), b"", b"", False)  # type: ignore[arg-type]


def opened(place: Path) -> Habits:
    return Habits(place / "behaviour", least=20, deviations=8)


@pytest.fixture
def habits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Habits:
    monkeypatch.setattr(Habits, "_save_later", lambda _: None)  # no loop here; `close` saves
    return opened(tmp_path)


def teach(habits: Habits, digest: str = DIGEST, count: int = 20, *, ahead: bool = False) -> None:
    for _ in range(count):
        assert habits.notices(digest, outcome(0.1), ahead=ahead) == ()


def rules(habits: Habits, digest: str = DIGEST, *, ahead: bool = False) -> list[str]:
    return [notice.rule for notice in habits.notices(digest, outcome(60.0), ahead=ahead)]


def test_it_is_known_again_after_a_restart(habits: Habits, tmp_path: Path) -> None:
    teach(habits)
    habits.close()
    again = opened(tmp_path)
    assert rules(again) == ["unusual-duration"]
    assert again.told(DIGEST) == ("usual for 21 calls: duration 0.1 s, output 0 bytes",)


def test_versions_and_ways_of_starting_are_kept_apart(habits: Habits) -> None:
    teach(habits)
    assert rules(habits, ahead=True) == []
    assert rules(habits, "sha384:" + "cd" * 48) == []
    assert rules(habits) == ["unusual-duration"]


@pytest.mark.parametrize("status", ["cancelled", "engine_error"])
def test_what_is_not_the_tools_doing_is_neither_judged_nor_learnt(
    habits: Habits, status: str
) -> None:
    teach(habits)
    assert habits.notices(DIGEST, outcome(60.0, status), ahead=False) == ()
    assert habits.told(DIGEST)[0].startswith("usual for 20 calls")


def test_a_timeout_is_judged_and_not_learnt(habits: Habits) -> None:
    teach(habits)
    assert habits.notices(DIGEST, outcome(60.0, "timeout"), ahead=False) != ()
    assert habits.told(DIGEST)[0].startswith("usual for 20 calls")


def test_versions_are_bounded_in_memory_and_on_disk(
    habits: Habits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VERSIONS", 3)
    for number in range(6):
        teach(habits, f"sha384:{number}")
        habits.close()
    files = sorted(os.listdir(tmp_path / "behaviour"))
    assert files == ["3.json", "4.json", "5.json"]
    assert max(path.stat().st_size for path in (tmp_path / "behaviour").iterdir()) < 20_000
    monkeypatch.setattr(module, "VERSIONS", 1)
    opened(tmp_path)
    assert len(os.listdir(tmp_path / "behaviour")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"format": 2, "values": {}}', '{"format": 1, "values": {"evil": [1]}}',
        '{"format": 1, "values": {"cpu": [-1]}}', '{"format": 1, "values": {"cpu": [NaN]}}',
        '{"format": 1, "values": {"cpu": ["x"]}}', '{"format": 1, "values": {"cpu": [true]}}',
        json.dumps({"format": 1, "values": {"cpu": [1] * 65}}), "[" * 100_000,
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_begun_anew(habits: Habits, tmp_path: Path, text: str) -> None:
    path = tmp_path / "behaviour" / f"{'ab' * 48}.json"
    path.write_text(text)
    teach(habits)
    habits.close()
    assert json.loads(path.read_text())["values"]["duration"] == [0.1] * 20


def test_a_link_is_not_followed(habits: Habits, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"format": 1, "values": {"duration": [5, 5, 5]}}')
    path = tmp_path / "behaviour" / f"{'ab' * 48}.json"
    path.symlink_to(secret)
    assert habits.told(DIGEST) == ()
    teach(habits)
    habits.close()
    assert not path.is_symlink()
    assert "[5, 5, 5]" in secret.read_text()


def test_a_disk_that_is_full_costs_the_learning_only(habits: Habits, tmp_path: Path) -> None:
    teach(habits)
    (tmp_path / "behaviour").rmdir()  # as good as a full disk: nothing can be written
    habits.close()
    assert rules(habits) == ["unusual-duration"]
