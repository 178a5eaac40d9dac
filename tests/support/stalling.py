"""A socket before dockerd's that holds back one kind of request, as an engine that hangs in it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

REQUESTS = {
    "create": rb"POST /v[0-9.]+/containers/create",
    "attach": rb"POST /v[0-9.]+/containers/[0-9a-f]+/attach",
    "start": rb"POST /v[0-9.]+/containers/[0-9a-f]+/start",
    "wait": rb"GET /v[0-9.]+/containers/[0-9a-f]+/json",
    "delete": rb"DELETE /v[0-9.]+/containers/",
}
"""`wait`: how a container ended is asked for."""


class Stalling:
    """Passes bytes on in both directions. held: was a request held back?"""

    def __init__(self, path: Path, behind: str) -> None:
        self.path = path
        self.held = threading.Event()
        self._behind = behind
        self._pattern: bytes | None = None
        self._let_go = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def stall(self, kind: str) -> None:
        """Hold back every request of a kind from now."""
        self._let_go = threading.Event()
        self.held.clear()
        self._pattern = REQUESTS[kind]

    def let_go(self) -> None:
        """Pass on what was held back, late as it is, and everything after."""
        self._pattern = None
        self._let_go.set()

    def close(self) -> None:
        self.let_go()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self._behind)
                except OSError:
                    near.close()
                    far.close()
                    continue
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            asking = threading.Thread(target=self._pass, args=(near, far, True), daemon=True)
            asking.start()
            self._pass(far, near, False)
            asking.join()

    def _pass(self, source: socket.socket, target: socket.socket, asks: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                pattern, let_go = self._pattern, self._let_go
                if asks and pattern is not None and re.match(pattern, data):
                    self.held.set()
                    let_go.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def stalling(path: Path, behind: str) -> Iterator[Stalling]:
    made = Stalling(path, behind)
    try:
        yield made
    finally:
        made.close()
