"""Who may connect, call and operate: decided from the configuration and the host's accounts.

Must never take an empty list for "everybody", nor an identity that the kernel could not map.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from fumehood.config import Config, Principals
from fumehood.errors import ConfigError
from fumehood.model.request import Caller, RegisteredTool

OVERFLOW_ID: Final = 65_534
"""What SO_PEERCRED says of an account that this user namespace does not know (user_namespaces(7)).
It may be anybody, so it is nobody."""
REMEMBERED_SECONDS: Final = 5.0
"""How long a decision about group members may lag behind the host's accounts."""
MAX_REMEMBERED: Final = 4_096


class Accounts(Protocol):
    """The host's accounts. Names are looked up once; memberships when somebody connects."""

    def uid(self, name: str) -> int | None: ...

    def gid(self, name: str) -> int | None: ...

    def groups_of(self, uid: int) -> frozenset[int]: ...


class HostAccounts:
    """The accounts that NSS knows."""

    def uid(self, name: str) -> int | None:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
        return None

    def gid(self, name: str) -> int | None:
        with contextlib.suppress(KeyError):
            return grp.getgrnam(name).gr_gid
        return None

    def groups_of(self, uid: int) -> frozenset[int]:
        """Every group of the account, none for a UID without a name."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return frozenset()
        return frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))


@dataclass(frozen=True, slots=True)
class _Members:
    """Principals as numbers. Nobody, when both are empty."""

    uids: frozenset[int]
    gids: frozenset[int]

    def holds(self, uid: int, groups: frozenset[int]) -> bool:
        return uid in self.uids or not self.gids.isdisjoint(groups)


class Authorizer:
    """Decides for callers that SO_PEERCRED has proven.

    Args:
        own_uid: the daemon's UID when rootless, None when root started it.
        clock: seconds, monotonic.

    Raises:
        ConfigError: the configuration names an account that this host does not have.
    """

    def __init__(
        self,
        config: Config,
        *,
        own_uid: int | None,
        accounts: Accounts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts if accounts is not None else HostAccounts()
        self._clock = clock
        self._operators = self._operators_of(config, own_uid)
        self._callers = self._callers_of(config, own_uid)
        self._remembered: dict[tuple[int, int], tuple[float, bool, bool]] = {}

    def may_connect(self, caller: Caller) -> bool:
        """Callers and operators may use the socket at all."""
        calls, operates = self._decide(caller)
        return calls or operates

    def may_call(self, caller: Caller, tool: RegisteredTool) -> bool:
        """Whether the caller may know of the tool and call it; a quarantined tool is unknown."""
        return tool.state == "active" and self.may_connect(caller)

    def is_operator(self, caller: Caller) -> bool:
        """Whether the caller may change the catalog."""
        return self._decide(caller)[1]

    def _decide(self, caller: Caller) -> tuple[bool, bool]:
        key = (caller.uid, caller.gid)
        now = self._clock()
        known = self._remembered.get(key)
        if known is not None and now - known[0] < REMEMBERED_SECONDS:
            return known[1], known[2]
        if caller.uid == OVERFLOW_ID:
            return False, False
        groups = self._accounts.groups_of(caller.uid) | {caller.gid}
        groups -= {OVERFLOW_ID}
        calls = self._callers.holds(caller.uid, groups)
        operates = self._operators.holds(caller.uid, groups)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = (now, calls, operates)
        return calls, operates

    def _operators_of(self, config: Config, own_uid: int | None) -> _Members:
        if config.operators is not None:
            return self._members(config.operators, "operators")
        return _Members(frozenset({0} if own_uid is None else {0, own_uid}), frozenset())

    def _callers_of(self, config: Config, own_uid: int | None) -> _Members:
        if config.callers is not None:
            return self._members(config.callers, "callers")
        if own_uid is not None:
            return _Members(frozenset({own_uid}), frozenset())
        group = self._accounts.gid(config.socket_group)
        return _Members(frozenset(), frozenset() if group is None else frozenset({group}))

    def _members(self, principals: Principals, key: str) -> _Members:
        return _Members(
            _numbers(principals.users, self._accounts.uid, f"{key}.users", "user"),
            _numbers(principals.groups, self._accounts.gid, f"{key}.groups", "group"),
        )


def _numbers(
    accounts: tuple[str | int, ...], find: Callable[[str], int | None], key: str, kind: str
) -> frozenset[int]:
    numbers = set()
    for account in accounts:
        number = find(account) if isinstance(account, str) else account
        if number is None:
            raise ConfigError(
                f"{key}: this host has no {kind} {account!r}", "create it, or take it off the list"
            )
        numbers.add(number)
    return frozenset(numbers)
