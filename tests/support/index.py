"""A package index and a registry on loopback, which note what they are asked for and with what."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Index:
    """answers: by path, (content type, body). endless: paths that never stop sending."""

    port: int
    answers: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    """Headers that would prove that a credential was sent."""

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}"


@contextlib.contextmanager
def index() -> Iterator[Index]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.secrets += [
                f"{name}: {value}"
                for name, value in self.headers.items()
                if name.lower() in ("authorization", "cookie", "npm-auth-token")
            ]
            if self.path in found.endless:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while True:
                        self.wfile.write(bytes(1 << 16))
                return
            kind, body = found.answers.get(self.path, ("text/plain", b""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Index(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
