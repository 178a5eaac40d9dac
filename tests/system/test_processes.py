"""What the processes of root's daemon may do, by the kernel's own words, and who may reach it."""

from __future__ import annotations

import grp
import pwd
import subprocess
from pathlib import Path

import pytest

from fumehood.kernel import libc, proc
from fumehood.launcher import process
from support.hood import Hood, children, command_as

USER = 64_321
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_supervisor_and_what_it_starts_hold_no_privilege(hood: Hood) -> None:
    account = pwd.getpwnam("fumehood")
    groups = {account.pw_gid, grp.getgrnam("fumehood").gr_gid}
    for pid in (hood.supervisor, *children(hood.supervisor)):
        found = status(pid)
        assert {found["Uid"], found["Gid"]} == {
            "\t".join([str(account.pw_uid)] * 4), "\t".join([str(account.pw_gid)] * 4),
        }, pid  # fmt: skip
        assert {int(gid) for gid in found["Groups"].split()} <= groups, pid
        assert {name: int(found[name], 16) for name in SETS} == dict.fromkeys(SETS, 0), pid
        assert found["NoNewPrivs"] == "1", pid


def test_the_launcher_keeps_what_it_needs_and_cannot_gain_more(hood: Hood) -> None:
    found = status(hood.launcher)
    kept = sum(1 << capability for capability in process._KEEP)
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == kept
    assert int(found["CapInh"], 16) == int(found["CapBnd"], 16) == int(found["CapAmb"], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert not found["Groups"]
    assert libc.CAP_SYS_ADMIN in process._KEEP, "the mask above is not empty by mistake"


def test_the_processes_do_not_share_the_hosts_mounts(hood: Hood) -> None:
    spaces = [proc.namespaces(pid)["mnt"] for pid in ("self", hood.launcher, hood.supervisor)]
    assert len(set(spaces)) == 3


def reach(hood: Hood, group: str | None, *words: str) -> subprocess.CompletedProcess[str]:
    """`fumehood status` as an ordinary user, in one further group or none."""
    argv = command_as(USER, "status", *words)
    if group is not None:
        gid = grp.getgrnam(group).gr_gid
        argv = [word.replace("--clear-groups", f"--groups {gid}") for word in argv]
    return subprocess.run(
        argv,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FUMEHOOD_SOCKET": str(hood.socket)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("group", [None, "users"])
def test_whoever_is_not_in_the_sockets_group_is_told_so(hood: Hood, group: str | None) -> None:
    done = reach(hood, group)
    assert done.returncode == 6, done
    assert f"you may not connect to {hood.socket}" in done.stderr
    assert "remedy: " in done.stderr
    assert done.stdout == ""


def test_the_group_alone_opens_the_socket_and_no_more(hood: Hood) -> None:
    done = reach(hood, "fumehood")
    assert done.returncode == 3, "the process was lent the group, its account is no member"
    assert "you may not use this supervisor" in done.stderr
    assert "remedy: " in done.stderr
