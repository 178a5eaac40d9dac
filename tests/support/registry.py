"""A real image registry on loopback, with TLS and a certificate authority of its own."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START_SECONDS = 30
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
"""containers-policy.json(5): what skopeo asks of signatures. Ours is about digests."""


@dataclass(frozen=True)
class Registry:
    """folder: where it keeps blobs. home: settings for skopeo. authority: a PEM file."""

    port: int
    folder: Path
    home: Path
    authority: Path

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "SSL_CERT_FILE": str(self.authority)}

    def push(self, archive: Path, name: str) -> None:
        """Put what `docker save` wrote into it."""
        subprocess.run(
            ["skopeo", "copy", "--quiet", f"docker-archive:{archive}",
             f"docker://{self.name}/{name}"],
            check=True, capture_output=True, timeout=60,
            env={"PATH": "/usr/bin:/bin", **self.environment},
        )  # fmt: skip

    def blobs(self) -> list[Path]:
        """The stored layers and documents, the largest first."""
        found = self.folder.glob("docker/registry/v2/blobs/sha256/*/*/data")
        return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


@contextlib.contextmanager
def registry(place: Path) -> Iterator[Registry]:
    home, data = place / "home", place / "data"
    (home / ".config/containers").mkdir(parents=True)
    (home / ".config/containers/policy.json").write_text(json.dumps(POLICY))
    authority, certificate, key = _certificates(place)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(data)}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "secret": "of a registry for tests",
            "tls": {"certificate": str(certificate), "key": str(key)},
        },
    }
    (place / "config.yml").write_text(json.dumps(settings))  # YAML is a superset of JSON
    log = place / "registry.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["docker-registry", "serve", place / "config.yml"],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        _wait(port, authority, process, log)
        yield Registry(port, data, home, authority)
    finally:
        process.kill()
        process.wait()


def _wait(port: int, authority: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    context = ssl.create_default_context(cafile=authority)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1"),
        ):
            return
        select.select([], [], [], 0.05)
    raise AssertionError(f"the registry did not start: {log.read_text()}")


def _certificates(place: Path) -> tuple[Path, Path, Path]:
    """(authority, certificate of 127.0.0.1, its key), as PEM files."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("Fumehood tests", "127.0.0.1")
    ]
    made = []
    for number, (name, key) in enumerate(zip(names, keys, strict=True)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )
        if number == 1:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()))
    paths = (place / "authority.pem", place / "certificate.pem", place / "key.pem")
    for path, certificate in zip(paths[:2], made, strict=True):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
