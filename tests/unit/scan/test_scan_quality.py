"""How much is found, and how much is left alone: the corpus may not get worse than it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.quality import Group, is_right, measured, table
from corpus.sample import Sample

DOCS = Path(__file__).parents[3] / "docs"
FLOORS = {
    "secrets by form": 1.0,
    "passwords": 0.98,
    "named tokens": 1.0,
    "encoded secrets": 0.88,
    "personal data": 1.0,
    "injection": 0.96,
    "hidden text": 1.0,
    "payloads": 1.0,
    # Sources of Python and of this repository change.
    "source code": 0.98,
    "documents": 0.95,
    "security documents": 1.0,
    "other languages": 1.0,
    "mail": 1.0,
    "lists": 1.0,
    "tables": 1.0,
    "logs": 1.0,
    "json": 1.0,
    "secrets by place": 0.98,
    "tokens of providers": 0.97,
    "secrets in more forms": 1.0,
    "numbers in disguise": 1.0,
    "what looks like a secret": 1.0,
    "command lines": 0.98,
    "consoles and dialogues": 0.96,
    "commands without secrets": 1.0,
    "secrets in print": 0.99,
    "print without secrets": 1.0,
    "numbers of persons": 1.0,
    "numbers of nobody": 1.0,
    "dull output": 1.0,
    "tokens alone": 0.99,
    "what tokens look like": 1.0,
    "secrets on the wire": 0.99,
    "traffic without secrets": 1.0,
    "secrets by name": 1.0,
    "passwords in sentences": 1.0,
    "names without secrets": 1.0,
    "orders to models": 0.92,
    "orders in disguise": 0.95,
    "orders in more words": 0.95,
    "orders in other languages": 0.97,
    "orders in templates": 0.98,
    "orders in markup": 0.98,
    "orders by their parts": 0.97,
    "orders that no rule was made for": 0.7,
    "text that no rule was made for": 0.94,
    "what looks like an order": 0.99,
    "secrets in parts": 0.97,
    "pieces of output": 1.0,
    "secrets in names": 0.97,
    "names of files": 1.0,
    # Whatever this machine has.
    "tools' output": 0.9,
    "files of the system": 0.95,
}


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Group]:
    return measured(tmp_path_factory.mktemp("rules"))


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_no_group_gets_worse(groups: dict[str, Group], name: str) -> None:
    group = groups[name]
    assert group.share >= FLOORS[name], "\n".join(group.wrong)


def test_every_group_has_a_floor_and_a_row_in_the_documents(groups: dict[str, Group]) -> None:
    assert set(groups) == set(FLOORS)
    page = (DOCS / "scanning.md").read_text()
    for line in table(groups):
        assert line.split("|")[1] in page


def test_a_secret_that_is_told_and_left_counts_as_wrong() -> None:
    sample = Sample("passwords", "x", "secret", b"password: hunter", "hunter")
    assert is_right(sample, {"secret"}, b"password: [redacted]")
    assert not is_right(sample, {"secret"}, b"password: hunter")
