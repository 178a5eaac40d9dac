"""Every command that the README shows by hand does what it says, in the order of the page."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from fumehood.cli.main import execute
from fumehood.errors import ExitStatus
from support.hood import hood

ROOT = Path(__file__).parents[2]
PROVEN_ELSEWHERE = {"serve", "doctor", "run"}
"""`serve` is the daemon here; the others start daemons of their own: test_lacking_hosts.py,
test_joined.py."""
INVOCATION = "019aa7c5-3c1e-7d52-9a51-0f6f0e3d2b11"
"""Of the page; here it is the call before."""
OTHERWISE = {
    "tool diff": ExitStatus.REJECTED,  # one version is nothing to compare
    "policy explain": ExitStatus.REJECTED,  # nobody may not
    "audit search": ExitStatus.FAILED,  # no call ended in a timeout
}


def shown() -> list[list[str]]:
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"^## By hand\n```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [line.partition("  #")[0] for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("fumehood ")]


def test_every_command_by_hand_does_what_the_page_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [words for words in shown() if words[0] not in PROVEN_ELSEWHERE]
    assert len(commands) > 12
    monkeypatch.chdir(ROOT)
    given, failed = {"alice": "nobody"}, []
    with hood() as running:
        monkeypatch.setenv("FUMEHOOD_SOCKET", str(running.socket))
        monkeypatch.setenv("FUMEHOOD_STATE", str(running.state))
        for shown_words in commands:
            words = [given.get(word, word) for word in shown_words]
            status, said = execute(words), capsys.readouterr()
            if words[0] == "call" and "--json" in words:
                given[INVOCATION] = json.loads(said.out)["invocation"]
            if status != OTHERWISE.get(" ".join(words[:2]), ExitStatus.OK):
                failed.append(f"{shlex.join(words)}: {status} {said.out}{said.err}")
    assert not failed, "\n".join(failed)
