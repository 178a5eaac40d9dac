"""Principals and rules that tests start from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fumehood.model.principal import Principal
from fumehood.model.rules import Rule

OPERATOR = Principal("uid:0", frozenset({"*", "operators"}))
TEAM = Principal("uid:1000", frozenset({"*", "callers", "team"}))
OTHER = Principal("uid:1001", frozenset({"*", "callers"}))
NOBODY = Principal("uid:65534", frozenset())


def rule(**fields: Any) -> Rule:
    return Rule.model_validate(fields)


RULES = st.builds(
    lambda effect, who, tools, arguments: {
        "effect": effect, "who": [who], "tools": [tools], "arguments": arguments,
    },
    st.sampled_from(["allow", "ask", "deny"]),
    st.sampled_from(["*", "team", "operators", "callers"]),
    st.sampled_from(["*", "word-count", "other"]),
    st.sampled_from([None, {"required": ["a"]}, {"required": ["b"]}]),
)  # fmt: skip
