"""The command line: puts the groups together and turns every error into a cause and a remedy."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import fumehood
from fumehood.cli import audit, call, doctor, run, serve, status, tool
from fumehood.cli.present import show_error
from fumehood.errors import ExitStatus, FumehoodError, UsageError

EPILOG = "Documentation: README.md and docs/ in the source tree."

app = typer.Typer(
    name="fumehood",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"fumehood {fumehood.__version__}\n")
        raise typer.Exit


@app.callback()
def group(
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


app.command("serve")(serve.command)
app.command("call")(call.command)
app.command("run")(run.command)
app.command("status")(status.command)
app.command("doctor")(doctor.command)
app.add_typer(tool.app, name="tool")
app.add_typer(audit.app, name="audit")


@app.command("version")
def version() -> None:
    """Show the version."""
    _version(wanted=True)


def main() -> None:
    """The console script; ends the process with the documented exit status."""
    sys.exit(execute(sys.argv[1:]))


def execute(argv: list[str]) -> int:
    """Run one command line; returns its exit status and lets no expected error out."""
    as_json = "--json" in argv
    try:
        status = app(argv, prog_name="fumehood", standalone_mode=False)
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
