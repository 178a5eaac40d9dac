"""The ratios that are promised, and whether a run met them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured; `measured` is None when there was nothing to measure."""

    text: str
    most: float | None = None
    least: float | None = None
    measured: float | None = None
    unit: str = "x"

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
        }


def ratio(above: float | None, below: float | None) -> float | None:
    """above/below, None when one of them was not measured."""
    return above / below if above is not None and below else None
