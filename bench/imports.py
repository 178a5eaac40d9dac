"""Section 2: the same with a Python tool that imports pandas: what a real tool's start costs."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from bench import RUNTIME, plot, report
from bench.daemon import Levels
from bench.latency import rows_of_ours
from bench.peers import BWRAP, OTHERS
from bench.peers.base import Place, Work
from bench.rounds import SETTLE_SECONDS, Field
from bench.section import Findings, Scale, alone
from bench.targets import Verdict, ratio

TABLE = {"a": list(range(50)), "b": [7] * 50}
TOOL = Path(__file__).parent / "tools" / "pandas"
ROUNDS = 10
MOST_SECONDS = 45.0
PYTHON = "/usr/bin/python3"
"""The system's, with Debian's pandas: competitors show /usr and nothing else."""
LONGEST_EVERY = 4
"""Who takes part less often than this in section 1 is left out: tens of seconds for one call."""


def work(place: Place) -> Work:
    """The tool in the run's folder, where every competitor's account can read it."""
    folder = place.path / "pandas"
    shutil.copytree(TOOL, folder)
    (folder / "fumehood").mkdir()  # as `fumehood tool helper` puts it there
    shutil.copy(Path(RUNTIME) / "fumehood" / "tool.py", folder / "fumehood")
    wanted = json.dumps({name: sum(values) for name, values in TABLE.items()})
    return Work("pandas", (PYTHON, "/tool/main.py"), {"table": TABLE}, str(folder), wanted)


def run(place: Place, scale: Scale) -> Findings:
    try:
        subprocess.run([PYTHON, "-Ic", "import pandas"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        print("\n2. not measured: the system's Python has no pandas (Debian: python3-pandas)")
        return Findings(verdicts=[_verdict(None)])
    todo = work(place)
    # A turn is long enough for everybody to have one in every third round at least.
    others = [replace(o, every=min(o.every, 3)) for o in OTHERS if o.every <= LONGEST_EVERY]
    with contextlib.ExitStack() as stack:
        ours, missing = rows_of_ours(Levels(stack, place), todo, fresh=False)
        field = stack.enter_context(Field([*others, *ours], todo, place))
        field.warm_up()
        rows = field.play(scale.of(ROUNDS, 2), burst=1, gap=SETTLE_SECONDS, most=MOST_SECONDS)
        rows += missing
    print(report.latency_table("2. A Python tool that imports pandas", rows, BWRAP))
    found = report.latency_rows(rows)
    p50 = {name: summary.p50 for name, summary in found.items()}
    measured = ratio(p50.get("fumehood started"), p50.get("fumehood none"))
    return Findings(
        data={"rows": report.rows_json(rows)},
        verdicts=[_verdict(measured)],
        plots={"pandas.svg": plot.bars("A Python tool that imports pandas", found)},
    )


def _verdict(measured: float | None) -> Verdict:
    bound = "the call itself: an echo's cost, the tool's work with pandas, the end of its process"
    return Verdict("pandas tool: started ÷ none, p50", most=0.03, measured=measured, bound=bound)


if __name__ == "__main__":
    alone("imports", run)
