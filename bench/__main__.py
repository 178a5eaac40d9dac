"""`make bench`: every section in one run, interleaved within itself; tables, targets, JSON, SVG,
and the page docs/benchmarks.md."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from typing import Any

from bench import (
    ROOT,
    admission,
    breakdown,
    document,
    growth,
    imports,
    latency,
    machine,
    plot,
    report,
    throughput,
)
from bench.place import place
from bench.section import BUDGET_SECONDS, Findings, Scale, Section, arguments
from bench.targets import Verdict

SECTIONS: dict[str, Section] = {
    "latency": latency.run,
    "imports": imports.run,
    "throughput": throughput.run,
    "breakdown": breakdown.run,
    "admission": admission.run,
    "growth": growth.run,  # the last, which fills what time is left
}


def main() -> int:
    options = arguments("Fumehood's benchmark, all sections")
    tee = report.Tee(sys.stdout)
    with contextlib.redirect_stdout(tee):
        failed = _run(options)
    tee.save()
    if document.main():
        failed.append("document")
    return 1 if failed else 0


def _run(options: argparse.Namespace) -> list[str]:
    """Run and print everything; the names of the sections that failed."""
    failed: list[str] = []
    begin = time.monotonic()
    scale = Scale(options.rounds, begin + BUDGET_SECONDS)
    facts = machine.facts()
    stolen, _ = machine.steal_and_busy()
    print("\n".join(f"{name:<14} {value}" for name, value in facts.items()))
    data: dict[str, Any] = {}
    verdicts: list[Verdict] = []
    plots: dict[str, str] = {}
    with place(docker=not options.no_docker) as where:
        facts["docker engine"] = machine.docker_engine(where.docker)
        print(f"{'docker engine':<14} {facts['docker engine']}")
        for name, section in SECTIONS.items():
            since = time.monotonic()
            try:
                found = section(where, scale)
            except Exception as error:  # noqa: BLE001  (recorded; the other sections still count)
                print(f"\n{name} failed: {type(error).__name__}: {error}")
                found = Findings(data={"failed": str(error)})
                failed.append(name)
            data[name] = {**found.data, "seconds": round(time.monotonic() - since, 1)}
            verdicts += found.verdicts
            plots |= found.plots
            print(f"[{name}: {data[name]['seconds']:.0f} s]", flush=True)
    seconds = time.monotonic() - begin
    stolen = machine.steal_and_busy()[0] - stolen
    facts["stolen by the hypervisor"] = f"{stolen:.1f} s of CPU"
    print(f"\n{stolen:.1f} s of CPU stolen by the hypervisor in the whole run")
    print(report.verdict_table(verdicts))
    report.save(data, verdicts, seconds, facts, options.rounds)
    plot.save(report.RESULTS, plots)
    print(f"\n{seconds:.0f} s; {report.LATEST.relative_to(ROOT)} and SVG files beside it")
    return failed


if __name__ == "__main__":
    sys.exit(main())
