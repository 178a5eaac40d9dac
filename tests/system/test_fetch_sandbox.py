"""pip and npm run where whoever takes them over gains nothing: attacked from inside, and by the
index that they ask."""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fumehood.cli import fetching
from fumehood.errors import EngineError, ImageError
from fumehood.images.derive import derive
from fumehood.images.fetching import Fetch, bare_environment, new_work
from fumehood.images.store import ImageStore
from support import fetch
from support.archives import DIRECTORY, SYMLINK, entry, tar
from support.index import Index, index
from support.wheels import FILES, NAME, SITE, wheel

ACCOUNT = fetch.OWN["first"] + fetch.OWN["count"]
ATTACK = """
import ctypes, json, os, socket, sys
found = {}
def attempt(name, act):
    try:
        found[name] = act()
    except OSError as error:
        found[name] = f"refused {error.errno}"
def write(path):
    with open(path, "w") as file:
        file.write("x")
    return "WRITTEN"
def run(path):
    with open(path, "w") as file:
        file.write("#!/bin/sh\\n")
    os.chmod(path, 0o755)
    return os.spawnv(os.P_WAIT, path, [path])
def connect(family, address):
    with socket.socket(family) as one:
        one.settimeout(5)
        one.connect(address)
        return "CONNECTED"
def unshare(flag):
    if ctypes.CDLL(None, use_errno=True).unshare(flag):
        raise OSError(ctypes.get_errno(), "")
    return "MADE"
def forks():
    children, born = [], 0
    try:
        while born < 1000:
            if (pid := os.fork()) == 0:
                import signal
                signal.pause()
            born += 1
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return born
secret, port = sys.argv[1], int(sys.argv[2])
for path in (secret, "/etc/shadow", f"/proc/1/root{secret}", "/proc/self/root" + secret,
             os.path.expanduser("~/.netrc"), "/root/.netrc", "/etc/pip.conf"):
    attempt(f"read {path}", lambda: open(path).read())
for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "/sys/x", "/usr/local/etc/x",
             "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
    attempt(f"write {path}", lambda: write(path))
attempt("write work", lambda: write("/fetch/x"))
attempt("run work", lambda: run("/fetch/run"))
attempt("abstract", lambda: connect(socket.AF_UNIX, "\\0" + secret))
def paired(kind, act):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other:
        return act(one)
for name, kind in (("stream", 1), ("datagram", 2), ("raw", 3), ("seqpacket", 5)):
    attempt(f"{name} pair bind", lambda: paired(kind, lambda one: one.bind(f"\\0squat{kind}")))
    attempt(f"{name} pair connect", lambda: paired(kind, lambda one: one.connect("\\0" + secret)))
    attempt(f"{name} pair send", lambda: paired(kind, lambda one: one.sendto(
        b"SENT", 0, "\\0" + secret + ".datagrams")))
def allocate():
    with open("/fetch/x", "w") as file:
        if ctypes.CDLL(None, use_errno=True).fallocate(file.fileno(), 0, 0, 4096):
            raise OSError(ctypes.get_errno(), "")
    return "ALLOCATED"
attempt("fallocate", allocate)
attempt("run tmp", lambda: run("/tmp/run"))
def fill(folder, most):
    for number in range(most):
        open(f"{folder}/{number}", "w").close()
    return "FILLED"
attempt("tmp files", lambda: fill("/tmp", 100_000))
def opened():
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", 0))
    except OSError:
        return len(held)
    finally:
        for fd in held:
            os.close(fd)
found["opened"] = opened()
found["mounts"] = {line.split()[4]: line.split()[5].split(",")
                   for line in open("/proc/self/mountinfo")}
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", port)))
attempt("user namespace", lambda: unshare(0x10000000))
attempt("forks", forks)
found["root"] = sorted(os.listdir("/"))
found["environment"] = dict(os.environ)
found["descriptors"] = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
found["processes"] = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
found |= {key: status[key].strip() for key in ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp")}
found["capabilities"] = {status[key] for key in status if key.startswith("Cap")} == {"0" * 16}
with open("/fetch/report.json", "w") as file:
    json.dump(found, file)
"""


_STAYS = (errno.ECONNREFUSED, errno.EISCONN, errno.EPERM, errno.EPROTOTYPE)
STAYS_CONNECTED = {f"refused {code}" for code in _STAYS}


@pytest.fixture
def served() -> Iterator[Index]:
    with index() as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return new_work(tmp_path, "wheels")


def script(work: Path, *argv: str, network: bool = False, seconds: float = 60) -> Fetch:
    """A program of the attacker's in pip's place."""
    return Fetch(
        ("/usr/bin/python3", "-I", "-c", *argv), bare_environment(), (), work, network, seconds
    )


