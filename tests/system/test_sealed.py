"""The files of a registered tool: root's, out of reach of the supervisor's own account, and of
whoever takes the sealer's other end; a store of former times is sealed at the next start."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.errors import CatalogError
from fumehood.launcher import keeper, sealing
from fumehood.model.codec import encode
from fumehood.model.tree import UNSEALED, ToolFile
from fumehood.resources import profile_directory
from fumehood.supervisor.sealing import Sealer
from support import ledger
from support.hood import Hood, children, eventually, hood

FILES = {"main.py": "print('harmless')", "lib/more.py": ""}
SUPERVISOR = "fumehood"
"""The account of `supervisor_user`, by default."""
ATTACK = """
import json, os, sys
tree = sys.argv[1]
def tried(name, act):
    try:
        act()
    except OSError as error:
        return name, error.strerror
    return name, "done"
program = tree + "/main.py"
print(json.dumps(dict([
    tried("read", lambda: open(program).read()),
    tried("write", lambda: open(program, "w")),
    tried("mode", lambda: os.chmod(program, 0o777)),
    tried("unlink", lambda: os.unlink(program)),
    tried("add", lambda: open(tree + "/evil.py", "w")),
    tried("rename", lambda: os.rename(tree, tree + ".old")),
    tried("replace", lambda: os.mkdir(os.path.dirname(tree) + "/" + "0" * 96)),
    tried("own", lambda: os.chown(program, os.getuid(), -1)),
])))
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Hood]:
    with hood() as running:
        for name in ("one", "two"):
            running.register(
                None, name, command=["python3", "/tool/main.py"], files={**FILES, "name": name}
            )
        yield running


def tree(running: Hood, name: str) -> Path:
    with running.client() as client:
        digest = str(client.show_tool(name)["files"])
    return running.state / "store" / digest.removeprefix("sha384:")


def test_the_supervisors_account_can_read_the_files_and_do_nothing_else(daemon: Hood) -> None:
    account = pwd.getpwnam(SUPERVISOR)
    program = tree(daemon, "one")
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", ATTACK, str(program)],
        user=account.pw_uid, group=account.pw_gid, extra_groups=[],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found.pop("read") == "done"
    assert set(found.values()) <= {"Permission denied", "Operation not permitted"}, found
    for path in (daemon.state / "store", program, *program.rglob("*")):
        assert path.lstat().st_uid == 0, path
        assert not path.lstat().st_mode & 0o022, path
    assert daemon.call("one")["status"] == "ok"
    shown = daemon.cli("tool", "show", "one", "--json", check=True)
    assert json.loads(shown.stdout)["sealed"] in ("copy", "fs-verity")


def test_in_the_supervisors_own_namespace_the_store_is_a_mount_that_nobody_can_move(
    daemon: Hood,
) -> None:
    supervisor = next(
        pid for pid in children(daemon.process.pid)
        if Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam(SUPERVISOR).pw_uid
    )  # fmt: skip
    mounts = Path(f"/proc/{supervisor}/mounts").read_text().splitlines()
    (line,) = [line for line in mounts if line.split()[1] == str(daemon.state / "store")]
    assert "ro" in line.split()[3].split(",")


def test_no_sealer_stays_when_its_errand_is_done(daemon: Hood) -> None:
    daemon.register(None, "three", command=["python3", "/tool/main.py"], files=FILES)

    def sealers() -> list[int]:
        lines = {pid: cmdline(pid) for pid in children(daemon.process.pid)}
        return [pid for pid, line in lines.items() if b"launcher.sealer" in line]

    eventually(lambda: not sealers(), 10, "the sealer ends")


def test_what_stands_in_the_stores_place_is_left_alone(tmp_path: Path) -> None:
    """Its account owns the state, and so can move what is in it, root's folders too."""
    tmp_path.chmod(0o755)
    with hood(tmp_path) as running:
        state = running.state
        (state / "other").mkdir(mode=0o755)
        names = ("trees", "0" * 96)
        for name in names:
            (state / "other" / name).mkdir()
        (state / "store").rename(state / "away")
        (state / "other").rename(state / "store")
        try:
            with pytest.raises(CatalogError, match="cannot be used"):
                running.register(None, "one", command=["python3", "/tool/main.py"], files=FILES)
            assert {path.name for path in (state / "store").iterdir()} == set(names)
        finally:
            (state / "store").rename(state / "other")
            (state / "away").rename(state / "store")


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


