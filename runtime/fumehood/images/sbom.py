"""What is in an image: a CycloneDX 1.5 document made from the tree itself.

Debian packages come from dpkg's status, Python distributions from their METADATA, Node packages
from their package.json; every file that none of them accounts for is listed with its SHA-256.
Nothing of the tree is executed, and its claims are copied, not believed: an image can lie about
its packages, and which files are theirs, never about the others. A package that the document does
not name accounts for nothing.
"""

from __future__ import annotations

import bisect
import csv
import io
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final
from urllib.parse import quote

from fumehood.errors import NotStrictJSON
from fumehood.images import oci
from fumehood.images.beneath import read_beneath
from fumehood.model import strict_json

MAX_STATUS_BYTES: Final = 32 << 20
MAX_METADATA_BYTES: Final = 1 << 20
MAX_PACKAGES: Final = 20_000
MAX_LISTED_FILES: Final = 10_000
_DPKG = "var/lib/dpkg"
_DPKG_FILES = frozenset(
    f"{_DPKG}/{name}"
    for name in (
        "arch", "available", "available-old", "cmethopt", "diversions", "diversions-old",
        "info/format", "lock", "lock-frontend", "statoverride", "statoverride-old", "status",
        "status-old", "triggers/File", "triggers/Lock", "triggers/Unincorp",
    )
)  # fmt: skip
"""dpkg's own (dpkg 1.21, lib/dpkg/dpkg.h); what is not known by its name is listed as a file."""
_DPKG_INFO = frozenset(
    (
        "conffiles", "config", "list", "md5sums", "postinst", "postrm", "preinst", "prerm",
        "shlibs", "symbols", "templates", "triggers",
    )
)  # fmt: skip
"""What dpkg keeps of a package, as `info/NAME.…` or `info/NAME:ARCHITECTURE.…`."""
_TEXT = 512


@dataclass(frozen=True, slots=True)
class Package:
    """One package that the image claims to have."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    source: str = ""
    maintainer: str = ""


def make(directory: int, digest: str, files: Mapping[str, str]) -> bytes:
    """The document for the tree at `directory`.

    files: SHA-256 (hex) of every regular file and, for hard links, of the file they name, by path.
    """
    packages, owned = _packages(directory, files)
    loose = [path for path in files if path not in owned]
    components = libraries(packages, _distribution(directory))
    components += [_file(path, files[path]) for path in loose[:MAX_LISTED_FILES]]
    properties = [
        {"name": "fumehood:files", "value": str(len(files))},
        {"name": "fumehood:files-outside-packages", "value": str(len(loose))},
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": digest,
                "name": digest,
                "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
            },
            "properties": properties,
        },
        "components": components,
    }
    return oci.encode(document)


@dataclass(frozen=True, slots=True)
class Summary:
    """What `image show` tells of a document."""

    packages: tuple[Package, ...]
    files: int
    loose_files: int


def summarise(document: bytes) -> Summary:
    """Read a document of ours back."""
    value = json.loads(document)
    counts = {item["name"]: int(item["value"]) for item in value["metadata"]["properties"]}
    return Summary(
        packages=tuple(
            Package(item["purl"].split(":", 1)[1].split("/", 1)[0], item["name"], item["version"])
            for item in value["components"]
            if item["type"] == "library"
        ),
        files=counts["fumehood:files"],
        loose_files=counts["fumehood:files-outside-packages"],
    )


def _packages(directory: int, files: Mapping[str, str]) -> tuple[list[Package], set[str]]:
    owned: set[str] = set()
    packages = list(_debian(directory, files, owned))
    ordered = sorted(files)
    for path in ordered:
        if len(packages) >= MAX_PACKAGES:
            break
        if path in owned:
            continue
        if path.endswith(".dist-info/METADATA"):
            packages += _python(directory, path, owned)
        elif path.endswith("/package.json") and "/node_modules/" in f"/{path}":
            packages += _node(directory, path, ordered, owned)
    return packages, owned


# --- Debian


def _debian(directory: int, files: Mapping[str, str], owned: set[str]) -> Iterator[Package]:
    """What dpkg has installed, and the files that the lists of these packages name."""
    packages = list(installed(directory))
    stems = {stem for item in packages for stem in (item.name, f"{item.name}:{item.architecture}")}
    links = _root_links(files)
    for path in files:
        stem, _, kind = path.removeprefix(f"{_DPKG}/info/").rpartition(".")
        if path in _DPKG_FILES:
            owned.add(path)
        elif path.startswith(f"{_DPKG}/info/") and stem in stems and kind in _DPKG_INFO:
            owned.add(path)
            if kind == "list":
                listed = read_beneath(directory, path, MAX_STATUS_BYTES) or b""
                lines = listed.decode(errors="replace").split("\n")
                owned.update(_below_usr(line, links) for line in lines)
    yield from packages


def installed(directory: int) -> Iterator[Package]:
    """The Debian packages of a tree: deb822 paragraphs of dpkg's status (deb-control(5))."""
    status = read_beneath(directory, f"{_DPKG}/status", MAX_STATUS_BYTES) or b""
    for paragraph in status.decode(errors="replace").split("\n\n")[:MAX_PACKAGES]:
        fields = _fields(paragraph)
        if fields.get("Status") == "install ok installed" and fields.get("Package"):
            yield Package(
                "deb",
                fields["Package"],
                fields.get("Version", ""),
                fields.get("Architecture", ""),
                fields.get("Source", "").split(" ")[0],
                fields.get("Maintainer", ""),
            )


