"""A log with forwarders that come and go, and receivers over TLS for them."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fumehood.audit.chain import AuditLog
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.model.forward import ForwardSpec
from fumehood.supervisor import forward
from fumehood.supervisor.cursor import Vouch
from fumehood.supervisor.forward import Forwarder
from fumehood.supervisor.sinks import connector
from support.audit import KEYS

RECORD = {
    "seq": 1, "time": "2026-01-01T00:00:00.000000Z", "event": "invocation.ended", "key": "k",
    "status": "ok", "invocation": "i", "tool": "t", "caller": {"uid": 1},
}  # fmt: skip


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and try again at once."""
    monkeypatch.setattr(forward, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(forward, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(forward, "MOST_RETRY_SECONDS", 0.05)


class Place:
    """A log, and forwarders that come and go."""

    def __init__(self, folder: Path, spec: ForwardSpec) -> None:
        self.folder, self.spec = folder, spec
        self.vouch = Vouch(open_ring(folder / "ring", Periods()))
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def write(self, count: int, **options: int) -> None:
        with AuditLog.open(self.folder / "audit", KEYS, **options) as log:
            for number in range(count):
                log.append("test", {"n": number}).result(10)

    def forwarder(self) -> Forwarder:
        def append(event: str, fields: Mapping[str, Any]) -> None:
            self.events.append((event, fields))

        made = Forwarder(
            self.folder / "audit", self.folder / "cursor", connector(self.spec, "1"), append,
            self.vouch,
        )  # fmt: skip
        made.start()
        return made


def spec(to: str, **options: str) -> ForwardSpec:
    return ForwardSpec.model_validate({"to": to, "format": "jsonl", **options})


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA's file, and a server's context with a certificate of it for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA384())
    )
    folder.mkdir()
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return folder / "ca.pem", context


def framed(data: bytes) -> list[str]:
    """The messages of a stream with octet counting."""
    messages = []
    while data:
        count, _, rest = data.partition(b" ")
        messages.append(rest[: int(count)].decode())
        data = rest[int(count) :]
    return messages
