"""Metrics: bounded, of nobody's data, and what dashboard and alerts ask for exists."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.errors import ConfigError
from fumehood.gateway import exposition
from fumehood.gateway.exposition import exposed, loopback
from fumehood.model.outcome import Breach, Status, Usage
from fumehood.model.result import Finding, Result, Timing
from fumehood.supervisor import pressure
from fumehood.supervisor.metrics import MAX_TOOLS, SIGNALS, Metrics, State

DEPLOY = Path(__file__).parents[3] / "deploy"
NOW = State(1, 2, 3, 4, 5, audit_broken=False, refusing=True, stops=6, spans_dropped=7)
ENDED = Result("i", "echo", "1", "d", "ok", timing=Timing(1, 2, 3, 4), usage=Usage(cpu_seconds=0.5),
               findings=(Finding("aws", "secret", "high", "stdout", "redact"),))  # fmt: skip


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    return Metrics(lambda: NOW, open_ring(tmp_path, Periods()))


def values(metrics: Metrics) -> dict[str, float]:
    lines = metrics.text().decode().splitlines()
    return {name: float(value) for name, value in (
        line.rsplit(" ", 1) for line in lines if not line.startswith("#")
    )}  # fmt: skip


def test_calls_are_counted_by_what_became_of_them(metrics: Metrics) -> None:
    metrics.ended(ENDED, 0.002)
    metrics.ended(replace(ENDED, status="timeout", breach=Breach("timeout", 1, 2)), 0.002)
    metrics.incident("canary")
    found = values(metrics)
    assert found['fumehood_invocations_total{status="ok",tool="echo"}'] == 1
    assert found['fumehood_breaches_total{control="timeout"}'] == 1
    assert found['fumehood_findings_total{action="redact",kind="secret"}'] == 2
    assert found['fumehood_step_seconds_sum{step="ran"}'] == 0.006
    assert found["fumehood_audit_seconds_count"] == 2
    assert found["fumehood_tool_cpu_seconds_total"] == 1.0
    assert found['fumehood_incidents_total{signal="canary"}'] == 1
    assert (found["fumehood_waiting"], found["fumehood_refusing"]) == (2, 1)
    assert found["fumehood_spans_dropped_total"] == 7
    assert found['fumehood_key_seconds_left{purpose="audit"}'] > 364 * 86400


@pytest.mark.parametrize(
    ("status", "breach", "by", "control"),
    [
        ("timeout", Breach("timeout", 1, 2), "", "timeout"),
        ("cancelled", None, "a rule for incidents", "rule"),
        ("cancelled", None, "uid 0", "operator"),
        ("engine_error", None, "uid 1000", "operator"),
        ("cancelled", None, "its caller", "caller"),
        ("cancelled", None, "shutdown", "shutdown"),
        ("ok", None, "uid 0", None),
        ("ok", None, "", None),
    ],
)
def test_kills_are_counted_by_control(
    metrics: Metrics, status: Status, breach: Breach | None, by: str, control: str | None
) -> None:
    metrics.ended(replace(ENDED, status=status, breach=breach), 0, by)
    found = {k: v for k, v in values(metrics).items() if k.startswith("fumehood_kills_total")}
    expected = {} if control is None else {f'fumehood_kills_total{{control="{control}"}}': 1}
    assert found == expected


def test_no_caller_makes_a_label(metrics: Metrics) -> None:
    for number in range(3 * MAX_TOOLS):
        metrics.ended(replace(ENDED, tool_name=f"tool-{number}"), 0)
        unknown = replace(ENDED, tool_name=f"x{number}", tool_version="", status="rejected")
        metrics.ended(unknown, 0)
    tools = {name for name in values(metrics) if name.startswith("fumehood_invocations_total")}
    assert len(tools) == MAX_TOOLS + 2
    assert not any('tool="x' in name for name in tools)


PSI = (
    "some avg10=99.12 avg60=76.47 avg300=60.18 total=1\nfull avg10=2.50 avg60=0 avg300=0 total=0\n"
)


@pytest.fixture
def psi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's own words, on hosts without PSI, too."""
    folder = tmp_path / "pressure"
    folder.mkdir()
    for resource in ("cpu", "memory", "io"):
        (folder / resource).write_text(PSI)
    monkeypatch.setattr(pressure, "PSI", folder)
    return folder


