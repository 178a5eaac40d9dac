"""Plots as SVG, written by hand: no library, light and dark pages alike. Pure but for `save`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bench.stats import Summary

_OURS, _THEIRS = "#0b7285", "#868e96"
_LINES = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#868e96")
_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#343a40}.t{font-weight:600;font-size:15px}"
    ".g{stroke:#adb5bd;stroke-width:.6}@media(prefers-color-scheme:dark){text{fill:#dee2e6}"
    ".g{stroke:#495057}}</style>"
)


def bars(title: str, rows: Mapping[str, Summary]) -> str:
    """Median as a bar from 0.1 ms on a logarithmic axis, a line from it to the 99th percentile."""
    ordered = sorted(rows.items(), key=lambda item: item[1].p50)
    left, width, line = 260, 560, 24
    top = 44
    height = top + line * len(ordered) + 34
    low, high = _decades([s.least for _, s in ordered] + [s.p99 for _, s in ordered])

    def x(value: float) -> float:
        return left + width * (math.log10(max(value, low)) - math.log10(low)) / (
            math.log10(high) - math.log10(low)
        )

    body = [_text(8, 20, title + " (ms, median; line to p99; log scale)", "t")]
    value = low
    while value <= high * 1.001:
        body.append(_line(x(value), top - 8, x(value), height - 28))
        body.append(_text(x(value), height - 10, f"{value:g}", anchor="middle"))
        value *= 10
    for number, (name, summary) in enumerate(ordered):
        y = top + number * line
        color = _OURS if name.startswith("fumehood") else _THEIRS
        body.append(_text(left - 8, y + 12, name, anchor="end"))
        body.append(
            f'<rect x="{left}" y="{y}" width="{max(x(summary.p50) - left, 1):.1f}" '
            f'height="16" fill="{color}"/>'
        )
        end = x(summary.p99)
        body.append(
            f'<line x1="{x(summary.p50):.1f}" y1="{y + 8}" x2="{end:.1f}" y2="{y + 8}" '
            f'stroke="{color}" stroke-width="2"/>'
        )
        body.append(_text(end + 6, y + 12, f"{summary.p50:.3g}"))
    return _svg(left + width + 70, height, body)


def lines(
    title: str,
    x_name: str,
    y_name: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log_y: bool = True,
) -> str:
    """Lines over a logarithmic x axis."""
    left, top, width, height = 70, 60, 600, 300
    points = [point for line in series.values() for point in line if point[0] > 0 and point[1] > 0]
    if not points:
        return _svg(left + width, top, [_text(8, 20, f"{title}: nothing measured", "t")])
    x_low, x_high = min(p[0] for p in points), max(p[0] for p in points)
    if log_y:
        y_low, y_high = _decades([p[1] for p in points])
    else:
        y_low, y_high = 0.0, max(p[1] for p in points) * 1.1

    def x(value: float) -> float:
        span = math.log10(x_high / x_low) or 1.0
        return left + width * math.log10(value / x_low) / span

    def y(value: float) -> float:
        logarithmic = math.log10(value / y_low) / math.log10(y_high / y_low) if log_y else 0.0
        return top + height * (1 - (logarithmic if log_y else value / y_high))

    body = [_text(8, 20, title, "t"), _text(left, top - 14, y_name)]
    for mark in _marks(y_low, y_high, log=log_y):
        body += [
            _line(left, y(mark), left + width, y(mark)),
            _text(left - 6, y(mark) + 4, f"{mark:g}", anchor="end"),
        ]
    for mark in sorted({p[0] for p in points}):
        body.append(_text(x(mark), top + height + 18, _short(mark), anchor="middle"))
    body.append(_text(left + width / 2, top + height + 38, x_name, anchor="middle"))
    for number, (name, line) in enumerate(series.items()):
        color = _LINES[number % len(_LINES)]
        usable = [(x(a), y(b)) for a, b in line if a > 0 and b > 0]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in usable)
        body.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        body += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in usable]
        at = top + number * 20
        body.append(
            f'<rect x="{left + width + 14}" y="{at}" width="12" height="12" fill="{color}"/>'
        )
        body.append(_text(left + width + 32, at + 11, name))
    return _svg(left + width + 260, top + height + 50, body)


def save(folder: Path, plots: Mapping[str, str]) -> None:
    """Write SVG files."""
    folder.mkdir(exist_ok=True)
    for name, text in plots.items():
        (folder / name).write_text(text)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    low = 10 ** math.floor(math.log10(min(v for v in values if v > 0)))
    high = 10 ** math.ceil(math.log10(max(values)))
    return low, max(high, low * 10)


def _marks(low: float, high: float, *, log: bool) -> list[float]:
    if not log:
        return [round(high * step / 4, 3) for step in range(5)]
    count = round(math.log10(high / low))
    return [low * 10**step for step in range(count + 1)]


def _short(value: float) -> str:
    for size, name in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="g" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(width: float, height: float, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">'
    return "\n".join([head, _STYLE, *body, "</svg>"]) + "\n"
