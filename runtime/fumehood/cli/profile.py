"""`fumehood profile …`: seccomp profiles to look at, check, compare, learn and adopt.

Only `learn` runs anything, and only `adopt` changes what a daemon uses after its next start.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fumehood.cli.complete import tool_names
from fumehood.cli.options import ConfigOption, JsonOption, SocketOption, StateOption, chosen
from fumehood.cli.present import is_terminal, note, out, out_json, say, show_error, table
from fumehood.errors import ConfigError, EngineError, ExitStatus, UsageError
from fumehood.kernel import profile_files, seccomp
from fumehood.kernel import seccomp_learning as learning
from fumehood.kernel.seccomp_profile import ARCHITECTURES, Profile
from fumehood.places import Places, places
from fumehood.resources import profile_directory

if TYPE_CHECKING:
    from fumehood.cli.learn import Learned

MAX_RUNS: Final = 100
SHOWN_CASES: Final = 3
SHOWN_WIDTHS: Final = (24, 48, 36, 48)
"""Columns of `profile show` in a pipe."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")

app = typer.Typer(no_args_is_help=True, help="Look at, check, compare and learn seccomp profiles.")


@app.callback()
def group() -> None:
    """Look at, check, compare and learn seccomp profiles."""


def _names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tab completion; must never fail."""
    option = ctx.params.get("config")
    try:
        where = places(
            config=Path(option) if option else None, environ=os.environ, uid=os.geteuid()
        )
        found = _find(where)
    except (ConfigError, EngineError):
        return []
    return [name for name in found if name.startswith(incomplete)]


ProfileArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A profile's name, or a file.", autocompletion=_names),
]


def _own(where: Places) -> Path:
    return where.config.parent / profile_files.FOLDER


def _find(where: Places) -> dict[str, str]:
    own = _own(where)
    try:
        there = own.is_dir()
    except OSError as error:
        raise ConfigError(
            f"{own}: {error.strerror}", "run this as whoever starts the daemon, such as root"
        ) from None
    return profile_files.find(str(profile_directory()), str(own) if there else "")


def _load(name: str, where: Places) -> Profile:
    """A profile by its name, or by its file where there is a slash or `.json` in it."""
    if "/" in name or name.endswith(profile_files.SUFFIX):
        return seccomp.load_profile(name)
    found = _find(where)
    if name not in found:
        raise UsageError(
            f"there is no profile {name!r}", f"known are {', '.join(found)}; or name a file"
        )
    return seccomp.load_profile(found[name])


@app.command("list")
def list_(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the profiles that manifests may name: shipped ones, and the operator's own."""
    shipped = str(profile_directory())
    rows = []
    for name, path in _find(chosen(config=config)).items():
        profile = seccomp.load_profile(path)
        origin = "shipped" if os.path.dirname(path) == shipped else "own"
        rows.append(
            (name, origin, len(learning.allowed(profile)), profile.digest, path, profile.comment)
        )
    if as_json:
        keys = ("name", "origin", "allowed", "digest", "file", "comment")
        out_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    lines = [(row[0], row[1], str(row[2]), _first_sentence(row[5])) for row in rows]
    table(("NAME", "ORIGIN", "ALLOWED", "FOR"), lines)


def _first_sentence(text: str) -> str:
    return text.partition(": ")[2].partition(". ")[0] or text[:80]


