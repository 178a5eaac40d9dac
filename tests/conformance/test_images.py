"""Images as root file systems of sandboxes: built here, mounted whole, read-only, by digest."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fumehood.config import Config
from fumehood.errors import FumehoodError
from fumehood.images.bounds import DEFAULT
from fumehood.images.sbom import summarise
from fumehood.images.sources import Workplace
from fumehood.images.spool import Spool
from fumehood.images.store import Image, ImageStore
from fumehood.images.tree import Tree
from fumehood.launcher import messages as m
from support import launcher as real
from support.archives import entry, tar
from support.hood import Hood, eventually
from support.hood import hood as start_hood
from support.images import TWICE, base_store, python_image, start
from support.launcher import Process, plan
from support.wheels import NAME, SITE, trap, wheel


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return base_store()


@pytest.fixture(scope="module")
def base(store: ImageStore) -> Image:
    return store.resolve("base")


@pytest.fixture(scope="module")
def process(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    tools = tmp_path_factory.mktemp("store")
    with real.launcher(tools, image_store=str(store.directory)) as running:
        yield running


_names = (f"cafe{number:04x}" for number in range(1000))


def run(process: Process, image: str, *argv: str) -> tuple[int | None, str]:
    ended, out = process.run(next(_names), plan(*argv, image=image))
    return ended.exit_code, out.decode()


def refusal(process: Process, image: str) -> m.Refused:
    process.open(next(_names), plan("true", image=image))
    answer = process.receive()
    assert isinstance(answer, m.Refused), answer
    return answer


@pytest.mark.parametrize("which", TWICE)
def test_two_builds_have_one_digest(store: ImageStore, which: str) -> None:
    first, again = (start(which, name).result() for name in (which, f"{which}-again"))
    assert (first.name, again.name) == (f"{which}:latest", f"{which}-again:latest")
    assert first.digest == again.digest


def test_a_built_image_is_what_its_digest_says(store: ImageStore) -> None:
    assert store.verify() == []


def test_its_bill_of_materials_names_its_packages(store: ImageStore, base: Image) -> None:
    summary = summarise(store.sbom(base))
    names = {package.name for package in summary.packages}
    assert {"bash", "coreutils", "libc6", "base-files"} <= names
    assert summary.loose_files < 50
    assert base.size < 64 << 20


def test_programs_of_the_image_run(process: Process, base: Image) -> None:
    script = (
        "echo to be or not to be | tr ' ' '\\n' | sort | uniq -c | awk '{n += $1} END {print n}'"
    )
    assert run(process, base.digest, "bash", "-c", script) == (0, "6\n")


def test_nothing_of_the_host_is_in_it(process: Process, base: Image) -> None:
    assert os.path.exists("/usr/bin/python3")
    code, out = run(process, base.digest, "sh", "-c", "ls -d /usr/bin/python3 /work /home/*; ls /")
    assert code == 0
    assert out.split() == sorted(
        {"bin", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "out", "proc", "root",
         "run", "sbin", "srv", "sys", "tmp", "tool", "usr", "var"}
    )  # fmt: skip


def test_the_root_is_proven_to_be_that_tree(process: Process, base: Image) -> None:
    name = next(_names)
    process.open(name, plan("true", image=base.digest))
    opened = process.receive()
    assert isinstance(opened, m.OpenedMessage)
    assert [p.value for p in opened.proofs if p.control == "image"] == [base.digest]
    process.send(m.Kill(name))
    assert isinstance(process.receive(), m.EndedMessage)


def test_nothing_in_it_can_be_written(process: Process, base: Image) -> None:
    script = (
        "for d in / /usr /usr/bin /etc /var /root /home /tool /sys /run; do"
        " (: > $d/x) 2>/dev/null && echo $d; done; for f in /etc/passwd /usr/bin/bash; do"
        " (: >> $f) 2>/dev/null && echo $f; done; : > /tmp/x && : > /out/x && echo scratch"
    )
    assert run(process, base.digest, "bash", "-c", script) == (0, "scratch\n")


def test_no_file_in_it_gives_privilege(store: ImageStore, base: Image) -> None:
    for path in store.path(base.digest).rglob("*"):
        info = path.lstat()
        assert path.is_symlink() or info.st_mode & 0o7222 == 0, path
        assert (info.st_uid, info.st_gid) == (os.geteuid(), os.getegid()), path


def test_one_tree_serves_many_sandboxes_at_once(process: Process, base: Image) -> None:
    names = [next(_names) for _ in range(4)]
    for name in names:
        process.open(name, plan("cat", image=base.digest))
    assert all(isinstance(process.receive(), m.OpenedMessage) for _ in names)
    for name in names:
        process.send(m.Kill(name))
    assert all(isinstance(process.receive(), m.EndedMessage) for _ in names)


@pytest.mark.parametrize(
    "image",
    ["base", "base:latest", "sha256:" + "0" * 64, "sha256:" + "." * 64, "sha256:../../../etc",
     "", "/", "host/../..", "sha384:" + "0" * 96],
)  # fmt: skip
def test_an_image_that_is_not_in_the_store_is_refused(process: Process, image: str) -> None:
    assert refusal(process, image).control == "image"


def test_images_come_and_go_while_the_launcher_runs(
    store: ImageStore, process: Process, base: Image
) -> None:
    def fill(place: Workplace) -> Tree:
        fd = os.open(store.path(base.digest), os.O_RDONLY | os.O_DIRECTORY)
        tree = Tree(Spool(place.contents, DEFAULT), DEFAULT)
        tree.adopt(fd)
        os.close(fd)
        tree.put("opt/marker", tree.spool.add([b"new"], executable=False, mtime=0))
        return tree

    image = store.add(fill, "more", source="test")
    assert run(process, image.digest, "cat", "/opt/marker") == (0, "new")
    store.remove("more")
    assert refusal(process, image.digest).control == "image"
    assert run(process, base.digest, "true") == (0, "")


def test_an_image_without_the_program_is_a_failed_call(process: Process, base: Image) -> None:
    name = next(_names)
    process.open(name, plan("python3", image=base.digest))
    assert isinstance(process.receive(), m.OpenedMessage)
    process.send(m.Start(name))
    message = process.receive()
    while isinstance(message, m.StartedMessage):  # whether it is seen depends on who is quicker
        message = process.receive()
    assert isinstance(message, m.EndedMessage)
    assert not message.executed or message.exit_code not in (0, None)


def test_a_store_that_others_can_write_stops_the_launcher(
    store: ImageStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = ImageStore(tmp_path / "images")
    (tmp_path / "x.tar").write_bytes(tar(entry("usr/a", b"1")))
    own.import_(tmp_path / "x.tar", "x")
    own.directory.chmod(0o777)
    with (
        pytest.raises((AssertionError, OSError)),
        real.launcher(tmp_path, image_store=str(own.directory)),
    ):
        pass
    assert "can be written by others" in capfd.readouterr().err


def test_a_store_of_another_user_stops_the_launcher(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the supervisor's account puts in the store's place."""
    fake = tmp_path / "images"
    (fake / "trees").mkdir(parents=True)
    os.chown(fake, real.ACCOUNT, real.ACCOUNT)
    with (
        pytest.raises((AssertionError, OSError)),
        real.launcher(tmp_path, image_store=str(fake)),
    ):
        pass
    assert "can be written by others" in capfd.readouterr().err


