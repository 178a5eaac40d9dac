"""`fumehood image …` on a store of its own: what it prints, what it refuses, its exit statuses."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from support.archives import SYMLINK, digest, entry, tar
from support.hood import command

STATUS = b"Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n"


class Images:
    """The command line with a state directory of its own, and no daemon."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __call__(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            command("image", *words),
            env={
                "PATH": "/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "FUMEHOOD_STATE": str(self.place / "state"),
                "FUMEHOOD_SOCKET": str(self.place / "socket"),
            },
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stderr.decode()
        return (done.stdout or done.stderr).decode(errors="replace")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "Small.tar.gz"
    path.write_bytes(
        tar(entry("usr/bin/x", b"1", mode=0o755), entry("var/lib/dpkg/status", STATUS))
    )
    return path


def test_an_image_is_imported_listed_shown_and_removed(images: Images, archive: Path) -> None:
    assert "no images yet" in images("list")
    assert images("import", str(archive)).startswith("imported small:latest")
    (listed,) = json.loads(images("list", "--json"))
    assert (listed["name"], listed["source"]) == ("small:latest", str(archive))
    assert listed["digest"][:19] in images("list")
    shown = images("show", "small")
    assert listed["config"] in shown
    assert "bash" in shown
    as_json = json.loads(images("show", listed["digest"], "--json"))
    assert as_json["packages"] == [{"type": "deb", "name": "bash", "version": "5.2"}]
    assert as_json["files"] == 2
    assert json.loads(images("show", "small", "--sbom"))["bomFormat"] == "CycloneDX"
    assert images("verify") == "ok: all images\n"
    assert images("remove", "small").startswith("removed small:latest")
    assert json.loads(images("import", str(archive), "--json"))["digest"] == listed["digest"]
    (removed,) = json.loads(images("remove", "small", "--json"))
    assert removed["name"] == "small:latest"
    assert json.loads(images("list", "--json")) == []


def catalog(images: Images, *digests: str) -> None:
    """What a stopped daemon left: one version for each digest, whatever its state."""
    with closing(sqlite3.connect(images.place / "state/catalog.sqlite3")) as db:
        db.execute("CREATE TABLE tools (name, version, state, manifest)")
        for number, found in enumerate(digests):
            manifest = json.dumps({"run": {"image": f"small@{found}"}}).encode()
            db.execute(
                "INSERT INTO tools VALUES ('t', ?, 'superseded', ?)", (f"{number}.0.0", manifest)
            )
        db.commit()


def test_an_image_whose_name_moved_is_listed_kept_and_pruned(
    images: Images, archive: Path, tmp_path: Path
) -> None:
    old = json.loads(images("import", str(archive), "--json"))
    other = tmp_path / "other.tar"
    other.write_bytes(tar(entry("usr/y", b"2")))
    images("import", str(other), "--name", "small")
    listed = json.loads(images("list", "--json"))
    assert [(item["name"], item["digest"] == old["digest"]) for item in listed] == [
        ("small:latest", False),
        ("", True),
    ]
    (line,) = (line for line in images("list").splitlines() if old["digest"][:19] in line)
    assert line.startswith("- ")
    assert old["digest"] in images("show", old["digest"])
    images("export", old["digest"], str(tmp_path / "old.tar"), "--docker")
    catalog(images, old["digest"])
    assert "nothing to remove" in images("prune")
    assert "a registered tool uses" in images("remove", old["digest"], status=1)
    (images.place / "state/catalog.sqlite3").unlink()
    assert images("prune") == f"removed -  {old['digest']}\n"
    assert json.loads(images("prune", "--json")) == []
    assert images("verify") == "ok: all images\n"


def test_what_cannot_be_imported_is_told_with_a_remedy(images: Images, tmp_path: Path) -> None:
    for path in (tmp_path / "none", Path("/dev/null")):
        said = images("import", str(path), "--name", "x", status=1)
        assert str(path) in said
        assert "remedy: name a folder" in said


def test_a_changed_tree_is_told_with_status_1(images: Images, archive: Path) -> None:
    image = json.loads(images("import", str(archive), "--name", "a:1", "--json"))
    file = images.place / "state/images/trees" / image["digest"][7:] / "usr/bin/x"
    file.chmod(0o777)
    assert "/usr/bin/x has the mode 0777" in images("verify", status=1)
    report = json.loads(images("verify", "a:1", "--json", status=1))
    assert report["ok"] is False
    assert report["problems"][0]["path"] == "usr/bin/x"


def test_an_export_is_the_layer_and_what_docker_loads(
    images: Images, archive: Path, tmp_path: Path
) -> None:
    image = json.loads(images("import", str(archive), "--json"))
    images("export", "small", str(tmp_path / "plain.tar"))
    assert digest((tmp_path / "plain.tar").read_bytes()) == image["layer"]
    images("export", "small", str(tmp_path / "docker.tar"), "--docker")
    again = json.loads(images("import", str(tmp_path / "docker.tar"), "--json"))
    assert again["digest"] == image["digest"]
    assert "File exists" in images("export", "small", str(tmp_path / "plain.tar"), status=2)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/x/Alpine.tar.gz", "alpine"),
        ("/x/my image.oci/", "my-image"),
        ("docker:python:3.11-slim", "python:3.11-slim"),
        ("docker:group/tool", "tool"),
        ("docker://example.org/a/b:1", "b:1"),
    ],
)
def test_a_source_suggests_a_name(source: str, name: str) -> None:
    from fumehood.cli.image import _default_name

    assert _default_name(source) == name


def test_a_hostile_archive_is_one_error(images: Images, tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    path.write_bytes(tar(entry("usr/\x1b]0;x", b"1")))
    said = images("import", str(path), status=1)
    assert said.startswith("error: ")
    assert "\x1b" not in said
    path.write_bytes(tar(entry("usr", kind=SYMLINK, link="/etc"), entry("usr/passwd", b"1")))
    answer = json.loads(images("import", str(path), "--json", status=1))
    assert answer["error"]["code"] == "image"
    assert "which is a link" in answer["error"]["cause"]


@pytest.mark.parametrize(
    "words",
    [("show", "nosuch"), ("remove", "nosuch"), ("verify", "nosuch"), ("show", "../x"),
     ("import", "/nonexistent"), ("build", "/nonexistent")],
)  # fmt: skip
def test_what_is_not_there_is_one_error(images: Images, words: tuple[str, ...]) -> None:
    assert images(*words, status=1).startswith("error: ")


def test_requirements_need_their_image(images: Images, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"a==1 --hash=sha256:{'a' * 64}\n")
    assert "there is no image 'python'" in images("derive", str(tmp_path / "r.txt"), status=1)
    (tmp_path / "r.txt").write_text("a\n")
    assert "is not NAME==VERSION" in images("derive", str(tmp_path / "r.txt"), status=1)
    assert "No such file" in images("derive", str(tmp_path / "none.txt"), status=2)
