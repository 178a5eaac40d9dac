"""What is shown of the host to a fetching program, and how much is taken of what it left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images import fetching
from fumehood.images.fetching import certificates_in, left_in, new_work, proxy_of
from fumehood.images.local_files import take
from fumehood.images.npm_settings import understood as npm_understood
from fumehood.images.pip_settings import understood as pip_understood

ONE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def test_of_a_file_of_certificates_only_the_certificates_are_shown(tmp_path: Path) -> None:
    (tmp_path / "real.pem").write_bytes(f"# notes\r\n{ONE}{KEY}{ONE}password\n".encode())
    (tmp_path / "link.pem").symlink_to("real.pem")
    copy = certificates_in(tmp_path / "link.pem", new_work(tmp_path, "x"))
    assert copy.read_text() == ONE * 2


def test_a_folder_or_anything_else_is_no_file_of_certificates(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "large").write_text(ONE + " " * fetching.MAX_CERTIFICATES)
    for path, why in (
        (Path("/"), "not a regular file"),
        (tmp_path, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "nosuch", "No such file"),
        (tmp_path / "key", "no certificate in it"),
        (tmp_path / "large", "larger than"),
    ):
        with pytest.raises(ImageError, match=why) as caught:
            certificates_in(path, tmp_path)
        assert "certificates" in caught.value.remedy
        assert not (tmp_path / "certificates.pem").exists()


def test_no_more_files_are_taken_than_can_be_of_use(tmp_path: Path) -> None:
    work = new_work(tmp_path, "packages")
    for number in range(3):
        (work / "packages" / f"{number}.tgz").touch()
    assert left_in(work, "packages", 3) == work / "packages"
    with pytest.raises(ImageError, match="more was fetched than the 2 files"):
        left_in(work, "packages", 2)


def test_holes_are_counted_before_anybody_reads_them(tmp_path: Path) -> None:
    work = new_work(tmp_path, "packages")
    for name in ("a.tgz", "b.tgz"):
        with (work / "packages" / name).open("wb") as file:
            file.truncate(fetching.MAX_BYTES // 2 + 1)
    with pytest.raises(ImageError, match="larger than"):
        left_in(work, "packages", 50)


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("user:secret@proxy.example:3128", "http://proxy.example:3128"),
        ("https://user:secret@proxy.example", "https://proxy.example"),
        ("", None),
        ("socks5://proxy.example", None),
    ],
)
def test_a_proxy_may_have_no_scheme(
    given: str, passed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxy_of(given) == passed
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", given)
    assert dict(fetching.bare_environment()).get("HTTPS_PROXY") == passed
    options = pip_understood(f"global.proxy={given!r}\n").options
    assert options[-2:] == (("--proxy", passed) if passed else ())
    lines = npm_understood(json.dumps({"https-proxy": given})).lines
    assert lines == ((f"https-proxy={passed}",) if passed else ())


def test_a_folder_with_an_archives_name_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "from" / "lib.tgz").mkdir(parents=True)
    take(tmp_path / "from", tmp_path, "sha512", ".tgz", lambda name, _: name)
    assert [path.name for path in tmp_path.iterdir()] == ["from"]
