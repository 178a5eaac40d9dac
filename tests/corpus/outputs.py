"""What tools of this machine print when nothing is wrong: run at measuring time, whatever is there.

Their output differs from host to host, so the floor is on the share, not on the number.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from corpus.sample import Sample

COMMANDS: Final = (
    ("ls", "-la", "/usr/bin"), ("ls", "-laR", "/usr/lib/python3"), ("ps", "auxww"), ("df", "-h"),
    ("mount",), ("lscpu",), ("getent", "passwd"), ("dpkg", "-l"), ("apt-cache", "show", "bash"),
    ("git", "log", "-n", "200", "--stat"), ("sh", "-c", "sha256sum /usr/bin/a*"),
    ("sh", "-c", "md5sum /usr/lib/os-release /etc/services"), ("strings", "/usr/bin/env"),
    ("readelf", "-a", "/usr/bin/env"), ("objdump", "-d", "/usr/bin/true"), ("sysctl", "-a"),
    ("openssl", "ciphers", "-v"), ("bash", "-c", "help"), ("stat", "/etc/passwd"), ("env", "-i", "env"),
    ("find", "/usr/share/doc", "-maxdepth", "1"), ("python3", "-c", "help('modules sys')"),
    ("sh", "-c", "cat /proc/self/maps /proc/meminfo /proc/cpuinfo /proc/mounts"),
)  # fmt: skip
FILES: Final = (
    ("/usr/share/doc/*/copyright", 150), ("/etc/ssl/certs/*.pem", 80), ("/usr/share/i18n/locales/*", 40),
    ("/usr/include/*.h", 80), ("/usr/share/common-licenses/*", 20), ("/etc/*.conf", 40),
    ("/usr/lib/git-core/*.sh", 20), ("/usr/share/bash-completion/completions/*", 150),
    ("/usr/share/perl/5*/*.pm", 80), ("/lib/systemd/system/*.service", 60),
)  # fmt: skip
MOST: Final = 200_000
SECONDS: Final = 20


def samples() -> Iterator[Sample]:
    for command in COMMANDS:
        if (output := _printed(command)) is not None:
            yield Sample("tools' output", " ".join(command), None, output)
    for pattern, most in FILES:
        found = [path for path in sorted(Path("/").glob(pattern[1:])) if path.is_file()]
        for path in found[:most]:
            try:
                data = path.read_bytes()[:MOST]
                data.decode()
            except (OSError, UnicodeDecodeError):
                continue
            yield Sample("files of the system", str(path), None, data)


def _printed(command: tuple[str, ...]) -> bytes | None:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout[:MOST] or None
