"""`fumehood tool sign` and `verify`: a publisher's signature beside a manifest.

The folder may be another's: a signature must never be written, or read, through a link in it.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fumehood.cli import key, pack
from fumehood.cli.options import ConfigOption, JsonOption, StateOption, chosen
from fumehood.cli.present import out, out_json
from fumehood.errors import UsageError

if TYPE_CHECKING:
    from fumehood.crypto.trust import Subject

ManifestArgument = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="A tool's manifest, with its files beside it.")
]


def envelope_path(manifest: Path) -> Path:
    """Where a manifest's signature is: `tool.yaml.sig`."""
    return manifest.with_name(manifest.name + pack.SIGNATURE)


def found(manifest: Path) -> dict[str, Any] | None:
    """The envelope beside a manifest; None when there is none. Raises KeyringError, UsageError."""
    from fumehood.crypto import dsse
    from fumehood.crypto.files import NotPlain, open_plain

    path = envelope_path(manifest)
    remedy = "a signature is a plain file beside its manifest, which you may read"
    try:
        with open(open_plain(path), "rb") as file:
            return dsse.read(file.read(dsse.MAX_ENVELOPE + 1))
    except FileNotFoundError:
        return None
    except NotPlain:
        raise UsageError(f"{path} is not a plain file", remedy) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", remedy) from None


def sign(
    manifest: ManifestArgument, state: StateOption = None, config: ConfigOption = None
) -> None:
    """Sign a tool with the active `tool` key of the key ring, into MANIFEST.sig.

    The signature covers name, version, the manifest and every file. `fumehood tool add` sends it
    along; daemons believe it whose configuration lists the public key, which `fumehood key
    export-public` prints, under `publishers`.
    """
    from fumehood.crypto.ring import now
    from fumehood.crypto.trust import sign as signed

    subject = _subject(manifest)
    with key.opened(chosen(state=state, config=config)) as place:
        signer = place.ring.signer("tool")
    moment = now()[:19] + "Z"
    path = envelope_path(manifest)
    _write(path, json.dumps(signed(subject, signer, signed=moment), indent=2) + "\n")
    out(f"signed {subject.name} {subject.version} with {signer.id} into {path}\n")


def _write(path: Path, text: str) -> None:
    """Put a new file in the place of whatever has the name: a rename replaces a link and a pipe,
    where an open would follow the one and wait for the other (rename(2)). Raises UsageError."""
    aside = f".{path.name}.{secrets.token_hex(8)}"
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(aside, flags, 0o644, dir_fd=folder)
            try:
                with open(fd, "w", encoding="utf-8") as file:
                    file.write(text)
                os.rename(aside, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(aside, dir_fd=folder)
                raise
        finally:
            os.close(folder)
    except OSError as error:
        remedy = "sign where you may write, and take away what stands there"
        raise UsageError(f"{path} cannot be written: {error.strerror}", remedy) from None


def verify(
    manifest: ManifestArgument, as_json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Check MANIFEST.sig against the publishers of the configuration.

    Exit status 1 when nobody that is believed signed exactly this.
    """
    from fumehood.config import load
    from fumehood.crypto.trust import TrustRoots

    where = chosen(config=config)
    read = load(where.config, trusted_uid=os.geteuid(), required=where.config_named)
    roots = TrustRoots(read.publishers, read.revoked_keys)
    envelope = found(manifest)
    if envelope is None:
        raise UsageError(
            f"{envelope_path(manifest)} does not exist", "sign it: `fumehood tool sign`"
        )
    signer = roots.verify(envelope, _subject(manifest))
    if as_json:
        out_json({"publisher": signer.publisher, "key": signer.key_id, "signed": signer.signed})
    else:
        out(f"signed by {signer.publisher} with {signer.key_id} at {signer.signed}\n")


def _subject(manifest: Path) -> Subject:
    from fumehood.catalog.pins import signed_digests
    from fumehood.crypto.trust import Subject
    from fumehood.model.manifest import load_manifest
    from fumehood.model.tree import ToolFile

    package = pack.load(manifest)
    read = load_manifest(package.manifest, source=str(manifest))
    files = {path: ToolFile(file.data, file.executable) for path, file in package.files.items()}
    return Subject(read.name, read.version, signed_digests(package.manifest, files))
