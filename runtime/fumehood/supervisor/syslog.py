"""Records as RFC 5424 messages over TLS with octet counting (RFC 5425), which has no answers.

Must never take for arrived what the receiver's host has, but not the receiver.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult

from fumehood.audit.ocsf import render, severity
from fumehood.supervisor.posting import SEND_SECONDS, shut, within

_SIOCOUTQ: Final = 0x5411
"""Bytes that the peer's TCP has not acknowledged yet (tcp(7))."""
_TCP_ESTABLISHED: Final = 1
"""First byte of TCP_INFO (linux/tcp.h); another one once the peer has ended or reset."""
_PRIORITY: Final = 13 * 8  # facility log audit (RFC 5424, 6.2.1)
_SYSLOG_SEVERITY: Final = {1: 6, 2: 5, 3: 4, 4: 2}


class SyslogSink:
    """One connection. What was sent on it has arrived once `settle` returns, and not before."""

    answers: Final = False

    def __init__(
        self, target: SplitResult, context: ssl.SSLContext, form: str, version: str, host: str
    ) -> None:
        name, port = target.hostname or "", target.port or 6514
        raw = socket.create_connection((name, port), timeout=SEND_SECONDS)
        try:
            self._tls = context.wrap_socket(
                raw, server_hostname=name, do_handshake_on_connect=False
            )
        except OSError:
            raw.close()
            raise
        self._form, self._version, self._host = form, version, host
        self._aborted = False
        try:
            with within(SEND_SECONDS, self.abort):
                self._tls.do_handshake()
        except OSError:
            self.close()
            raise

    def send(self, records: list[dict[str, Any]]) -> None:
        """Within `SEND_SECONDS` in all: a timeout of the socket begins anew with every byte."""
        with within(SEND_SECONDS, self.abort):
            for record in records:
                text = syslog(record, self._form, self._version, self._host).encode()
                self._tls.sendall(b"%d %b" % (len(text), text))
            self._await_acknowledged()

    def settle(self) -> None:
        """End the connection in order: close_notify, then the receiver's end behind it.

        A receiver that goes with bytes unread, by itself or killed, ends it with RST instead of FIN
        (RFC 2525, 2.17). Its own close_notify is not asked for: RFC 5425, 4.4, wants one, and
        rsyslog sends none. Raises OSError when the receiver may not have read all of it.
        """
        with within(SEND_SECONDS, self.abort):
            self._await_acknowledged()
            self._tls.settimeout(0)
            with contextlib.suppress(ssl.SSLWantReadError):  # ours is sent, theirs not waited for
                self._tls.unwrap()
            self._tls.settimeout(SEND_SECONDS)
            plain = socket.socket
            plain.shutdown(self._tls, socket.SHUT_WR)
            while plain.recv(self._tls, 4096):
                pass
            if self._aborted:
                raise ConnectionAbortedError("the connection was ended here")

    def _await_acknowledged(self) -> None:
        """The receiver's host has it, which is not yet the receiver. Raises OSError."""
        deadline = time.monotonic() + SEND_SECONDS
        while self._unacknowledged():
            if time.monotonic() > deadline:
                raise TimeoutError("the receiver does not take what was sent")
            time.sleep(0.005)  # nothing waits for acknowledgements: poll(2) tells of room
        # Nothing is unacknowledged of a connection that was reset, either.
        state = self._tls.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != _TCP_ESTABLISHED:
            raise ConnectionResetError("the receiver ended the connection")

    def _unacknowledged(self) -> int:
        found = fcntl.ioctl(self._tls.fileno(), _SIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", found)[0])

    def abort(self) -> None:
        self._aborted = True
        shut(self._tls)

    def close(self) -> None:
        self._tls.close()


def syslog(record: Mapping[str, Any], form: str, version: str, host: str) -> str:
    """One RFC 5424 message."""
    priority = _PRIORITY + _SYSLOG_SEVERITY[severity(record)]
    event = str(record["event"])[:32]
    data = f'[fumehood@32473 seq="{record["seq"]}" key="{record["key"]}"]'
    body = render(form, record, version=version, host=host)
    return f"<{priority}>1 {record['time']} {host or '-'} fumehood - {event} {data} {body}"