def ours() -> list[int]:
    """Living processes of the account."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and process.stat().st_uid == ACCOUNT:
                found.append(int(process.name))
    return found


def unchanged(store: ImageStore) -> bool:
    """Whether only the two images that were there first are there, and no work in progress."""
    names = [name for name in os.listdir(store.directory) if name.startswith(("new-", "old-"))]
    images = [image.name for image in store.list()]
    trees = len(os.listdir(store.directory / "trees"))
    return (names, images, trees) == ([], ["node:latest", "python:latest"], 2)


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("network", [False, True])
def test_whoever_takes_pip_over_finds_nothing_of_the_host(
    served: Index,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: bool,  # noqa: FBT001
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    secret.chmod(0o644)
    (tmp_path / ".netrc").write_text("machine x login y password z")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FUMEHOOD_TEST_SECRET", "x")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@127.0.0.1:1")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        listener.bind(f"\0{secret}")
        listener.listen()
        datagrams.bind(f"\0{secret}.datagrams")
        datagrams.setblocking(False)
        fetch.real()(script(work, ATTACK, str(secret), str(served.port), network=network))
        with pytest.raises(BlockingIOError):
            datagrams.recv(4)
    found = json.loads((work / "report.json").read_text())
    allowed = {
        name: value
        for name, value in found.items()
        if name.startswith(("read ", "write ", "run ")) and not str(value).startswith("refused ")
    }
    # 127: spawnv could not execute
    assert allowed == {"write work": "WRITTEN", "run work": 127, "run tmp": 127}
    pairs = {name: value for name, value in found.items() if " pair " in name}
    assert pairs.pop("seqpacket pair send") == 4  # to its other end: the address is ignored
    assert pairs.pop("stream pair send") == f"refused {errno.EISCONN}"
    assert pairs.pop("stream pair connect") in STAYS_CONNECTED
    assert pairs.pop("seqpacket pair connect") in STAYS_CONNECTED
    assert set(pairs.values()) == {f"refused {errno.EPERM}"}
    assert len(pairs) == 8
    assert found["fallocate"] == f"refused {errno.EOPNOTSUPP}"
    assert found["tmp files"] == f"refused {errno.ENOSPC}"
    assert 0 < found["opened"] < 1024
    writable = {target for target, options in found["mounts"].items() if "rw" in options}
    assert {target for target in writable if not target.startswith("/dev/")} <= {
        "/fetch", "/proc", "/tmp",
    }  # fmt: skip
    assert all("noexec" in found["mounts"][target] for target in ("/fetch", "/tmp"))
    assert found["abstract"] == found["netlink"] == found["user namespace"] == "refused 1"
    assert (found["loopback"] == "CONNECTED") is network
    assert 1 < found["forks"] < fetching.PIDS
    assert set(found["root"]) <= {
        "bin", "dev", "etc", "fetch", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys",
        "tmp", "usr",
    }  # fmt: skip
    assert "password" not in json.dumps(found["environment"])
    assert set(found["environment"]) == {
        "HOME", "HTTPS_PROXY", "LANG", "PATH", "PWD", "TMPDIR"
    } - ({"PWD"} - set(found["environment"]))  # fmt: skip
    assert found["descriptors"] == [0, 1, 2]
    assert found["processes"] == [1, 2]
    assert set(found["Uid"].split()) == set(found["Gid"].split()) == {str(ACCOUNT)}
    assert (found["Groups"], found["NoNewPrivs"], found["Seccomp"]) == ("", "1", "2")
    assert found["capabilities"]
    assert ours() == []


def test_settings_beside_a_python_elsewhere_are_hidden(work: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "python"
    (elsewhere / "etc").mkdir(parents=True)
    for name in ("pip.conf", "etc/npmrc", "code.py"):
        (elsewhere / name).write_text("password")
    reads = (
        "import json; found = {}\n"
        "for name in ('pip.conf', 'etc/npmrc', 'code.py'):\n"
        "    try: found[name] = open('/opt/python/' + name).read()\n"
        "    except OSError: found[name] = ''\n"
        "json.dump(found, open('/fetch/found', 'w'))"
    )
    fetch.real()(replace(script(work, reads), binds=((str(elsewhere), "/opt/python"),)))
    found = json.loads((work / "found").read_text())
    assert found == {"pip.conf": "", "etc/npmrc": "", "code.py": "password"}


def test_time_runs_out_for_what_ignores_every_signal(work: Path) -> None:
    bad = "import os, signal; signal.signal(15, 1); os.fork(); os.setsid()\nwhile True: pass"
    with pytest.raises(ImageError, match="took more than 1 s"):
        fetch.real()(script(work, bad, seconds=1))
    assert ours() == []


def test_where_no_sandbox_can_be_made_nothing_runs(
    store: ImageStore, wheels: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as what it is, and not as an index that lacks a wheel."""
    monkeypatch.setattr(fetching, "PROFILE", "nosuch")
    with pytest.raises(EngineError, match="no sandbox could be made to fetch in") as caught:
        derive(store, "python", locked(wheels), fetcher=fetch.real())
    assert (caught.value.control, bool(caught.value.remedy)) == ("seccomp", True)
    assert unchanged(store)


