"""What a look hashes of a scratch space that a tool has filled with whatever it likes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fumehood.kernel import forensics
from fumehood.kernel.forensics import Evidence, collect

TIB = 1 << 40


def looked(scratch: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Files by their name, and the bounds that were reached."""
    with tempfile.TemporaryFile() as file:
        collect(Evidence((), str(scratch)), file.fileno())
        file.seek(0)
        lines = [json.loads(line) for line in file]
    files = {line["file"]["path"]: line["file"] for line in lines if "file" in line}
    return files, lines[-1]["end"]["cut"]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def test_a_sparse_file_is_hashed_by_what_was_written_and_leaves_the_others_theirs(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    pread = os.pread

    def counted(fd: int, count: int, offset: int) -> bytes:
        nonlocal read
        data = pread(fd, count, offset)
        read += len(data)
        return data

    monkeypatch.setattr(forensics.os, "pread", counted)
    with (scratch / "tmp" / "huge").open("wb") as file:
        file.truncate(8 * TIB)
        file.seek(4 * TIB)
        file.write(b"x" * 65536)
    with (scratch / "tmp" / "empty").open("wb") as file:
        file.truncate(TIB)
    (scratch / "out" / "after").write_bytes(b"evidence")
    files, cut = looked(scratch)
    assert files["/out/after"]["sha384"] == hashlib.sha384(b"evidence").hexdigest()
    assert cut == []
    huge = files["/tmp/huge"]
    assert (huge["size"], "sha384" in huge) == (8 * TIB, False)
    extent = b"%016x%016x\n" % (4 * TIB, 65536) + b"x" * 65536
    assert huge["sha384_data"] == hashlib.sha384(extent).hexdigest()
    assert files["/tmp/empty"]["sha384_data"] == hashlib.sha384().hexdigest()
    assert read < 1 << 20


def test_a_small_file_with_holes_is_hashed_as_it_reads(scratch: Path) -> None:
    with (scratch / "tmp" / "holes").open("wb") as file:
        file.truncate(1 << 20)
    files, _ = looked(scratch)
    assert files["/tmp/holes"]["sha384"] == hashlib.sha384(bytes(1 << 20)).hexdigest()


def test_what_is_larger_than_the_bound_is_listed_without(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forensics, "MAX_HASHED", 1 << 16)
    (scratch / "tmp" / "large").write_bytes(b"x" * (1 << 17))
    (scratch / "tmp" / "many").write_bytes(b"x" * 4096)
    files, cut = looked(scratch)
    assert (files["/tmp/large"]["sha384"], cut) == ("", ["hashes"])
    assert files["/tmp/many"]["sha384"]
