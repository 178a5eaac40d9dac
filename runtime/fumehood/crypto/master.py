"""The master key: 384 bits or more from a strict-mode file, a credential or an external command.

It encrypts the key ring (`ring`) and is used for nothing else. It is never replaced by itself:
without it no key of the ring can be read again.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
import stat
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fumehood.crypto.derive import ALGORITHM, key_id
from fumehood.crypto.files import read_private, write_private
from fumehood.errors import KeyringError

ROOT_BITS: Final = 384
MIN_BYTES, MAX_BYTES = 32, 512
COMMAND_SECONDS: Final = 20.0
FILE: Final = "file "
"""Begins the source of one that was read from a file."""
_MAX_FILE: Final = 4096
_CREDENTIAL = re.compile(r"[A-Za-z0-9_.-]{1,255}")


@dataclass(frozen=True, slots=True)
class Master:
    """`id` may be shown, `bytes` may not (they are left out of `repr`).

    source: where it came from, for a person. created: RFC 3339, empty when nobody knows.
    """

    id: str
    source: str
    created: str
    bytes: bytes = field(repr=False)

    def exposed(self, beside: Path) -> KeyringError | None:
        """Why the file that it was read from keeps it from nobody any more; None where nobody can
        say so, as of a credential or of a file out of sight. beside: the folder of the ring, in
        which one that is missing is told, too."""
        if not self.source.startswith(FILE):
            return None
        path = Path(self.source.removeprefix(FILE))
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            if path.parent != beside:
                return None
            return KeyringError(
                "the file of the master key is missing", f"bring {path} back from a backup"
            )
        except OSError:
            return None
        if stat.S_ISREG(mode) and not mode & 0o077:
            return None
        return KeyringError(
            f"the file of the master key has mode {stat.S_IMODE(mode):04o}: others can reach it",
            f"chmod 600 {path}; if someone may have read it, `fumehood key rotate master`",
        )


def load_or_create(path: Path) -> Master:
    """The master key in `path`, which is made when it is missing.

    Raises:
        KeyringError: the file or its folder can be changed or read by others, belongs to someone
            else, or holds no key. A master key is never replaced: what it encrypts would be lost.
    """
    try:
        raw = read_private(path, _MAX_FILE)
        if raw is None:
            write_private(path, _document(), replace=False)
            raw = read_private(path, _MAX_FILE)
    except OSError as error:
        raise KeyringError(
            f"the key file cannot be used: {error.strerror}", f"see {path}", detail=str(error)
        ) from error
    return _parse(raw or b"", f"{FILE}{path}")


def from_file(path: Path) -> Master:
    """The master key in a file that must be there. Raises KeyringError."""
    try:
        raw = read_private(path, _MAX_FILE)
    except OSError as error:
        raise KeyringError(
            f"the key file cannot be read: {error.strerror}", f"see {path}"
        ) from None
    if raw is None:
        raise KeyringError(
            "the file of the master key is missing",
            f"bring {path} back from a backup; for a new installation, `fumehood key new {path}`",
        )
    return _parse(raw, f"{FILE}{path}")


def from_credential(name: str, directory: str | None) -> Master:
    """The master key that systemd passed (systemd.exec(5), LoadCredentialEncrypted=).

    directory: $CREDENTIALS_DIRECTORY. Raises KeyringError.
    """
    if not _CREDENTIAL.fullmatch(name) or name in (".", ".."):
        raise KeyringError(f"{name[:64]!r} is no name of a credential")
    path = Path(directory or "/nonexistent") / name
    try:
        # systemd mounts the folder for this service alone, of mode 0400 or 0440 with an ACL.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise KeyringError(
            f"the credential {name!r} cannot be read: {error.strerror}",
            f"put `LoadCredentialEncrypted={name}` into the unit, and start it through systemd",
        ) from None
    return _parse(raw, f"credential {name}")


def from_command(argv: tuple[str, ...]) -> Master:
    """The master key that a program prints, such as one that asks a KMS or an HSM.

    It runs without a shell, with nothing on stdin, a bare environment, and a time limit.
    Raises KeyringError.
    """
    source = f"command {argv[0]}"
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS,
            check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it took too long"
        raise KeyringError(
            f"the {source} for the master key failed: {reason}", "run it by hand"
        ) from None
    if done.returncode:
        said = done.stderr[-200:].decode(errors="replace").strip()
        raise KeyringError(
            f"the {source} for the master key exited with {done.returncode}: {said}",
            "run it by hand",
        )
    return _parse(done.stdout[: _MAX_FILE + 1], source)


def create(path: Path) -> Master:
    """Make a new master key where there is nothing yet. Raises KeyringError."""
    try:
        made = write_private(path, _document(), replace=False)
    except OSError as error:
        raise KeyringError(
            f"{path} cannot be written: {error.strerror}", "name a file in a folder of yours"
        ) from None
    if not made:
        raise KeyringError(f"{path} exists already", "name another file: no key is overwritten")
    return from_file(path)


def _document() -> bytes:
    root = secrets.token_bytes(ROOT_BITS // 8)
    document = {
        "algorithm": ALGORITHM,
        "id": key_id(root),
        "size": ROOT_BITS,
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "key": base64.b64encode(root).decode(),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _parse(raw: bytes, source: str) -> Master:
    """Our own document, or bare base64 as a KMS prints it."""
    damaged = KeyringError(
        f"the {source} holds no key of this version",
        "bring it back from a backup; without it nothing that it protects can be read or verified",
    )
    if raw.lstrip()[:1] != b"{":
        try:
            root = base64.b64decode(raw.strip(), validate=True)
        except (ValueError, binascii.Error):
            raise damaged from None
        if not MIN_BYTES <= len(root) <= MAX_BYTES:
            raise damaged
        return Master(key_id(root), source, "", root)
    try:
        document = json.loads(raw)
        algorithm, created = document["algorithm"], document["created"]
        root = base64.b64decode(document["key"], validate=True)
        known = algorithm == ALGORITHM and document["size"] == ROOT_BITS == len(root) * 8
        if not known or document["id"] != key_id(root) or not isinstance(created, str):
            raise damaged
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise damaged from error
    return Master(key_id(root), source, created, root)
