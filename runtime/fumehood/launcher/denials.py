"""Which system calls the processes of each sandbox were killed for.

Standard library only. Records are attributed by the sandbox's account, which is exact as long
as no two sandboxes that run at once share one; where two do, nothing is said of either. What it
costs is bounded: records a second, of all and of each sandbox, kinds of call for each sandbox, and
memory (the socket's). It says who is to stand still for that; the loop sees to it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Final

from fumehood.errors import EngineError
from fumehood.kernel import audit_stream, syscalls
from fumehood.kernel.audit_stream import Kauditd, Record, Stream
from fumehood.model.outcome import SyscallCount, Syscalls

RECORDS_PER_SECOND: Final = 2_000
"""Of our sandboxes, 10 µs each; past it the kernel drops the rest until the second is over."""
STRANGERS_PER_SECOND: Final = 20_000
"""Of everybody else on the host, and what gathered while nothing of ours ran: a bound of its own,
or whoever can be killed by a filter could keep us from hearing of our own."""
EACH_PER_SECOND: Final = 100
"""Of one sandbox, killed and denied calls alike; past it the sandbox stands still until the second
is over. The kernel's own work for a record is charged to nobody: so it is bounded."""
LOGGED_PER_SECOND: Final = 1_000
"""The same, of calls that are logged and go on (SCMP_ACT_LOG): only an operator's profile does
that, to learn what a tool uses, and starting Python alone makes hundreds."""
TAKES_PART: Final = EACH_PER_SECOND // 10
"""Records of this second that make a sandbox one of those that stand still while nobody reads."""
IN_GRACE: Final = 10 * EACH_PER_SECOND
"""Records of one that was asked to end, which is never stopped again: with so many it is killed."""
MAX_KINDS: Final = 32
"""Different calls told for one sandbox; more are only counted."""
FIRST_TOLD: Final = 8
"""Denied calls of a running sandbox after which they are told, then each time they double; the
first kill is told at once."""
SETTLE_SECONDS: Final = 0.5
"""How long the end of a sandbox waits for the kernel to send on what it recorded; it usually has
(0.05 ms), and a host with more work than CPUs may need some time."""
EXPECTED_SECONDS: Final = 0.02
"""How long to wait for a record that must come, where the kernel's sender is not visible."""
NO_ERRORS: Final = (
    "calls answered with an error are not recorded: the filter is loaded without "
    "SECCOMP_FILTER_FLAG_LOG (behaviour.log_denials names the tools of bubblewrap that have it)"
)
NOT_ALL: Final = (
    "not recorded: calls that the profile does not name, answers ENOSYS or denies with some "
    "arguments only, and those that bubblewrap may need while it sets the sandbox up (mount, "
    "mkdir, umask, setuid, …, socket(AF_UNIX) and socket(AF_NETLINK))"
)
ROOTLESS: Final = "only root may read the kernel's audit stream"
SHARED: Final = "another sandbox ran as the same account at the same time"
LATE: Final = "the kernel was late with its records; some may be missing"
MISSED: Final = "there were more records than are read in a second; some are missing"
_ACTIONS: Final = {
    0x80000000: "kill",
    0x00000000: "kill_thread",
    0x00030000: "trap",
    0x00050000: "errno",
    0x7FF00000: "trace",
    0x7FFC0000: "log",
}
_LOG: Final = 0x7FFC0000


@dataclass(slots=True)
class _Tally:
    """What is known of one running sandbox. others: counted without a name. hidden: why
    nothing can be known of its calls. logged: calls answered
    with an error are recorded. recent, recent_logs: records of this second, of calls that did not
    go on and of those that did. forgiven: how many there were when it was asked to end."""

    uid: int
    missed: int
    counts: dict[tuple[int, int, int], int] = field(default_factory=dict)
    others: int = 0
    shared: bool = False
    hidden: str = ""
    logged: bool = False
    recent: int = 0
    recent_logs: int = 0
    total: int = 0
    forgiven: int = 0
    kills: int = 0
    next_told: int = FIRST_TOLD

    def add(self, record: Record) -> None:
        self.total += 1
        if _ACTIONS.get(record.action, "").startswith("kill"):
            self.kills += 1
            if self.kills == 1:
                self.next_told = min(self.next_told, self.total)
        if record.action == _LOG:
            self.recent_logs += 1
        else:
            self.recent += 1
        key = (record.architecture, record.number, record.action)
        if key in self.counts or len(self.counts) < MAX_KINDS:
            self.counts[key] = self.counts.get(key, 0) + 1
        else:
            self.others += 1

    def forget_second(self) -> None:
        self.recent = self.recent_logs = 0

    @property
    def is_over(self) -> bool:
        return self.recent >= EACH_PER_SECOND or self.recent_logs >= LOGGED_PER_SECOND

    @property
    def takes_part(self) -> bool:
        return self.recent + self.recent_logs >= TAKES_PART


