"""Keys on disk, one root per file and one derived key per purpose; must never print or log one.

A root is used for nothing but derivation (SP 800-108 KBKDF, HMAC-SHA-384, counter mode), so
two purposes share a file and no key. Every key names its algorithm, id, size and creation.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from fumehood.errors import AuditError

ALGORITHM: Final = "HMAC-SHA-384"
ROOT_BITS: Final = 384
MIN_BITS, MAX_BITS = 128, 4096
_MAX_FILE: Final = 4096
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret for one purpose. `id` may be shown, `bytes` may not (it is left out of `repr`).

    created: RFC 3339, when the root was made.
    """

    id: str
    algorithm: str
    created: str
    bytes: bytes = field(repr=False)


def key_id(material: bytes) -> str:
    """16 hex characters that name a key and tell nothing of it."""
    keyed = hmac.HMAC(material, hashes.SHA384())
    keyed.update(b"fumehood key id")
    return keyed.finalize()[:8].hex()


def mac(key: bytes, data: bytes) -> str:
    """`hmac-sha384:<hex>`: what stands in a record for data that is not kept in it."""
    keyed = hmac.HMAC(key, hashes.SHA384())
    keyed.update(data)
    return "hmac-sha384:" + keyed.finalize().hex()


def derive(root: bytes, purpose: str, bits: int) -> bytes:
    """`bits` of key material for `purpose` (SP 800-108r1 4.1; label and context separate uses).

    Raises:
        ValueError: a purpose or a size that no caller may ask for.
    """
    if not _PURPOSE.fullmatch(purpose) or bits % 8 or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"no key of {bits} bits for purpose {purpose!r}")
    kdf = KBKDFHMAC(
        algorithm=hashes.SHA384(),
        mode=Mode.CounterMode,
        length=bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"fumehood " + purpose.encode(),
        context=str(bits).encode(),
        fixed=None,
    )
    return kdf.derive(root)


def load_or_create(path: Path, purpose: str, bits: int = ROOT_BITS) -> Key:
    """The key for `purpose`, derived from the root in `path`, which is made when it is missing.

    Raises:
        AuditError: the file or its folder can be changed or read by others, belongs to
            someone else, or holds no key. A root is never replaced: records made under it
            could not be verified any more.
    """
    try:
        raw = _read(path)
        if raw is None:
            _create(path)
            raw = _read(path)
    except OSError as error:
        raise AuditError(
            f"the key file cannot be used: {error.strerror}", f"see {path}", detail=str(error)
        ) from error
    root, created = _parse(raw or b"", path)
    material = derive(root, purpose, bits)
    return Key(key_id(material), ALGORITHM, created, material)


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        _check_access(path, os.fstat(fd))
        return os.read(fd, _MAX_FILE)
    finally:
        os.close(fd)


def _check_access(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise AuditError("the key file is not a regular file", f"see {path}")
    own = os.geteuid()
    if found.st_uid != own and own != 0:
        raise AuditError(
            f"the key file belongs to UID {found.st_uid}, not to UID {own}", f"chown {own} {path}"
        )
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise AuditError(
            f"the key file has mode {mode:04o}: others can reach it",
            f"chmod 600 {path}; if someone may have read it, start a new log with a new key",
        )
    parent = path.parent.stat()
    if parent.st_mode & 0o022:
        raise AuditError(
            "the folder of the key file can be written by others", f"chmod 700 {path.parent}"
        )


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = secrets.token_bytes(ROOT_BITS // 8)
    document = {
        "algorithm": ALGORITHM,
        "id": key_id(root),
        "size": ROOT_BITS,
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "key": base64.b64encode(root).decode(),
    }
    # Written aside and linked: a power cut leaves a whole key or none, and a second creator
    # loses to EEXIST and reads the first one's key.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(document, indent=1).encode() + b"\n")
        os.fsync(fd)
        try:
            os.link(aside, path)
        except FileExistsError:
            return
        sync_directory(path.parent)
    finally:
        os.close(fd)
        aside.unlink()


def sync_directory(path: Path) -> None:
    """Make names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _parse(raw: bytes, path: Path) -> tuple[bytes, str]:
    damaged = AuditError(
        "the key file holds no key of this version",
        f"bring {path} back from a backup; without it the audit log cannot be verified",
    )
    try:
        document = json.loads(raw)
        algorithm, created = document["algorithm"], document["created"]
        root = base64.b64decode(document["key"], validate=True)
        known = algorithm == ALGORITHM and document["size"] == ROOT_BITS == len(root) * 8
        if not known or document["id"] != key_id(root) or not isinstance(created, str):
            raise damaged
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise damaged from error
    return root, created
