"""The image `host` for Docker, and programs that need nothing but the kernel."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path

from fumehood.engines import docker_image, elf
from fumehood.launcher.docker_process import find_init


def test_equal_hosts_have_equal_images() -> None:
    links = {"awk": "/usr/bin/mawk"}
    first, digest = docker_image.archive(links)
    assert (first, digest) == docker_image.archive(dict(links))
    assert docker_image.archive({})[1] != digest


def test_the_image_holds_no_file_of_the_host() -> None:
    data, _ = docker_image.archive({"awk": "/usr/bin/mawk"})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        entries = {item.name: item for item in tar}
    assert {"tmp", "out", "tool", "proc", "dev", "usr", "etc/passwd"} <= set(entries)
    assert sum(item.size for item in entries.values()) < 1000
    assert all(item.uid == item.gid == item.mtime == 0 for item in entries.values())
    assert entries["etc/alternatives/awk"].linkname == "/usr/bin/mawk"
    if Path("/bin").is_symlink():
        assert entries["bin"].linkname == "usr/bin"


def test_usr_is_bound_with_every_file_system_below_it() -> None:
    binds = docker_image.binds()
    assert binds["/usr"] == "/usr"
    assert all(target == source for target, source in binds.items())


def test_static_programs_are_told_from_others(tmp_path: Path) -> None:
    assert elf.is_static(find_init())
    assert not elf.is_static(str(Path(sys.executable).resolve()))
    assert not elf.is_static(str(tmp_path / "none"))
    assert not elf.is_static(str(tmp_path))
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert not elf.is_static(str(script))
    cut = tmp_path / "cut"
    shutil.copy(find_init(), cut)
    with cut.open("r+b") as file:
        file.truncate(80)
    assert not elf.is_static(str(cut))
