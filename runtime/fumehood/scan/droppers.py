"""Command lines that fetch a program and run it, or hand a shell to somebody far away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan.patterns import PatternDetector, Rule


def _rule(pattern: str) -> Rule:
    return Rule("dropper", "medium", f"(?i){pattern}", "medium", kind="payload")


RULES: Final[Sequence[Rule]] = (
    _rule(r"\b(?:curl|wget)\s[^\n|;&]{1,300}\|\s*(?:sudo\s+)?(?:ba|z|da|k)?sh\b"),
    _rule(r"\bpowershell(?:\.exe)?\s[^\n]{0,200}-e(?:nc|ncodedcommand)?\s+[A-Za-z0-9+/=]{40,}"),
    _rule(r"\b(?:IEX|Invoke-Expression)\s*\(?\s*\(?New-Object\s+Net\.WebClient"),
    _rule(r"\b(?:bash|sh)\s+-i\s+>&\s*/dev/tcp/|\bnc\s+(?:-\w+\s+)*-e\s+/bin/(?:ba)?sh"),
    _rule(r"\beval\s*\(\s*(?:base64_decode|gzinflate|atob|str_rot13)\s*\("),
    _rule(r"\bmshta(?:\.exe)?\s+(?:https?:|javascript:|vbscript:)"),
    _rule(r"\bcertutil(?:\.exe)?\s+-urlcache"),
)


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("droppers", RULES, cache)
