"""The client's end of the supervisor's socket: one request and its answer at a time.

Standard library only. Must believe nothing of a stranger who listens there, and must leave no
call running that its caller has given up.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from fumehood import __version__, errors
from fumehood.errors import (
    Cancelled,
    DaemonUnreachable,
    EngineError,
    FumehoodError,
    ProtocolError,
    UsageError,
)
from fumehood.model import strict_json

PROTOCOL_VERSION: Final = "2026-07-28"
LONGEST_ANSWER: Final = 512 * 1024 * 1024
"""bytes of one frame; the largest outputs stand in it twice, and escaped"""
CANCEL_SECONDS: Final = 10.0
"""How long to wait, after cancelling, for the supervisor to say that the sandbox is dead."""

_ENVELOPE: Final = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "fumehood", "version": __version__},
    "io.modelcontextprotocol/clientCapabilities": {},
    "fumehood/answer_cancelled": True,
}
_UCRED = struct.Struct("3i")
_TIMEVAL: Final = struct.Struct("@ll")
_RECEIVE_BYTES = 256 * 1024
_DETAILS = ("field", "pointer", "retry_after", "limit", "control")
_BY_CODE: Mapping[str, type[FumehoodError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FumehoodError) and kind is not FumehoodError
}

Progress = Callable[[float, float | None, str], None]
"""Called with (progress, total or None, message)."""
Output = Callable[[str], None]
"""Called with more of stdout."""
Note = Callable[[str], None]
"""Called with why stdout is not heard."""


class Connection:
    """To one supervisor, used by one thread at a time (`cancel` by any)."""

    def __init__(self, connection: socket.socket, *, timeout: float = 10.0) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._timeout = timeout
        self._received = bytearray()
        self._searched = 0
        self._unsent = bytearray()
        self._ended = False
        self._last_id = 0
        self._wake_in, self._wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @classmethod
    def connect(cls, path: Path, *, timeout: float = 10.0) -> Self:
        """Connect to the supervisor's socket, if root or the caller's own account listens there.

        Args:
            timeout: seconds for connecting and for every request but `call`.

        Raises:
            DaemonUnreachable: nobody answers, or somebody else does.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(connection, path, timeout)
            connection.settimeout(timeout)
            _check_server(path, connection)
        except OSError as error:
            connection.close()
            raise _unreachable(path, error) from None
        except DaemonUnreachable:
            connection.close()
            raise
        return cls(connection, timeout=timeout)

    def cancel(self) -> None:
        """Cancel the call that is running now, if any; from any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_out, b"\0")

    def close(self) -> None:
        """Close the connection; what still runs for it is cancelled by the supervisor."""
        self._socket.close()
        for descriptor in (self._wake_in, self._wake_out):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._wake_in = self._wake_out = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        timeout: float | None,
        hear: tuple[Progress | None, Output | None, Note | None] = (None, None, None),
    ) -> dict[str, Any]:
        """Send one request and wait for its answer; only one is ever outstanding."""
        self._last_id += 1
        given = params.get("_meta")
        meta = {**_ENVELOPE, **(given if isinstance(given, dict) else {})}
        if hear[0] is not None:
            meta["progressToken"] = self._last_id
        if hear[1] is not None:
            meta["fumehood/follow"] = True
        self._send({"id": self._last_id, "method": method, "params": {**params, "_meta": meta}})
        deadline = None if timeout is None else time.monotonic() + timeout
        cancelled = ""
        while True:
            woken = self._exchange(deadline)
            for message in self._messages():
                if message.get("id") == self._last_id or "error" in message:
                    return _result(message, cancelled)
                _report(message, *hear)
            if self._ended:
                raise DaemonUnreachable(
                    "the supervisor ended the connection before it answered", "see its log"
                )
            expired = deadline is not None and time.monotonic() >= deadline
            if not cancelled and method == "tools/call" and (woken or expired):
                cancelled = "cancelled" if woken else f"cancelled: no answer within {timeout:g} s"
                reason = {"requestId": self._last_id, "reason": cancelled}
                self._send({"method": "notifications/cancelled", "params": reason})
                deadline = time.monotonic() + CANCEL_SECONDS
            elif expired:
                self._socket.close()
                raise _gave_up(cancelled, timeout)

    def _send(self, message: Mapping[str, object]) -> None:
        try:
            self._unsent += strict_json.dumps({"jsonrpc": "2.0", **message}) + b"\n"
        except UnicodeEncodeError:
            raise UsageError(
                "the request is no JSON: text in it is not UTF-8", "send whole characters"
            ) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"the arguments are no JSON: {error}", "give what JSON can carry"
            ) from None

    def _exchange(self, deadline: float | None) -> bool:
        """Wait for the peer or for `cancel`, then send and receive what can be.

        Returns whether `cancel` was called.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        poll.register(self._wake_in, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1
        poll.poll(left)
        try:
            if self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # it may still have said why before it hung up
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
            self._received += data
            self._ended = not data
        except BlockingIOError:
            pass
        except OSError:
            self._ended = True
        return self._forget_cancel()

    def _messages(self) -> Iterator[dict[str, Any]]:
        # Looking from the start again for each chunk would be quadratic in the answer's length.
        while (end := self._received.find(b"\n", self._searched)) >= 0:
            frame = self._received[:end]
            del self._received[: end + 1]
            self._searched = 0
            try:
                message = json.loads(frame)
            except ValueError as error:
                raise ProtocolError(f"the supervisor sent no JSON: {error}") from None
            if isinstance(message, dict):
                yield message
        self._searched = len(self._received)
        if len(self._received) > LONGEST_ANSWER:
            raise ProtocolError(f"the answer is longer than {LONGEST_ANSWER} bytes")

    def _forget_cancel(self) -> bool:
        try:
            return bool(os.read(self._wake_in, 4096))
        except BlockingIOError:
            return False

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C cancels instead of tearing a frame in two. A handler of the program's own
        is left alone. What was cancelled before is forgotten here, and not once Ctrl-C is heard:
        one that comes before the request is sent counts."""
        self._forget_cancel()
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            yield
            return

        def cancel_once(_number: int, _frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.cancel()

        signal.signal(signal.SIGINT, cancel_once)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _result(message: Mapping[str, Any], cancelled: str) -> dict[str, Any]:
    error = message.get("error")
    if isinstance(error, dict):
        raised = _error(error)
        raise Cancelled(cancelled) if cancelled and isinstance(raised, Cancelled) else raised
    result = message.get("result")
    if not isinstance(result, dict):
        raise ProtocolError("the supervisor's answer has no result")
    return result


def _error(error: Mapping[str, Any]) -> FumehoodError:
    """The exception that the supervisor raised, as far as it told."""
    data = error.get("data")
    data = data if isinstance(data, dict) else {}
    text = str(error.get("message", "no reason given"))
    kind = _BY_CODE.get(str(data.get("code")))
    if kind is None:
        kind = UsageError if error.get("code") == UsageError.jsonrpc_code else EngineError
    raised = kind(str(data.get("cause") or text), str(data.get("remedy", "")))
    for name in _DETAILS:
        if isinstance(value := data.get(name), type(getattr(raised, name, None))):
            setattr(raised, name, value)
    return raised


def _report(
    message: Mapping[str, Any],
    on_progress: Progress | None,
    on_output: Output | None,
    on_note: Note | None,
) -> None:
    method, params = message.get("method"), message.get("params")
    if not isinstance(params, dict):
        return
    if method == "notifications/fumehood/output" and on_output is not None:
        if on_note is not None and (why := params.get("note")):
            on_note(str(why))
        on_output(str(params.get("text", "")))
    if method != "notifications/progress" or on_progress is None:
        return
    if isinstance(params.get("progress"), int | float):
        total = params.get("total")
        on_progress(
            float(params["progress"]),
            float(total) if isinstance(total, int | float) else None,
            str(params.get("message", "")),
        )


def _gave_up(cancelled: str, timeout: float | None) -> FumehoodError:
    if cancelled:
        return Cancelled(
            cancelled, f"the supervisor did not confirm it within {CANCEL_SECONDS:g} s; see its log"
        )
    return DaemonUnreachable(f"the supervisor did not answer within {timeout:g} s", "see its log")


def _check_server(path: Path, connection: socket.socket) -> None:
    """Tell nothing to, and believe nothing of, a stranger who made the socket before we did.

    The kernel names who called listen(2): root, its service manager, or a rootless daemon's owner.
    """
    _, uid, _ = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    if uid not in (0, os.geteuid()):
        raise DaemonUnreachable(
            f"{path} is served by UID {uid}, neither root nor you",
            "run the command as that user, or name your own supervisor's socket with --socket "
            "or FUMEHOOD_SOCKET",
        )


def _connect(connection: socket.socket, path: Path, timeout: float) -> None:
    """Wait at most `timeout` seconds for a place in the supervisor's backlog.

    connect(2) of a non-blocking socket fails at once with EAGAIN when the backlog is full, and
    nothing tells when it no longer is; a blocking one waits, as long as SO_SNDTIMEO says.
    """
    connection.settimeout(None)
    micros = max(1, int(timeout * 1_000_000))
    for left in (micros, 0):
        wait = _TIMEVAL.pack(*divmod(left, 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        if left:
            connection.connect(os.fspath(path))


def _unreachable(path: Path, error: OSError) -> FumehoodError:
    start = "start one with `fumehood serve`, or name its socket with --socket or FUMEHOOD_SOCKET"
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return DaemonUnreachable(f"there is no supervisor at {path}", start)
        case ConnectionRefusedError():
            return DaemonUnreachable(f"the supervisor at {path} has stopped", start)
        case PermissionError():
            return DaemonUnreachable(
                f"you may not connect to {path}", "see its group with `ls -l`, and ask its operator"
            )
        case TimeoutError() | BlockingIOError():
            return DaemonUnreachable(f"the supervisor at {path} takes no connections", "retry")
    return DaemonUnreachable(f"{path} cannot be connected to: {error}", start)
