"""Who may connect, call and operate."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission.authorize import REMEMBERED_SECONDS, Authorizer, HostAccounts
from fumehood.config import Config
from fumehood.errors import ConfigError
from fumehood.model.request import Caller
from support.manifests import caller, tool


@dataclass
class SomeAccounts:
    """A host with a few accounts."""

    users: dict[str, int] = field(default_factory=lambda: {"ann": 1000, "bob": 1001})
    groups: dict[str, int] = field(default_factory=lambda: {"fumehood": 990, "staff": 50})
    members: dict[int, set[int]] = field(default_factory=lambda: {1001: {990}})
    asked: int = 0

    def uid(self, name: str) -> int | None:
        return self.users.get(name)

    def gid(self, name: str) -> int | None:
        return self.groups.get(name)

    def groups_of(self, uid: int) -> frozenset[int]:
        self.asked += 1
        return frozenset(self.members.get(uid, ()))


def authorizer(
    text: dict[str, object] | None = None,
    *,
    own_uid: int | None = None,
    accounts: SomeAccounts | None = None,
    clock: float = 0.0,
) -> Authorizer:
    return Authorizer(
        Config.model_validate(text or {}),
        own_uid=own_uid,
        accounts=accounts or SomeAccounts(),
        clock=lambda: clock,
    )


ANN, BOB, ROOT = caller(1000, 1000), caller(1001, 1001), caller(0, 0)


def test_by_default_as_root_callers_are_the_members_of_the_socket_group() -> None:
    by_default = authorizer()
    assert by_default.may_connect(BOB)
    assert by_default.may_connect(Caller(1000, 990, 1, ""))  # its effective group
    assert not by_default.may_connect(ANN)


def test_by_default_as_root_only_root_operates() -> None:
    by_default = authorizer()
    assert [by_default.is_operator(c) for c in (ROOT, ANN, BOB)] == [True, False, False]


def test_by_default_rootless_the_user_alone_calls_and_operates() -> None:
    own = authorizer(own_uid=1000)
    assert own.may_connect(ANN)
    assert own.is_operator(ANN)
    assert not own.may_connect(BOB)
    assert own.is_operator(ROOT)


def test_an_empty_list_means_nobody_besides_operators() -> None:
    empty = authorizer({"callers": {}})
    assert not empty.may_connect(BOB)
    assert empty.may_connect(ROOT)
    nobody = authorizer({"callers": {}, "operators": {}})
    assert not nobody.may_connect(ROOT)


def test_a_missing_socket_group_means_nobody() -> None:
    accounts = SomeAccounts(groups={})
    assert not authorizer(accounts=accounts).may_connect(Caller(1001, 990, 1, ""))


def test_listed_users_and_groups_are_let_in_by_name_and_number() -> None:
    listed = authorizer({"callers": {"users": ["ann", 7], "groups": ["staff", 8]}})
    for one in (ANN, caller(7), caller(5, 50), caller(5, 8)):
        assert listed.may_connect(one)
        assert not listed.is_operator(one)
    assert not listed.may_connect(BOB)


def test_operators_are_callers_too() -> None:
    listed = authorizer({"operators": {"users": ["bob"]}})
    assert listed.is_operator(BOB)
    assert listed.may_call(BOB, tool())
    assert not listed.is_operator(ROOT)


@pytest.mark.parametrize("key", ["callers", "operators"])
@pytest.mark.parametrize("kind", ["users", "groups"])
def test_a_name_this_host_does_not_have_stops_the_start(key: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}.{kind}: this host has no {kind[:-1]} 'eve'"):
        authorizer({key: {kind: ["eve"]}})


def test_an_identity_that_the_kernel_could_not_map_is_nobody() -> None:
    everyone = {"users": [65534], "groups": [65534]}
    mapped = authorizer({"callers": everyone, "operators": everyone})
    assert not mapped.may_connect(caller(65534, 65534))
    assert not mapped.may_connect(caller(1000, 65534))
    assert not mapped.is_operator(caller(65534, 0))


def test_a_quarantined_tool_is_nobodys() -> None:
    assert not authorizer().may_call(ROOT, tool(state="quarantined"))
    assert not authorizer().may_call(ROOT, tool(state="pending"))
    assert authorizer().may_call(ROOT, tool())


def test_memberships_are_looked_up_once_and_again_after_a_while() -> None:
    accounts, now = SomeAccounts(), [0.0]
    decider = Authorizer(Config(), own_uid=None, accounts=accounts, clock=lambda: now[0])
    assert all(decider.may_connect(BOB) for _ in range(100))
    assert accounts.asked == 1
    accounts.members.clear()
    now[0] = REMEMBERED_SECONDS + 0.1
    assert not decider.may_connect(BOB)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_nobody_else_gets_in(uid: int, gid: int) -> None:
    allowed = uid in (0, 1001) or (gid == 990 and uid != 65534)
    assert authorizer().may_connect(caller(uid, gid)) == allowed


def test_the_hosts_accounts_are_found() -> None:
    host = HostAccounts()
    assert host.uid("root") == 0
    assert host.gid(grp.getgrgid(0).gr_name) == 0
    assert host.uid("no-such-user-here") is None
    assert host.gid("no-such-group-here") is None
    assert host.groups_of(2**31 - 7) == frozenset()
    assert pwd.getpwuid(0).pw_gid in host.groups_of(0)
