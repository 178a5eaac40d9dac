"""Recipes: what the shipped images are made from, read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images import build
from fumehood.images.recipe import load

SHIPPED = Path(__file__).parents[3] / "images"
GOOD = "name: x\nsummary: y\nsuite: bookworm\npackages: [bash, coreutils]\n"


@pytest.mark.parametrize("name", ["base", "python", "node"])
def test_the_shipped_recipes_are_sound(name: str) -> None:
    recipe = load(SHIPPED / name)
    assert recipe.name == name
    assert {"bash", "coreutils", "libc-bin"} <= set(recipe.packages)
    assert name in (SHIPPED / "README.md").read_text()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "expected a mapping"),
        ("[]", "expected a mapping"),
        (GOOD + "pakages: []\n", "line 5: pakages: unknown key"),
        (GOOD + "name: z\n", "name"),
        (GOOD.replace("bookworm", "../etc"), "no release of Debian"),
        (GOOD.replace("bash", '"--variant=x"'), "no name of a package"),
        (GOOD.replace("bash", '"bash,evil"'), "no name of a package"),
        (GOOD.replace("[bash, coreutils]", "[]"), "expected a list"),
        (GOOD.replace("name: x", "name: ../x"), "no name of an image"),
        (GOOD.replace("summary: y", "summary: 7"), "expected a text"),
        (GOOD + "extends: .\n", "at most 4"),
        (GOOD + "extends: ../nowhere\n", "No such file"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_by_line(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "image.yaml").write_text(text)
    with pytest.raises(ImageError, match=cause):
        load(tmp_path)


def test_a_version_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_text(GOOD.replace("bash", "bash=5.2.15-2+b13"))
    assert "bash=5.2.15-2+b13" in load(tmp_path).packages


@pytest.mark.parametrize("text", ["", "-1", "12345678901", "now"])
def test_a_malformed_epoch_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(ImageError, match="SOURCE_DATE_EPOCH"):
        build.epoch()


def test_without_mmdebstrap_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "find", lambda _: None)
    with pytest.raises(ImageError, match="not installed") as caught:
        build._argv(load(SHIPPED / "base"), tmp_path)
    assert "apt-get install mmdebstrap" in caught.value.remedy
