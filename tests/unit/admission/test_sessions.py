"""Session handles: random, bound to who opened them, and ending."""

from __future__ import annotations

import base64

import pytest

from fumehood.admission.admit import Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.quota import Quota
from fumehood.admission.sessions import Sessions
from fumehood.config import Config
from fumehood.errors import OverQuota, UnknownSession
from support.manifests import request, tool


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_handles_are_256_random_bits_and_what_is_kept_is_not_the_handle() -> None:
    opened = Sessions(60, 200, Clock())
    handles = [opened.open("a")[0] for _ in range(100)]
    assert len(set(handles)) == 100
    assert all(len(base64.urlsafe_b64decode(handle + "=")) == 32 for handle in handles)
    assert not any(handle in str(vars(opened)) for handle in handles)


def test_anothers_a_forged_a_closed_and_an_ended_session_all_look_the_same() -> None:
    clock = Clock()
    opened = Sessions(60, 9, clock)
    handle, session = opened.open("a")
    assert opened.find("a", handle) == session
    closed, _ = opened.open("a")
    opened.close("a", closed)
    tries = [("b", handle), ("a", handle[:-1]), ("a", handle + "x"), ("a", ""), ("a", closed),
             ("", f"a:{handle}"), ("a", "\ud800"), ("a", "x" * 10_000)]  # fmt: skip
    said = set()
    for principal, forged in tries:
        with pytest.raises(UnknownSession) as caught:
            opened.find(principal, forged)
        said.add(str(caught.value))
    clock.now = 60
    with pytest.raises(UnknownSession) as caught:
        opened.find("a", handle)
    assert {*said, str(caught.value)} == {str(caught.value)}


def test_sessions_of_one_caller_are_bounded_and_make_room_when_they_end() -> None:
    clock = Clock()
    opened = Sessions(60, 2, clock)
    opened.open("a")
    opened.open("a")
    with pytest.raises(OverQuota, match="2 of your sessions"):
        opened.open("a")
    opened.open("b")
    clock.now = 61
    opened.open("a")
    assert (len(opened.of("a")), len(opened._sessions)) == (1, 1)


def test_a_call_belongs_to_the_session_that_its_own_caller_opened() -> None:
    config = Config.model_validate({"callers": {"users": [1000, 1001]}})
    here = Admission(
        {"word-count": tool()}.get,
        authorizer=Authorizer(config, own_uid=None),
        quota=Quota(per_caller=2),
        lint=lambda _: None,
    )
    handle, session = here.sessions.open("uid:1000")
    asked = request({"text": "x"}, session=handle)
    assert here.admit(asked).session == session.id
    assert here.admit(request({"text": "x"})).session == ""
    with pytest.raises(UnknownSession):
        here.admit(request({"text": "x"}, uid=1001, session=handle))
