"""Answers `GET /metrics` on a socket of its own, never the callers': a Unix socket or loopback.

Must never read more than a request's head, nor wait long for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import structlog

from fumehood.errors import ConfigError

log = structlog.get_logger(__name__)

HEAD_BYTES: Final = 8192
HEAD_SECONDS: Final = 5.0
CONNECTIONS: Final = 64
"""At once. Any account of the host reaches a loopback address: with one more the oldest is hung up
on, so that who says nothing keeps nobody out. A scrape is answered within milliseconds."""
TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@contextlib.asynccontextmanager
async def exposed(listen: str, state: Path, text: Callable[[], bytes]) -> AsyncIterator[str]:
    """Serve `text` while the body runs; gives the address.

    listen: `unix` for `metrics.sock` in the state, or `127.0.0.1:PORT`, `[::1]:PORT`; empty: not
    at all. Raises ConfigError when it cannot be had.
    """
    if not listen:
        yield ""
        return
    answer = _Answer(text)
    try:
        if listen == "unix":
            path = state / "metrics.sock"
            path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                server = await asyncio.start_unix_server(answer, path, limit=HEAD_BYTES)
            finally:
                os.umask(before)
            address = str(path)
        else:
            host, port = loopback(listen)
            server = await asyncio.start_server(answer, host, port, limit=HEAD_BYTES)
            address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    except OSError as error:
        raise ConfigError(
            f"metrics.listen: {listen} cannot be used: {error.strerror}", "choose another port"
        ) from None
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()


def loopback(listen: str) -> tuple[str, int]:
    """Host and port. Raises ConfigError for anything that others could reach."""
    wrong = ConfigError(
        f"metrics.listen: {listen!r} is neither `unix` nor a loopback address with a port",
        "write 127.0.0.1:9464, [::1]:9464 or unix",
    )
    host, _, port = listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        number = int(port)
    except ValueError:
        raise wrong from None
    if not address.is_loopback or not 0 <= number < 65536:
        raise wrong
    return str(address), number


class _Answer:
    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        self._open: dict[asyncio.StreamWriter, None] = {}
        """The oldest first."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                writer.write(self._reply(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks so is not answered
        finally:
            self._open.pop(writer, None)
            writer.close()

    def _reply(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or words[0] != b"GET":
            return _response("405 Method Not Allowed", b"GET only\n", "text/plain")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _response("404 Not Found", b"see /metrics\n", "text/plain")
        return _response("200 OK", self._text(), TYPE)


def _response(status: str, body: bytes, kind: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