class Denials:
    """The launcher's book of denied calls. `fd` is to be watched for reading, -1 when there is
    nothing to watch; while `paused_until` (time.monotonic()) is ahead, not even then."""

    def __init__(
        self, stream: Stream | None, reason: str = "", sender: Kauditd | None = None
    ) -> None:
        """reason: why there is no stream. sender: None where it is not visible."""
        self._stream = stream
        self._sender = sender
        self._reason = reason
        self._running: dict[str, _Tally] = {}
        self._by_uid: dict[int, _Tally] = {}
        self._second = 0.0
        self._own = self._strangers = 0
        self._pauses = 0
        self._overflows = 0
        self.paused_until = 0.0

    @classmethod
    def open(cls, *, rootless: bool = False) -> Denials:
        """Subscribe, and prove that a kill is seen. Never raises: without the stream nothing is
        enforced less, and each result says what it cannot tell."""
        if rootless:
            return cls(None, ROOTLESS)
        try:
            stream = Stream()
        except OSError as error:
            return cls(None, f"the kernel's audit stream cannot be read: {error.strerror}")
        try:
            audit_stream.prove(stream)
        except EngineError as error:
            stream.close()
            sys.stderr.write(f"fumehood-launcher: {error}\n")
            return cls(None, error.cause)
        return cls(stream, sender=Kauditd.find())

    @property
    def fd(self) -> int:
        return self._stream.fd if self._stream else -1

    def started(self, name: str, uid: int, *, logged: bool = False, hidden: str = "") -> None:
        """The sandbox's program is about to run. Records until now are not its own, but those of
        whoever had the account before. logged: denials that are answered are recorded as well.
        hidden: why the kernel sees none of its calls; records of the account are then not its."""
        if self._stream is None:
            return
        self.receive()
        paused = time.monotonic() < self.paused_until
        if paused:
            self._discard()
        # What it does before the pause is over may be lost, so it cannot be complete.
        tally = _Tally(uid, -1 if paused else self._missed, logged=logged, hidden=hidden)
        self._running[name] = tally
        if hidden:
            return
        if (other := self._by_uid.get(uid)) is not None:
            other.shared = tally.shared = True
        self._by_uid[uid] = tally

    def _discard(self) -> None:
        """Drop what waits, which is of those that ran before; they are incomplete already."""
        for _ in range(RECORDS_PER_SECOND // 100):
            if self._stream is None or len(self._stream.read(100)) < 100:
                return

    def receive(self) -> None:
        """Read what has arrived, within the bound; never waits."""
        if self._stream is None:
            return
        now = time.monotonic()
        if now < self.paused_until:
            return
        if now - self._second >= 1.0:
            self._second, self._own, self._strangers = now, 0, 0
            for each in self._running.values():
                each.forget_second()
        while (most := self._room()) > 0:
            records = self._stream.read(most)
            for record in records:
                if (tally := self._by_uid.get(record.uid)) is not None:
                    tally.add(record)
                    self._own += 1
                else:
                    self._strangers += 1
            if len(records) < most:
                return
        self._pauses += 1
        self.paused_until = self._second + 1.0

    def _room(self) -> int:
        """How many records may be read at once, whosever they are."""
        own, strangers = RECORDS_PER_SECOND - self._own, STRANGERS_PER_SECOND - self._strangers
        return min(own, strangers, 100)

    def over(self) -> list[str]:
        """Sandboxes that must stand still until `second_over`: too much is recorded of them, or
        some, while more is recorded of all together than is read or the kernel keeps."""
        now, overflowed = time.monotonic(), self._overflowed()
        if self._own < TAKES_PART or now >= self.second_over:
            return []
        blind = overflowed or now < self.paused_until
        # Of two that share an account, the records stand with one.
        accounts = {
            uid
            for uid, tally in self._by_uid.items()
            if tally.is_over or (blind and tally.takes_part)
        }
        return [name for name, tally in self._running.items() if tally.uid in accounts]

    def forgive(self, name: str) -> None:
        """It is asked to end: begin to count anew, without what it has made so far."""
        self.receive()
        if (tally := self._running.get(name)) is not None:
            tally.forget_second()
            tally.forgiven = tally.total

    def unforgivable(self, name: str) -> bool:
        """Whether one that was asked to end makes the kernel record too much all the same."""
        tally = self._running.get(name)
        return tally is not None and tally.total - tally.forgiven >= IN_GRACE

    def began(self, name: str) -> None:
        """The call of a sandbox begins whose tool was started ahead: what that did before is not
        the caller's. Records that the kernel has not sent yet make it incomplete."""
        self.receive()
        tally = self._running.get(name)
        if tally is None:
            return
        late = tally.total > 0 and not self.settled(name)
        paused = time.monotonic() < self.paused_until
        tally.missed = -1 if late or paused else self._missed
        tally.counts.clear()
        tally.forget_second()
        tally.others = tally.total = tally.kills = tally.forgiven = 0
        tally.next_told = FIRST_TOLD

    @property
    def second_over(self) -> float:
        """When (time.monotonic()) the second that is counted in ends."""
        return self._second + 1.0

    def _overflowed(self) -> bool:
        """Whether the kernel dropped records since this was asked last."""
        before, self._overflows = self._overflows, self._stream.overflows if self._stream else 0
        return self._overflows != before

    def news(self) -> list[tuple[str, int, int]]:
        """Running sandboxes with so many denied calls that they are worth a word, and how many."""
        found = []
        for name, tally in self._running.items():
            if tally.total >= tally.next_told and not tally.shared:
                tally.next_told = 2 * tally.total
                found.append((name, tally.total, tally.kills))
        return found

    @property
    def _missed(self) -> int:
        """Changes whenever something may have been missed."""
        stream = self._stream
        return self._pauses + (stream.overflows + stream.malformed if stream else 0)

    def settled(self, name: str) -> bool:
        """Whether everything that was recorded of a dead sandbox has been sent to us; at most
        SETTLE_SECONDS are worth waiting for that."""
        if self._sender is None or name not in self._running:
            return True
        return self._sender.sleeps()

    def so_far(self, name: str) -> Syscalls:
        """What is known of a running sandbox."""
        self.receive()
        tally = self._running.get(name)
        if tally is None:
            return Syscalls(reason=self._reason)
        if tally.hidden or tally.shared:
            return Syscalls(reason=tally.hidden or SHARED)
        return Syscalls(_named(tally.counts), tally.others, kills_visible=True, reason=NO_ERRORS)

    def ended(self, name: str, *, killed: bool, late: bool = False) -> Syscalls:
        """Everything that is known of a sandbox whose processes are all dead.

        killed: its own program certainly was. late: it never settled.
        """
        if self._stream is None:
            return Syscalls(reason=self._reason)
        self.receive()
        tally = self._running.pop(name, None)
        if tally is None:
            return Syscalls(kills_visible=True, reason=NO_ERRORS)  # it never ran
        if tally.hidden:
            return Syscalls(reason=tally.hidden)
        awaited = killed and not tally.counts and tally.missed == self._missed
        if awaited and self._sender is None and self._stream.wait(EXPECTED_SECONDS):
            self.receive()
        if self._by_uid.get(tally.uid) is tally:
            del self._by_uid[tally.uid]
        if tally.shared:
            return Syscalls(reason=SHARED)
        # A record that must come and did not may still come; or the tool sent itself the signal.
        late = late or (awaited and self._sender is None and not tally.counts)
        reasons = [LATE] if late else []
        reasons += [MISSED] if tally.missed != self._missed else []
        return Syscalls(
            seen=_named(tally.counts),
            others=tally.others,
            kills_visible=True,
            denials_visible=tally.logged,
            complete=not reasons,
            reason="; ".join([*reasons, NOT_ALL if tally.logged else NO_ERRORS]),
        )


def _named(counts: dict[tuple[int, int, int], int]) -> tuple[SyscallCount, ...]:
    """The most frequent first."""
    found = []
    for (architecture, number, action), count in counts.items():
        where, call = syscalls.name(architecture, number)
        found.append(SyscallCount(call, where, _ACTIONS.get(action, f"{action:#x}"), count))
    return tuple(sorted(found, key=lambda item: (-item.count, item.syscall, item.architecture)))
