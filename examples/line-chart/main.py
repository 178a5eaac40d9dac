"""Draws a line chart into /out/chart.svg: what is left in /out comes back as an artifact."""

import html
import json
import pathlib
import sys

WIDTH, HEIGHT, MARGIN = 640, 240, 24

arguments = json.load(sys.stdin)
values = arguments["values"]
low, high = min(values), max(values)
span = (high - low) or 1
step = (WIDTH - 2 * MARGIN) / (len(values) - 1)
points = " ".join(
    f"{MARGIN + i * step:.1f},{HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN):.1f}"
    for i, value in enumerate(values)
)
pathlib.Path("/out/chart.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">\n'
    f'<text x="{MARGIN}" y="16">{html.escape(arguments.get("title", ""))}</text>\n'
    f'<polyline fill="none" stroke="#36c" stroke-width="2" points="{points}"/>\n'
    "</svg>\n",
    encoding="utf-8",
)
json.dump({"points": len(values), "min": low, "max": high}, sys.stdout)
