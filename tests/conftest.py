"""One daemon, and one Docker Engine, for all tests that only use them; tests that kill start
their own."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from support import table
from support.docker import Engine
from support.engines import Target, configuration
from support.hood import Hood
from support.hood import hood as start

# A shell starts what runs behind it with SIGINT ignored, which children inherit: tests of Ctrl-C
# would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def hood() -> Iterator[Hood]:
    with start() as running:
        yield running


def _engine() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="fh-dockerd-", dir="/tmp"))
    engine = Engine(folder)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    yield from _engine()


@pytest.fixture(scope="session")
def mortal_docker_engine() -> Iterator[Engine]:
    yield from _engine()


@pytest.fixture
def own_docker_engine(mortal_docker_engine: Engine) -> Engine:
    """For tests that stop, kill or restart it: another than everybody's, and whole at the start
    of each of them."""
    mortal_docker_engine.revive()
    return mortal_docker_engine


@pytest.fixture(scope="session")
def engines(docker_engine: Engine) -> Iterator[Hood]:
    """One daemon that runs every engine: what the conformance and the hostile suite attack."""
    with start(config=configuration(docker_engine.socket)) as running:
        yield running


# --- the table of docs/engines.md


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines-table",
        action="store_true",
        help="write the table of docs/engines.md from what this run found",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how attacks on promises, and hostile cases, end on each engine."""
    report = yield
    spec = getattr(item, "callspec", None)
    target = spec.params.get("target") if spec else None
    if isinstance(target, Target) and (call.when == "call" or report.failed):
        mark = item.get_closest_marker("promise")
        row = mark.args[0] if mark else getattr(spec.params.get("row"), "name", "")
        row = row or getattr(spec.params.get("case"), "group", "")
        if row:
            table.note(item.config, row, target, passed=report.passed)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--engines-table"):
        table.write(table.found(session.config))
