"""A local HTTP receiver of records, as a SIEM has one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAIT = 60


class Receiver:
    """Takes HTTP batches; answers 503 while `down`. `seqs`: what it has, in order of arrival."""

    def __init__(self) -> None:
        self.down = False
        self.seqs: list[int] = []
        self.events: list[str] = []
        self.tokens: set[str | None] = set()
        self.changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.changed:
                    receiver.tokens.add(self.headers["Authorization"])
                    if not receiver.down:
                        records = [json.loads(line) for line in body.splitlines()]
                        receiver.seqs += [int(record["seq"]) for record in records]
                        receiver.events += [str(record["event"]) for record in records]
                    self.send_response(503 if receiver.down else 200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    receiver.changed.notify_all()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/in"

    def until(self, seq: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: seq in self.seqs, WAIT), self.seqs[-3:]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
