"""The benchmark's own promises that need no benchmark: it starts, and its page holds a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench import document, report
from bench.section import ROUNDS, Scale
from bench.targets import Verdict

ROOT = Path(__file__).resolve().parents[2]


def test_it_starts_with_the_standard_library_alone() -> None:
    """Its environment holds what it compares with, and nothing that Fumehood needs."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import bench.__main__"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)


def test_the_page_keeps_its_words_and_gets_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{document.BEGIN}\nan old run\n{document.END}\nafter\n")
    for name in ("LATEST", "TRANSCRIPT"):
        monkeypatch.setattr(document, name, tmp_path / name)
    monkeypatch.setattr(document, "RESULTS", tmp_path)
    monkeypatch.setattr(document, "PAGE", page)
    monkeypatch.setattr(document, "FOLDER", tmp_path / "benchmarks")
    assert document.main() == 1, "there is no run yet"
    verdicts = [
        Verdict("echo", most=0.35, measured=0.7, bound="two records on disk"),
        Verdict("memory", most=120, measured=76.2, unit="MB", bound="nothing"),
    ]
    run = {"rounds": 60, "seconds": 700.4, "targets": [it.to_json() for it in verdicts]}
    (tmp_path / "LATEST").write_text(json.dumps(run))
    (tmp_path / "TRANSCRIPT").write_text("the tables\n")
    (tmp_path / "latency.svg").write_text("<svg/>")
    assert document.main() == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "an old run" not in text
    assert "make bench ROUNDS=60" in text
    assert "the tables" in text
    assert "| echo | ≤ 0.35 | 0.7 | **missed** | two records on disk |" in text
    assert "| memory | ≤ 120 MB | 76.2 MB | met |  |" in text
    assert "(benchmarks/latency.svg)" in text
    assert (tmp_path / "benchmarks/run.json").exists()


def test_a_target_that_is_missed_says_by_how_much() -> None:
    missed = Verdict("echo", most=0.35, measured=0.7)
    assert missed.met is False
    assert "2.0 times the target" in missed.line()
    assert "not measured" in Verdict("echo", most=0.35).line()
    assert Verdict("rate", least=0.6, measured=0.7).met is True


def test_fewer_rounds_measure_less_of_everything() -> None:
    assert Scale(ROUNDS).of(30) == 30
    assert Scale(ROUNDS // 10).of(30) == 3
    assert Scale(1).of(30, 2) == 2
    assert Scale(1).left > 0
    assert report.table("t", ["a", "b"], [["x", "1"]]).split()[:3] == ["t", "a", "b"]
