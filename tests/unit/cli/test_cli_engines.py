"""The doctor's engines side by side: what counts as kept, and what keeps an engine from use."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fumehood.cli import engines
from fumehood.cli.doctor import PROBE
from fumehood.cli.engines import ATTEMPTS, UNATTACKED, Report, judged, side_by_side
from fumehood.cli.pack import load
from fumehood.config import Config, DockerEngine
from fumehood.engines import docker_api
from fumehood.engines.docker_api import Facts
from fumehood.engines.promises import NAMES, PROMISES, UNSEEN, gap
from fumehood.errors import EngineError

PLAIN = Report("bubblewrap", "bubblewrap", "", used=True, state="available")
LACKING = tuple(f"runsc.{control}" for control in sorted(UNSEEN))
HIDING = Report("docker (runsc)", "docker", "runsc", True, "available", accepted=LACKING)
FACTS = Facts("1.41", "20.10.24", "1.6.20", "1.1.5+ds1-1+deb12u1", "cgroupfs", ("runc", "runsc"),
              remapped=False, rootless=False, seccomp=True)  # fmt: skip


def said(*attempts: tuple[str, bool, str], **fields: Any) -> dict[str, Any]:
    """What a whole probe says: everything was refused but these attempts."""
    told = {name: (False, "EPERM") for name in ATTEMPTS if name != "use another account"}
    told |= {name: (out, why) for name, out, why in attempts}
    found = [{"name": name, "escaped": out, "detail": why} for name, (out, why) in told.items()]
    return {
        "status": "ok",
        "structured": {"uid": 1_900_000_000, "attempts": found},
        "enforced": {"uid": 1_900_000_000, "not_enforced": []},
        **fields,
    }


def test_a_refused_attempt_keeps_a_promise_and_an_escape_breaks_it() -> None:
    result = said(("mount", False, "Operation not permitted"), ("open sockets", True, "['IPv4']"))
    report = judged(PLAIN, result)
    kept = dict.fromkeys(ATTEMPTS.values(), "kept")
    assert report.promises == kept | {"sockets": "broken"}
    assert not report.sound
    details = {attempt.name: attempt.detail for attempt in report.attempts}
    assert "Operation not permitted" in details["mount"]


def test_one_escape_outweighs_what_was_refused() -> None:
    report = judged(PLAIN, said(("mount", True, "mounted"), ("make a device", False, "EPERM")))
    assert report.promises["kernel"] == "broken"


def test_what_a_runtime_cannot_keep_is_not_enforced_only_when_that_was_accepted() -> None:
    result = said(("execute from scratch space", True, "executed"))
    assert judged(HIDING, result).promises["noexec"] == "not enforced"
    assert judged(HIDING, result).sound
    assert judged(replace(HIDING, accepted=()), result).promises["noexec"] == "broken"
    assert judged(PLAIN, result).promises["noexec"] == "broken"


def test_a_refusal_proves_nothing_where_nobody_promises_it() -> None:
    report = judged(HIDING, said())
    assert report.sound
    for promise in PROMISES:
        if promise.name in report.promises:
            gone = promise.control and f"runsc.{promise.control}" in LACKING
            assert report.promises[promise.name] == ("not enforced" if gone else "kept")


def test_a_runtime_with_a_gap_must_keep_all_other_promises() -> None:
    assert not judged(HIDING, said(("read /etc/shadow", True, "900 characters"))).sound


@pytest.mark.parametrize(("inside", "promised"), [(5, 1_900_000_000), (0, 0)])
def test_another_account_than_promised_is_broken(inside: int, promised: int) -> None:
    result = said(enforced={"uid": promised})
    result["structured"]["uid"] = inside
    assert judged(PLAIN, result).promises["account"] == "broken"
    assert not judged(PLAIN, result).sound


def test_a_whole_probe_that_got_nothing_is_sound() -> None:
    report = judged(PLAIN, said())
    assert {attempt.name for attempt in report.attempts} == set(ATTEMPTS)
    assert report.sound


def test_a_probe_that_says_nothing_proves_nothing() -> None:
    result = said()
    result["structured"]["attempts"] = []
    report = judged(PLAIN, result)
    missing = dict.fromkeys(ATTEMPTS.values(), "missing")
    assert report.promises == missing | {"account": "kept"}
    assert not report.sound


@pytest.mark.parametrize("name", sorted(set(ATTEMPTS) - {"use another account"}))
def test_each_attempt_that_was_not_made_is_missed(name: str) -> None:
    result = said()
    entries = result["structured"]["attempts"]
    result["structured"]["attempts"] = [entry for entry in entries if entry["name"] != name]
    report = judged(PLAIN, result)
    assert [a.name for a in report.attempts if a.verdict == "missing"] == [name]
    assert report.promises[ATTEMPTS[name]] == "missing"
    assert not report.sound


def test_an_escape_outweighs_what_was_not_tried() -> None:
    result = said()
    result["structured"]["attempts"] = [{"name": "mount", "escaped": True, "detail": "mounted"}]
    assert judged(PLAIN, result).promises["kernel"] == "broken"


def test_a_probe_of_another_version_is_no_proof() -> None:
    report = judged(PLAIN, said(("knock", False, "EPERM")))
    assert (report.state, report.sound) == ("refused", False)
    assert "knock" in report.cause


def test_every_promise_is_attacked_or_named_as_not_attacked() -> None:
    assert {*UNATTACKED, *ATTEMPTS.values()} == NAMES
    text = (Path(__file__).parents[3] / "docs" / "engines.md").read_text()
    row = next(line for line in text.splitlines() if "| the probe attacks them" in line)
    attacked = row.split("|")[1].strip().split(", ")
    assert set(attacked) == set(ATTEMPTS.values())
    held = [line.split("|")[1] for line in text.splitlines() if "| read back from the" in line]
    held += [line.split("|")[1] for line in text.splitlines() if "| the suites, on" in line]
    for name in UNATTACKED:
        assert any(name in cell for cell in held), name


def test_what_the_host_lacks_is_shown_as_accepted() -> None:
    result = said(enforced={"uid": 1_900_000_000, "not_enforced": ["memory"]})
    assert judged(PLAIN, result).accepted == ("memory",)


def test_a_probe_that_did_not_end_well_is_no_proof() -> None:
    report = judged(PLAIN, {"status": "timeout", "message": "it took too long"})
    assert (report.state, report.attempts, report.sound) == ("refused", (), False)
    assert "it took too long" in report.cause


def test_the_probe_is_a_tool_like_any_other_and_every_attempt_has_a_promise() -> None:
    package = load(PROBE)
    assert {"main.py", "tool.yaml"} <= set(package.files)
    tree = ast.parse((PROBE.parent / "main.py").read_text())
    tables = [
        ast.literal_eval(ast.List([key for key in node.value.keys if key], ast.Load()))
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "ATTEMPTS"
    ]
    assert {*tables[0], "use another account"} == set(ATTEMPTS)
    assert set(ATTEMPTS.values()) <= NAMES


def test_only_runtimes_with_a_kernel_of_their_own_have_gaps() -> None:
    for promise in PROMISES:
        assert gap(promise, "") == gap(promise, "runc") == ""
        assert (gap(promise, "kata") != "") == (promise.control != "")
    assert {promise.control for promise in PROMISES} - {""} == set(UNSEEN)


def test_they_stand_side_by_side() -> None:
    first = judged(PLAIN, said(("mount", False, "EPERM"), ("open sockets", False, "EPERM")))
    result = said(("open sockets", True, "IPv4"))
    entries = result["structured"]["attempts"]
    result["structured"]["attempts"] = [e for e in entries if e["name"] != "mount"]
    second = judged(HIDING, result)
    headers, rows = side_by_side([first, second, replace(HIDING, used=False, attempts=())])
    assert headers == ["", "bubblewrap", "docker (runsc)", "docker (runsc)"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["engine"] == ["available", "available", "available, not configured"]
    assert cells["sockets: open sockets"] == ["refused", "not enforced", "-"]
    assert cells["kernel: mount"] == ["refused", "NOT TRIED", "-"]
    _, rows = side_by_side([replace(PLAIN, attempts=())])
    assert [row[0] for row in rows] == ["engine", "version", "not enforced"], "nothing was probed"


# --- what was found on the host


def config(**changes: object) -> Config:
    values: dict[str, object] = {"engines": ("bubblewrap", "docker")}
    return Config.model_validate(values | changes)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    """The daemon that answers; none when emptied."""
    facts = [FACTS]

    def connect(path: str) -> Facts:
        if not facts:
            raise EngineError(f"there is no Docker Engine at {path}", "start it", control="docker")
        return facts[0]

    monkeypatch.setattr(docker_api, "connect", connect)
    monkeypatch.setattr(engines.os, "geteuid", lambda: 0)
    return facts


def dockers(given: Config, accept: tuple[str, ...] = ()) -> dict[str, Report]:
    reports = engines.survey(given, accept)
    return {report.runtime: report for report in reports if report.engine == "docker"}


def test_an_offered_runtime_that_is_not_configured_is_shown(found: list[Facts]) -> None:
    reports = dockers(config())
    assert {name: report.used for name, report in reports.items()} == {"runc": True, "runsc": False}
    assert (reports["runc"].state, reports["runc"].sound) == ("available", True)
    assert "20.10.24" in reports["runc"].version
    assert "1.1.5" in reports["runc"].version


def test_a_runtime_whose_gaps_were_not_accepted_is_refused_by_name(found: list[Facts]) -> None:
    both = config(docker=DockerEngine(runtimes=("runc", "runsc")))
    assert dockers(both)["runsc"].state == "refused"
    assert "runsc.seccomp" in dockers(both)["runsc"].remedy
    assert not dockers(both)["runsc"].sound
    assert dockers(both, LACKING)["runsc"].state == "available"
    assert dockers(both, LACKING)["runsc"].accepted == LACKING


def test_a_runtime_that_the_daemon_does_not_offer_is_absent(found: list[Facts]) -> None:
    report = dockers(config(docker=DockerEngine(runtimes=("kata",))))["kata"]
    assert (report.state, report.sound) == ("absent", False)
    assert "daemon.json" in report.remedy


def test_an_old_runc_is_refused_with_its_cve_unless_accepted(found: list[Facts]) -> None:
    found[0] = replace(FACTS, runc="1.1.5")
    report = dockers(config())["runc"]
    assert (report.state, report.sound) == ("refused", False)
    assert "CVE-2024-21626" in report.cause
    assert "CVE-2024-21626" in report.remedy
    accepted = dockers(config(), ("CVE-2024-21626",))["runc"]
    assert (accepted.state, accepted.accepted) == ("available", ("CVE-2024-21626",))


def test_the_systemd_driver_is_refused_with_what_to_change(found: list[Facts]) -> None:
    found[0] = replace(FACTS, cgroup_driver="systemd")
    report = dockers(config())["runc"]
    assert report.state == "refused"
    assert "native.cgroupdriver=cgroupfs" in report.remedy


def test_no_engine_at_the_socket_is_absent(found: list[Facts]) -> None:
    found.clear()
    report = dockers(config(docker=DockerEngine(socket="/nowhere.sock")))["runc"]
    assert (report.state, report.sound) == ("absent", False)
    assert "/nowhere.sock" in report.cause


def test_docker_that_nobody_configured_and_is_not_there_is_not_mentioned(
    found: list[Facts], tmp_path: Path
) -> None:
    nowhere = DockerEngine(socket=str(tmp_path / "none.sock"))
    assert dockers(config(engines=("bubblewrap",), docker=nowhere)) == {}


def test_an_ordinary_user_is_told_that_docker_needs_root(
    found: list[Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.os, "geteuid", lambda: 1000)
    report = dockers(config())["runc"]
    assert (report.state, report.cause) == ("absent", "the engine docker needs root")
