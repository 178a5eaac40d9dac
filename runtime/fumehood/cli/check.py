"""`fumehood tool check`: what registering a manifest would find, without registering it.

Reads files; must never pass what `tool add` would refuse for what the manifest says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fumehood.cli import pack
from fumehood.cli.options import ConfigOption, JsonOption, SocketOption, chosen
from fumehood.cli.present import note, out, out_json, say, size
from fumehood.cli.scan import own_cache
from fumehood.client import Client
from fumehood.errors import FumehoodError, ManifestError, UsageError

if TYPE_CHECKING:
    from fumehood.catalog.poisoning import Finding

AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="RULE",
        help="A finding of the lint that is meant so, by its rule, or `changes`; for `approve`"
        " `quarantined`, too; repeatable.",
        show_default=False,
    ),
]


def command(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST…", help="Manifests to check.")
    ],
    accept: AcceptOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Check manifests and the folders beside them without registering anything.

    What they say to a model is looked at as `fumehood tool add` does, with the same findings and
    the same exit status; names are compared with each other and, where a daemon answers, with
    those of the tools that you may call. Ceilings, images and engines are the daemon's to judge.
    """
    from fumehood.catalog.poisoning import RULES, refusal

    if unknown := sorted(set(accept or ()) - {*RULES, "changes"}):
        known = ", ".join(["changes", *RULES])
        raise UsageError(f"there is no rule {unknown[0][:40]!r} to accept", f"known here: {known}")
    packages = [(path, pack.load(path, checked=True)) for path in manifests]
    for path, package in packages:
        _check_profile(path, package.seccomp, chosen(config=config).config.parent)
    findings = _examined([package.manifest for _, package in packages], _known(socket))
    checked: list[dict[str, Any]] = []
    refused: list[FumehoodError] = []
    for (path, package), found in zip(packages, findings, strict=True):
        total = sum(len(file.data) for file in package.files.values())
        error = refusal(found, accept or ())
        if error is not None:
            refused.append(type(error)(f"{path}: {error.cause}", error.remedy))
        checked.append(
            {
                "manifest": str(path), "name": package.name, "files": len(package.files),
                "bytes": total, "ok": error is None, "findings": [_json(one) for one in found],
                "remedy": error.remedy if error is not None else "",
            }
        )  # fmt: skip
        if not as_json and error is None:
            out(f"{path}: {package.name} is fine, {len(package.files)} files, {size(total)}\n")
        if not as_json:
            for one in found:
                say(f"  {one}")
    if as_json:
        out_json(checked)
    else:
        for refusing in refused:
            note("error", refusing.cause, "1;31")
            note("remedy", refusing.remedy, "1;32")
    if refused:
        raise typer.Exit(refused[0].exit_status)


def _check_profile(path: Path, name: str, folder: Path) -> None:
    from fumehood.kernel import profile_files
    from fumehood.model.faults import nearest
    from fumehood.resources import profile_directory

    own = folder / profile_files.FOLDER
    profiles = profile_files.find(str(profile_directory()), str(own) if os.path.isdir(own) else "")
    if name not in profiles:
        cause = f"{path}: seccomp: there is no profile {name!r} here"
        raise ManifestError(cause, nearest(name, profiles), field="seccomp")


def _examined(texts: Sequence[str], known: set[str]) -> list[list[Finding]]:
    """The findings in each manifest. known: names of registered tools."""
    from fumehood.catalog.poisoning import examine
    from fumehood.model.manifest import load_manifest
    from fumehood.scan.prose import instructions, searcher

    find = partial(instructions, searcher(own_cache()))
    manifests = [load_manifest(text, source="manifest") for text in texts]
    names = known | {manifest.name for manifest in manifests}
    return [examine(manifest, names - {manifest.name}, find) for manifest in manifests]


def _known(socket: Path | None) -> set[str]:
    """Names of the tools that a daemon lists, where one answers."""
    try:
        with Client.connect(chosen(socket).socket) as client:
            return {str(tool["name"]) for tool in client.tools()}
    except FumehoodError:
        if socket is not None:
            raise
        return set()


def _json(finding: Finding) -> dict[str, str]:
    return {
        "rule": finding.rule, "severity": finding.severity, "place": finding.place,
        "text": finding.text,
    }  # fmt: skip
