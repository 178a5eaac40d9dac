"""What a registered tool is made of: a CycloneDX 1.5 document of its image, its requirements and
its files. Pure.

Must never call a list whole that is not: where the host's root takes the place of an image, only
its Debian packages are known, and `compositions` says so.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fumehood.errors import ImageError
from fumehood.images import npm_lock, requirements
from fumehood.images.sbom import Package, component

_PIN: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])? ?== ?(?P<version>[^\s;]+)")
HOST: Final = "host"


@dataclass(frozen=True, slots=True)
class Tool:
    """digest: `sha384:…`. files: by path, `x` or `-` for executable and the SHA-384, hex."""

    name: str
    version: str
    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Root:
    """What a tool sees as its root. reference: `sha256:…`, or `host`. components: of CycloneDX.
    cut: whether more is known to be in it than is listed."""

    reference: str
    components: Sequence[Mapping[str, Any]]
    cut: bool = False


def make(tool: Tool, root: Root, wanted: str | None) -> dict[str, Any]:
    """The document.

    Args:
        wanted: the text of run.requirements, None where there is none.

    Raises:
        ImageError: the requirements are malformed.
    """
    parts = [_root(root), *_wanted(wanted), *(_file(*entry) for entry in tool.files.items())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, tool.digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": tool.digest,
                "name": tool.name,
                "version": tool.version,
                "hashes": [{"alg": "SHA-384", "content": tool.digest.removeprefix("sha384:")}],
            },
        },
        "components": parts,
        "dependencies": [{"ref": tool.digest, "dependsOn": [part["bom-ref"] for part in parts]}],
        "compositions": [
            {
                # An image can lie about its packages: `complete` is for nobody to say.
                "aggregate": "incomplete" if root.cut else "unknown",
                "assemblies": [parts[0]["bom-ref"]],
            }
        ],
    }


def _root(root: Root) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "operating-system" if root.reference == HOST else "container",
        "bom-ref": f"root:{root.reference}",
        "name": root.reference,
        "components": [dict(part) for part in root.components],
    }
    if root.reference != HOST:
        content = root.reference.removeprefix("sha256:")
        found["hashes"] = [{"alg": "SHA-256", "content": content}]
    return found


def _wanted(text: str | None) -> list[dict[str, Any]]:
    """Each requirement, with the hashes of the archives that may be used for it."""
    if text is None:
        return []
    if npm_lock.is_lock(text):
        return [
            _requirement(
                Package("npm", item.name, item.version), "sha512", (item.sha512,), f"/{item.path}"
            )
            for item in npm_lock.parse(text)
        ]
    found = []
    for item in requirements.parse(text):
        match = _PIN.match(item.text)
        if match is None:
            raise ImageError(f"requirements: {item.text[:80]!r} is not NAME==VERSION")
        package = Package("pypi", match["name"], match["version"])
        found.append(_requirement(package, "sha256", item.hashes))
    return found


def _requirement(
    package: Package, algorithm: str, hashes: Sequence[str], place: str = ""
) -> dict[str, Any]:
    """place: where it goes, of packages that may be there several times."""
    made = component(package)
    made["bom-ref"] = f"requirement:{made['purl']}{place}"
    made["scope"] = "required"
    made["properties"] = [
        {"name": f"fumehood:archive-{algorithm}", "value": digest} for digest in hashes
    ]
    return made


def _file(path: str, entry: str) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:/tool/{path}",
        "name": f"/tool/{path}",
        "hashes": [{"alg": "SHA-384", "content": entry[1:]}],
        "properties": [
            {"name": "fumehood:executable", "value": "true" if entry[0] == "x" else "false"}
        ],
    }