def pressed(metrics: Metrics) -> dict[str, float]:
    found = values(metrics).items()
    return {name: value for name, value in found if name.startswith("fumehood_host_pressure")}


def test_the_hosts_pressure_is_told_where_the_kernel_tells_it(metrics: Metrics, psi: Path) -> None:
    labels = [
        ("io", "full"),
        ("memory", "full"),
        ("cpu", "some"),
        ("io", "some"),
        ("memory", "some"),
    ]
    assert pressed(metrics) == {
        f'fumehood_host_pressure{{kind="{kind}",resource="{resource}"}}': pytest.approx(part)
        for (resource, kind), part in zip(
            labels, (0.025, 0.025, 0.9912, 0.9912, 0.9912), strict=True
        )
    }
    (psi / "io").write_text("none of it\nfull avg10=x\n")
    (psi / "cpu").unlink()
    assert len(pressed(metrics)) == 2


def test_what_is_no_evidence_any_more_has_a_panel_and_an_alert() -> None:
    rules = (DEPLOY / "prometheus" / "fumehood.rules.yml").read_text()
    board = (DEPLOY / "grafana" / "fumehood.json").read_text()
    for name in ("forward_behind_bytes", "forward_failing", "first_key_here", "host_pressure"):
        assert f"fumehood_{name}" in rules, name
        assert f"fumehood_{name}" in board, name


@pytest.mark.usefixtures("psi")
def test_what_dashboard_and_alerts_ask_for_exists(metrics: Metrics) -> None:
    metrics.ended(replace(ENDED, breach=Breach("timeout", 1, 2)), 0)
    metrics.incident("canary")
    known = {name.partition("{")[0] for name in values(metrics)}
    rules = yaml.safe_load((DEPLOY / "prometheus" / "fumehood.rules.yml").read_text())
    asked = [rule["expr"] for rule in rules["groups"][0]["rules"]]
    board = json.loads((DEPLOY / "grafana" / "fumehood.json").read_text())
    asked += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for text in asked for name in re.findall(r"\bfumehood_\w+", text)}
    assert len(asked) > 25
    assert names <= known


def test_promtool_agrees(metrics: Metrics) -> None:
    """`scripts/setup --dev` installs it: where it is missing, this fails."""
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: `make setup-dev` installs Debian's prometheus"
    rules = [promtool, "check", "rules", str(DEPLOY / "prometheus/fumehood.rules.yml")]
    checked = subprocess.run(rules, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    metrics.ended(replace(ENDED, breach=Breach("timeout", 1, 2)), 0)
    words = [promtool, "check", "metrics"]
    read = subprocess.run(words, input=metrics.text(), capture_output=True, check=False)
    assert read.returncode in (0, 3), read.stderr  # 3: it finds names not to its taste
    assert b"error" not in read.stderr.lower(), read.stderr


def fires(
    alert: str, before: Metrics | None, after: Metrics | None, folder: Path, **labels: str
) -> bool:
    """Whether an alert fires three minutes after the one became the other, as Prometheus itself
    says of what it would scrape. None for a daemon that is not there."""
    then, now = values(before) if before else {}, values(after) if after else {}
    series = [
        {"series": name, "values": f"{then.get(name, '_')}x80 {now.get(name, 'stale _')}x60"}
        for name in {**then, **now}
    ]
    chosen = ",".join(f'{key}="{value}"' for key, value in {"alertname": alert, **labels}.items())
    scene = {
        "rule_files": [str(DEPLOY / "prometheus/fumehood.rules.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{{chosen},alertstate="firing"}})',
                        "eval_time": at,
                        "exp_samples": [{"labels": "{}", "value": 1}] if fired else [],
                    }
                    for at, fired in (("19m", False), ("23m", True))
                ],
            }
        ],
    }
    (folder / "scene.yml").write_text(json.dumps(scene))
    tested = ["promtool", "test", "rules", str(folder / "scene.yml")]
    return subprocess.run(tested, capture_output=True, check=False).returncode == 0


class Daemon:
    """What one is, as far as its metrics tell."""

    def __init__(self, folder: Path, *tools: str, **incidents: int) -> None:
        self.state = replace(NOW, incidents=incidents)
        ring = open_ring(folder, Periods())
        self.metrics = Metrics(lambda: self.state, ring, tools=lambda: tools)