@app.command("show")
def show(name: ProfileArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show a profile: each group of calls, what happens to them, and why."""
    profile = _load(name, chosen(config=config))
    if as_json:
        out_json({"name": profile.name, "digest": profile.digest, "document": _document(profile)})
        return
    out(f"{profile.name}  {profile.digest}\n{profile.comment}\n\n")
    rows: list[Sequence[str]] = [
        (
            learning.describe(rule.action),
            " ".join(rule.names),
            " and ".join(learning.condition(item) for item in rule.conditions),
            rule.comment,
        )
        for rule in profile.rules
    ]
    rows.append((learning.describe(profile.default), "(all others)", "", ""))
    if not is_terminal(sys.stdout):  # where it is one, the table is wrapped to its width
        rows = [line for row in rows for line in _wrapped(row)]
    table(("ANSWER", "CALLS", "IF", "WHY"), rows)


def _wrapped(row: Sequence[str]) -> list[Sequence[str]]:
    """A row as several, none of which is wider than SHOWN_WIDTHS, words kept whole."""
    cells = [
        textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
        for cell, width in zip(row, SHOWN_WIDTHS, strict=True)
    ]
    return list(zip_longest(*cells, fillvalue=""))


def _document(profile: Profile) -> object:
    document: object = json.loads(learning.render(profile))
    return document


@app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Profiles to check.")],
    as_json: JsonOption = False,
) -> None:
    """Check profiles: read strictly, and compiled for every ABI that they are for.

    Exit status 1 names what is wrong in the first bad one. A profile that allows a call which the
    shipped ones answer with a kill (bpf, keyctl and their like), or every call that it does not
    name, is warned of.
    """
    rows: list[dict[str, object]] = []
    compute = seccomp.load_named(str(profile_directory()), "compute")
    for path in files:
        try:
            profile = seccomp.load_profile(str(path))
            sizes = _compiled(profile)
        except EngineError as error:
            show_error(error, as_json=as_json)
            raise typer.Exit(ExitStatus.FAILED) from None
        unknown = seccomp.unknown_calls(profile)
        loose = not profile.default.denies
        open_ = sorted(learning.not_denied(profile, learning.tripwires(compute)))
        rows.append(
            {
                "file": str(path),
                "digest": profile.digest,
                "allowed": len(learning.allowed(profile)),
                "instructions": sizes,
                "unknown": list(unknown),
                "tripwires_allowed": open_,
                "allows_unnamed": loose,
            }
        )
        if open_ and not as_json:
            note("warning", f"{path} allows what ends a process under compute: {', '.join(open_)}")
        if loose and not as_json:
            note(
                "warning",
                f"{path} allows what it does not name; containers are refused under such a profile",
            )
        if not as_json:
            abis = ", ".join(f"{size} instructions for {abi}" for abi, size in sizes.items())
            out(f"{path}: {'compiles' if open_ or loose else 'fine'}, {abis}\n")
            if unknown:
                fate = "left to the default, which allows" if loose else "denied"
                note("note", f"unknown here, so {fate}: {', '.join(unknown)}")
    if as_json:
        out_json(rows)


def _compiled(profile: Profile) -> dict[str, int]:
    """Instructions of the filter for each ABI."""
    return {
        abi.removeprefix("SCMP_ARCH_").lower(): len(seccomp.compile_bpf(profile, architecture=abi))
        // 8
        for abi in ARCHITECTURES
        if abi in profile.architectures
    }


@app.command("diff")
def diff(
    one: ProfileArgument,
    two: ProfileArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compare what two profiles do with each call; reasons do not count.

    Exit status 0 when they mean the same, 1 when they differ.
    """
    where = chosen(config=config)
    found = learning.differences(_load(one, where), _load(two, where))
    if as_json:
        out_json(_as_json(found))
    elif found:
        table((one, two, "CALLS"), _grouped(found))
    else:
        say("they mean the same")
    raise typer.Exit(ExitStatus.FAILED if found else ExitStatus.OK)


def _grouped(found: Sequence[learning.Difference]) -> list[tuple[str, str, str]]:
    """Calls that change in the same way in one row; the longest last."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in found:
        groups.setdefault((item.before, item.after), []).append(item.call)
    rows = [(_short(was), _short(now), " ".join(calls)) for (was, now), calls in groups.items()]
    return sorted(rows, key=lambda row: len(row[2]))


def _short(decision: str) -> str:
    cases = decision.split("; ")
    return decision if len(cases) <= SHOWN_CASES else f"by argument, {len(cases)} cases"


def _as_json(found: Sequence[learning.Difference]) -> list[dict[str, str]]:
    return [{"call": i.call, "before": i.before, "after": i.after} for i in found]


@app.command("learn")
def learn(
    tool: Annotated[
        str,
        typer.Argument(metavar="TOOL", help="A registered tool's name.", autocompletion=tool_names),
    ],
    args: Annotated[
        list[str] | None,
        typer.Option(
            "--args",
            metavar="JSON",
            help="Arguments of one sample call, @FILE, or - for stdin; repeat for more samples.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option("--runs", min=1, max=MAX_RUNS, help="How often to run each sample.")
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write the proposal; TOOL-VERSION.json here without it.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --output overwrite a file.")] = False,
    as_json: JsonOption = False,
    socket: SocketOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Propose the smallest profile for a tool from what it does with sample inputs.

    The tool runs in private daemons with all its other protections. Its profile's denials and
    tripwires hold while its used calls are learnt; in a second pass, ordinary denials are let
    through and logged to name them. Nothing is adopted: see the difference, then use
    `fumehood profile adopt`. Only root may do this.

    Exit status 1: the proposal is not proven, or something was missed.
    """
    from fumehood.cli import arguments, elapsed
    from fumehood.cli import learn as learner

    where = chosen(socket, state, config)
    samples = [arguments.parse(text, (), ()).document for text in args or ["{}"]]
    if len(samples) * runs > learner.MAX_CALLS:
        raise UsageError(f"more than {learner.MAX_CALLS} calls a round", "lower --runs")
    found = learner.prepare(tool, where)
    profile = _load(str(found.manifest["seccomp"]), where)
    name = _name(tool, str(found.manifest["version"]))
    target = output or Path(f"{name}.json")
    if target.exists() and not force:
        raise UsageError(f"{target} exists", "name another --output, or use --force")
    with learner.alone(where.state), elapsed.shown(f"learning {tool}"):
        tell = (lambda _: None) if as_json else say
        learned = learner.Learner(found, samples, runs, where, tell=tell).learn(profile, name)
    _write(target, learned.document, force=force)
    if as_json:
        out_json(_learned(learned, target))
    else:
        _report(learned, target)
    sound = learned.complete and learned.proven
    raise typer.Exit(ExitStatus.OK if sound else ExitStatus.FAILED)


def _name(tool: str, version: str) -> str:
    return _NOT_IN_NAMES.sub("-", f"{tool}-{version}".lower()).strip("-")[:64].rstrip("-")


def _learned(found: Learned, target: Path) -> Mapping[str, object]:
    return {
        "tool": found.tool,
        "version": found.version,
        "tool_digest": found.digest,
        "profile": found.profile.name,
        "profile_digest": found.profile.digest,
        "used": list(found.used),
        "denied": list(found.denied),
        "killed": list(found.killed),
        "samples": list(found.samples),
        "rounds": found.rounds,
        "complete": found.complete,
        "proven": found.proven,
        "unproven": found.unproven or None,
        "notes": list(found.notes),
        "proposal": {
            "name": found.proposal.name,
            "digest": found.proposal.digest,
            "file": str(target),
            "document": _document(found.proposal),
        },
        "diff": _as_json(learning.differences(found.profile, found.proposal)),
    }


def _report(found: Learned, target: Path) -> None:
    before, after = learning.allowed(found.profile), learning.allowed(found.proposal)
    rows = [
        ("tool", f"{found.tool} {found.version}"),
        ("profile", found.profile.name),
        ("samples", ", ".join(found.samples)),
        (f"used {len(found.used)}", " ".join(found.used)),
        (f"denied {len(found.denied)}", " ".join(found.denied) or "none that it tried"),
        (f"killed {len(found.killed)}", " ".join(found.killed) or "none"),
        ("proposal", f"{found.proposal.name}: allows {len(after)} calls of {len(before)}"),
        ("written", str(target)),
    ]
    table(("KEY", "VALUE"), rows)
    out("\n")
    changes = learning.differences(found.profile, found.proposal)
    table((found.profile.name, found.proposal.name, "CALLS"), _grouped(changes))
    for text in found.notes:
        note("note", text, "1;33")
    if not found.complete:
        note("incomplete", "records were lost, or new calls came to the end; learn again", "1;31")
    if not found.proven:
        note("not proven", found.unproven, "1;31")
    if found.complete and found.proven:
        say(f"next: review it, then `fumehood profile adopt {target}`")


@app.command("adopt")
def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A profile, such as a proposal.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Its name; the file's without it.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a profile of the name.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Put a profile among the operator's own, where daemons find it after their next start.

    They lie in `profiles/` beside the configuration, root's own, and are checked before. A tool
    uses one when its manifest names it under `seccomp`, in a new version.
    """
    where = chosen(config=config)
    own = _own(where)
    called = name or file.name.removesuffix(profile_files.SUFFIX)
    if not seccomp.is_name(called):
        raise UsageError(f"{called!r} is no profile name", "use a-z, 0-9 and hyphens with --name")
    data = _bytes_of(file)
    profile = seccomp.parse(data, name=called)
    _compiled(profile)
    known = _find(where)
    if os.path.dirname(known.get(called, "")) == str(profile_directory()):
        raise UsageError(f"{called} is a shipped profile", "give it another name with --name")
    if called in known and not force:
        raise UsageError(f"there is a profile {called} already", "use --force to replace it")
    _install(own, called, data)
    _find(where)  # safe where it now lies
    if as_json:
        out_json({"name": called, "digest": profile.digest, "file": str(own / f"{called}.json")})
        return
    out(f"adopted {called}  {profile.digest}\n")
    say("next: restart the daemon; then, in the tool's manifest, raise version and write")
    say(f"      seccomp: {called}")
    say("      and register it with `fumehood tool add`")


def _bytes_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(seccomp.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", "name a profile") from None
    if len(data) > seccomp.MAX_FILE_BYTES:
        raise UsageError(f"{file}: larger than {seccomp.MAX_FILE_BYTES} bytes", "name a profile")
    return data


def _install(own: Path, name: str, data: bytes) -> None:
    """Whole or not at all, and readable by the supervisor whatever the umask."""
    new = own / f".{name}-{secrets.token_hex(8)}"
    try:
        if not own.is_dir():
            own.mkdir(parents=True)
            own.chmod(0o755)
        new.touch(mode=0o600, exist_ok=False)
        with new.open("wb") as written:
            written.write(data)
            written.flush()
            os.fchmod(written.fileno(), 0o644)
            os.fsync(written.fileno())
        new.rename(own / f"{name}{profile_files.SUFFIX}")
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ConfigError(
            f"{own}: {error.strerror}", "run this as whoever starts the daemon, such as root"
        ) from None


def _write(target: Path, data: bytes, *, force: bool) -> None:
    try:
        with target.open("wb" if force else "xb") as file:
            file.write(data)
        target.chmod(0o644)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}", "name another --output") from None
