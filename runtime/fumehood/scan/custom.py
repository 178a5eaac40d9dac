"""The operator's own rules: gitleaks' TOML and YARA, each file checked when it is loaded.

What is not understood is an error, because what it asks for would not be done. Files that
somebody else could have written are not read.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fumehood.errors import ConfigError
from fumehood.scan import gitleaks
from fumehood.scan.detector import Match, Severity
from fumehood.scan.gitleaks import Fault, GitleaksRule, RulesError

MAX_FILE: Final = 4 * 1024 * 1024
_YARA_REMEDY: Final = {
    "IncludeNotAllowed": "put the rules that it names into this file",
    "UnknownModule": "leave it out, or write what yara-x has",
    "UnusedPattern": "use it in the condition, or leave it out",
}


def read(path: Path, *, private: bool = False) -> bytes:
    """A file that only root and this process's own account can have written, or, when `private`,
    have read: then it may be of a group that root gave it to."""
    try:
        with open(path, "rb", opener=_opener) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
                raise ConfigError(f"{path}: not a file of root's or your own", "chown it")
            if found.st_mode & 0o022:
                raise ConfigError(f"{path} can be written by others", f"chmod go-w {path}")
            if private and found.st_mode & 0o007:
                raise ConfigError(f"{path} can be read by others", f"chmod o-rwx {path}")
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a file that can be read") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path}: more than {MAX_FILE} bytes", "split it")
    return data


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


class CustomDetector:
    """The rules of all gitleaks files."""

    name = "custom"

    def __init__(self, rules: Sequence[GitleaksRule]) -> None:
        self.rules = rules

    def load(self) -> None:
        """They are compiled already."""

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        end = time.thread_time() + seconds
        lowered = data.lower()
        found: list[Match] = []
        for rule in self.rules:
            found += rule.find(data, lowered)
            if time.thread_time() > end:
                raise TimeoutError("the time for scanning is used up")
        return found


class YaraDetector:
    """The rules of all YARA files, over the whole of a text or file."""

    name = "yara"

    def __init__(self, sources: Sequence[tuple[str, bytes]]) -> None:
        import yara_x

        compiler = yara_x.Compiler()
        compiler.enable_includes(False)
        faults: list[Fault] = []
        told = 0
        for name, data in sources:
            compiler.new_namespace(name)
            try:
                compiler.add_source(data.decode())
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                cause = "a byte that is no UTF-8"
                faults.append(Fault(cause, "write it in UTF-8", line, file=name))
            except yara_x.CompileError:
                errors = compiler.errors()
                faults += [_yara_fault(name, error) for error in errors[told:]]
                told = len(errors)
        if faults:
            raise RulesError(faults)
        self._scanner = yara_x.Scanner(compiler.build())
        self._late = yara_x.TimeoutError  # none of the built-in's

    def load(self) -> None:
        """They are compiled already."""

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        self._scanner.set_timeout(max(1, int(seconds)))
        matches = []
        try:
            found = self._scanner.scan(data)
        except self._late:
            raise TimeoutError("the time for scanning is used up") from None
        for rule in found.matching_rules:
            places = [(m.offset, m.length) for p in rule.patterns for m in p.matches if m.length]
            start, length = min(places, default=(0, min(len(data), 16)))
            said = dict(rule.metadata).get("severity")
            severity: Severity = said if said in ("low", "medium", "high") else "medium"
            name = f"yara-{rule.identifier[:100]}"
            count = max(1, len(places))
            matches.append(Match(name, "payload", severity, start, start + length, count=count))
        return matches


def _yara_fault(name: str, error: Mapping[str, Any]) -> Fault:
    labels = [label["text"] for label in error.get("labels", ()) if label["text"]]
    cause = ": ".join((str(error["title"]), *labels[:1]))
    remedy = _YARA_REMEDY.get(str(error["type"]), "write what yara-x understands")
    return Fault(cause[:500], remedy, int(error["line"] or 0), file=name)


def load(paths: Sequence[str]) -> tuple[CustomDetector | None, YaraDetector | None]:
    """What the files hold, by their endings. Raises RulesError, which names all that is wrong."""
    rules: list[tuple[str, GitleaksRule]] = []
    sources: list[tuple[str, bytes]] = []
    faults: list[Fault] = []
    for name in paths:
        try:
            data = read(Path(name))
        except ConfigError as error:
            # The cause begins with the name, as a fault's own form does.
            cause = error.cause.removeprefix(name).lstrip(": ")
            faults.append(Fault(cause, error.remedy, file=name))
            continue
        if name.endswith(".toml"):
            own, wrong = gitleaks.load(data)
            rules += ((name, rule) for rule in own)
            faults += (replace(fault, file=name) for fault in wrong)
        else:
            sources.append((name, data))
    faults += _twice(rules)
    yara = None
    try:
        yara = YaraDetector(sources) if sources else None
    except RulesError as error:
        faults += error.faults
    if faults:
        raise RulesError(faults)
    return CustomDetector([rule for _, rule in rules]) if rules else None, yara


def _twice(rules: Sequence[tuple[str, GitleaksRule]]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for file, rule in rules:
        place = f"{file}:{rule.line}"
        if rule.id in first:
            cause = f"the rule {rule.id!r} is there twice, first in {first[rule.id]}"
            yield Fault(cause, "give it another id", rule.line, "id", file)
        first.setdefault(rule.id, place)