@pytest.mark.parametrize(
    "bad",
    [
        "open('/fetch/tmp/x', 'wb').truncate(1 << 40)",
        "import time\nwhile True: open(f'/fetch/tmp/{time.time_ns()}', 'w')",
        "f = open('/fetch/x', 'wb')\nwhile True: f.write(bytes(1 << 20))",
    ],
    ids=["one-large-file", "many-files", "bytes"],
)
def test_the_disk_is_bounded(work: Path, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 8 << 20)
    monkeypatch.setattr(fetching, "MAX_FILES", 500)
    with pytest.raises(ImageError, match=r"left more than|lost more than|File too large|failed"):
        fetch.real()(script(work, bad))
    assert ours() == []
    assert sum(path.lstat().st_blocks * 512 for path in work.rglob("*")) < 1 << 30


NAMELESS = """
import os, socket, mmap
def nameless(number):
    fd = os.open(f"/fetch/{number}", os.O_RDWR | os.O_CREAT)
    os.unlink(f"/fetch/{number}")
    for _ in range(4):
        os.write(fd, bytes(1 << 20))
    return fd
"""
HIDDEN = {
    "open": "held = []\nfor n in range(250): held.append(nameless(n))",
    "mapped": "held = []\nfor n in range(250):\n"
    "    fd = nameless(n); held.append(mmap.mmap(fd, 4 << 20)); os.close(fd)",
    "sent": "held = socket.socketpair()\nfor n in range(250):\n"
    "    fd = nameless(n); socket.send_fds(held[0], [b'x'], [fd]); os.close(fd)",
}


@pytest.mark.parametrize("hidden", HIDDEN)
def test_files_without_a_name_count(
    work: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    """1000 MiB in files that no look at names finds, each smaller than the bound."""
    monkeypatch.setattr(fetching, "MAX_BYTES", 64 << 20)
    wait = "\nimport signal; open('/fetch/all', 'w'); signal.pause()"
    with pytest.raises(ImageError, match="the disk lost more than"):
        fetch.real()(script(work, NAMELESS + HIDDEN[hidden] + wait))
    assert ours() == []


WAIT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support import fetch
from fumehood.images.fetching import Fetch, bare_environment
program = "import signal; open('/fetch/up', 'w'); signal.pause()"
argv = ("/usr/bin/python3", "-I", "-c", program)
fetch.real()(Fetch(argv, bare_environment(), (), Path(sys.argv[2]), True, 600))
"""


def helper_of(pid: int) -> int:
    """The privileged process that a command started."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert b"launcher.fetch" in Path(f"/proc/{child}/cmdline").read_bytes()
    return int(child)


def groups_of(helper: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/fumehood-{helper}-*"))


@pytest.mark.parametrize("whose", ["command", "helper"])
def test_when_either_is_killed_nothing_goes_on(work: Path, tmp_path: Path, whose: str) -> None:
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, tests, str(work)], stderr=subprocess.DEVNULL
    ) as process:
        until((work / "up").exists, "it never started")
        helper = helper_of(process.pid)
        assert ours()
        assert groups_of(helper)
        os.kill({"command": process.pid, "helper": helper}[whose], signal.SIGKILL)
    until(lambda: not ours(), "it outlived the command")
    if whose == "helper":  # what it could not remove any more, the next one does
        fetch.real()(script(new_work(tmp_path, "next"), "pass"))
    until(lambda: not groups_of(helper), "its cgroup was left")


# --- through `derive`, with an index that is the attacker's


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """With trees that look like images of Python and Node; nothing of them is ever run."""
    store = ImageStore(tmp_path / "images")
    (tmp_path / "python.tar").write_bytes(
        tar(
            entry("usr/bin/python3", kind=SYMLINK, link="python3.11"),
            entry("usr/bin/python3.11", b"never run", mode=0o755),
            entry("usr/local/bin", kind=DIRECTORY),
        )
    )
    (tmp_path / "node.tar").write_bytes(tar(entry("usr/bin/node", b"never run", mode=0o755)))
    store.import_(tmp_path / "python.tar", "python")
    store.import_(tmp_path / "node.tar", "node")
    return store


