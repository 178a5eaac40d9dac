"""The command line: puts the groups together and turns every error into a cause and a remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, Annotated, Final

import typer
from typer.main import get_command

import fumehood
from fumehood.cli.present import Unwritable, note, out, show_error, unwritable
from fumehood.errors import ExitStatus, FumehoodError, UsageError

EPILOG: Final = "Documentation: README.md and docs/ in the source tree."


def build(only: str = "") -> typer.Typer:
    """The application with all commands, or with the one that is wanted.

    Building every command costs a call 80 ms: each one's signature is inspected.
    """
    app = typer.Typer(
        name="fumehood",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    app.callback()(_group)
    for name, add in _COMMANDS.items():
        if name == only or only not in _COMMANDS:
            add(app)
    return app


def command(only: str = "") -> Callable[..., object]:
    """The application as it is run: no path has to be readable before a command has seen it.

    Connecting takes write permission only, and what cannot be read a command refuses in its own
    words, with a remedy.
    """
    group = get_command(build(only))
    _let_unreadable(group)
    return group


def _let_unreadable(command: object) -> None:
    for parameter in getattr(command, "params", ()):
        if getattr(parameter.type, "readable", False):
            parameter.type.readable = False
    for inner in getattr(command, "commands", {}).values():
        _let_unreadable(inner)


def _group(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _version(wanted=value),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Run AI tools under the hood: every call confined, watched, scanned and audited."""


def _version(*, wanted: bool = True) -> None:
    if wanted:
        out(f"fumehood {fumehood.__version__}\n")
        raise typer.Exit


def _serve(app: typer.Typer) -> None:
    from fumehood.cli import serve

    app.command("serve")(serve.command)


def _tool(app: typer.Typer) -> None:
    from fumehood.cli import tool

    app.add_typer(tool.app, name="tool")


def _call(app: typer.Typer) -> None:
    from fumehood.cli import call

    app.command("call")(call.command)


def _run(app: typer.Typer) -> None:
    from fumehood.cli import run

    app.command("run")(run.command)


def _status(app: typer.Typer) -> None:
    from fumehood.cli import status

    app.command("status")(status.command)


def _ps(app: typer.Typer) -> None:
    from fumehood.cli import ps

    app.command("ps")(ps.command)


def _top(app: typer.Typer) -> None:
    from fumehood.cli import top

    app.command("top")(top.command)


def _cancel(app: typer.Typer) -> None:
    from fumehood.cli import cancel

    app.command("cancel")(cancel.command)


def _logs(app: typer.Typer) -> None:
    from fumehood.cli import logs

    app.command("logs")(logs.command)


def _approvals(app: typer.Typer) -> None:
    from fumehood.cli import approve

    app.command("approvals")(approve.list_)


def _approve(app: typer.Typer) -> None:
    from fumehood.cli import approve

    app.command("approve")(approve.approve)


def _deny(app: typer.Typer) -> None:
    from fumehood.cli import approve

    app.command("deny")(approve.deny)


def _caller(app: typer.Typer) -> None:
    from fumehood.cli import caller

    app.add_typer(caller.app, name="caller")


def _session(app: typer.Typer) -> None:
    from fumehood.cli import caller

    app.add_typer(caller.sessions, name="session")


def _reload(app: typer.Typer) -> None:
    from fumehood.cli import reload

    app.command("reload")(reload.command)


def _policy(app: typer.Typer) -> None:
    from fumehood.cli import policy

    app.add_typer(policy.app, name="policy")


def _doctor(app: typer.Typer) -> None:
    from fumehood.cli import doctor

    app.command("doctor")(doctor.command)


def _audit(app: typer.Typer) -> None:
    from fumehood.cli import audit

    app.add_typer(audit.app, name="audit")


def _scan(app: typer.Typer) -> None:
    from fumehood.cli import scan

    app.add_typer(scan.app, name="scan")


def _stop(app: typer.Typer) -> None:
    from fumehood.cli import stop

    app.command("stop")(stop.stop)


def _resume(app: typer.Typer) -> None:
    from fumehood.cli import stop

    app.command("resume")(stop.resume)


def _incident(app: typer.Typer) -> None:
    from fumehood.cli import incident

    app.add_typer(incident.app, name="incident")


