"""The MCP registry's `server.json`, schemas 2025-09-29 to 2025-12-11.

Source: docs/reference/server-json/server.schema.json and generic-server-json.md of
modelcontextprotocol/registry. It says where a server comes from, never the program's path: what
an OCI image starts is written in the image, npx and uvx download. So there is no run.command.
"""

from __future__ import annotations

from fumehood.model.foreign.draft import NO_SECRETS, SPEAKS_MCP, Draft, Part

DOWNLOADED = "is downloaded when it starts; list what it needs in run.requirements, with hashes"


def read(part: Part) -> None:
    draft = part.draft
    part.skip("$schema")
    for key in ("name", "title", "description", "version"):
        text = part.text(key)
        if text is None:
            continue
        if key == "name":
            draft.name(text, (key,))
        else:
            draft.set(key, text, (key,))
    chosen = False
    for package in part.parts("packages"):
        if not chosen and package.text("registryType") == "oci":
            chosen = True
            _image(package, draft)
        else:
            kind = package.text("registryType")
            oci = "is another way to run it" if kind == "oci" else DOWNLOADED
            draft.leave(package.path, f"a package of type {str(kind)[:16]!r} {oci}")
    part.leave("remotes", "a server elsewhere: nothing of it would run here")
    draft.leave(("packages",), SPEAKS_MCP)
    part.rest()


def _image(package: Part, draft: Draft) -> None:
    identifier, version = package.text("identifier"), package.text("version")
    if identifier is not None:
        tagged = "@" in identifier or ":" in identifier.rpartition("/")[2]
        reference = identifier if tagged or version is None else f"{identifier}:{version}"
        draft.image(reference, (*package.path, "identifier"))
    for variable in package.parts("environmentVariables"):
        _variable(variable, draft)
    start = "belongs behind the image's own entry point, which is not written here"
    package.leave("packageArguments", start)
    package.leave("runtimeArguments", "an argument of docker run, which is not what starts a tool")
    if (package.mapping("transport") or {}).get("type") != "stdio":
        package.leave("transport", "nobody reaches a tool over a network")
    package.rest()


def _variable(variable: Part, draft: Draft) -> None:
    name, secret = variable.text("name"), variable.flag("isSecret")
    value = variable.text("value")
    value = variable.text("default") if value is None else value
    if secret:
        draft.leave(variable.path, NO_SECRETS)
    elif name is None or value is None:
        draft.leave(variable.path, "its value is asked from a person")
    else:
        draft.variable(name, value, variable.path)
        variable.rest()
