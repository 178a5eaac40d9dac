"""The doctor's checks: decisions from what was found, and the trying itself on this host."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fumehood.cli import checks
from fumehood.config import Accounts, Config
from fumehood.engines import bwrap
from fumehood.places import Places


@pytest.mark.parametrize(
    ("version", "package", "changelog", "fixed"),
    [
        ("0.8.0", "0.8.0-2+deb12u1", "", True),
        ("0.8.0", "0.8.0-2+deb12u3", "", True),
        ("0.8.0", "0.8.0-2", "", False),
        ("0.8.0", "", "", False),
        ("0.9.0", "0.9.0-1ubuntu0.1", "  * fix CVE-2024-42472", True),
        ("0.9.0", "0.9.0-1build1", "", False),
        ("0.9.0", "0.8.0-2+deb12u1", "  * fix CVE-2024-42472", False),  # not the package's program
        ("0.10.0", "", "", True),
        ("0.11.0", "0.11.0-1", "", True),
        ("unknown", "", "", False),
    ],
)
def test_a_fixed_bubblewrap_is_told_from_a_vulnerable_one(
    version: str, package: str, changelog: str, *, fixed: bool
) -> None:
    assert bool(bwrap.fixed_by(version, package, changelog)) is fixed


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 12), "missing"), ((3, 11, 0), "ok"), ((3, 14, 1), "ok")]
)
def test_python_is_new_enough(version: tuple[int, ...], state: str) -> None:
    assert checks.python(version, "/usr/bin/python3").state == state


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ("5.10.0-30-amd64", "degraded"),
        ("5.15.0-100-generic", "degraded"),
        ("6.1.0-21-amd64", "ok"),
        ("6.18.44-vm", "ok"),
    ],
)
def test_the_kernel_is_judged_by_what_it_offers(release: str, state: str) -> None:
    assert checks.kernel(release).state == state


def test_apparmor_is_left_out_where_there_is_none() -> None:
    assert checks.apparmor(lambda name: None) is None


def test_apparmor_that_restricts_nothing_is_fine() -> None:
    found = checks.apparmor(lambda name: "0")
    assert found is not None
    assert found.state == "ok"


def test_apparmor_that_restricts_names_the_command() -> None:
    found = checks.apparmor(lambda name: "1")
    assert found is not None
    assert found.state == "ok" or "scripts/setup" in found.remedy


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("kernel.unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", "0", "max_user_namespaces="),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "see apparmor"),
        ("other", "1", "a container's profile"),
    ],
)
def test_denied_user_namespaces_name_the_switch(name: str, value: str, says: str) -> None:
    remedy = checks._namespace_remedy(lambda asked: value if asked == name else None)
    assert says in remedy


def test_a_sandbox_can_be_made_here() -> None:
    uid = 1_900_009_999 if os.geteuid() == 0 else None
    assert checks.user_namespaces(uid).state == "ok"


def test_the_configuration_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("sandboxs: 4\n")
    places = Places(tmp_path / "s", tmp_path / "state", file, config_named=True)
    config, check = checks.configuration(places)
    assert config == Config()
    assert check.state == "missing"
    assert "config.yaml:1" in check.found


@pytest.mark.parametrize(
    ("first", "said"),
    [(65_534, r"\+1 contains the UID of nobody"), (65_533, r"for fetching .* the UID of nobody")],
)
def test_a_range_with_somebodys_account_in_or_behind_it_is_missing(first: int, said: str) -> None:
    assert checks.service_accounts(Accounts()).state == "ok"
    found = checks.service_accounts(Accounts.model_construct(first=first, count=1))
    assert found.state == "missing"
    assert re.search(said, found.found)


@pytest.mark.parametrize(
    ("accepted", "state"), [((), "missing"), (("service_account",), "degraded")]
)
def test_rootless_lacks_service_accounts_unless_that_is_accepted(
    accepted: tuple[str, ...], state: str
) -> None:
    assert checks.rootless(accepted).state == state


def test_a_supervisor_that_is_root_or_nobody_we_know_is_missing() -> None:
    assert checks.supervisor(Config(supervisor_user="root", socket_group="root")).state == "missing"
    unknown = Config(supervisor_user="no-such-user", socket_group="root")
    assert checks.supervisor(unknown).state == "missing"
