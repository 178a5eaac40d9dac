"""The command line: puts the groups together and turns every error into a cause and a remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer

import fumehood
from fumehood.cli.present import show_error
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
        sys.stdout.write(f"fumehood {fumehood.__version__}\n")
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


def _policy(app: typer.Typer) -> None:
    from fumehood.cli import policy

    app.add_typer(policy.app, name="policy")


def _doctor(app: typer.Typer) -> None:
    from fumehood.cli import doctor

    app.command("doctor")(doctor.command)


def _audit(app: typer.Typer) -> None:
    from fumehood.cli import audit

    app.add_typer(audit.app, name="audit")


def _receipt(app: typer.Typer) -> None:
    from fumehood.cli import receipt

    app.add_typer(receipt.app, name="receipt")


def _key(app: typer.Typer) -> None:
    from fumehood.cli import key

    app.add_typer(key.app, name="key")


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
    "doctor": _doctor,
    "version": _version_command,
    "policy": _policy,
    "caller": _caller,
    "session": _session,
    "tool": _tool,
    "image": _image,
    "audit": _audit,
    "receipt": _receipt,
    "key": _key,
    "profile": _profile,
}


def main() -> None:
    """The console script; ends the process with the documented exit status."""
    sys.exit(execute(sys.argv[1:]))


def execute(argv: list[str]) -> int:
    """Run one command line; returns its exit status and lets no expected error out."""
    as_json = "--json" in argv
    try:
        status = build(argv[0] if argv else "")(argv, prog_name="fumehood", standalone_mode=False)
        sys.stdout.flush()
    except FumehoodError as error:
        show_error(error, as_json=as_json)
        return error.exit_status
    except typer.TyperException as error:
        # typer's own usage errors: an unknown option, a missing argument.
        message = error.format_message()
        if not message:  # no_args_is_help has just printed the help
            return ExitStatus.USAGE
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "fumehood"
        usage = UsageError(message, f"see `{path} --help`")
        show_error(usage, as_json=as_json)
        return ExitStatus.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.CANCELLED
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): say nothing, now or at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED
    return status if isinstance(status, int) else ExitStatus.OK
