"""Asks a classifier outside about what is to leave; the scanners themselves reach no network.

One request is one connection of one thread, bounded in time and in bytes, and ended from outside
when its time is over: a server that sends a byte a second holds nothing up. Must never follow a
redirect, and never send to a host whose certificate does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from fumehood.crypto.files import read_private
from fumehood.errors import ConfigError, KeyringError, ProtocolError
from fumehood.model.classifier import ClassifierSpec
from fumehood.model.result import Result
from fumehood.scan import outside
from fumehood.scan.decide import Policies, fits
from fumehood.scan.outside import Document, Unanswered
from fumehood.supervisor.posting import trusting

log = structlog.get_logger(__name__)

AT_ONCE: Final = 8
"""Requests under way; more wait, within their time."""
_MAX_KEY: Final = 16 * 1024


class Classifier:
    """The one that the operator named."""

    def __init__(
        self,
        spec: ClassifierSpec,
        policies: Policies,
        observe: Callable[[str, float, bool], None] = lambda _name, _seconds, _failed: None,
    ) -> None:
        """observe: is told how long each output took, and whether that failed.

        Raises ConfigError: the key cannot be read by us alone, or `ca` holds no certificate.
        """
        self._spec = spec
        self._policies = policies
        self._observe = observe
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if key := _key(spec.key_file):
            self._headers[spec.header] = key
        self._context = trusting(spec.ca, "scan.classifier.ca")
        self._threads = ThreadPoolExecutor(AT_ONCE, "classifier")

    def wants(self, tool: str, result: Result) -> bool:
        """Whether it is asked about this result at all."""
        leaves = bool(result.content or result.stderr) and result.status != "withheld"
        return leaves and any(fits(name, tool) for name in self._spec.tools)

    def may_withhold(self, tool: str) -> bool:
        """Whether output of this tool may be kept back once it is asked about."""
        asked = any(fits(name, tool) for name in self._spec.tools)
        return asked and outside.may_withhold(self._policies.of(tool), self._spec.failure)

    async def judge(self, tool: str, result: Result) -> Result:
        """The result as it may leave: flagged or withheld where an attack was seen, or as the
        operator wants it where nobody could see."""
        began, failed = time.monotonic(), True
        try:
            async with asyncio.timeout(self._spec.timeout):
                places = await self._attacked(result)
            failed = False
        except TimeoutError:
            return self._failed(result, "no answer in time", late=True)
        except (Unanswered, ProtocolError, OSError, http.client.HTTPException) as error:
            # The text of a foreign error may quote what was sent.
            known = isinstance(error, Unanswered | ProtocolError | ssl.SSLError)
            why = str(error) if known else type(error).__name__
            return self._failed(result, why, late=False)
        finally:
            self._observe(outside.NAME, time.monotonic() - began, failed)
        return outside.judged(result, places, self._policies.of(tool))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _failed(self, result: Result, why: str, *, late: bool) -> Result:
        log.error(
            "the classifier has not judged an output", invocation=result.invocation, why=why,
            then=self._spec.failure,
        )  # fmt: skip
        return outside.unjudged(result, self._spec.failure, late=late)

    async def _attacked(self, result: Result) -> list[str]:
        spec = self._spec
        items = outside.documents(result, spec.characters)
        asked = outside.batches(items, spec.characters, spec.requests)
        answers = [asyncio.ensure_future(self._ask(batch)) for batch in asked]
        try:
            found = await asyncio.gather(*answers)
        finally:
            for answer in answers:
                answer.cancel()
        return [document.place for documents in found for document in documents]

    async def _ask(self, batch: list[Document]) -> list[Document]:
        exchange = _Exchange(self._spec, self._context, self._headers)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._threads, exchange.run, outside.question(batch))
        try:
            return outside.attacked(await job, batch)
        finally:
            exchange.abort()


class _Exchange:
    """One question and its answer."""

    def __init__(
        self, spec: ClassifierSpec, context: ssl.SSLContext, headers: dict[str, str]
    ) -> None:
        target = urlsplit(spec.url)
        host, port, seconds = target.hostname or "", target.port, spec.timeout
        self._path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        self._headers = headers
        self._socket: socket.socket | None = None
        """Kept here: the connection lets go of it while the answer is still being read."""
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
            if target.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=seconds)
        )

    def run(self, body: bytes) -> bytes:
        """In a thread. Raises OSError, HTTPException, ProtocolError."""
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            self._connection.request("POST", self._path, body, self._headers)
            with self._connection.getresponse() as answer:
                if answer.status != http.HTTPStatus.OK:
                    raise ProtocolError(f"the classifier answers {answer.status}")
                data = answer.read(outside.MAX_ANSWER + 1)
            if len(data) > outside.MAX_ANSWER:
                raise ProtocolError(f"the answer has more than {outside.MAX_ANSWER} bytes")
            return data
        finally:
            self._connection.close()

    def abort(self) -> None:
        """From another thread: whatever `run` waits for, it waits no more."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)


def _key(path: str) -> str:
    if not path:
        return ""
    try:
        raw = read_private(Path(path), _MAX_KEY, "key")
        text = (raw or b"").decode("ascii").strip()
    except (OSError, KeyringError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"scan.classifier.key_file: {error}", "name a file of mode 0600 of the supervisor's"
        ) from None
    if not text or not text.isprintable():
        raise ConfigError(f"scan.classifier.key_file: {path} holds no key", "put the key there")
    return text
