"""A range of accounts that anybody has a part of is refused, by name."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from fumehood.errors import ConfigError
from fumehood.kernel import accounts

FREE = 1_900_000_000


def test_a_range_that_belongs_to_nobody_is_accepted() -> None:
    accounts.check_range(FREE, 10_000)


@pytest.mark.parametrize(("first", "count"), [(999, 5), (FREE, 0), (accounts.UID_LIMIT, 1)])
def test_what_is_no_range_is_refused(first: int, count: int) -> None:
    with pytest.raises(ConfigError, match="no range of UIDs"):
        accounts.check_range(first, count)


def test_an_account_in_it_is_named() -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with pytest.raises(ConfigError, match="the UID of nobody"):
        accounts.check_range(nobody - 3, 10)


def test_a_group_in_it_is_named_for_sandboxes_have_the_gid_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strangers = grp.struct_group(("strangers", "x", FREE + 3, []))
    monkeypatch.setattr(grp, "getgrall", lambda: [strangers])
    with pytest.raises(ConfigError, match="the GID of the group strangers"):
        accounts.check_range(FREE, 10)


@pytest.mark.parametrize("line", [f"somebody:{FREE - 5}:6", f"somebody:{FREE + 9}:70000"])
def test_a_subordinate_range_that_overlaps_is_named(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "subuid"
    file.write_text(f"# a comment\nother:100000:65536\n{line}\n")
    monkeypatch.setattr(accounts, "SUBORDINATE_FILES", (str(file),))
    with pytest.raises(ConfigError, match="overlaps somebody's"):
        accounts.check_range(FREE, 10)


def test_a_program_started_within_an_identity_is_wholly_that_account() -> None:
    if os.geteuid() != 0:
        pytest.fail("only root can change its identity; run the tests as root")
    readable, writable = os.pipe()
    with accounts.identity(FREE, FREE + 1):
        pid = os.posix_spawn(
            "/usr/bin/cat",
            ["cat", "/proc/self/status"],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, writable, 1)],
        )
    os.close(writable)
    with open(readable) as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    assert os.waitpid(pid, 0)[1] == 0
    assert fields["Uid"].split() == [str(FREE)] * 4
    assert fields["Gid"].split() == [str(FREE + 1)] * 4
    assert (os.getuid(), os.geteuid(), os.getegid()) == (0, 0, 0)
