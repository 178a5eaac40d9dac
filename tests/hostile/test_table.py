"""docs/engines.md says what the suites of this run found, and the doctor says the same."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from fumehood.engines.promises import PROMISES
from hostile.cases import CASES
from hostile.expected import ALL
from support import table
from support.docker import Engine
from support.engines import TARGETS, configuration
from support.hood import command
from support.promises import ROWS
from support.table import GROUPS, committed


def test_the_table_claims_nothing_that_this_run_did_not_find(
    pytestconfig: pytest.Config,
) -> None:
    """Of a run of some tests, what those found; of a whole one, everything."""
    results, cells = table.found(pytestconfig), committed()
    whole = Counter((case.group, target.name) for target, case in ALL)
    for (row, name), outcomes in results.items():
        if row in GROUPS and len(outcomes) != whole[row, name]:
            continue
        target = next(target for target in TARGETS if target.name == name)
        assert cells[row, name] == table.cell(results, row, target), (row, name)


def test_the_table_has_every_promise_and_nothing_unproven() -> None:
    cells = committed()
    rows = [*(promise.name for promise in PROMISES), *GROUPS]
    assert set(cells) == {(row, target.name) for row in rows for target in TARGETS}
    for target in TARGETS:
        for promise in PROMISES:
            gap = target.gap(promise)
            assert cells[promise.name, target.name] == (f"accept `{gap}`" if gap else "kept")
    for (group, name), count in Counter((case.group, target.name) for target, case in ALL).items():
        assert cells[group, name] == f"{count} of {count}"


def test_the_doctor_agrees_with_the_table(docker_engine: Engine, tmp_path: Path) -> None:
    """One private daemon, a probe in a sandbox of each engine."""
    wanted = configuration(docker_engine.socket)
    wanted["accounts"] = {"first": 1_940_000_000, "count": 300}
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(wanted))
    done = subprocess.run(
        command("doctor", "--json", "--config", str(file)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), report
    assert [engine["name"] for engine in report["engines"]] == [t.name for t in TARGETS]
    cells = committed()
    for target, engine in zip(TARGETS, report["engines"], strict=True):
        assert (engine["state"], engine["used"]) == ("available", True)
        assert engine["version"]
        assert len(engine["promises"]) > 10
        assert not target.runtime or f", {target.runtime} " in engine["version"]
        for name, verdict in engine["promises"].items():
            gap = target.gap(ROWS[name])
            row = (f"accept `{gap}`", "not enforced") if gap else ("kept", "kept")
            assert (cells[name, target.name], verdict) == row, (target.name, name)


def test_the_list_of_what_is_tried_names_every_case() -> None:
    text = (Path(__file__).parent / "README.md").read_text()
    cells = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
    named = {word for cell in cells for word in re.findall(r"`([a-z0-9-]+)`", cell)}
    assert named - {"fresh"} == {case.name for case in CASES}
