"""`fumehood tool list --all`, `diff`, `approve`, and what `add` says of a pending version."""

from __future__ import annotations

import json
from dataclasses import replace

from support.cli import Cli
from support.gateway import FakeSupervisor, registered


def test_every_version_is_listed_with_its_state(cli: Cli, supervisor: FakeSupervisor) -> None:
    supervisor.catalog["echo"] = replace(registered("echo"), state="pending", added_by="uid:7")
    shown = cli("tool", "list", "--all").out.splitlines()
    assert shown[0].split() == ["NAME", "VERSION", "STATE", "ADDED", "BY", "SIGNER"]
    row = next(line for line in shown if line.startswith("echo")).split()
    assert (row[2], row[5], row[6]) == ("pending", "uid:7", "nobody")
    assert {entry["state"] for entry in json.loads(cli("tool", "list", "--all", "--json").out)} == {
        "pending",
        "active",
    }


def test_a_diff_marks_what_needs_approval(cli: Cli, supervisor: FakeSupervisor) -> None:
    shown = cli("tool", "diff", "echo").out
    assert shown.splitlines() == [
        "echo 1.0.0 to 2.0.0",
        "! description",
        "    - a",
        "    + b",
        "  changed file main.py",
    ]
    assert "nothing but the version" in cli("tool", "diff", "echo", "1.0.0", "3.0.0").out


def test_an_approval_accepts_findings_by_name(cli: Cli, supervisor: FakeSupervisor) -> None:
    ended = cli("tool", "approve", "echo", "1.0.0", "--accept", "look_alike", "--accept", "changes")
    assert (ended.status, supervisor.accepted) == (0, ("look_alike", "changes"))
    assert ended.out.startswith("approved echo 1.0.0")
    assert json.loads(cli("tool", "approve", "echo", "1.0.0", "--json").out)["digest"]
    assert cli("tool", "approve", "nosuch", "1.0.0").status == 3


def test_a_signature_of_nobody_who_is_known_is_shown_as_that(
    cli: Cli, supervisor: FakeSupervisor
) -> None:
    key = "ab" * 16
    supervisor.catalog["echo"] = replace(registered("echo"), signer=f":{key}")
    assert f"nobody (unknown key {key})" in cli("tool", "list", "--all").out
    assert f"nobody (unknown key {key})" in cli("tool", "show", "echo").out
    supervisor.catalog["echo"] = replace(registered("echo"), signer=f"acme:{key}")
    assert f"acme:{key}" in cli("tool", "list", "--all").out


def test_of_several_submissions_one_is_meant(cli: Cli, supervisor: FakeSupervisor) -> None:
    for words in (
        ("show", "echo", "--version", "1.0.0"),
        ("diff", "echo"),
        ("approve", "echo", "1.0.0"),
        ("remove", "echo", "--version", "1.0.0"),
    ):
        supervisor.meant = None
        assert cli("tool", *words, "--by", "uid:7").status == 0, words
        assert supervisor.meant == "uid:7", words
    refused = cli("tool", "remove", "echo", "--by", "uid:7")
    assert (refused.status, "--version" in refused.err) == (2, True)


def test_a_quarantine_that_outlives_its_version_is_told(
    cli: Cli, supervisor: FakeSupervisor
) -> None:
    bad = replace(registered("echo"), state="quarantined", notes=("for a test",))
    supervisor.catalog["echo"] = bad
    assert "the quarantine of 1.0.0 is kept" in cli("tool", "remove", "echo").err
    listed = json.loads(cli("tool", "list", "--all", "--json").out)
    (entry,) = [one for one in listed if one["manifest"]["name"] == "echo"]
    assert (entry["state"], entry["notes"]) == ("removed", ["for a test"])
    assert "removed" in cli("tool", "list", "--all").out
    supervisor.catalog["echo"] = replace(bad, state="pending")
    shown = cli("tool", "approve", "echo", "1.0.0", "--accept", "quarantined").err
    assert "1.0.0 against 1.0.0, quarantined and removed: 0" in shown
    assert "for a test" in shown, "why it was, beside what it is"
    assert "echo 1.0.0 (removed) to 2.0.0" in cli("tool", "diff", "echo").out
    supervisor.catalog["echo"] = replace(bad, state="quarantined")
    again = json.loads(cli("tool", "remove", "echo", "--json").out)
    assert again["quarantine_kept"] == ["1.0.0"]


def test_what_comes_back_is_shown_with_its_files(cli: Cli, supervisor: FakeSupervisor) -> None:
    bad = replace(registered("echo"), state="quarantined", notes=("for a test",), files="sha384:1")
    supervisor.catalog["echo"] = bad
    supervisor.listings["echo"] = {f"f{n:02}": "x" + "cd" * 48 for n in range(43)}
    compared = {"old": "1.0.0", "old_state": "quarantined", "new": "1.0.0"}
    supervisor.compared = {**compared, "changes": []}
    shown = cli("tool", "approve", "echo", "1.0.0", "--accept", "quarantined").err
    for line in (
        "changes: nothing to compare with: no other version was agreed to\n",
        "note: for a test\n",
        "seccomp: compute\n",
        "file: f00 sha384:cdcdcdcdcdcdcdcd… executable\n",
        "file: … and 3 more\n",
    ):
        assert line in shown
    supervisor.catalog["echo"] = bad
    change = {"kind": "files", "key": "f00", "old": "", "new": "changed", "review": ""}
    supervisor.compared = {**compared, "changes": [change]}
    shown = cli("tool", "approve", "echo", "1.0.0", "--accept", "quarantined").err
    assert "its files against those that were registered: 1 (no other version" in shown
    assert "change: files f00 changed\n" in shown


def test_what_comes_back_is_compared_with_what_was_before(
    cli: Cli, supervisor: FakeSupervisor
) -> None:
    change = {"kind": "run", "key": "run.command", "old": "a", "new": "b", "review": ""}
    for state, whole in (("superseded", False), ("quarantined", True)):
        bad = replace(registered("echo"), state="quarantined", notes=("for a test",))
        supervisor.catalog["echo"] = bad
        supervisor.compared = {"old": "0.9.0", "old_state": state, "new": "1", "changes": [change]}
        shown = cli("tool", "approve", "echo", "1.0.0", "--accept", "quarantined").err
        what = ", quarantined" if whole else ""
        assert f"changes: 1.0.0 against 0.9.0{what}: 1\nchange: run run.command a b\n" in shown
        assert "note: for a test\n" in shown, "why it was, in any case"
        assert ("seccomp: compute\n" in shown) is whole
    supervisor.compared = {"old": "1.0.0", "old_state": "active", "new": "1.0.0", "changes": []}
    shown = cli("tool", "approve", "echo", "1.0.0").err
    assert "changes: none: this is the version that is called" in shown
