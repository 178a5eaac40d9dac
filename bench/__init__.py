"""Side-by-side measurements: Fumehood beside what a user would pick instead.

Every section is a module that runs alone (`python -m bench.latency`); `make bench` runs all.
Nothing in here is imported by the package, and nothing here may make our side's path shorter
than a caller's: calls go through the daemon's socket.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = os.environ.get("FUMEHOOD_RUNTIME") or str(ROOT / "runtime")
"""The tree that is measured. Its client is standard library only, so it runs in .venv-bench."""

if RUNTIME not in sys.path:
    sys.path.insert(0, RUNTIME)
