"""A local server that speaks the protocol of Azure AI Content Safety's `text:shieldPrompt`.

It sees an attack in every document that holds `ATTACK`, and can be told to misbehave.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ATTACK = "violet elephants"
Mood = Literal[
    "well", "refuses", "redirects", "silent", "slow", "nonsense", "short", "endless", "hangs up"
]


class Shields:
    """`asked`: the bodies of requests; `keys`: what came in the key's header; `paths`."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.mood: Mood = "well"
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.was_asked = threading.Event()
        self.closing = threading.Event()
        shields = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                shields.asked.append(body)
                shields.keys.append(self.headers["Ocp-Apim-Subscription-Key"])
                shields.paths.append(self.path)
                shields.was_asked.set()
                shields.answer(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_port)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/contentsafety/text:shieldPrompt?api-version=1"

    def answer(self, to: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        if self.mood == "hangs up":
            return
        if self.mood == "silent":
            self.closing.wait(60)
            return
        if self.mood == "redirects":
            to.send_response(307)
            to.send_header("Location", self.address)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        found = [{"attackDetected": ATTACK in text} for text in body["documents"]]
        if self.mood == "short":
            found = found[:-1]
        value = {"userPromptAnalysis": {"attackDetected": False}, "documentsAnalysis": found}
        text = b"<html>" if self.mood == "nonsense" else json.dumps(value).encode()
        if self.mood == "endless":
            text = b" " * (1 << 20) + text
        to.send_response(503 if self.mood == "refuses" else 200)
        to.send_header("Content-Length", str(len(text)))
        to.end_headers()
        if self.mood != "slow":
            to.wfile.write(text)
            return
        for byte in text:  # each of them is within any time-out of a single read
            to.wfile.write(bytes((byte,)))
            to.wfile.flush()
            if self.closing.wait(0.2):
                return

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def shields(certificate: tuple[Path, Path] | None = None) -> Iterator[Shields]:
    made = Shields(certificate)
    try:
        yield made
    finally:
        made.close()


def certificate(folder: Path, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """A certificate of an authority of its own, and its key. The first is also the authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shields")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
