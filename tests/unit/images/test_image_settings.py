"""Of the host's configuration of pip and npm, addresses are passed on and credentials are not."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from fumehood.errors import ImageError
from fumehood.images import disk, npm_settings, pip_settings
from fumehood.images.fetching import CERTIFICATES, bare_environment, without_credentials
from fumehood.images.local_files import indexed, take


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://index.example/simple", "https://index.example/simple"),
        ("https://user:password@index.example:8443/simple", "https://index.example:8443/simple"),
        ("http://token@[::1]:80/x", "http://[::1]:80/x"),
        ("https://index.example/simple?token=x#y", "https://index.example/simple"),
        ("file:///etc", None),
        ("https://", None),
        ("https://a:b@c@d:x/", None),
        ("https://index.example/\x1b[0m", None),
        ("", None),
    ],
)
def test_an_address_loses_whatever_may_be_secret(url: str, clean: str | None) -> None:
    assert without_credentials(url) == clean


def test_nothing_of_our_environment_is_passed_on_but_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:password@index.example")
    monkeypatch.setenv("https_proxy", "http://user:password@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    found = dict(bare_environment())
    assert found["https_proxy"] == "http://proxy.example:3128"
    assert found["no_proxy"] == "localhost"
    assert set(found) <= {
        "HOME", "HTTPS_PROXY", "HTTP_PROXY", "LANG", "NO_PROXY", "PATH", "TMPDIR", "http_proxy",
        "https_proxy", "no_proxy",
    }  # fmt: skip
    assert "password" not in json.dumps(found)


# --- pip


def test_without_any_setting_pip_asks_its_own_index() -> None:
    found = pip_settings.understood("")
    assert (found.options, found.remote, found.stripped) == ((), True, False)


def test_addresses_stay_and_everything_else_goes() -> None:
    found = pip_settings.understood(
        "global.index-url='https://user:password@index.example/simple'\n"
        "global.extra-index-url='file:///srv/simple https://other.example/simple'\n"
        "global.find-links='/srv/wheels https://pages.example/x'\n"
        "global.cert='/etc/ssl/own.pem'\n"
        "global.client-cert='/root/client.pem'\n"
        "global.trusted-host='index.example --evil'\n"
        "global.proxy='http://user:password@proxy.example:3128'\n"
        "global.constraint='/etc/constraints.txt'\n"
        "global.timeout='99999'\n"
    )
    assert found.options == (
        "--index-url", "https://index.example/simple",
        "--extra-index-url", "https://other.example/simple",
        "--find-links", "https://pages.example/x",
        "--trusted-host", "index.example",
        "--proxy", "http://proxy.example:3128",
    )  # fmt: skip
    assert (found.remote, found.stripped) == (True, True)
    assert found.folders == (Path("/srv/wheels"),)
    assert found.indexes == (Path("/srv/simple"),)
    assert found.certificates == Path("/etc/ssl/own.pem")


def test_what_counts_more_for_pip_counts_more_here() -> None:
    text = (
        ":env:.index-url='https://environment.example'\n"
        "download.index-url='https://download.example'\n"
        "global.index-url='https://global.example'\n"
        "install.index-url='https://install.example'\n"
    )
    assert pip_settings.understood(text).options == ("--index-url", "https://environment.example")


@pytest.mark.parametrize(
    "text", ["global.no-index='true'", "global.index-url='file:///srv/simple'"]
)
def test_a_host_that_has_no_index_on_a_network_asks_none(text: str) -> None:
    found = pip_settings.understood(text)
    assert (found.options, found.remote) == (("--no-index",), False)


# --- npm


def test_npms_registries_stay_and_its_tokens_go() -> None:
    found = npm_settings.understood(
        json.dumps(
            {
                "registry": "https://user:password@registry.example/",
                "@scope:registry": "https://scoped.example/",
                "@sc ope:registry": "https://evil.example/",
                "//registry.example/:_authToken": "(protected)",
                "proxy": None,
                "https-proxy": "http://user:password@proxy.example:3128",
                "cafile": "/etc/ssl/own.pem",
                "script-shell": "/tmp/evil",
            }
        )
    )
    assert set(found.lines) == {
        "registry=https://registry.example/",
        "@scope:registry=https://scoped.example/",
        "https-proxy=http://proxy.example:3128",
        f"cafile={CERTIFICATES}",
    }
    assert (found.stripped, found.certificates) == (True, Path("/etc/ssl/own.pem"))


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1, "a": 2}', "npm: not found"])
def test_an_npm_that_does_not_tell_is_an_error(text: str) -> None:
    with pytest.raises(ImageError, match="does not tell its configuration"):
        npm_settings.understood(text)


# --- what this disk has


def test_an_index_on_the_disk_is_read_and_its_files_are_believed_nothing(tmp_path: Path) -> None:
    (tmp_path / "simple/lib").mkdir(parents=True)
    page = (
        '<a href="../../files/a%2B1.whl#sha256=aa">a</a><A HREF="b.whl#sha256=bb">b</a>'
        '<a href="https://elsewhere.example/c.whl#sha256=cc">c</a><a href="d.whl">d</a><a>e</a>'
    )
    (tmp_path / "simple/lib/index.html").write_text(page)
    assert list(indexed(tmp_path / "simple", "lib")) == [
        (tmp_path / "files/a+1.whl", "aa"),
        (tmp_path / "simple/lib/b.whl", "bb"),
    ]
    assert list(indexed(tmp_path / "simple", "other")) == []


def test_only_what_has_a_wanted_hash_is_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "good.whl").write_bytes(b"good")
    (source / "bad.whl").write_bytes(b"bad")
    os.mkfifo(source / "fifo.whl")
    wanted = hashlib.sha256(b"good").hexdigest()
    take(source, target, "sha256", ".whl", lambda name, found: name if found == wanted else None)
    assert os.listdir(target) == ["good.whl"]
    take(tmp_path / "missing", target, "sha256", ".whl", lambda *_: None)


# --- what is left of it


def test_a_tree_is_deleted_however_deep_and_whatever_its_modes(tmp_path: Path) -> None:
    """Deeper than Python's frames, than this process's descriptors and than a path may be."""
    root = os.open(tmp_path, os.O_RDONLY)
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in ["tree", *["a-long-name-of-a-folder"] * 1050]:
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o444, dir_fd=inner))
        os.symlink("/etc", "link", dir_fd=inner)
        os.close(fd)
        fd = inner
    os.fchmod(fd, 0)
    os.close(fd)
    (tmp_path / "tree").chmod(0o500)
    try:
        disk.delete(root, "tree")
    finally:
        os.close(root)
    assert os.listdir(tmp_path) == []
    assert os.path.exists("/etc/passwd")