@pytest.fixture
def wheels(served: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """A wheel on an index whose address the host's configuration gives, with a password."""
    data = wheel()
    digest = hashlib.sha256(data).hexdigest()
    page = f'<!DOCTYPE html><a href="/files/{NAME}#sha256={digest}">{NAME}</a>'
    served.answers["/simple/lib/"] = ("text/html", page.encode())
    served.answers[f"/files/{NAME}"] = ("application/octet-stream", data)
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = {served.url('user:password@')}/simple\nextra-index-url =\n"
        "find-links =\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    return data


def locked(data: bytes) -> str:
    return f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"


def test_a_wheel_is_fetched_from_the_hosts_index_without_its_password(
    store: ImageStore, served: Index, wheels: bytes
) -> None:
    image = derive(store, "python", locked(wheels), fetcher=fetch.real())
    lib = store.path(image.digest) / SITE / "lib/__init__.py"
    assert lib.read_bytes() == FILES["lib/__init__.py"]
    assert f"/files/{NAME}" in served.asked
    assert served.secrets == []
    kept = list(store.wheels().iterdir())
    assert [(path.name, path.stat().st_uid) for path in kept] == [(NAME, os.geteuid())]
    assert ours() == []


def test_an_index_that_answers_something_else_is_refused(
    store: ImageStore, served: Index, wheels: bytes
) -> None:
    served.answers[f"/files/{NAME}"] = ("application/octet-stream", wheel({**FILES, "x": b""}))
    with pytest.raises(ImageError, match="cannot be had") as caught:
        derive(store, "python", locked(wheels), fetcher=fetch.real())
    assert "no sandbox is given" in caught.value.remedy
    assert unchanged(store)


def test_an_index_that_never_ends_is_cut_off(
    store: ImageStore, served: Index, wheels: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 8 << 20)
    served.endless.add(f"/files/{NAME}")
    with pytest.raises(ImageError, match="cannot be had"):
        derive(store, "python", locked(wheels), fetcher=fetch.real())
    assert unchanged(store)
    assert ours() == []


LEAVES = {
    "link": (f"os.symlink('/etc/shadow', '/fetch/wheels/{NAME}')", "which is no wheel"),
    "pipe": (f"os.mkfifo('/fetch/wheels/{NAME}')", "which is no wheel"),
    "folder": ("os.rmdir('/fetch/wheels'); os.symlink('/etc', '/fetch/wheels')", "is no folder"),
    "another-wheel": (f"open('/fetch/wheels/{NAME}', 'w').write('x')", "none of the hashes"),
    "another-name": ("open('/fetch/wheels/-r', 'w')", "which is no wheel"),
    "nothing": ("pass", "no wheel of lib"),
    "deep": (
        "[(os.mkdir('x'), os.chdir('x')) for _ in range(1100)]",
        "more than 64 folders within each other",
    ),
}


@pytest.mark.parametrize("left", LEAVES)
def test_what_a_pip_that_was_taken_over_leaves_is_refused_and_deleted(
    store: ImageStore, wheels: bytes, left: str
) -> None:
    def taken_over(wanted: Fetch) -> None:
        evil = ("/usr/bin/python3", "-I", "-c", f"import os; {LEAVES[left][0]}")
        fetch.real()(replace(wanted, argv=evil))

    with pytest.raises(ImageError, match=LEAVES[left][1]):
        derive(store, "python", locked(wheels), fetcher=taken_over)
    assert unchanged(store)


def test_a_package_is_fetched_without_a_token_and_its_scripts_never_run(
    store: ImageStore, served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = {"postinstall": "touch /fetch/ran", "prepare": "touch /fetch/ran"}
    described = {"name": "lib", "version": "1.0.0", "scripts": trap}
    data = gzip.compress(
        tar(
            entry("package/package.json", json.dumps(described).encode()),
            entry("package/index.js", b"module.exports = 7\n"),
        )
    )
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    dist = {"tarball": f"{served.url()}/lib.tgz", "integrity": integrity}
    document = {"name": "lib", "dist-tags": {}, "versions": {"1.0.0": {**described, "dist": dist}}}
    served.answers["/lib"] = ("application/json", json.dumps(document).encode())
    served.answers["/lib.tgz"] = ("application/octet-stream", data)
    (tmp_path / "npmrc").write_text(
        f"registry={served.url()}/\n//127.0.0.1:{served.port}/:_authToken=secret\n"
    )
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    ran: list[bool] = []

    def watched(wanted: Fetch) -> None:
        fetch.real()(wanted)
        ran.append((wanted.work / "ran").exists())

    package = {"version": "1.0.0", "integrity": integrity, "hasInstallScript": True}
    lock = json.dumps({"lockfileVersion": 3, "packages": {"node_modules/lib": package}})
    image = derive(store, "node", lock, fetcher=watched)
    assert (store.path(image.digest) / "node_modules/lib/index.js").exists()
    assert "/lib.tgz" in served.asked
    assert served.secrets == []
    assert ran == [False]
    assert ours() == []
