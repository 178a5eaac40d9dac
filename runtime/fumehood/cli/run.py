"""`fumehood run`: one call of a tool that is not registered, through a private daemon.

Nothing is skipped: the manifest is registered, the call goes through the socket, and all
protections and the audit log are those of a lasting daemon.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fumehood.cli import arguments, artifacts, image, outcome, pack, private
from fumehood.cli.call import (
    ArgFileOption,
    ArgOption,
    ArgumentsArgument,
    FollowOption,
    ForceOption,
    OutOption,
    VerboseOption,
    input_schema,
    invoke,
)
from fumehood.cli.options import ConfigOption, JsonOption, chosen
from fumehood.cli.serve import AcceptOption
from fumehood.client import Client


def command(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST", help="A manifest, such as examples/checksum/tool.yaml."),
    ],
    document: ArgumentsArgument = None,
    arg: ArgOption = None,
    arg_file: ArgFileOption = None,
    as_json: JsonOption = False,
    follow: FollowOption = False,
    verbose: VerboseOption = False,
    out: OutOption = None,
    force: ForceOption = False,
    config: ConfigOption = None,
    accept_unenforced: AcceptOption = None,
) -> None:
    """Call a tool straight from its manifest, without a daemon.

    A private daemon is started in a temporary place for this one call: same path, same
    protections. Exit status as of `fumehood call`.
    """
    given = arguments.parse(document, arg or (), arg_file or ())
    if out is not None:
        artifacts.check(out)
    package = pack.load(manifest)
    places = chosen(config=config)
    named = places.config if places.config_named else None
    images = places.state / "images"
    image.ensure(package, places)
    with (
        private.daemon(named, accept_unenforced or (), images) as socket,
        Client.connect(socket) as client,
    ):
        client.add_tool(package.manifest, package.files)
        values = given.typed(lambda: input_schema(client, package.name))
        result = invoke(client, package.name, values, follow=follow, as_json=as_json)
    raise typer.Exit(
        outcome.show(result, as_json=as_json, verbose=verbose, directory=out, force=force)
    )
