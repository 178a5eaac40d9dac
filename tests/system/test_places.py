"""The real program looks where options, variables and XDG directories say, in that order."""

from __future__ import annotations

import subprocess

import pytest

from fumehood.places import cache
from support.hood import command_as

USER = 64_321
XDG = {"XDG_RUNTIME_DIR": "/nowhere/run"}
VARIABLE = {"FUMEHOOD_SOCKET": "/nowhere/variable.sock"}


@pytest.mark.parametrize(
    ("environ", "words", "looked"),
    [
        ({}, (), f"/tmp/fumehood-{USER}/fumehood.sock"),
        (XDG, (), "/nowhere/run/fumehood/fumehood.sock"),
        ({"XDG_RUNTIME_DIR": "relative"}, (), f"/tmp/fumehood-{USER}/fumehood.sock"),
        (XDG | VARIABLE, (), "/nowhere/variable.sock"),
        (XDG | VARIABLE, ("--socket", "/nowhere/option.sock"), "/nowhere/option.sock"),
    ],
    ids=["nothing said", "XDG", "relative XDG", "variable", "option"],
)
def test_an_ordinary_users_socket_is_looked_for_there(
    environ: dict[str, str], words: tuple[str, ...], looked: str
) -> None:
    done = subprocess.run(
        command_as(USER, "status", *words),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nowhere", **environ},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 6, done
    assert looked in done.stderr


def test_what_can_be_made_again_has_a_place_of_its_own() -> None:
    assert str(cache({"XDG_CACHE_HOME": "/c"}, 0)) == "/var/cache/fumehood"
    assert str(cache({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, 7)) == "/c/fumehood"
    assert str(cache({"XDG_CACHE_HOME": "rel", "HOME": "/h"}, 7)) == "/h/.cache/fumehood"
