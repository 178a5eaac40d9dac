"""Lists what an archive holds and what would be dangerous about unpacking it; unpacks nothing."""

import base64
import binascii
import io
import json
import sys
import tarfile
import zipfile


def warnings(name, size, packed, mode, target):
    path = name.replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":":
        yield "absolute path"
    if ".." in path.split("/"):
        yield "leaves the folder"
    if target.startswith("/") or ".." in target.split("/"):
        yield "link may lead outside"
    if mode & 0o6000:
        yield "setuid or setgid"
    if packed and size > 1_000_000 and size > 100 * packed:
        yield "unpacks to more than 100 times its size"


def zip_members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            link = mode & 0o170000 == 0o120000
            kind = "link" if link else "directory" if info.is_dir() else "file"
            yield info.filename, info.file_size, kind, info.compress_size, mode, ""


def tar_members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            link = info.issym() or info.islnk()
            kind = "link" if link else "directory" if info.isdir() else "file"
            if kind == "file" and not info.isfile():
                kind = "other"
            yield info.name, info.size, kind, 0, info.mode, info.linkname if link else ""


arguments = json.load(sys.stdin)
try:
    data = base64.b64decode(arguments["archive"], validate=True)
    form = "zip" if zipfile.is_zipfile(io.BytesIO(data)) else "tar"
    members = list((zip_members if form == "zip" else tar_members)(data))
except (binascii.Error, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
    sys.exit(f"not an archive that can be read: {error}")
listed = [
    {
        "name": name,
        "size": size,
        "kind": kind,
        "warnings": list(warnings(name, size, packed, mode, target)),
    }
    for name, size, kind, packed, mode, target in members[: arguments.get("limit", 1000)]
]
total = sum(size for _, size, *_ in members)
json.dump({"format": form, "members": len(members), "bytes": total, "listed": listed}, sys.stdout)
