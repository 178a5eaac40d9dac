"""From a request to an admitted call, or the refusal that fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fumehood.admission.admit import MAX_COMPILED, Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.quota import Quota
from fumehood.config import Config
from fumehood.errors import (
    InvalidArguments,
    ManifestError,
    OverQuota,
    Rejected,
    Unauthorized,
    UnknownTool,
)
from fumehood.model.manifest import Manifest
from fumehood.model.request import RegisteredTool
from support.manifests import TEXT, request, tool


def nothing(_: Manifest) -> None:
    """A lint that lets everything pass."""


def admission(
    *tools: RegisteredTool,
    per_caller: int = 2,
    lint: Callable[[Manifest], None] = nothing,
) -> Admission:
    config = Config.model_validate({"callers": {"users": [1000]}})
    return Admission(
        {entry.manifest.name: entry for entry in tools}.get,
        authorizer=Authorizer(config, own_uid=None),
        quota=Quota(per_caller=per_caller),
        lint=lint,
    )


def test_a_good_request_is_admitted_with_its_tool() -> None:
    entry, asked = tool(), request({"text": "x"})
    admitted = admission(entry).admit(asked)
    assert (admitted.request, admitted.tool) == (asked, entry)


def test_somebody_who_may_not_call_learns_nothing_about_tools() -> None:
    here = admission(tool())
    refusals = []
    for name in ("word-count", "no-such-tool"):
        with pytest.raises(Unauthorized) as caught:
            here.admit(request({}, uid=1001, name=name))
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]


def test_a_quarantined_tool_looks_like_none() -> None:
    seen = []
    for here in (admission(tool(state="quarantined")), admission()):
        with pytest.raises(UnknownTool) as caught:
            here.admit(request({"text": "x"}))
        seen.append(str(caught.value))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "name", ["", "../x", "x" * 10_000, "\x1b[31m", "w\u043erd-count", "Word-Count"]
)
def test_hostile_tool_names_are_unknown_and_shown_short(name: str) -> None:
    with pytest.raises(UnknownTool) as caught:
        admission(tool()).admit(request({}, name=name))
    assert len(str(caught.value)) < 150
    assert str(caught.value).isprintable()


def test_bad_arguments_name_the_place() -> None:
    with pytest.raises(InvalidArguments, match="/text: expected string") as caught:
        admission(tool()).admit(request({"text": 1}))
    assert caught.value.pointer == "/text"


def test_over_quota_is_refused_before_the_arguments_cost_anything() -> None:
    here = admission(tool(), per_caller=1)
    with here.quota.hold("uid:1000"), pytest.raises(OverQuota):
        here.admit(request({"text": 1}))
    here.admit(request({"text": "x"}))


def test_a_result_is_checked_against_the_output_schema() -> None:
    check = admission().output_check(tool())
    assert check is not None
    check({"words": 1})
    with pytest.raises(InvalidArguments, match="/words: expected integer"):
        check({"words": "1"})
    assert admission().output_check(tool(outputSchema=None)) is None


def test_a_schema_that_is_no_longer_accepted_is_a_refusal() -> None:
    entry = tool(inputSchema={"type": "object", "unevaluatedProperties": False})
    with pytest.raises(Rejected, match="no longer accepted") as caught:
        admission(entry).admit(request({}))
    assert "unevaluatedProperties" in caught.value.detail


def test_validators_are_compiled_once_and_bounded() -> None:
    here = admission()
    first = here.output_check(tool())
    assert first == here.output_check(tool())
    for index in range(MAX_COMPILED + 1):
        here.output_check(tool(version=f"1.0.{index}"))
    assert len(here._compiled) <= MAX_COMPILED


def test_a_manifest_is_read_and_linted_before_it_may_be_stored() -> None:
    seen: list[str] = []
    prepared = admission(lint=lambda manifest: seen.append(manifest.name)).prepare(TEXT, {})
    assert (prepared.name, seen) == ("word-count", ["word-count"])

    def refuse(manifest: Manifest) -> None:
        raise ManifestError("no", field="limits")

    with pytest.raises(ManifestError, match="no"):
        admission(lint=refuse).prepare(TEXT, {})
    with pytest.raises(ManifestError, match="unknown key"):
        admission().prepare(TEXT + "colour: red\n", {})
