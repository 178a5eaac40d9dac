"""The bill of materials: packages as the tree claims them, files as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fumehood.images.sbom import summarise
from fumehood.images.store import ImageStore
from support.archives import SYMLINK, digest, entry, tar
from support.cyclonedx import faults

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
        "pkg:pypi/some.lib@1.2",
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


INFO = "var/lib/dpkg/info"


def test_files_are_accounted_for_by_packages_that_are_named(
    store: ImageStore, tmp_path: Path
) -> None:
    """Neither a list without its package, nor a place that looks like bookkeeping, hides a file."""
    found = document(
        store,
        tmp_path,
        entry("var/lib/dpkg/status", STATUS),
        entry(f"{INFO}/ghost.list", b"/usr/bin/evil\n"),
        entry(f"{INFO}/gone.list", b"/usr/bin/evil\n"),
        entry(f"{INFO}/bash.list", b"/usr/bin/bash\n"),
        entry(f"{INFO}/bash.md5sums", b""),
        entry(f"{INFO}/libc6:amd64.list", b"/usr/lib/libc.so.6\n"),
        entry(f"{INFO}/libc6:arm64.list", b"/usr/bin/evil\n"),
        entry(f"{INFO}/bash.so", b""),
        entry("var/lib/dpkg/backdoor", b""),
        entry("var/lib/dpkg/triggers/File", b""),
        entry("usr/__pycache__/evil2", b""),
        entry("usr/bin/bash", b""),
        entry("usr/bin/evil", b""),
        entry("usr/lib/libc.so.6", b""),
    )
    assert loose(found) == [
        "/usr/__pycache__/evil2",
        "/usr/bin/evil",
        "/var/lib/dpkg/backdoor",
        f"/{INFO}/bash.so",
        f"/{INFO}/ghost.list",
        f"/{INFO}/gone.list",
        f"/{INFO}/libc6:arm64.list",
    ]
    assert counted(found) == len(loose(found))


def counted(found: dict[str, Any]) -> int:
    return summarise(json.dumps(found).encode()).loose_files


def test_bytecode_that_no_record_names_is_listed(store: ImageStore, tmp_path: Path) -> None:
    """Python runs it in place of the source beside it."""
    cache = f"{DIST}/some/__pycache__"
    found = document(
        store,
        tmp_path,
        entry(f"{DIST}/some-1.2.dist-info/METADATA", b"Name: some\nVersion: 1.2\n"),
        entry(
            f"{DIST}/some-1.2.dist-info/RECORD",
            b"some-1.2.dist-info/RECORD,,\nsome/a.py,,\nsome/__pycache__/a.cpython-311.pyc,,\n",
        ),
        entry(f"{DIST}/some/a.py", b""),
        entry(f"{cache}/a.cpython-311.pyc", b""),
        entry(f"{cache}/evil.cpython-311.pyc", b""),
    )
    assert loose(found) == [f"/{cache}/evil.cpython-311.pyc"]


def test_what_is_there_twice_is_a_valid_document(store: ImageStore, tmp_path: Path) -> None:
    number = b'{"name": "is-number", "version": "7.0.0"}'
    found = document(
        store,
        tmp_path,
        entry("var/lib/dpkg/status", STATUS + b"\n" + STATUS),
        entry(f"{MODULES}/is-number/package.json", number),
        entry(f"{MODULES}/a/node_modules/is-number/package.json", number),
        entry(f"{MODULES}/b/node_modules/is-number/package.json", number),
        entry("usr/a", b""),
    )
    assert purls(found).count("pkg:npm/is-number@7.0.0") == 3
    named = [item["bom-ref"] for item in found["components"] if item["type"] == "library"]
    assert len(set(named)) == len(named) == 7
    assert faults(found) == []


def test_package_urls_are_those_of_their_types(store: ImageStore, tmp_path: Path) -> None:
    found = document(
        store,
        tmp_path,
        entry(f"{DIST}/PyYAML-6.0.dist-info/METADATA", b"Name: PyYAML\nVersion: 6.0\n"),
        entry(f"{DIST}/a_b-1.dist-info/METADATA", b"Name: A_b\nVersion: 1+local/x\n"),
        entry(f"{DIST}/none.dist-info/METADATA", b"Name: none\n"),
    )
    assert sorted(purls(found)) == [
        "pkg:pypi/a-b@1%2Blocal%2Fx",
        "pkg:pypi/none",
        "pkg:pypi/pyyaml@6.0",
    ]
    assert {item["name"] for item in found["components"]} >= {"PyYAML", "A_b"}
