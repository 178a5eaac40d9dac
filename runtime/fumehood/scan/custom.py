"""The operator's own rules: gitleaks' TOML and YARA, each file checked when it is loaded.

A key that is not understood is an error, because what it asks for would not be done. Files that
somebody else could have written are not read.
"""

from __future__ import annotations

import os
import re
import stat
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import re2

from fumehood.errors import ConfigError
from fumehood.scan.assigned import entropy
from fumehood.scan.detector import Match, Severity

MAX_FILE: Final = 4 * 1024 * 1024
MAX_RULES: Final = 4096

_RULE_KEYS: Final = frozenset(
    ("id", "description", "regex", "secretGroup", "entropy", "keywords", "tags", "allowlist",
     "allowlists")
)  # fmt: skip
_ALLOW_KEYS: Final = frozenset(("description", "regexes", "stopwords", "regexTarget", "condition"))
_TOP_KEYS: Final = frozenset(("title", "rules", "allowlist", "allowlists", "minVersion"))
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


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


class GitleaksRule:
    """One `[[rules]]` table, and what all of them allow."""

    def __init__(self, table: Mapping[str, Any], allow: Sequence[Mapping[str, Any]]) -> None:
        _known(table, _RULE_KEYS, "a rule")
        self.id = table.get("id", "")
        if not isinstance(self.id, str) or _ID.fullmatch(self.id) is None:
            raise ConfigError(f"rule id {self.id!r} is no name", "letters, digits, `.`, `_`, `-`")
        self._pattern = _compiled(table.get("regex"), self.id)
        self._group = table.get("secretGroup", 0)
        if type(self._group) is not int or not 0 <= self._group <= self._pattern.groups:
            raise ConfigError(f"{self.id}: secretGroup names no group of its regex")
        self._entropy = float(table.get("entropy", 0))
        self._keywords = [str(word).lower().encode() for word in table.get("keywords", ())]
        own = [
            *table.get("allowlists", ()),
            *([table["allowlist"]] if "allowlist" in table else []),
        ]
        self._allowed = [_Allowed(entry, self.id) for entry in (*own, *allow)]

    def find(self, data: bytes, lowered: bytes) -> list[Match]:
        if self._keywords and not any(word in lowered for word in self._keywords):
            return []
        matches = []
        for found in self._pattern.finditer(data):
            group = self._group or (1 if self._pattern.groups else 0)
            start, end = found.span(group)
            if start < 0 or start == end:
                start, end = found.span()
            secret = data[start:end]
            if self._entropy and entropy(secret) <= self._entropy:
                continue
            if start < end and not any(a.allows(secret, found.group()) for a in self._allowed):
                matches.append(Match(self.id, "secret", "high", start, end))
        return matches


class _Allowed:
    def __init__(self, table: Mapping[str, Any], rule: str) -> None:
        _known(table, _ALLOW_KEYS, f"the allowlist of {rule}")
        self._regexes = [_compiled(text, rule) for text in table.get("regexes", ())]
        self._words = [str(word).lower().encode() for word in table.get("stopwords", ())]
        self._target = table.get("regexTarget", "secret")
        if self._target not in ("secret", "match") or table.get("condition", "OR") != "OR":
            raise ConfigError(f"{rule}: only regexTarget secret or match, and condition OR")

    def allows(self, secret: bytes, match: bytes) -> bool:
        text = match if self._target == "match" else secret
        return any(word in secret.lower() for word in self._words) or any(
            regex.search(text) is not None for regex in self._regexes
        )


def _compiled(text: object, rule: str) -> Any:
    if not isinstance(text, str):
        raise ConfigError(f"{rule}: no regex", "rules that only look at paths are not supported")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        said = error.args[0]
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ConfigError(f"{rule}: {text}", "write RE2's syntax") from None


def _known(table: Mapping[str, Any], keys: frozenset[str], what: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{what} is no table")
    if unknown := sorted(set(table) - keys):
        raise ConfigError(
            f"{what} has the key {unknown[0]!r}, which is not supported", "leave it out"
        )


class _AtLine(ConfigError):
    """line: from 1; 0 when it is not known."""

    def __init__(self, line: int, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.line = line


_RULE_HEAD: Final = re.compile(rb"(?m)^[ \t]*\[\[[ \t]*rules[ \t]*\]\]")
_TOML_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")


def gitleaks(data: bytes) -> list[GitleaksRule]:
    """The rules of one file. Raises ConfigError."""
    try:
        top = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        found = _TOML_LINE.search(str(error))
        raise _AtLine(int(found[1]) if found else 0, f"no TOML: {error}") from None
    _known(top, _TOP_KEYS, "the file")
    tables = top.get("rules", [])
    if not isinstance(tables, list) or not 0 < len(tables) <= MAX_RULES:
        raise ConfigError("no [[rules]], or too many of them")
    allow = [*top.get("allowlists", ()), *([top["allowlist"]] if "allowlist" in top else [])]
    heads = [data.count(b"\n", 0, found.start()) + 1 for found in _RULE_HEAD.finditer(data)]
    rules = []
    for number, table in enumerate(tables):
        try:
            rules.append(GitleaksRule(table, allow))
        except ConfigError as error:
            line = heads[number] if len(heads) == len(tables) else 0
            raise _AtLine(line, error.cause, error.remedy) from None
        except (TypeError, ValueError, AttributeError):
            line = heads[number] if len(heads) == len(tables) else 0
            raise _AtLine(line, "the rule has a value of a wrong type") from None
    return rules


class YaraDetector:
    """The rules of all YARA files, over the whole of a text or file."""

    name = "yara"

    def __init__(self, sources: Sequence[tuple[str, bytes]]) -> None:
        import yara_x

        compiler = yara_x.Compiler()
        compiler.enable_includes(False)
        for name, data in sources:
            compiler.new_namespace(name)
            try:
                compiler.add_source(data.decode())
            except (yara_x.CompileError, UnicodeDecodeError) as error:
                raise ConfigError(f"{name}: {str(error)[:500]}") from None
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


def load(paths: Sequence[str]) -> tuple[CustomDetector | None, YaraDetector | None]:
    """What the files hold, by their endings. Raises ConfigError that names the file."""
    rules: list[GitleaksRule] = []
    sources: list[tuple[str, bytes]] = []
    for name in paths:
        data = read(Path(name))
        if name.endswith(".toml"):
            try:
                rules += gitleaks(data)
            except ConfigError as error:
                line = f":{error.line}" if isinstance(error, _AtLine) and error.line else ""
                raise ConfigError(f"{name}{line}: {error.cause}", error.remedy) from None
        else:
            sources.append((name, data))
    ids = [rule.id for rule in rules]
    if twice := next((rule for rule in ids if ids.count(rule) > 1), None):
        raise ConfigError(f"the rule {twice!r} is there twice", "give it another id")
    return CustomDetector(rules) if rules else None, YaraDetector(sources) if sources else None
