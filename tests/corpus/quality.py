"""How well the scanner does on this corpus: `make quality` prints it, a test holds the floors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from corpus import (
    benign,
    by_name,
    commands,
    dull,
    forms,
    harmful,
    harmless,
    orders,
    outputs,
    parts,
    persons,
    places,
    prefixes,
    printed,
    unseen,
    wire,
)
from corpus.sample import Sample
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.decide import Policies
from fumehood.scan.detectors import searcher
from fumehood.scan.pieces import Piece, Secrets
from fumehood.scan.policy import Withhold
from fumehood.scan.redact import Fingerprints, redact_text
from fumehood.scan.search import Budget
from fumehood.scan.single import look


@dataclass
class Group:
    """One group of samples: how many, how many were right, and which were not."""

    samples: int = 0
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    harmful: bool = False

    @property
    def share(self) -> float:
        return self.right / self.samples


def measured(cache: Path | None) -> dict[str, Group]:
    """By group: the share in which the kind is told, and the secret is gone where the sample knows
    it (harmful), or in which nothing is told (benign)."""
    search, policy = searcher(cache, ScanSpec()), Policies().of("")
    prints = Fingerprints(b"q" * 48)
    groups: dict[str, Group] = defaultdict(Group)
    everything = (
        harmful,
        places,
        forms,
        orders,
        unseen,
        harmless,
        commands,
        wire,
        by_name,
        prefixes,
        printed,
        persons,
        dull,
        benign,
        outputs,
    )
    for sample in chain.from_iterable(part.samples() for part in everything):
        group = groups[sample.group]
        group.samples += 1
        group.harmful = sample.kind is not None
        name = sample.name if "." in sample.name and sample.kind == "payload" else ""
        left = b""
        try:
            report = look(sample.data, name, search, policy, prints)
            kinds = {(s.kind, s.rule) for s in report.findings}
            left = report.released or b""
        except Withhold as withheld:
            kinds = {("payload", withheld.findings[0].rule)}
        if is_right(sample, {kind for kind, _ in kinds}, left):
            group.right += 1
        else:
            group.wrong.append(f"{sample.name}: {sorted(kinds) or 'nothing'}")
    for several in parts.samples():
        group = groups[several.group]
        group.samples += 1
        group.harmful = several.needle != ""
        pieces = [Piece(name, data, name=name) for name, data in several.pieces]
        named = [Piece("", name.encode()) for name, _ in several.pieces if name]
        together = [*pieces, *named]
        secrets = Secrets(search, prints, Budget(), policy)
        secrets.search(together, joined=pieces, named=named)
        left = b"\n".join(redact_text(piece.data, piece.spans) for piece in together)
        found = {span.rule for piece in together for span in piece.spans}
        if several.needle.encode() not in left if several.needle else not found:
            group.right += 1
        else:
            group.wrong.append(f"{several.name}: {sorted(found) or 'nothing'}")
    return dict(groups)


def is_right(sample: Sample, kinds: set[str], left: bytes) -> bool:
    """left: what would leave."""
    if sample.needle and sample.needle.encode() in left:
        return False
    return sample.kind in kinds if sample.kind else not kinds


def table(groups: dict[str, Group]) -> Iterator[str]:
    yield "| samples of | | right |"
    yield "|---|---|---|"
    for name, group in groups.items():
        what = "found" if group.harmful else "left alone"
        yield f"| {name} | {group.samples} | {group.share:.1%} {what} |"


if __name__ == "__main__":
    import sys

    found = measured(Path.home() / ".cache" / "fumehood")
    print("\n".join(table(found)))
    if "--wrong" in sys.argv:
        for name, group in found.items():
            for line in group.wrong:
                print(f"{name}: {line}"[:200])
