"""The bill of materials: packages as the tree claims them, files as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fumehood.images.sbom import summarise
from fumehood.images.store import ImageStore
from support.archives import SYMLINK, digest, entry, tar

STATUS = b"""Package: bash
Status: install ok installed
Architecture: amd64
Maintainer: Somebody <x@example.org>
Version: 5.2.15-2+b13
Description: a shell
 with more lines
 Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+deb12u14
"""
DIST = "usr/local/lib/python3.11/dist-packages"
MODULES = "opt/app/node_modules"


def document(store: ImageStore, tmp_path: Path, *entries: Any) -> dict[str, Any]:
    (tmp_path / "x.tar").write_bytes(tar(*entries))
    return dict(json.loads(store.sbom(store.import_(tmp_path / "x.tar", "x"))))


def purls(found: dict[str, Any]) -> list[str]:
    return [item["purl"] for item in found["components"] if item["type"] == "library"]


def loose(found: dict[str, Any]) -> list[str]:
    return [item["name"] for item in found["components"] if item["type"] == "file"]


def test_what_dpkg_installed_is_told_with_its_files(store: ImageStore, tmp_path: Path) -> None:
    found = document(
        store,
        tmp_path,
        entry("var/lib/dpkg/status", STATUS),
        entry("var/lib/dpkg/info/bash.list", b"/.\n/bin\n/bin/bash\n/usr/share/a file\n"),
        entry("usr/lib/os-release", b'ID=debian\nVERSION_ID="12"\n'),
        entry("usr/bin/bash", b"elf"),
        entry("usr/share/a file", b""),
        entry("usr/bin/own", b"mine"),
        entry("bin", kind=SYMLINK, link="usr/bin"),
    )
    assert purls(found) == [
        "pkg:deb/debian/bash@5.2.15-2%2Bb13?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12",
    ]
    assert loose(found) == ["/usr/bin/own", "/usr/lib/os-release"]
    own = next(item for item in found["components"] if item["name"] == "/usr/bin/own")
    assert own["hashes"] == [{"alg": "SHA-256", "content": digest(b"mine")[7:]}]
    assert found["bomFormat"], found["specVersion"] == ("CycloneDX", "1.5")


def test_python_and_node_packages_are_told(store: ImageStore, tmp_path: Path) -> None:
    info = f"{DIST}/Some_Lib-1.2.dist-info"
    own_record = b"Some_Lib-1.2.dist-info/RECORD,,\n"
    found = document(
        store,
        tmp_path,
        entry(f"{info}/METADATA", b"Name: Some.Lib\nVersion: 1.2\n\nName: no"),
        entry(f"{info}/RECORD", b"some/__init__.py,,\n../../../bin/some,,\n" + own_record),
        entry(f"{DIST}/some/__init__.py", b""),
        entry("usr/local/bin/some", b""),
        entry(f"{MODULES}/left/package.json", b'{"name": "left", "version": "3.0.0"}'),
        entry(f"{MODULES}/left/lib/package.json", b'{"name": "no", "version": "1"}'),
        entry(f"{MODULES}/@a/b/package.json", b'{"name": "@a/b", "version": "1.0.0"}'),
        entry(f"{MODULES}/bad/package.json", b"{"),
    )
    assert sorted(purls(found)) == [
        "pkg:npm/%40a/b@1.0.0",
        "pkg:npm/left@3.0.0",
        "pkg:pypi/Some.Lib@1.2",
    ]
    assert loose(found) == [f"/{MODULES}/bad/package.json"]


def test_a_status_that_is_a_link_leads_nowhere(store: ImageStore, tmp_path: Path) -> None:
    """The reader may be root: what the host's file holds must not end up in a document."""
    found = document(
        store,
        tmp_path,
        entry("usr/a", b""),
        entry("var/lib/dpkg/status", kind=SYMLINK, link="/var/lib/dpkg/status"),
        entry("usr/lib/os-release", kind=SYMLINK, link="/etc/os-release"),
    )
    assert purls(found) == []


def test_equal_images_have_equal_documents_and_a_summary(store: ImageStore, tmp_path: Path) -> None:
    entries = (entry("var/lib/dpkg/status", STATUS), entry("usr/a", b"1"))
    first = document(store, tmp_path, *entries)
    assert document(store, tmp_path, *entries) == first
    summary = summarise(store.sbom(store.resolve("x")))
    assert [(p.kind, p.name) for p in summary.packages] == [("deb", "bash"), ("deb", "libc6")]
    assert (summary.files, summary.loose_files) == (2, 1)
