"""Mount namespaces: a fresh, minimal root for a process of ours, and the skeleton of a tool's.

Standard library only. Everything is mounted in a private mount namespace, so it vanishes with
its last process, also after kill -9: nothing needs to be unmounted on the host.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fumehood.kernel import libc, proc

DEVICES = ("null", "zero", "full", "random", "urandom")
_USR_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_TMPFS_FLAGS = libc.MS_NOSUID | libc.MS_NODEV


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path shown at `target` (default: the same path)."""

    source: str
    target: str = ""
    read_only: bool = True


def private_namespace() -> None:
    """A mount namespace of our own, from which nothing propagates to the host's."""
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)


def user_namespace() -> None:
    """Rootless: a user namespace with only our own UID and GID in it, then as above.

    Our capabilities hold in this namespace only, and end with the next exec.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc.unshare(libc.CLONE_NEWUSER | libc.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)


def enter(binds: list[Bind], *, tmp_bytes: int) -> None:
    """Exchange this process's root for a small tmpfs that shows only `binds`, the host's /usr,
    /proc and harmless devices, and an empty bounded /tmp.

    A chroot would not do: the kernel refuses user namespaces to chrooted processes.
    """
    base = "/run" if Path("/run").is_dir() else "/tmp"  # noqa: S108  (covered by our own mount)
    libc.mount("tmpfs", base, "tmpfs", _TMPFS_FLAGS, "mode=0755,size=4m,nr_inodes=32768")
    root = Path(base)
    usr_view(root)
    for directory in ("proc", "dev", "tmp", "old"):
        (root / directory).mkdir()
    _bind(Bind("/proc", read_only=False), root)
    devices(root / "dev")
    libc.mount("tmpfs", f"{root}/tmp", "tmpfs", _TMPFS_FLAGS, f"mode=1777,size={tmp_bytes}")  # noqa: S108
    for bind in binds:
        _bind(bind, root)
    os.chdir(root)
    libc.pivot_root(".", "old")
    os.chdir("/")
    libc.umount2("/old", libc.MNT_DETACH)
    Path("/old").rmdir()


def usr_view(root: Path) -> None:
    """The host's /usr, read-only, with the usual links into it: the image `host`."""
    (root / "usr").mkdir()
    _bind(Bind("/usr"), root)
    for name in _USR_LINKS:
        host = Path("/", name)
        if host.is_symlink():
            (root / name).symlink_to(os.readlink(host))
        elif host.is_dir():  # a host without merged /usr
            _bind(Bind(str(host)), root)


def devices(directory: Path) -> None:
    """A minimal /dev: five devices, the descriptor links, and /dev/shm inside the scratch space."""
    for name in DEVICES:
        (directory / name).touch()
        libc.mount(f"/dev/{name}", str(directory / name), "", libc.MS_BIND)
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("shm", "/tmp"),  # noqa: S108  (the sandbox's own)
    ):
        (directory / name).symlink_to(target)


def skeleton(root: Path, alternatives: dict[str, str]) -> None:
    """The root directory of sandboxes that use the image `host`: /usr, a synthetic /etc, and
    empty mount points. Nothing else of the host is in it.

    alternatives: Debian's links (awk, editor …) into /usr, made anew; see `alternatives`.
    """
    libc.mount("tmpfs", str(root), "tmpfs", _TMPFS_FLAGS, "mode=0755,size=4m,nr_inodes=4096")
    usr_view(root)
    for name in ("proc", "dev", "tmp", "out", "tool", "etc"):
        (root / name).mkdir()
    _etc(root / "etc", alternatives)
    remount_read_only(str(root))


def device_directory(path: Path) -> None:
    """A read-only tmpfs with the minimal devices, to be bound at a sandbox's /dev."""
    libc.mount("tmpfs", str(path), "tmpfs", libc.MS_NOSUID, "mode=0755,size=64k,nr_inodes=64")
    devices(path)
    remount_read_only(str(path), extra=0)


def _etc(etc: Path, links: dict[str, str]) -> None:
    (etc / "passwd").write_text(
        "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    )
    (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/UTC")
    (etc / "alternatives").mkdir()
    for name, target in links.items():
        (etc / "alternatives" / name).symlink_to(target)


def alternatives() -> dict[str, str]:
    """The host's /etc/alternatives, as far as it points into /usr; read before `enter`."""
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir("/etc/alternatives"):
            if entry.is_symlink() and (target := os.readlink(entry.path)).startswith("/usr/"):
                found[entry.name] = target
    return found


def scratch(path: str, *, size: int, inodes: int, uid: int, gid: int) -> None:
    """A sandbox's scratch space: one bounded tmpfs with the directories `tmp` and `out`.

    `size=` alone would let it hold millions of empty files, hence `nr_inodes=`; three inodes
    are for the directories themselves.
    """
    libc.mount(
        "tmpfs",
        path,
        "tmpfs",
        _TMPFS_FLAGS | libc.MS_NOEXEC,
        f"mode=0711,size={size},nr_inodes={inodes + 3}",
    )
    for name in ("tmp", "out"):
        directory = f"{path}/{name}"
        os.mkdir(directory, 0o700)
        os.chown(directory, uid, gid)


def scratch_bounds(size: int, inodes: int) -> frozenset[str]:
    """The options under which the kernel lists such a scratch space: whole pages, in KiB."""
    page = os.sysconf("SC_PAGE_SIZE")
    return frozenset({f"size={-(-size // page) * page // 1024}k", f"nr_inodes={inodes + 3}"})


def bind_directory(source: str, target: str) -> None:
    """Show a directory at `target`, which is made. The last part of `source` is never followed:
    the store belongs to the supervisor, and a link in it would show a sandbox the host."""
    fd = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.mkdir(target, 0o755)
        libc.mount(f"/proc/self/fd/{fd}", target, "", libc.MS_BIND)
    finally:
        os.close(fd)


def remount_read_only(path: str, extra: int = libc.MS_NODEV) -> None:
    """Make one mount read-only."""
    flags = libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | libc.MS_NOSUID | extra
    libc.mount("none", path, "", flags)


def _bind(bind: Bind, root: Path) -> None:
    target = root / (bind.target or bind.source).lstrip("/")
    if stat.S_ISDIR(os.stat(bind.source).st_mode):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    libc.mount(bind.source, str(target), "", libc.MS_BIND | libc.MS_REC)
    if bind.read_only:
        _read_only_tree(str(target))


def _read_only_tree(target: str) -> None:
    """A remount changes one mount only, so every mount below is remounted too, each with the
    flags it has: in a user namespace inherited flags are locked and may not be dropped."""
    names = {
        "nosuid": libc.MS_NOSUID,
        "nodev": libc.MS_NODEV,
        "noexec": libc.MS_NOEXEC,
        "noatime": 0x400,
        "nodiratime": 0x800,
        "relatime": 0x200000,
    }
    for mount in proc.mounts("self"):
        if mount.target == target or mount.target.startswith(f"{target}/"):
            kept = sum(flag for name, flag in names.items() if name in mount.options)
            libc.mount(
                "none", mount.target, "", libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | kept
            )
