"""Posts to receivers that nobody here trusts with time: a whole exchange ends by a deadline.

Must never wait longer than it was given, however slowly a receiver drips its answer: the timeout
of a socket begins anew with every byte.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult

from fumehood.errors import ConfigError

MAX_SAID: Final = 200
MAX_ANSWER: Final = 64 * 1024
SEND_SECONDS: Final = 20.0
"""What one exchange of the forwarder may take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One of 2xx. body: at most `MAX_ANSWER` bytes; whole: whether that is all of it. coding: of
    the content, empty for none."""

    body: bytes
    whole: bool
    coding: str = ""


@contextlib.contextmanager
def within(seconds: float, end: Callable[[], None]) -> Iterator[None]:
    """Of an exchange that takes longer: `end` is called from another thread, and must make it fail.

    Raises TimeoutError then, whatever the exchange fails with.
    """
    late = threading.Event()

    def ended() -> None:
        late.set()
        end()

    timer = threading.Timer(seconds, ended)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError(f"the receiver took longer than {seconds:.0f} s")


def said(text: object) -> str:
    """A receiver's own words, for a line of the log or a timeline: printable, and few."""
    return "".join(char if char.isprintable() else "\ufffd" for char in str(text)[:MAX_SAID])


def trusting(ca: str, key: str) -> ssl.SSLContext:
    """Verifies a receiver's certificate and its name, TLS 1.2 or newer.

    ca: a PEM file, the host's authorities when empty. key: of the configuration, for the error.
    Raises ConfigError.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{key}: {ca} cannot be used: {error}", "name a PEM file of certificates"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Link(http.client.HTTPConnection):
    """A connection to a receiver; TLS where the target says `https`."""

    def __init__(self, target: SplitResult, context: ssl.SSLContext, seconds: float) -> None:
        """seconds: what a whole exchange may take."""
        self._tls = context if target.scheme == "https" else None
        port = target.port or (443 if self._tls else 80)
        super().__init__(target.hostname or "", port, timeout=seconds)
        self._seconds = seconds

    def connect(self) -> None:
        """The socket is in place before the handshake, so that the deadline ends this, too."""
        super().connect()
        if self._tls is not None:
            tls = self._tls.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock = tls
            tls.do_handshake()

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One exchange, of which 2xx, to its end, is the only good one: a redirect is not followed.

        Raises OSError, of which the text has nothing of the receiver's own but a number.
        """
        try:
            with within(self._seconds, self.shut):
                self.request("POST", path, body, dict(headers))
                answer = self.getresponse()
                text = answer.read(MAX_ANSWER)
        except http.client.HTTPException as error:  # its text quotes the receiver's lines
            if isinstance(error, OSError):  # RemoteDisconnected is both, and quotes nothing
                raise
            raise OSError(f"the receiver does not speak HTTP ({type(error).__name__})") from None
        if not 200 <= answer.status < 300:
            raise OSError(f"the receiver answered {answer.status}")
        if answer.length and len(text) < MAX_ANSWER:  # `read` with a bound does not say so
            raise OSError(f"the answer {answer.status} ended {answer.length} bytes early")
        whole = answer.isclosed() or len(text) < MAX_ANSWER
        if not whole:
            self.close()  # the next request would read on in this answer
        return Answer(text, whole, answer.getheader("Content-Encoding") or "")

    def shut(self) -> None:
        """From another thread: make an exchange that hangs fail."""
        if self.sock is not None:
            shut(self.sock)


def shut(connection: socket.socket) -> None:
    """Of the TCP below TLS: SSLSocket.shutdown takes the session from whoever reads just now."""
    with contextlib.suppress(OSError):  # it has ended by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