LOOK = """
import os, sys
from fumehood.launcher import sealer
from fumehood.launcher.sealer import Vault
def look(self, fd, gone, *, replace):
    status = open("/proc/self/status").read()
    caps = {line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    reached = []
    for path in ("/etc/shadow", "/root", "/var/lib", "/home", sys.argv[-1]):
        if os.path.exists(path):
            reached.append(path)
    for path in ("/x", "/usr/x", "/store/../x"):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        except OSError:
            continue
        if path == "/usr/x":
            reached.append(path)
    os.chdir("/store")
    for _ in range(40):
        os.chdir("..")
    if os.path.exists("etc/shadow"):
        reached.append("upwards")
    return repr((sorted(caps), reached))
Vault.keep = look
sys.argv.append(STATE)
sys.exit(sealer.main(["3", "4"]))
"""


def test_a_sealer_that_was_taken_over_reaches_nothing_but_the_store(tmp_path: Path) -> None:
    """Code of the attacker's in place of its own, started as the keeper starts it."""
    tmp_path.chmod(0o755)
    (tmp_path / "store").mkdir(mode=0o755)
    path = repr(str(Path(keeper.__file__).parents[2]))
    code = f"import sys; sys.path.insert(0, {path}); STATE = {str(tmp_path)!r}\n{LOOK}"

    def start(channel: socket.socket) -> None:
        own = (tmp_path / "store").stat()
        given = sealing.Settings(str(tmp_path / "store"), own.st_dev, own.st_ino, 1 << 30, True)
        argv = [sys.executable, "-I", "-S", "-c", code]
        started.append(keeper._spawn(argv, channel.fileno(), encode(given)))

    started: list[int] = []
    found = Sealer(start).seal({"a": ToolFile(b"", executable=False)}, replace=True)
    os.waitpid(started[0], 0)
    assert found == repr((["0000000000000000"], []))


def test_a_store_of_former_times_is_sealed_and_what_was_changed_in_it_is_quarantined(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    with hood(tmp_path) as running:
        for name in ("sound", "touched"):
            running.register(
                None, name, command=["python3", "/tool/main.py"], files={**FILES, "name": name}
            )
        touched = tree(running, "touched")
    owner = pwd.getpwnam(SUPERVISOR)
    shutil.copytree(tmp_path / "state/store", tmp_path / "state/older")
    shutil.rmtree(tmp_path / "state/store")
    (tmp_path / "state/older").rename(tmp_path / "state/store")
    (touched / "main.py").write_text("print('evil')")
    for path in (tmp_path / "state/store", *(tmp_path / "state/store").rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    with hood(tmp_path) as running:
        assert running.call("sound")["status"] == "ok"
        assert tree(running, "sound").stat().st_uid == 0
        shown = json.loads(running.cli("tool", "show", "touched", "--json", check=True).stdout)
        assert (shown["state"], shown["notes"]) == (
            "quarantined", ["its files changed: changed main.py"],
        )  # fmt: skip
        assert not (running.state / UNSEALED).exists()
        records = ledger.records(running.state)
        (record,) = [one for one in records if one["event"] == "tool.quarantined"]
        assert record["tool"] == "touched"
        # what was registered, registered again and agreed to, is whole again
        running.register(
            None, "touched", command=["python3", "/tool/main.py"],
            files={**FILES, "name": "touched"},
        )  # fmt: skip
        running.cli("tool", "approve", "touched", "1.0.0", "--accept", "quarantined", check=True)
        assert running.call("touched")["status"] == "ok"


def test_a_profile_that_says_something_else_at_the_next_start_quarantines_its_tools(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    own = tmp_path / "profiles"
    own.mkdir(mode=0o755)
    shipped = json.loads((Path(profile_directory()) / "compute.json").read_text())
    write_profile(own / "mine.json", shipped)
    with hood(tmp_path) as running:
        running.register(None, "strict", command=["cat"], seccomp="mine")
        assert running.call("strict")["status"] == "ok"
    shipped["syscalls"] = shipped["syscalls"][:-1]
    write_profile(own / "mine.json", shipped)
    with hood(tmp_path) as running:
        assert running.cli("call", "strict").returncode == 3
        shown = json.loads(running.cli("tool", "show", "strict", "--json", check=True).stdout)
        assert shown["state"] == "quarantined"
        assert shown["notes"][0].startswith("its seccomp profile mine changed: sha384:")
        agreed = running.cli("tool", "approve", "strict", "1.0.0", "--accept", "quarantined")
        assert agreed.returncode == 0, agreed.stderr
        assert running.call("strict")["status"] == "ok"


def write_profile(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
    path.chmod(0o644)
