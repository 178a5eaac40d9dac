"""Leaves in /out what whoever collects it might stumble over. Each action makes one trap, and a
harmless file `plain` that must arrive all the same."""

import contextlib
import os
import socket
import stat
from collections.abc import Mapping

from attempts import attempt, main

Answer = Mapping[str, object] | None
Arguments = dict[str, object]


def plain() -> None:
    with open("/out/plain", "w") as file:
        file.write("plain text")


def symlinks(arguments: Arguments) -> Answer:
    """To files of the host by absolute, relative and proc names, and to what is inside."""
    secret = str(arguments["secret"])
    for name, target in {
        "absolute": secret,
        "climbing": "../" * 40 + secret.lstrip("/"),
        "proc": "/proc/1/root" + secret,
        "self": "/proc/self/environ",
        "fd": "/proc/self/fd/0",
        "inside": "plain",
        "shadow": "/etc/shadow",
        "loop": "loop",
        "dangling": "/nonexistent",
        "device": "/dev/zero",
    }.items():
        os.symlink(target, f"/out/{name}")
    return None


def symlinked_parent(arguments: Arguments) -> Answer:
    """A directory that is a link to one of the host."""
    secret = str(arguments["secret"])
    os.symlink(os.path.dirname(secret), "/out/directory")
    os.symlink("/", "/out/root")
    return None


def hard_links(_: Arguments) -> Answer:
    """To files outside (the kernel must refuse), and twice the same inside."""
    with open("/tmp/elsewhere", "w") as file:
        file.write("from tmp")
    with open("/out/one", "w") as file:
        file.write("twice")
    return {
        "usr": attempt(lambda: os.link("/usr/bin/env", "/out/usr")),
        "tool": attempt(lambda: os.link("/tool/artifacts.py", "/out/tool")),
        "proc": attempt(lambda: os.link("/proc/self/environ", "/out/environ")),
        "tmp": attempt(lambda: os.link("/tmp/elsewhere", "/out/tmp")),
        "two": attempt(lambda: os.link("/out/one", "/out/two")),
    }


def fifo(_: Arguments) -> Answer:
    os.mkfifo("/out/fifo")
    return None


def special(_: Arguments) -> Answer:
    made = {
        "socket": attempt(lambda: os.mknod("/out/socket", stat.S_IFSOCK | 0o600)),
        "char": attempt(lambda: os.mknod("/out/char", stat.S_IFCHR | 0o666, os.makedev(1, 5))),
        "block": attempt(lambda: os.mknod("/out/block", stat.S_IFBLK | 0o666, os.makedev(8, 0))),
    }
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_UNIX).bind("/out/listener")
    return made


def sparse(_: Arguments) -> Answer:
    """A tebibyte that costs nothing."""
    with open("/out/sparse", "wb") as file, contextlib.suppress(OSError):
        os.truncate(file.fileno(), 1 << 40)
    return None


def large(arguments: Arguments) -> Answer:
    with open("/out/large", "wb") as file:
        file.write(b"x" * int(str(arguments["bytes"])))
    return None


def deep(_: Arguments) -> Answer:
    os.chdir("/out")
    made = 0
    with contextlib.suppress(OSError):
        while made < 1000:
            os.mkdir("d")
            os.chdir("d")
            made += 1
    with contextlib.suppress(OSError), open("bottom", "w") as file:
        file.write("deep")
    return {"depth": made}


def many(_: Arguments) -> Answer:
    made = 0
    with contextlib.suppress(OSError):
        while made < 100_000:
            os.close(os.open(f"/out/{made}", os.O_CREAT | os.O_WRONLY, 0o600))
            made += 1
    return {"files": made}


def names(_: Arguments) -> Answer:
    """Names that are no text, or no harmless text."""
    for name in (
        b"\xff\xfe",
        b"new\nline",
        b"\x1b[31mred",
        b"tab\tname",
        "right\u202eto-left".encode(),
        b"x" * 255,
        b"..\\windows",
        b"-rf",
        b" ",
        b"%2e%2e%2fencoded",
    ):
        with open(b"/out/" + name, "wb") as file:
            file.write(b"named")
    return None


def modes(_: Arguments) -> Answer:
    """Unreadable, and with bits that mean power elsewhere."""
    for name, mode in {"none": 0, "setuid": 0o4755, "setgid": 0o2755, "write": 0o222}.items():
        with open(f"/out/{name}", "w") as file:
            file.write(name)
        os.chmod(f"/out/{name}", mode)
    os.mkdir("/out/closed")
    with open("/out/closed/inner", "w") as file:
        file.write("inner")
    os.chmod("/out/closed", 0)
    return None


def exchanges(_: Arguments) -> Answer:
    """A child goes on exchanging a file for a link while the tool's end is awaited."""
    with open("/out/swap", "w") as file:
        file.write("first")
    os.symlink("/etc/shadow", "/out/link")
    if os.fork() == 0:
        while True:
            os.rename("/out/swap", "/out/middle")
            os.rename("/out/link", "/out/swap")
            os.rename("/out/middle", "/out/link")
    return None


def replaces_out(_: Arguments) -> Answer:
    """The directory itself exchanged, if the kernel let it."""
    return {
        "rename": attempt(lambda: os.rename("/out", "/old")),
        "rmdir": attempt(lambda: os.rmdir("/out")),
        "symlink": attempt(lambda: os.symlink("/etc", "/out2")),
    }


if __name__ == "__main__":
    plain()
    main(
        {
            action.__name__: action
            for action in (
                symlinks, symlinked_parent, hard_links, fifo, special, sparse, large, deep, many,
                names, modes, exchanges, replaces_out,
            )
        }
    )  # fmt: skip
