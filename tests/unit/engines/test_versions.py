"""Old programs are found by what they say of themselves, packaged fixes included."""

from __future__ import annotations

from typing import get_args

import pytest

from fumehood.config import Control
from fumehood.engines import bwrap, promises, versions


def cves(component: str, version: str) -> set[str]:
    return {item.cve for item in versions.findings({component: version})}


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("1.1.12", False),
        ("1.2.0-rc.1", False),
        ("v1.3.3", False),
        ("1.1.11", True),
        ("1.1.5", True),
        ("1.1.5+ds1", True),
        ("1.1.5+ds1-1", True),
        ("1.1.5+ds1-1+deb12u1", False),
        ("1.1.5+ds1-1+deb12u2", False),
        ("1.1.4+ds1-1+deb12u9", True),
        ("1.0.0~rc93+ds1-5+deb11u3", False),
        ("1.0.0~rc93+ds1-5+deb11u2", True),
        ("", True),
        ("unknown", True),
    ],
)
def test_a_leaked_descriptor_is_mended_upstream_and_in_debian(version: str, *, old: bool) -> None:
    assert ("CVE-2024-21626" in cves("runc", version)) is old


def test_a_release_candidate_is_older_than_its_release() -> None:
    assert "CVE-2021-30465" in cves("runc", "1.0.0-rc94")
    assert "CVE-2021-30465" not in cves("runc", "1.0.0-rc95")
    assert "CVE-2021-30465" not in cves("runc", "1.0.0")


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("1.4.12", True),
        ("1.4.13", False),
        ("1.5.9", True),
        ("1.5.10", False),
        ("1.6.20~ds1", False),
    ],
)
def test_a_fix_may_come_in_several_lines(version: str, *, old: bool) -> None:
    assert ("CVE-2022-23648" in cves("containerd", version)) is old


def test_debians_own_programs_of_today_pass() -> None:
    installed = {
        "docker": "20.10.24+dfsg1",
        "containerd": "1.6.20~ds1-1+deb12u3",
        "runc": "1.1.5+ds1-1+deb12u1",
    }
    assert versions.findings(installed) == ()


def test_what_is_accepted_by_name_is_not_refused() -> None:
    found = versions.findings({"runc": "1.1.11"})
    assert versions.refused(found, []) == found
    assert versions.refused(found, [item.cve for item in found]) == ()
    assert "CVE-2024-21626" in versions.sentence(found, {"runc": "1.1.11"})


def test_every_name_that_can_be_missing_can_be_accepted() -> None:
    accepted = set(get_args(Control))
    runtimes = {f"{name}.{control}" for name in ("runsc", "kata") for control in promises.UNSEEN}
    faults = {item.cve for item in versions.ADVISORIES} | {bwrap.CVE}
    assert accepted - {"service_account", "memory", "cpu", "pids", "scratch"} == runtimes | faults


@pytest.mark.parametrize(
    ("component", "version", "faults"),
    [
        ("bubblewrap", "0.8.0-2+deb12u1", set()),
        ("bubblewrap", "0.8.0-2", {"CVE-2024-42472"}),
        ("bubblewrap", "0.8.0", {"CVE-2024-42472"}),
        ("bubblewrap", "0.10.0", set()),
        ("bubblewrap", "", {"CVE-2017-5226", "CVE-2024-42472"}),
        ("libseccomp", "2.3.3", {"CVE-2019-9893"}),
        ("libseccomp", "2.5.4", set()),
    ],
)
def test_what_every_host_has_is_judged_too(component: str, version: str, faults: set[str]) -> None:
    found = versions.findings({component: version}, versions.HOST_ADVISORIES)
    assert {item.cve for item in found} == faults