def test_the_alert_for_a_daemon_that_is_not_seen_fires(tmp_path: Path) -> None:
    seen = Daemon(tmp_path).metrics
    assert not fires("FumehoodUnseen", seen, seen, tmp_path)
    assert fires("FumehoodUnseen", seen, None, tmp_path, severity="critical")


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_alert_for_the_first_incident_fires(tmp_path: Path, signal: str) -> None:
    idle, struck = Daemon(tmp_path), Daemon(tmp_path, **{signal: 1})
    struck.metrics.incident(signal)
    assert fires("FumehoodIncident", idle.metrics, struck.metrics, tmp_path, signal=signal)
    assert not fires("FumehoodIncident", idle.metrics, idle.metrics, tmp_path)


def test_the_alert_for_an_incident_that_is_open_holds_after_a_restart(tmp_path: Path) -> None:
    again = Daemon(tmp_path, tripwire=2)
    assert fires("FumehoodIncident", None, again.metrics, tmp_path, signal="tripwire")


@pytest.mark.parametrize(
    ("alert", "status", "times"),
    [
        ("FumehoodKilledCalls", "syscall_killed", 1),
        ("FumehoodWithheld", "withheld", 6),
        ("FumehoodEngineErrors", "engine_error", 6),
    ],
)
def test_the_alerts_for_the_first_calls_that_ended_badly_fire(
    tmp_path: Path, alert: str, status: Status, times: int
) -> None:
    idle, struck = Daemon(tmp_path, "echo"), Daemon(tmp_path, "echo")
    for _ in range(times):
        struck.metrics.ended(replace(ENDED, status=status), 0)
    assert fires(alert, idle.metrics, struck.metrics, tmp_path, tool="echo")
    assert not fires(alert, idle.metrics, idle.metrics, tmp_path)


def test_the_alert_for_a_killed_call_fires_also_for_a_tool_that_was_added_just_before(
    tmp_path: Path,
) -> None:
    idle, struck = Daemon(tmp_path), Daemon(tmp_path, "echo")
    struck.metrics.ended(replace(ENDED, status="syscall_killed"), 0)
    assert fires("FumehoodKilledCalls", idle.metrics, struck.metrics, tmp_path, tool="echo")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"405"),
    ],
)
def test_only_metrics_are_answered(tmp_path: Path, request_: bytes, status: bytes) -> None:
    async def scene() -> bytes:
        async with exposed("unix", tmp_path, lambda: b"all of it\n") as address:
            return await ask(*await asyncio.open_unix_connection(address), request_)

    answer = asyncio.run(asyncio.wait_for(scene(), 60))
    assert answer.split(b" ")[1] == status
    assert answer.endswith(b"all of it\n") == (status == b"200")
    assert (tmp_path / "metrics.sock").stat().st_mode & 0o077 == 0


def test_an_endless_head_is_cut_off(tmp_path: Path) -> None:
    async def scene() -> bytes:
        async with exposed("unix", tmp_path, bytes) as address:
            reader, writer = await asyncio.open_unix_connection(address)
            try:
                return await ask(reader, writer, b"GET /" + b"x" * 100_000)
            except ConnectionError:
                return b""

    assert asyncio.run(asyncio.wait_for(scene(), 60)) == b""


def test_who_says_nothing_keeps_no_scrape_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "CONNECTIONS", 4)

    async def scene() -> list[bytes]:
        async with exposed("127.0.0.1:0", tmp_path, lambda: b"all of it\n") as address:
            port = int(address.rpartition(":")[2])
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            answers = []
            for _ in range(5):
                scrape = await asyncio.open_connection("127.0.0.1", port)
                answers.append(await ask(*scrape, b"GET /metrics HTTP/1.1\r\n\r\n"))
            for _, writer in held:
                writer.close()
            return answers

    answers = asyncio.run(asyncio.wait_for(scene(), 60))
    assert [answer.endswith(b"all of it\n") for answer in answers] == [True] * 5


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9464", "[::]:1", "10.0.0.1:9", "localhost:9", "x", "127.0.0.1:x"]
)
def test_nothing_that_others_could_reach_is_listened_on(listen: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        loopback(listen)