def test_a_store_that_is_a_link_stops_the_launcher(
    store: ImageStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").symlink_to(store.directory)
    with (
        pytest.raises((AssertionError, OSError)),
        real.launcher(tmp_path, image_store=str(tmp_path / "images")),
    ):
        pass
    assert "cannot start" in capfd.readouterr().err


def test_without_a_store_there_are_no_images(tmp_path: Path, base: Image) -> None:
    for place in ("", str(tmp_path / "missing")):
        with real.launcher(tmp_path, image_store=place) as process:
            assert refusal(process, base.digest).control == "image"
            wanted = replace(plan("true"), image="host")
            assert process.run(next(_names), wanted)[0].exit_code == 0


# --- through the daemon, as a user does it

SCRIPT = 'cat >/dev/null; ls /usr/bin/dpkg /usr/bin/python3 2>&1 | sort; cat "$0" | head -1'


@pytest.fixture(scope="module")
def imported(hood: Hood, store: ImageStore, base: Image) -> str:
    """The digest of `base` in the daemon's own store, imported while it runs."""
    done = hood.cli("image", "import", str(store.path(base.digest)), "--name", "base", "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["digest"])


def register(hood: Hood, name: str, image: str) -> dict[str, Any]:
    return hood.register(
        None,
        name,
        command=[],
        files={"main.sh": SCRIPT},
        run={"image": image, "command": ["bash", "/tool/main.sh"], "files": "."},
    )


def test_an_import_into_another_store_keeps_the_digest(imported: str, base: Image) -> None:
    assert imported == base.digest


def test_a_tool_is_pinned_to_the_digest_of_its_image_and_runs_in_it(
    hood: Hood, imported: str
) -> None:
    entry = register(hood, "imaged", "base")
    assert entry["manifest"]["run"]["image"] == f"base@{imported}"
    result = hood.call("imaged")
    assert result["status"] == "ok", result
    text = result["content"][0]["text"]
    assert "/usr/bin/dpkg\n" in text
    assert "/usr/bin/python3\n" not in text


def test_a_tag_that_moves_does_not_move_the_tool(hood: Hood, imported: str, tmp_path: Path) -> None:
    register(hood, "steady", "base")
    (tmp_path / "other.tar").write_bytes(tar(entry("usr/bin/other", b"no program")))
    moved = hood.cli("image", "import", str(tmp_path / "other.tar"), "--name", "base")
    assert moved.returncode == 0, moved.stderr
    try:
        assert hood.call("steady")["status"] == "ok"
    finally:
        tree = hood.state / "images" / "trees" / imported.removeprefix("sha256:")
        again = hood.cli("image", "import", str(tree), "--name", "base")
        assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("image", ["nosuch", "base:other", "sha256:" + "0" * 64])
def test_a_tool_with_an_unknown_image_is_refused(hood: Hood, imported: str, image: str) -> None:
    with pytest.raises(FumehoodError, match="there is no image") as caught:
        register(hood, "lost", image)
    assert "fumehood image list" in caught.value.remedy


def test_an_image_in_use_is_not_removed(hood: Hood, imported: str) -> None:
    register(hood, "user", "base")
    refused = hood.cli("image", "remove", "base")
    assert refused.returncode == 1
    assert "a registered tool uses" in refused.stderr
    assert hood.call("user")["status"] == "ok"


def test_an_image_removed_by_force_refuses_calls_by_name_and_comes_back(
    hood: Hood, store: ImageStore, base: Image, imported: str
) -> None:
    register(hood, "forced", "base")
    assert hood.cli("image", "remove", imported, "--force").returncode == 0
    result = hood.call("forced")
    assert result["status"] in ("engine_error", "rejected"), result
    back = hood.cli("image", "import", str(store.path(base.digest)), "--name", "base")
    assert back.returncode == 0, back.stderr
    assert hood.call("forced")["status"] == "ok"


WAITS = "cat >/dev/null; while [ -e /usr/bin/tac ]; do :; done; echo it is gone"


def test_an_image_removed_while_a_tool_runs_in_it_takes_only_its_files(
    hood: Hood, store: ImageStore, base: Image, imported: str
) -> None:
    """The call goes on with what it has open, and its end is its own; the next is refused."""
    name = "removed"
    hood.register(
        None,
        name,
        command=[],
        files={"main.sh": WAITS},
        run={"image": "base", "command": ["bash", "/tool/main.sh"], "files": ".", "warm": "none"},
        limits={"timeout": "60s"},
    )
    results: list[dict[str, Any]] = []
    caller = threading.Thread(target=lambda: results.append(hood.call(name)))
    caller.start()
    try:
        eventually(lambda: bool(hood.alive(name)), 30, "the tool runs")
        assert hood.cli("image", "remove", imported, "--force").returncode == 0
    finally:
        caller.join(90)
        back = hood.cli("image", "import", str(store.path(base.digest)), "--name", "base")
    (result,) = results
    assert (result["status"], result["content"][0]["text"]) == ("ok", "it is gone\n"), result
    assert back.returncode == 0, back.stderr
    assert hood.alive(name) == []


def test_a_daemon_does_not_start_a_tampered_image(
    store: ImageStore, base: Image, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o755)
    own = ImageStore(place / "state" / "images")
    own.import_(store.path(base.digest), "base")
    victim = own.path(base.digest) / "usr/bin/bash"
    victim.chmod(0o755)
    victim.write_bytes(b"#!/bin/sh\necho owned\n")
    with start_hood(place) as running:
        assert "is not used" in running.log.read_text()
        with pytest.raises(FumehoodError, match="is missing"):
            register(running, "tampered", "base")


def test_a_single_run_uses_the_same_store(hood: Hood, imported: str, tmp_path: Path) -> None:
    (tmp_path / "main.sh").write_text(SCRIPT)
    (tmp_path / "tool.yaml").write_text(
        "name: single\nversion: 1.0.0\ndescription: One run in an image.\n"
        "inputSchema: {type: object}\n"
        "run: {image: base, command: [bash, /tool/main.sh], files: .}\n"
    )
    done = hood.cli("run", str(tmp_path / "tool.yaml"), "{}", "--json")
    assert done.returncode == 0, done.stderr
    assert "/usr/bin/dpkg" in done.stdout


@pytest.fixture(scope="module")
def libraries(hood: Hood, store: ImageStore) -> str:
    """The image `python` in the daemon's store; returns its digest."""
    tree = store.path(python_image().digest)
    done = hood.cli("image", "import", str(tree), "--name", "python", "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["digest"])


PROGRAM = """
import importlib.metadata, json, os, sys
import lib
json.dump({
    "answer": lib.main(), "version": importlib.metadata.version("lib"),
    "compiled": os.path.exists(lib.__cached__), "python": sys.version_info[:2],
}, sys.stdout)
"""


def test_a_tool_gets_its_hashed_requirements(hood: Hood, libraries: str, tmp_path: Path) -> None:
    data = wheel()
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / NAME).write_bytes(data)
    text = f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"
    files = {"main.py": PROGRAM, "requirements.txt": text}
    run = {
        "image": "python",
        "requirements": "requirements.txt",
        "command": ["python3", "/tool/main.py"],
        "files": ".",
    }
    with pytest.raises(FumehoodError, match="not installed over python") as caught:
        hood.register(None, "libraries", command=[], files=files, run=run)
    assert "fumehood image derive" in caught.value.remedy
    (tmp_path / "requirements.txt").write_text(text)
    derived = hood.cli(
        "image", "derive", str(tmp_path / "requirements.txt"),
        "--wheels", str(tmp_path / "wheels"), "--json",
    )  # fmt: skip
    assert derived.returncode == 0, derived.stderr
    image = json.loads(derived.stdout)
    assert image["base"] == libraries
    added = hood.register(None, "libraries", command=[], files=files, run=run)
    assert added["manifest"]["run"]["image"] == f"python@{image['digest']}"
    result = hood.call("libraries")
    assert result["status"] == "ok", result
    answer = json.loads(result["content"][0]["text"])
    assert answer == {"answer": 0, "version": "1.0", "compiled": True, "python": [3, 11]}


def test_code_that_runs_while_libraries_are_compiled_reaches_nothing(
    hood: Hood, libraries: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    (tmp_path / "wheels").mkdir()
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{secret}")
        for listener in (tcp, abstract):
            listener.listen()
        data = trap(str(secret), tcp.getsockname()[1])
        (tmp_path / "wheels" / NAME).write_bytes(data)
        (tmp_path / "requirements.txt").write_text(
            f"lib==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n"
        )
        derived = hood.cli(
            "image", "derive", str(tmp_path / "requirements.txt"),
            "--wheels", str(tmp_path / "wheels"), "--config", str(hood.place / "config.yaml"),
            "--json",
        )  # fmt: skip
        assert derived.returncode == 0, derived.stderr
    tree = hood.state / "images/trees" / json.loads(derived.stdout)["digest"][7:]
    compiled = (tree / SITE / "lib/__pycache__/__init__.cpython-311.pyc").read_text()
    found = json.loads(compiled)
    own = Config.from_json((hood.place / "config.yaml").read_text()).accounts
    assert found.pop("uid") == own.libraries
    assert set(found.pop("variables")) <= {"LANG", "PATH", "PWD"}
    assert found.pop("processes") == 2  # the sandbox's init, and itself
    assert len(found) == 9
    assert set(found.values()) == {"refused"}


def test_a_tool_gets_its_locked_packages(
    hood: Hood, store: ImageStore, base: Image, tmp_path: Path
) -> None:
    """Node's own part is where it looks: /node_modules, above /tool. A stand-in for it reads."""
    tree = tmp_path / "tree"
    shutil.copytree(store.path(base.digest), tree, symlinks=True)
    (tree / "usr/bin").chmod(0o755)
    (tree / "usr/bin/node").write_text(
        '#!/bin/bash\ncd /tool && cat "../node_modules/$1/index.js"\n'
    )
    (tree / "usr/bin/node").chmod(0o755)
    imported = hood.cli("image", "import", str(tree), "--name", "node")
    assert imported.returncode == 0, imported.stderr
    data = gzip.compress(tar(entry("package/index.js", b"module.exports = 7\n")))
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "lib.tgz").write_bytes(data)
    integrity = base64.b64encode(hashlib.sha512(data).digest()).decode()
    package = {"version": "1.0.0", "integrity": f"sha512-{integrity}"}
    lock = tmp_path / "package-lock.json"
    lock.write_text(json.dumps({"lockfileVersion": 3, "packages": {"node_modules/lib": package}}))
    run = {
        "image": "node",
        "requirements": "package-lock.json",
        "command": ["node", "lib"],
        "files": ".",
    }
    files = {"package-lock.json": lock.read_text()}
    with pytest.raises(FumehoodError, match="not installed over node"):
        hood.register(None, "packages", command=[], files=files, run=run)
    derived = hood.cli(
        "image", "derive", str(lock), "--wheels", str(tmp_path / "packages"), "--json"
    )
    assert derived.returncode == 0, derived.stderr
    added = hood.register(None, "packages", command=[], files=files, run=run)
    assert added["manifest"]["run"]["image"] == f"node@{json.loads(derived.stdout)['digest']}"
    result = hood.call("packages")
    assert (result["status"], result["content"][0]["text"]) == ("ok", "module.exports = 7\n"), (
        result
    )


def test_the_python_image_has_the_whole_standard_library(hood: Hood, libraries: str) -> None:
    script = "import ssl, sqlite3, decimal, zoneinfo, lzma, xml.dom, asyncio; print('whole')"
    run = {"image": "python", "command": ["python3", "-c", script]}
    hood.register(None, "whole", command=[], run=run)
    result = hood.call("whole")
    assert (result["status"], result["content"][0]["text"]) == ("ok", "whole\n"), result
