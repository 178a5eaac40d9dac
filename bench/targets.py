"""The ratios that are promised, and whether a run met them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured; `measured` is None when there was nothing to measure.

    bound: what keeps it from being better, for whoever reads of a miss.
    """

    text: str
    most: float | None = None
    least: float | None = None
    measured: float | None = None
    unit: str = "x"
    bound: str = ""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        if self.most is not None:
            return self.measured <= self.most
        return self.least is not None and self.measured >= self.least

    def line(self) -> str:
        sign, bound = ("≤", self.most) if self.most is not None else ("≥", self.least)
        word = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        measured = "-" if self.measured is None else f"{self.measured:.3g} {self.unit}"
        text = f"{self.text:<66} {sign} {bound:<5g} {measured:>10}  {word}"
        if self.met is False and bound:
            assert self.measured is not None
            text += f" ({self.measured / bound:.1f} times the target)"
        return text

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.text,
            "most": self.most,
            "least": self.least,
            "measured": self.measured,
            "unit": self.unit,
            "met": self.met,
            "bound": self.bound,
        }


def rows(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """A Markdown table of what `to_json` gave."""
    lines = ["| target | wanted | measured | | what bounds it |", "|---|---|---|---|---|"]
    for it in targets:
        sign, wanted = ("≤", it["most"]) if it["most"] is not None else ("≥", it["least"])
        unit = "" if it["unit"] == "x" else f" {it['unit']}"
        measured = "-" if it["measured"] is None else f"{it['measured']:.3g}{unit}"
        word = {True: "met", False: "**missed**", None: "not measured"}[it["met"]]
        bound = "" if it["met"] else it.get("bound", "")
        lines.append(
            f"| {it['target']} | {sign} {wanted:g}{unit} | {measured} | {word} | {bound} |"
        )
    return lines


def ratio(above: float | None, below: float | None) -> float | None:
    """above/below, None when one of them was not measured."""
    return above / below if above is not None and below else None