def _release(app: typer.Typer) -> None:
    from fumehood.cli import release

    app.command("release")(release.command)


def _receipt(app: typer.Typer) -> None:
    from fumehood.cli import receipt

    app.add_typer(receipt.app, name="receipt")


def _key(app: typer.Typer) -> None:
    from fumehood.cli import key

    app.add_typer(key.app, name="key")


def _sbom(app: typer.Typer) -> None:
    from fumehood.cli import sbom

    app.command("sbom")(sbom.command)


def _image(app: typer.Typer) -> None:
    from fumehood.cli import image

    app.add_typer(image.app, name="image")


def _profile(app: typer.Typer) -> None:
    from fumehood.cli import profile

    app.add_typer(profile.app, name="profile")


def _version_command(app: typer.Typer) -> None:
    app.command("version", help="Show the version.")(lambda: _version())


_COMMANDS: Final[Mapping[str, Callable[[typer.Typer], None]]] = {
    "serve": _serve,
    "call": _call,
    "run": _run,
    "ps": _ps,
    "top": _top,
    "logs": _logs,
    "cancel": _cancel,
    "approvals": _approvals,
    "approve": _approve,
    "deny": _deny,
    "status": _status,
    "reload": _reload,
    "doctor": _doctor,
    "version": _version_command,
    "policy": _policy,
    "caller": _caller,
    "session": _session,
    "tool": _tool,
    "image": _image,
    "sbom": _sbom,
    "audit": _audit,
    "receipt": _receipt,
    "scan": _scan,
    "release": _release,
    "stop": _stop,
    "resume": _resume,
    "incident": _incident,
    "key": _key,
    "profile": _profile,
}


def main() -> None:
    """Run what the process was started with; ends it with the documented exit status."""
    _fill_closed_descriptors()
    sys.exit(execute(sys.argv[1:]))


def _fill_closed_descriptors() -> None:
    """Whatever is opened next would become a closed stdin, stdout or stderr, and be written to."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (it lives as long as we do)


def execute(argv: list[str]) -> int:
    """Run one command line; returns its exit status and lets no expected error out."""
    as_json = "--json" in argv
    if sys.stdout is None and argv[:1] != ["serve"]:
        note("error", "stdout is closed", "1;31")
        note("remedy", "redirect it to /dev/null when nobody is to read it", "1;32")
        return ExitStatus.USAGE
    try:
        group = command(argv[0] if argv else "")
        status = group(argv, prog_name="fumehood", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except FumehoodError as error:
        return _failed(error, as_json=as_json)
    except typer.TyperException as error:
        # typer's own usage errors: an unknown option, a missing argument.
        message = error.format_message()
        if not message:  # no_args_is_help has just printed the help
            return ExitStatus.USAGE
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "fumehood"
        return _failed(UsageError(message, f"see `{path} --help`"), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.CANCELLED
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): say nothing, now or at the interpreter's end.
        _silence(sys.stdout)
        return ExitStatus.FAILED
    except OSError as error:
        return _failed(_foreseen(error), as_json=as_json)
    return status if isinstance(status, int) else ExitStatus.OK


def _failed(error: FumehoodError, *, as_json: bool) -> int:
    """Tell an error; returns its exit status, also when nobody can be told."""
    on_stdout = as_json and not isinstance(error, Unwritable)
    try:
        if on_stdout:
            show_error(error, as_json=True)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, Unwritable):
        _silence(sys.stdout)
        on_stdout = False
    if not on_stdout:
        try:
            show_error(error)
            sys.stderr.flush()
        except OSError:
            _silence(sys.stderr)
    return error.exit_status


def _foreseen(error: OSError) -> FumehoodError:
    """What the kernel refused and no command translated: the caller's to mend, not a tool's
    failure."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as unwritten:  # it was that: what is buffered cannot be written now either
        return unwritable(unwritten)
    reason = error.strerror or str(error)
    cause = f"{os.fsdecode(error.filename)}: {reason}" if error.filename is not None else reason
    if isinstance(error, PermissionError):
        return UsageError(cause, "run this as root, or as the account that owns it")
    return UsageError(cause, "correct the path, or what lies there")


def _silence(stream: IO[str]) -> None:
    """Let what a stream still holds go nowhere, so that the interpreter's end says nothing."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, stream.fileno())
    os.close(null)
