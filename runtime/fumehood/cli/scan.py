"""`fumehood scan FILE|-`: what the scanner sees in anything, and what the policy would do with it.

Reads files; must never write to one, and never print what was found.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

import fumehood
from fumehood.cli.options import ConfigOption, JsonOption, chosen
from fumehood.cli.present import error_object, note, out, out_json, say, show_error, table
from fumehood.errors import ConfigError, ExitStatus, FumehoodError, UsageError

if TYPE_CHECKING:
    from fumehood.scan.gitleaks import RulesError
    from fumehood.scan.single import Report, Seen

MAX_BYTES: Final = 256 * 1024 * 1024
FOUND: Final = 1
"""Exit status when something was found; 0 says that nothing was."""


class _FilesFirst(TyperGroup):
    """`fumehood scan FILE`: what is no command is a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["files", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FilesFirst, no_args_is_help=True,
    help="Scan FILE… (- is stdin) as a tool's output is scanned; `scan files --help` has options.",
)  # fmt: skip
rules_app = typer.Typer(no_args_is_help=True, help="Rules of your own.")
app.add_typer(rules_app, name="rules")


@app.command("files")
def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE|-", help="Files; - is stdin.")],
    as_json: JsonOption = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show what the policy lets pass, too.")
    ] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Print what would leave, instead of findings.")
    ] = False,
    tool: Annotated[
        str, typer.Option("--tool", metavar="NAME", help="With this tool's policy.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Scan files as a tool's output is scanned.

    Exits with 0 when nothing was found, 1 when something was, 5 when all of it would be withheld.
    """
    if release and (len(files) > 1 or as_json or as_sarif):
        raise UsageError("--release prints one file as it would leave", "give it one FILE alone")
    reports = _reports(files, tool, config, everything=everything)
    if release:
        _release(*reports[0])
    elif as_sarif:
        from fumehood.scan.single import sarif

        out_json(sarif(fumehood.__version__, reports))
    elif as_json:
        out_json({"files": [_file(*report) for report in reports]})
    else:
        _show(reports)
    if any(report.released is None for _, _, report in reports):
        raise typer.Exit(ExitStatus.WITHHELD)
    if any(report.findings or report.named for _, _, report in reports):
        raise typer.Exit(FOUND)


@rules_app.callback()
def _rules() -> None:
    """Rules of your own."""


@rules_app.command("test")
def check_rules(
    rules: Annotated[
        list[Path], typer.Argument(metavar="RULES", help="Files: .toml, .yar, .yara.")
    ],
    on: Annotated[
        list[Path] | None, typer.Option("--on", metavar="FILE", help="Show what they find there.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check rule files, and show what they find in samples.

    Exits with 0 when they load, 2 when one does not: all faults are told, each with file, line and
    key. With --on also 1 when a sample has nothing that they find.
    """
    from fumehood.scan import custom
    from fumehood.scan.gitleaks import RulesError

    try:
        own, yara = custom.load([str(path.absolute()) for path in rules])
    except RulesError as error:
        _show_faults(error, as_json=as_json)
        raise typer.Exit(error.exit_status) from None
    detectors = [detector for detector in (own, yara) if detector is not None]
    found = []
    names = _names([str(path) for path in on or ()])
    for path, shown in zip(on or (), names, strict=True):
        data = _read(str(path), shown)
        hits = [m for d in detectors for m in d.find(data, seconds=60)]
        found.append({"file": shown, "rules": sorted({m.rule for m in hits})})
    if as_json:
        out_json({"loaded": [str(path) for path in rules], "found": found})
    else:
        say(f"{len(rules)} rule files load")
        for item in found:
            told = ", ".join(item["rules"]) or "nothing"
            out(f"{item['file']}: {told}\n")
    if any(not item["rules"] for item in found):
        raise typer.Exit(FOUND)


def _show_faults(error: RulesError, *, as_json: bool) -> None:
    if as_json:
        out_json({**error_object(error), "faults": [asdict(fault) for fault in error.faults]})
        return
    for fault in error.faults:
        key = f" (at {fault.key})" if fault.key else ""
        show_error(ConfigError(f"{fault}{key}", fault.remedy))


def _names(names: list[str]) -> list[str]:
    """As they may be printed: what the rules that are built in find in a name is redacted."""
    if not names:
        return []
    from fumehood.model.scan_policy import ScanSpec
    from fumehood.scan.decide import Policies
    from fumehood.scan.detectors import searcher
    from fumehood.scan.redact import Fingerprints
    from fumehood.scan.single import look

    search, policy = searcher(own_cache(), ScanSpec()), Policies().of("")
    prints = Fingerprints(secrets.token_bytes(48))
    return [_shown(name, look(os.fsencode(name), "", search, policy, prints)) for name in names]


def _reports(
    files: list[str], tool: str, config: Path | None, *, everything: bool
) -> list[tuple[str, bytes, Report]]:
    from fumehood.config import load
    from fumehood.model.scan_policy import PolicyRule
    from fumehood.scan.decide import Policies
    from fumehood.scan.detectors import searcher
    from fumehood.scan.redact import Fingerprints
    from fumehood.scan.single import look

    places = chosen(config=config)
    spec = load(places.config, trusted_uid=os.geteuid(), required=places.config_named).scan
    policy = Policies(spec).of(tool)
    if everything:  # what is passed by default is not even looked for
        more = PolicyRule(kind="personal_data", action="flag")
        spec = spec.model_copy(update={"policy": (*spec.policy, more)})
    search = searcher(own_cache(), spec)
    # Fingerprints are keyed by installation; by hand they hold for this run only.
    prints = Fingerprints(secrets.token_bytes(48))
    given = _given(spec.secrets)

    def looked(data: bytes, name: str) -> Report:
        return look(data, name, search, policy, prints, everything=everything, given=given)

    # Names first: what cannot be read is not called by a secret.
    names = [looked(os.fsencode(name), "") for name in files]
    reports = []
    for name, named in zip(files, names, strict=True):
        shown = _shown(name, named)
        data = _read(name, shown)
        report = looked(data, "" if name == "-" else name)
        reports.append((shown, data, replace(report, named=named.findings)))
    return reports


def _shown(name: str, report: Report) -> str:
    """The name of a file as it may be printed: it may hold a secret itself."""
    if report.released is None:
        return "(a name that is withheld)"
    redacted = any(seen.action == "redact" for seen in report.findings)
    return os.fsdecode(report.released) if redacted else name


def _given(paths: tuple[str, ...]) -> tuple[bytes, ...]:
    """What the operator named under `scan.secrets`, where whoever asks may read it."""
    from fumehood.errors import ConfigError
    from fumehood.scan.given import of_files

    try:
        return of_files(paths)
    except ConfigError as error:
        note("note", f"values under scan.secrets are not looked for: {error.cause}")
        return ()


def own_cache() -> Path | None:
    """The user's own cache for compiled rules, root's too: what is read there is believed."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fumehood"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if folder.stat().st_uid == os.geteuid() else None
    except (OSError, RuntimeError):
        return None


def _read(name: str, shown: str) -> bytes:
    """shown: what an error calls it."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{shown}: {error.strerror}", "name a file that can be read") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{shown}: more than {MAX_BYTES >> 20} MiB", "scan parts of it")
    return data


def _file(name: str, data: bytes, report: Report) -> dict[str, Any]:
    from fumehood.scan.single import Lines

    lines = Lines(data)
    findings = [{**asdict(seen), "in": "name"} for seen in report.named]
    for seen in report.findings:
        line, column = lines.place(seen.start)
        findings.append({**asdict(seen), "in": "text", "line": line, "column": column})
    return {
        "file": name,
        "bytes": len(data),
        "withheld": report.released is None,
        "findings": findings,
    }


def _show(reports: list[tuple[str, bytes, Report]]) -> None:
    from fumehood.scan.single import Lines

    rows = []
    for name, data, report in reports:
        lines = Lines(data)
        rows += [_row(f"{name} (its name)", seen) for seen in report.named]
        for seen in report.findings:
            line, column = lines.place(seen.start)
            rows.append(_row(f"{name}:{line}:{column}", seen))
    if rows:
        table(("PLACE", "KIND", "RULE", "SEVERITY", "CONFIDENCE", "ACTION", "HOW"), rows)
    else:
        say("nothing found")


def _row(place: str, seen: Seen) -> tuple[str, ...]:
    how = f"{seen.decoded} " if seen.decoded else ""
    count = f"x{seen.count}" if seen.count > 1 else ""
    return (
        place, seen.kind, seen.rule, seen.severity, seen.confidence, seen.action,
        f"{how}{count}".strip() or "-",
    )  # fmt: skip


def _release(name: str, _data: bytes, report: Report) -> None:
    if report.released is None:
        raise _Withheld(f"{name}: nothing of it would leave", "`fumehood scan` shows why")
    sys.stdout.buffer.write(report.released)
    note("scan", f"{len(report.findings) + len(report.named)} findings")


class _Withheld(FumehoodError):
    code = "withheld"
    exit_status = ExitStatus.WITHHELD
