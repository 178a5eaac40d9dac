"""Command lines that fetch a program and run it, or hand a shell to somebody far away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, Judge, PatternDetector, Rule

# A fence, a heading that is underlined, or one that a blank line follows: the comment of a script
# or a crontab has its command on the next line, and YAML begins with a line of `---`.
_DOCUMENT: Final = re.compile(
    rb"(?m)^[ \t]{0,8}(?:```|~~~)|^[^\s#-][^\n]{0,100}\n(?:={3,}|-{3,})$"
    rb"|^#{1,6} [A-Z][^\n]{0,100}\n\r?\n"
)
# A Dockerfile, a step of a pipeline, a crontab.
_RUNS: Final = re.compile(
    rb"\A(?:RUN|CMD|ENTRYPOINT)\b|\A(?:-[ \t]*)?(?:run|script|command):"
    rb"|\A(?:[*0-9/,-]+[ \t]+){4}|\A@\w+"
)
_NAMED: Final = re.compile(rb"https://[A-Za-z0-9-]+\.[A-Za-z0-9.-]*[A-Za-z]{2}(?:[/\s'\"]|\Z)")
_PROMPT: Final = b" \t$#>"


def _installs(found: Found) -> Confidence | None:
    """A document that tells how its program is installed is read by people: nothing in it runs."""
    data, (start, end) = found.data, found.span
    if data.startswith(b"#!") or not _NAMED.search(data, start, end):
        return "medium"
    before = data[data.rfind(b"\n", 0, start) + 1 : start].strip(_PROMPT)
    if _RUNS.search(before):
        return "medium"
    told = before.rstrip(b" `").endswith(b":") and b" " in before
    return None if told or _DOCUMENT.search(data) else "medium"


def _rule(pattern: str, judge: Judge | None = None) -> Rule:
    return Rule("dropper", "medium", f"(?i){pattern}", "medium", judge, kind="payload")


RULES: Final[Sequence[Rule]] = (
    _rule(r"\b(?:curl|wget)\s[^\n|;&]{1,300}\|\s*(?:sudo\s+)?(?:ba|z|da|k)?sh\b", _installs),
    _rule(r"\bpowershell(?:\.exe)?\s[^\n]{0,200}-e(?:nc|ncodedcommand)?\s+[A-Za-z0-9+/=]{40,}"),
    _rule(r"\b(?:IEX|Invoke-Expression)\s*\(?\s*\(?New-Object\s+Net\.WebClient"),
    _rule(r"\b(?:bash|sh)\s+-i\s+>&\s*/dev/tcp/|\bnc\s+(?:-\w+\s+)*-e\s+/bin/(?:ba)?sh"),
    _rule(r"\beval\s*\(\s*(?:base64_decode|gzinflate|atob|str_rot13)\s*\("),
    _rule(r"\bmshta(?:\.exe)?\s+(?:https?:|javascript:|vbscript:)"),
    _rule(r"\bcertutil(?:\.exe)?\s+-urlcache"),
)


def detector(cache: Path | None = None) -> PatternDetector:
    return PatternDetector("droppers", RULES, cache)
