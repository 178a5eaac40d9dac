"""Section 6: what admission of one call costs, with 1,000 tools and 500 rules.

It is measured inside, not through the socket, so by the interpreter that has what the daemon needs.
"""

from __future__ import annotations

import json
import subprocess

from bench import ROOT
from bench.daemon import console
from bench.peers.base import Place
from bench.section import Findings, Scale, alone
from bench.targets import Verdict

CALLS = 20_000
MOST_US = 150.0
WHAT = "1,000 tools and 500 rules"


def run(place: Place, scale: Scale) -> Findings:
    calls = scale.of(CALLS, 2_000)
    words = ["-m", "bench.admission_work", str(calls), place.folder]
    done = subprocess.run(
        [console()[0], *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    each = float(json.loads(done.stdout)["us"])
    print(f"\n6. Admission with {WHAT}: {each:.1f} µs of CPU for a call")
    text = f"admission, {WHAT}: CPU of one call"
    verdict = Verdict(text, most=MOST_US, measured=each, unit="µs")
    return Findings(data={"us": round(each, 2), "calls": calls}, verdicts=[verdict])


if __name__ == "__main__":
    alone("admission", run, docker=False)
