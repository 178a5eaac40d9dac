"""Which principal a local account is, and with which roles; then its rights are the policy's.

The one place of admission that knows of accounts: what comes after decides about principals. Must
never take an empty list for "everybody", nor an identity that the kernel could not map.
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

from fumehood.admission.policy import Decision, Policy
from fumehood.config import Config, Principals
from fumehood.crypto.trust import TrustRoots
from fumehood.errors import ConfigError
from fumehood.model.principal import Principal
from fumehood.model.request import Caller, RegisteredTool, Request
from fumehood.model.rules import CALLERS, EVERYBODY, OPERATORS

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
        self._own_uid = own_uid
        self._clock = clock
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Decide by this configuration from now on; when it raises ConfigError, by the old one."""
        operators = self._operators_of(config, self._own_uid)
        callers = self._callers_of(config, self._own_uid)
        roles = {
            name: self._members(members, f"roles.{name}") for name, members in config.roles.items()
        }
        roots = TrustRoots(config.publishers, config.revoked_keys)
        policy = Policy(config.rules, roots.publisher_of, named=config.callers is not None)
        self._operators, self._callers, self._roles = operators, callers, roles
        self.policy, self.roots = policy, roots
        self.require_signature = config.require_signature
        self._remembered: dict[tuple[int, int], tuple[float, Principal]] = {}

    def may_connect(self, caller: Caller) -> bool:
        """Callers and operators may use the socket at all."""
        return self.principal(caller).may_connect

    def may_call(self, caller: Caller, tool: RegisteredTool) -> bool:
        """Whether the caller may know of the tool and call it, with some arguments at least; a
        quarantined tool is unknown."""
        if tool.state != "active":
            return False
        principal = self.principal(caller)
        return principal.may_connect and self.policy.knows(principal, tool)

    def decide(self, request: Request, tool: RegisteredTool) -> Decision:
        """What the rules say of one call of a tool that its caller may know of."""
        return self.policy.decide(self.principal(request.caller), tool, request.arguments)

    def is_operator(self, caller: Caller) -> bool:
        """Whether the caller may change the catalog and approve calls."""
        return self.principal(caller).operates

    def principal(self, caller: Caller) -> Principal:
        """Who the caller is here. One whom nothing is said of has no role, and no right."""
        key = (caller.uid, caller.gid)
        now = self._clock()
        known = self._remembered.get(key)
        if known is not None and now - known[0] < REMEMBERED_SECONDS:
            return known[1]
        if caller.uid == OVERFLOW_ID:
            return Principal(name_of(caller), frozenset())
        principal = Principal(name_of(caller), self._roles_of(caller))
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = (now, principal)
        return principal

    def account(self, name: str) -> Caller | None:
        """The host's account of that name or number, as if it called; None when there is none."""
        text = name.removeprefix("uid:")
        uid = int(text) if text.isdecimal() and len(text) < 11 else self._accounts.uid(name)
        return None if uid is None else Caller(uid=uid, gid=OVERFLOW_ID, pid=0, name=name)

    def _roles_of(self, caller: Caller) -> frozenset[str]:
        groups = self._accounts.groups_of(caller.uid) | {caller.gid}
        groups -= {OVERFLOW_ID}
        built_in = {CALLERS: self._callers, OPERATORS: self._operators}
        if not any(members.holds(caller.uid, groups) for members in built_in.values()):
            return frozenset()  # a role alone lets nobody in
        members = {**self._roles, **built_in}
        held = {name for name, who in members.items() if who.holds(caller.uid, groups)}
        return frozenset({EVERYBODY, *held})

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


def name_of(caller: Caller) -> str:
    """The name of a local account's principal."""
    return f"uid:{caller.uid}"


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