def debian(directory: int) -> list[dict[str, object]]:
    """The Debian packages of a tree as CycloneDX components."""
    return libraries(list(installed(directory)), _distribution(directory))


def _fields(paragraph: str) -> dict[str, str]:
    found = {}
    for line in paragraph.splitlines():
        key, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t")):
            found[key] = value.strip()[:_TEXT]
    return found


def _root_links(files: Iterable[str]) -> frozenset[str]:
    """Directories that are links into /usr where dpkg still lists `/bin/sh` (merged /usr)."""
    real = {path.split("/", 1)[0] for path in files}
    return frozenset({"bin", "sbin", "lib", "lib64", "lib32", "libx32"} - real)


def _below_usr(line: str, links: frozenset[str]) -> str:
    path = line.lstrip("/")
    return f"usr/{path}" if path.split("/", 1)[0] in links else path


# --- Python and Node


def _python(directory: int, path: str, owned: set[str]) -> Iterator[Package]:
    """Core metadata 2.x, and the files that RECORD names (PEP 376)."""
    metadata = read_beneath(directory, path, MAX_METADATA_BYTES)
    if metadata is None:
        return
    fields = _fields(metadata.decode(errors="replace").split("\n\n", 1)[0])
    if not fields.get("Name"):
        return
    information = path.rpartition("/")[0]
    site = information.rpartition("/")[0]
    record = read_beneath(directory, f"{information}/RECORD", MAX_STATUS_BYTES) or b""
    for row in csv.reader(io.StringIO(record.decode(errors="replace"))):
        if row:
            owned.add(_joined(site, row[0]))
    owned.add(path)
    yield Package("pypi", fields["Name"], fields.get("Version", ""))


def _joined(site: str, relative: str) -> str:
    parts = site.split("/")
    for step in relative.split("/"):
        if step == "..":
            parts = parts[:-1]
        elif step not in ("", "."):
            parts.append(step)
    return "/".join(parts)


def _node(directory: int, path: str, ordered: Sequence[str], owned: set[str]) -> Iterator[Package]:
    """A package at its root: `node_modules/name` or `node_modules/@scope/name`."""
    rest = path.rsplit("node_modules/", 1)[1].removesuffix("/package.json")
    if rest.count("/") != rest.startswith("@"):
        return
    data = read_beneath(directory, path, MAX_METADATA_BYTES)
    try:
        value = strict_json.loads(data) if data is not None else None
    except NotStrictJSON:
        return
    name, version = (
        (value.get("name"), value.get("version")) if isinstance(value, dict) else (None, None)
    )
    if isinstance(name, str) and isinstance(version, str):
        folder = path.removesuffix("package.json")
        start = bisect.bisect_left(ordered, folder)
        owned.update(takewhile(lambda item: item.startswith(folder), islice(ordered, start, None)))
        yield Package("npm", name[:_TEXT], version[:_TEXT])


# --- components


def _distribution(directory: int) -> str:
    """`debian-12` of os-release(5), for package URLs; empty where it does not say."""
    data = read_beneath(directory, "usr/lib/os-release", 16 * 1024) or b""
    fields = dict(
        line.split("=", 1) for line in data.decode(errors="replace").splitlines() if "=" in line
    )
    return "-".join(fields.get(key, "").strip('"') for key in ("ID", "VERSION_ID")).strip("-")


def libraries(packages: Sequence[Package], distribution: str = "") -> list[dict[str, object]]:
    """Packages as CycloneDX components, with a bom-ref that is unique among them: one may be there
    several times. distribution: see `component`."""
    made = [component(package, distribution) for package in packages]
    seen: Counter[object] = Counter()
    for item in made:
        seen[item["purl"]] += 1
        if seen[item["purl"]] > 1:
            item["bom-ref"] = f"{item['purl']}#{seen[item['purl']]}"
    return made


def component(package: Package, distribution: str = "") -> dict[str, object]:
    """A package as CycloneDX has it. distribution: `debian-12`."""
    made: dict[str, object] = {
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": _purl(package, distribution),
    }
    made["bom-ref"] = made["purl"]
    if package.maintainer:
        made["publisher"] = package.maintainer
    if package.source:
        made["properties"] = [{"name": "debian:source", "value": package.source}]
    return made


def _purl(package: Package, distribution: str) -> str:
    """Package URL specification: type, namespace, name, version, qualifiers."""
    vendor = (distribution.split("-")[0] or "debian") + "/" if package.kind == "deb" else ""
    name = package.name
    if (
        package.kind == "pypi"
    ):  # purl-spec, pypi-definition.json: neither case nor `_` means anything
        name = name.lower().replace("_", "-")
    text = f"pkg:{package.kind}/{quote(vendor, safe='/')}{quote(name, safe='/')}"
    if package.version:
        text += "@" + quote(package.version, safe="")
    qualifiers = [
        f"{key}={quote(value)}"
        for key, value in (("arch", package.architecture), ("distro", distribution))
        if value and package.kind == "deb"
    ]
    return text + ("?" + "&".join(qualifiers) if qualifiers else "")


def _file(path: str, digest: str) -> dict[str, object]:
    return {
        "type": "file",
        "name": f"/{path}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
