"""A file system that turns read-only, as ext4 does after an error: nothing is answered unrecorded,
the daemon says what to do, and after a repair nothing is missing."""

from __future__ import annotations

import concurrent.futures
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.errors import FumehoodError
from support.hood import command, eventually, hood
from support.ledger import Ledger


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Disk:
    """An ext4 file system in a file, which can be made to fail."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk"
        self.place = folder / "place"
        self.state = self.place / "state"
        self.state.mkdir(parents=True)
        self.place.chmod(0o755)
        with self.image.open("wb") as file:
            file.truncate(96 << 20)
        run("mkfs.ext4", "-q", "-F", str(self.image))

    def mount(self) -> None:
        run("mount", "-o", "loop", str(self.image), str(self.state))

    def fail(self) -> None:
        """What the kernel does when ext4 finds an error (ext4(5), errors=remount-ro)."""
        run("mount", "-o", "remount,abort", str(self.state))

    def repair(self) -> None:
        run("umount", str(self.state))
        subprocess.run(["e2fsck", "-fy", self.image], check=False, capture_output=True)
        self.mount()


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="hood-") as folder:
        Path(folder).chmod(0o755)
        found = Disk(Path(folder))
        found.mount()
        try:
            yield found
        finally:
            subprocess.run(["umount", "--lazy", found.state], check=True)


def test_a_file_system_that_turns_read_only_loses_no_record(disk: Disk) -> None:
    config = {"storage": {"free": "1MiB"}, "warm": 0}
    with hood(disk.place, config=config) as running:
        running.register(None, "nap", command=["sleep", "3"], limits={"timeout": "60s"})
        running.register(None, "echo", command=["cat"])
        assert running.call("echo")["status"] == "ok"
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            nap = pool.submit(running.call, "nap")
            eventually(lambda: len(Ledger.of(disk.state).launched) == 2, 30, "it runs")
            disk.fail()
            with pytest.raises(FumehoodError, match="could not be recorded"):
                nap.result(60)
        refused = running.call("echo")
        assert refused["status"] == "rejected"
        assert running.status()["refusing"]
        assert "see to the disk" in running.log.read_text() + refused["message"]
        running.process.kill()
        running.process.wait()
    again = subprocess.run(
        command("serve", "--state", str(disk.state), "--socket", str(disk.place / "other"),
                "--config", str(disk.place / "config.yaml")),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert again.returncode != 0
    assert "Read-only file system" in again.stderr
    assert "remedy: " in again.stderr
    disk.repair()
    with hood(disk.place, config=config) as repaired:
        assert repaired.call("echo")["status"] == "ok"
        assert repaired.cli("audit", "verify").returncode == 0
    ledger = Ledger.of(disk.state)
    ledger.check()
    assert sorted(ledger.statuses.values()) == ["engine_error", "ok", "ok"]
